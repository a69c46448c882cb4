"""The runner around a driver: what it does with time, failures, and changes of state."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from lamplighter_agent.clock import Clock, Moment
from lamplighter_agent.driver import Driver, Event, Fatal, Output, Partial, Position, Retriable, Row
from lamplighter_agent.runner import Plan, Runner
from lamplighter_agent.testing import Bench
from lamplighter_protocols.profile import Profile
from services.wait import eventually_async

PROFILE = Profile.model_validate(
    {"id": "p", "device_class": "test", "title": {"en": "p"}, "metrics": {"v": {"title": {"en": "v"}}}}
)


class Scripted(Driver):
    """Does what its script says, one entry a read: an output, an error, or seconds of silence; then the last again."""

    script: list[Any]

    def __init__(self, context: Any, settings: Any) -> None:
        super().__init__(context, settings)
        self.opened: list[Position | None] = []
        self.closed = 0
        self.configured: list[dict[str, Any]] = []
        self.look_every: float | None = None

    @property
    def poll_s(self) -> float | None:
        return self.look_every

    async def open(self, position: Position | None) -> None:
        self.opened.append(position)

    async def read(self) -> Output:
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(step, Exception):
            raise step
        if isinstance(step, float):
            await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=step)
        return step if isinstance(step, Output) else Output(rows=[Row({"v": 1.0})])

    async def close(self) -> None:
        self.closed += 1

    async def command(self, name: str, args: dict[str, Any], lease_s: int | None) -> dict[str, Any]:
        return {"name": name, "args": args, "lease_s": lease_s}

    async def configure(self, document: dict[str, Any]) -> dict[str, Any]:
        self.configured.append(document)
        return document


class Sink:
    def __init__(self) -> None:
        self.outputs: list[tuple[Output, int]] = []
        self.position: Position | None = None

    async def put(self, device: str, profile: Profile, output: Output, at: Moment) -> asyncio.Future[list[int]]:
        assert (device, profile) == ("d", PROFILE)
        self.outputs.append((output, at.t))
        self.position = output.position or self.position
        done: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()
        done.set_result([])
        return done

    def events(self) -> list[str]:
        return [event.name for output, _ in self.outputs for event in output.events]

    def rows(self) -> list[Row]:
        return [row for output, _ in self.outputs for row in output.rows]


class Play:
    def __init__(self, script: list[Any], interval_s: float = 0.05, timeout_s: float = 0.2) -> None:
        self.driver = Bench(Scripted, PROFILE, {}, {}, Path()).driver()
        assert isinstance(self.driver, Scripted)
        self.scripted = self.driver
        self.scripted.script = script
        self.sink = Sink()
        plan = Plan("d", PROFILE, interval_s, timeout_s)
        self.runner = Runner(plan, self.driver, self.sink, Clock(), self._position)

    async def _position(self, device: str) -> Position | None:
        assert device == "d"
        return self.sink.position

    def run(self, until: Callable[[], Any] | Callable[[], Awaitable[Any]]) -> None:
        async def life() -> None:
            task = asyncio.create_task(self.runner.run())
            await eventually_async(until, 10)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self.runner.close()

        asyncio.run(life())


def test_reads_fall_on_the_grid_of_the_clock() -> None:
    play = Play([Output(rows=[Row({"v": 1.0})])], interval_s=0.2)
    play.run(lambda: len(play.sink.outputs) >= 5)
    times = [t for _, t in play.sink.outputs[1:]]
    assert all(t % 200 == 0 or t % 200 > 50 for t in times)
    assert sum(t % 200 == 0 for t in times) >= 3


NOBODY_RECORDS = Output(rows=[Row({"v": 1.0}, t="soon")])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "trouble",
    [
        Retriable("gone"),
        OSError("gone"),
        5.0,
        ZeroDivisionError("a bug"),
        NOBODY_RECORDS,
        Partial("in part", NOBODY_RECORDS),
    ],
)
def test_a_change_is_reported_once_and_the_way_back_too(trouble: Any) -> None:
    play = Play([Output(), trouble, trouble, Output(rows=[Row({"v": 2.0})])])
    play.run(lambda: "device_back" in play.sink.events())
    assert play.sink.events() == ["device_unreachable", "device_back"]
    assert [row.quality for row in play.sink.rows() if row.quality] == [{"v": "no_data"}]
    assert play.runner.statistics.failures == 2
    assert (len(play.scripted.opened), play.scripted.closed) == (3, 3)


def test_a_fatal_device_is_left_alone_for_long() -> None:
    play = Play([Fatal("no such unit")])
    play.run(lambda: play.sink.events() == ["device_unreachable"])
    assert play.runner._wait_s(Fatal("")) >= 150
    assert play.runner._wait_s(Retriable("")) <= 30


def test_back_off_grows_and_is_bounded() -> None:
    play = Play([Output()])
    waits = []
    for attempt in range(1, 20):
        play.runner._attempt = attempt
        waits.append(play.runner._wait_s(Retriable("")))
    assert waits[0] <= 1
    assert max(waits) <= 30
    assert min(waits[8:]) >= 15


def test_what_could_be_read_in_part_counts() -> None:
    part = Output(rows=[Row({}, {"v": "no_data"})])  # type: ignore[dict-item]
    play = Play([Partial("half", part), Output(rows=[Row({"v": 1.0})])])
    play.run(lambda: len(play.sink.outputs) >= 2)
    assert play.sink.events() == []
    assert play.sink.outputs[0][0] is part


def test_after_a_failure_it_goes_on_from_the_durable_position() -> None:
    play = Play([Output(events=[Event("e")], position={"n": 1}, more=True), Retriable("x"), Output()])
    play.run(lambda: len(play.sink.outputs) >= 4)
    assert play.scripted.opened == [None, {"n": 1}]


def test_more_is_read_at_once() -> None:
    play = Play([Output(position={"n": n}, more=True) for n in range(50)] + [Output()], interval_s=60)
    play.run(lambda: len(play.sink.outputs) >= 51)


def test_instants_that_passed_are_skipped_and_counted() -> None:
    play = Play([Output(), 0.17, Output()], interval_s=0.05)
    play.run(lambda: len(play.sink.outputs) >= 4)
    assert play.runner.statistics.skipped >= 3
    assert len({t for _, t in play.sink.outputs}) == len(play.sink.outputs), "no two reads for one instant"


def test_configuration_overrides_the_interval_and_returns_with_the_device() -> None:
    play = Play([Output(), Retriable("x"), Output()], interval_s=30)

    async def configured() -> bool:
        if not play.scripted.configured:
            await play.runner.configure({"interval_s": 0.05, "x": 1})
        return len(play.sink.outputs) >= 5

    play.run(configured)
    assert play.runner.interval_s == 0.05
    assert play.scripted.configured == [{"interval_s": 0.05, "x": 1}] * 2
    play.scripted.look_every = 7
    assert play.runner.interval_s == 7


def test_a_command_waits_for_the_read_and_begins_at_the_last_moment() -> None:
    play = Play([0.1, Output()])
    order: list[str] = []

    async def begin() -> None:
        order.append("begin")

    async def acted() -> bool:
        if not order:
            assert await play.runner.command("go", {}, None, 1, begin) == {"name": "go", "args": {}, "lease_s": None}
        return True

    play.run(acted)
    assert order == ["begin"]
