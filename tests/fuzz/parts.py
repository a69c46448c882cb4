"""An agent's parts around one device, joined as `app.py` does it; no broker is there."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from contract.test_vectors import NOW_MS
from lamplighter_agent.clock import Clock, Moment
from lamplighter_agent.commands import Commands, Target
from lamplighter_agent.configuration import Configuration
from lamplighter_agent.control import Control
from lamplighter_agent.disk import Disk
from lamplighter_agent.driver import Context, Driver, DriverSettings, Event, Output, Position
from lamplighter_agent.guard import Rules
from lamplighter_agent.outbox import Outbox
from lamplighter_agent.recorder import Recorder
from lamplighter_agent.refusals import Refusals
from lamplighter_agent.runner import Plan, Runner
from lamplighter_agent.state import State
from lamplighter_protocols.profile import Profile
from lamplighter_protocols.records import BadRecord, Receipt, Stream, parse_batch

AGENT: Final = "kiosk-3"
DEVICE: Final = "printer-1"
OUTBOX_BYTES: Final = 256 * 1024
SETTLES_S: Final = 10.0
STEP_S: Final = 0.001


class Nobody:
    """A link that leads nowhere."""

    async def say_birth(self) -> None: ...

    async def answer(self, outbox: str | None, stream: Stream, ranges: Sequence[tuple[int, int]]) -> None: ...


class Obedient(Driver):
    """A device that does everything it is told and has nothing to say."""

    async def open(self, position: Position | None) -> None: ...

    async def read(self) -> Output:
        return Output()

    async def close(self) -> None: ...

    async def command(self, name: str, args: dict[str, Any], lease_s: int | None) -> dict[str, Any]:
        return {"did": name, "args": args, "lease_s": lease_s}


@dataclass
class Durable:
    """Where a runner's output goes: what a read gave is on the disk at once."""

    recorder: Recorder

    async def put(self, device: str, profile: Profile, output: Output, at: Moment) -> asyncio.Future[list[int]]:
        stored = await self.recorder.put(device, profile, output, at)
        await _flush(self.recorder)
        return stored


async def _flush(recorder: Recorder) -> None:
    assert await recorder.flush(), "the outbox does not take it"


@dataclass
class Parts:
    """What one agent is made of."""

    disk: Disk
    outbox: Outbox
    recorder: Recorder
    runner: Runner
    commands: Commands
    configuration: Configuration
    refusals: Refusals
    control: Control

    @property
    def refused(self) -> int:
        """How much came down and was not acted on."""
        return self.refusals.counts.total()

    async def settle(self) -> None:
        """Wait until nothing is under way any more; raise what a task raised."""
        async with asyncio.timeout(SETTLES_S):
            while tasks := [*self.commands._tasks, *self.configuration._tasks]:
                await _flush(self.recorder)
                done, _ = await asyncio.wait(tasks, timeout=STEP_S)
                for task in done:
                    task.result()
            await _flush(self.recorder)

    async def hand_over(self) -> None:
        """Read what is kept as the hub reads it, and free it. Raises AssertionError for what the hub would refuse."""
        for stream in Stream:
            while window := await self.disk.run(self.outbox.window, stream, self.outbox.freed()[stream]):
                _, records = parse_batch(window.payload(NOW_MS))
                bad = [record.error for record in records if isinstance(record, BadRecord)]
                confirmed = Receipt(outbox=self.outbox.id, through={stream: window.last}, now=NOW_MS)
                await self.disk.run(self.outbox.release, confirmed)
                assert not bad, f"it goes up, and the hub refuses it: {bad[0]}"


@asynccontextmanager
async def parts(folder: Path, profile: Profile, driver: Driver | None = None) -> AsyncIterator[Parts]:
    """Start an agent's parts over the state in this folder, which may be another life's; end them behind the block."""
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    clock, state, disk = Clock(lambda: NOW_MS), State(folder), Disk()
    outbox = Outbox(folder / "outbox.sqlite", OUTBOX_BYTES, clock.own)
    await disk.run(outbox.open)
    recorder = Recorder(outbox, disk, clock, lambda: 0.0, lambda _: None)

    async def position(_: str) -> Position | None:
        return None

    async def tell(device: str, event: Event) -> object:
        return await recorder.event(device, profile, event)

    device = driver or Obedient(Context(DEVICE, profile, folder, logging.getLogger(DEVICE)), DriverSettings())
    runner = Runner(Plan(DEVICE, profile, 1.0, 5.0), device, Durable(recorder), clock, position)
    configuration = Configuration({DEVICE: (profile, runner)}, state, disk, clock, recorder.report)
    target = Target(profile, Rules(), runner, lambda: configuration.in_force(DEVICE).version)
    commands = Commands({DEVICE: target}, state, disk, clock, recorder.report)
    refusals = Refusals([DEVICE], tell)
    control = Control(AGENT, [DEVICE], _good, clock, commands, configuration, refusals, Nobody())
    await commands.start()
    await configuration.start()
    try:
        yield Parts(disk, outbox, recorder, runner, commands, configuration, refusals, control)
    finally:
        await commands.stop()
        await configuration.stop()
        await runner.close()
        await disk.run(outbox.close)
        disk.close()


def _good(_kid: str, _signed: bytes, _signature: bytes) -> bool:
    """Every signature is good: it is the hub itself that says so."""
    return True
