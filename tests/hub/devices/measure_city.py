"""How the registry carries a city: PYTHONPATH=tests python -m hub.devices.measure_city [sqlite|postgresql]"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hub.registry.rig import Rig, birth, rig
from lamplighter_hub.devices.service import Filter
from lamplighter_protocols.presence import Birth, Presence
from services.postgres import postgres

AGENTS = 15_700
GROUP = 2_000


@contextmanager
def measured(what: str) -> Iterator[None]:
    begun = time.perf_counter()
    yield
    print(f"{what:<50} {time.perf_counter() - begun:8.3f} s")


def births(agents: list[str], session: int, now: int) -> list[tuple[str, Birth, int]]:
    return [
        (agent, birth([f"{agent}-{part}" for part in range(6 + number % 2)], session=session), now)
        for number, agent in enumerate(agents)
    ]


def groups(size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, AGENTS, size))


def say_births(made: Rig, agents: list[str], session: int, what: str) -> None:
    said = births(agents, session, made.clock())
    with measured(what):
        for group in groups(GROUP):
            made.hub.devices.born(said[group])


@contextmanager
def registry(kind: str) -> Iterator[str]:
    """Give the URL of an empty registry."""
    if kind == "sqlite":
        yield ""
        return
    with postgres() as server:
        yield server.url(server.create())


def main(kind: str) -> None:
    agents = [f"agent-{number:05d}" for number in range(AGENTS)]
    with registry(kind) as url, tempfile.TemporaryDirectory() as folder, rig(Path(folder), url) as made:
        with measured("provision 15,700 agents"):
            for group in groups(1_000):
                made.hub.enrolment.provision(agents[group], "bench")
        say_births(made, agents, 1, "15,700 first births, 102,050 devices")
        say_births(made, agents, 2, "15,700 births that change nothing")
        with measured("15,700 wills, written in groups of 2,000"):
            for group in groups(GROUP):
                for agent in agents[group]:
                    lost = Presence(state="offline", session=2, reason="connection_lost")
                    made.hub.presence.told(agent, lost, made.clock())
                made.hub.presence.flush()
        with measured("one sweep"):
            made.hub.presence.sweep(made.clock.forward(1))
        with measured("a filter that nothing passes, over all devices"):
            made.hub.devices.page(Filter(), "online", "", 100)
        with measured("note that all were heard, and write it"):
            made.hub.presence.heard(dict.fromkeys(agents, made.clock.forward(60)))
            made.hub.presence.flush()
        with measured("start again from the disk"):
            made.crash()


if __name__ == "__main__":
    main(*sys.argv[1:2] or ["sqlite"])
