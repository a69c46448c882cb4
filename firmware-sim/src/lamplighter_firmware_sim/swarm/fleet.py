"""All agents of one process: connects them at a pace, brings them back after a loss, ends them together."""

from __future__ import annotations

import asyncio
import random
import resource
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from lamplighter_firmware_sim.errors import UsageError
from lamplighter_firmware_sim.swarm.agent import Shared, SwarmAgent
from lamplighter_firmware_sim.swarm.figures import Figures

CONNECT_WITHIN_S: Final = 60.0
LONGEST_BACKOFF_S: Final = 30.0
FILES_BESIDE_SESSIONS: Final = 64


class Endpoint(NamedTuple):
    """Where a broker listens."""

    host: str
    port: int


def endpoint(url: str) -> Endpoint:
    """Read `mqtt://HOST[:PORT]`. Raises UsageError."""
    try:
        parts = urlsplit(url)
        port = parts.port or 1883
    except ValueError:
        raise UsageError(f"--mqtt-url {url!r}: the port is not a number up to 65535") from None
    if parts.scheme not in ("mqtt", "tcp") or not parts.hostname:
        raise UsageError(f"--mqtt-url {url!r}: write mqtt://HOST:PORT")
    return Endpoint(parts.hostname, port)


def raise_file_limit(sessions: int) -> None:
    """Allow as many open files as this process may have. Raises UsageError when that is too few."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < sessions + FILES_BESIDE_SESSIONS:
        most = hard - FILES_BESIDE_SESSIONS
        raise UsageError(f"{sessions} sessions in one process, but it may hold {most}; use more --processes")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@dataclass(frozen=True)
class Pace:
    """How fast connections are opened, by this process, per second; at once and again after a loss."""

    connects_s: float


class Fleet:
    """The sessions of one process. Nothing happens before `connect_all`."""

    def __init__(self, shared: Shared, broker: Endpoint, pace: Pace) -> None:
        self._shared = shared
        self._broker = broker
        self._pace = pace
        self._agents: Sequence[SwarmAgent] = ()
        self._tasks: set[asyncio.Task[None]] = set()
        self._back = True
        self._leaving = False
        self._back_at = 0.0

    def hold(self, agents: Sequence[SwarmAgent]) -> None:
        """Take the agents over."""
        self._agents = agents
        self._shared.figures.agents = len(agents)

    async def connect_all(self) -> None:
        """Begin a connection for every agent, `connects_s` a second."""
        begun = self._shared.now()
        for index, agent in enumerate(self._agents):
            ahead = begun + index / self._pace.connects_s - self._shared.now()
            if ahead > 0.002:
                await asyncio.sleep(ahead)
            self._begin(agent, 0.0)

    def figures(self) -> Figures:
        """Return the counts as they are now."""
        figures = self._shared.figures
        figures.connected = sum(agent.up for agent in self._agents)
        figures.reporting = sum(agent.reporting for agent in self._agents)
        return figures

    def produce(self, *, on: bool) -> None:
        """Begin or end making records, everywhere."""
        for agent in self._agents:
            agent.produce(on=on)

    def drop_all(self, back_after_s: float | None) -> None:
        """Cut all connections at once, without DISCONNECT. They come back after a time, or not at all."""
        self._back = back_after_s is not None
        self._back_at = self._shared.now() + (back_after_s or 0.0)
        for agent in self._agents:
            agent.abort()

    async def leave(self) -> None:
        """Disconnect all with a goodbye and wait until the connections are closed."""
        self._back = False
        self._leaving = True
        for task in list(self._tasks):
            task.cancel()
        for agent in self._agents:
            agent.leave()
        deadline = self._shared.now() + 10
        # Looking is cheaper than an event for each of fifteen thousand.
        while any(agent.up for agent in self._agents) and self._shared.now() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.05)

    def is_up(self, agent: SwarmAgent) -> None:  # noqa: ARG002 - the agent's callback
        """Count a connection that is complete."""
        self._shared.figures.connects += 1

    def is_down(self, agent: SwarmAgent) -> None:
        """Count a connection that ended, and begin the next one with jitter."""
        if agent.up:
            agent.up = False
            self._shared.figures.lost_connections += not self._leaving
        if self._back:
            self._begin(agent, self._pause(agent))

    def _pause(self, agent: SwarmAgent) -> float:
        """Return a random wait: the whole fleet spread at the pace, then doubling for those that failed again."""
        spread = max(1.0, len(self._agents) / self._pace.connects_s)
        longest: float = min(spread * 2**agent.attempts, max(spread, LONGEST_BACKOFF_S))
        agent.attempts += 1
        return max(self._back_at - self._shared.now(), 0.0) + longest * self._shared.dice.random()

    def _begin(self, agent: SwarmAgent, pause_s: float) -> None:
        task = asyncio.get_running_loop().create_task(self._connect(agent, pause_s))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, agent: SwarmAgent, pause_s: float) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(pause_s)
            try:
                async with asyncio.timeout(CONNECT_WITHIN_S):
                    await loop.create_connection(lambda: agent, self._broker.host, self._broker.port)
            except OSError as error:  # TimeoutError is one of them
                self._shared.figures.failed[_reason(error)] += 1
                pause_s = self._pause(agent)
            else:
                return


def _reason(error: OSError) -> str:
    return "timeout" if isinstance(error, TimeoutError) else error.strerror or type(error).__name__


def dice(seed: int) -> random.Random:
    """Return a seeded source of jitter; nothing here is a secret."""
    return random.Random(seed)  # noqa: S311
