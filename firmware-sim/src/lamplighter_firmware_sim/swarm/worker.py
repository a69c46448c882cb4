"""A child process of a swarm: a fleet that takes orders from a pipe and answers with its figures."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from multiprocessing.connection import Connection
from typing import Final

from lamplighter_firmware_sim.swarm.agent import Shared, SwarmAgent
from lamplighter_firmware_sim.swarm.backlog import past_of
from lamplighter_firmware_sim.swarm.figures import Figures
from lamplighter_firmware_sim.swarm.fleet import Endpoint, Fleet, Pace, dice
from lamplighter_firmware_sim.swarm.words import load_of
from lamplighter_protocols.ids import new_ulid
from lamplighter_protocols.profile import load_profiles

REPORT_EVERY_S: Final = 0.25


@dataclass(frozen=True)
class Credential:
    """How one agent shows who it is; an empty password means an anonymous client."""

    id: str
    password: str = ""


@dataclass(frozen=True)
class Share:
    """What one process of a swarm does."""

    credentials: tuple[Credential, ...]
    broker: Endpoint
    points: int
    interval_s: float
    window: int
    heard_within_s: int
    connects_s: float
    profile: str
    seed: int
    backlog_s: float = 0.0


@dataclass(frozen=True)
class Produce:
    """Order: begin or end making records."""

    on: bool


@dataclass(frozen=True)
class Drop:
    """Order: cut all connections; come back after so many seconds, or not at all."""

    back_after_s: float | None


@dataclass(frozen=True)
class Leave:
    """Order: disconnect all, report once more and end."""


Order = Produce | Drop | Leave


@dataclass(frozen=True)
class Report:
    """What a worker says: its figures, whether all connections were begun, and its memory in bytes."""

    figures: Figures
    last: bool
    resident: int


def work(pipe: Connection, share: Share) -> None:
    """Run in the child process until told to leave, or until the parent is gone."""
    # Ctrl-C reaches the whole group; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        asyncio.run(_Worker(pipe, share).run())


class _Worker:
    def __init__(self, pipe: Connection, share: Share) -> None:
        self._pipe = pipe
        self._share = share
        self._left = asyncio.Event()
        self._fleet: Fleet | None = None

    async def run(self) -> None:
        fleet = self._fleet = self._build()
        loop = asyncio.get_running_loop()
        loop.add_reader(self._pipe.fileno(), self._take_orders)
        connecting = loop.create_task(fleet.connect_all())
        while not self._left.is_set():
            self._report(last=False)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._left.wait(), REPORT_EVERY_S)
        connecting.cancel()
        loop.remove_reader(self._pipe.fileno())
        await fleet.leave()
        self._report(last=True)

    def _build(self) -> Fleet:
        share = self._share
        profile = load_profiles()[share.profile]
        random = dice(share.seed)
        boot = new_ulid(_wall_ms(), os.urandom(10))
        load = load_of(profile, share.points, share.interval_s)
        past = past_of(load, share.interval_s, share.backlog_s, _wall_ms()) if share.backlog_s else None
        shared = Shared(
            load=load,
            profile=profile.id,
            version=version("lamplighter-firmware-sim"),
            heard_within_s=share.heard_within_s,
            interval_s=share.interval_s,
            window=share.window,
            boot=boot,
            now=time.monotonic,
            wall_ms=_wall_ms,
            figures=Figures(),
            dice=random,
            past=past,
        )
        if past:
            shared.figures.backlog_records = past.records * len(share.credentials)
            shared.figures.backlog_points = past.load.points * shared.figures.backlog_records
        fleet = Fleet(shared, share.broker, Pace(share.connects_s))
        fleet.hold(
            [
                SwarmAgent(shared, fleet, who.id, who.password, new_ulid(_wall_ms(), os.urandom(10)))
                for who in share.credentials
            ]
        )
        return fleet

    def _take_orders(self) -> None:
        try:
            while self._pipe.poll():
                self._obey(self._pipe.recv())
        except (EOFError, OSError):
            # The parent is gone: so are we, and the broker publishes our wills.
            os._exit(1)

    def _obey(self, order: Order) -> None:
        assert self._fleet is not None  # noqa: S101 - orders are read once it is built
        match order:
            case Produce(on):
                self._fleet.produce(on=on)
            case Drop(back_after_s):
                self._fleet.drop_all(back_after_s)
            case Leave():
                self._left.set()

    def _report(self, *, last: bool) -> None:
        assert self._fleet is not None  # noqa: S101
        self._pipe.send(Report(self._fleet.figures(), last, _resident()))


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


def _resident() -> int:
    try:
        with open("/proc/self/statm", encoding="ascii") as statm:  # noqa: PTH123 - read four times a second
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
