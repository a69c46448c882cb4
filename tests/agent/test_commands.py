"""Commands: at most once, in time, or said to be not done. Crashes at every step, on real files."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from pydantic_core import to_json

from lamplighter_agent.clock import Clock
from lamplighter_agent.commands import Commands, Target
from lamplighter_agent.disk import Disk
from lamplighter_agent.driver import Refused, Retriable
from lamplighter_agent.guard import Rules
from lamplighter_agent.state import JOURNAL_LIMIT, Entry, State
from lamplighter_protocols.commands import Cancel, Command, CommandState, transition
from lamplighter_protocols.ids import new_ulid
from lamplighter_protocols.profile import Profile
from lamplighter_protocols.records import ResultRecord
from services.wait import eventually_async

T0 = 1_795_476_600_000
PROFILE = Profile.model_validate(
    {
        "id": "p",
        "device_class": "test",
        "title": {"en": "p"},
        "commands": {
            "go": {"title": {"en": "go"}, "max_expiry_s": 60, "args": {"n": {"type": "integer", "min": 0, "max": 9}}},
            "risk": {"title": {"en": "risk"}, "hazard": "dangerous", "max_lease_s": 100},
        },
    }
)


def ulid(nth: int) -> str:
    return new_ulid(T0, nth.to_bytes(10, "big"))


def command(nth: int = 1, **over: Any) -> Command:
    base = {"id": ulid(nth), "agent": "a", "device": "d", "name": "go", "issuer": "t"}
    return Command.model_validate_json(to_json({"issued_at": T0, "expires_at": T0 + 30_000, **base, **over}))


class Power(BaseException):
    """The power is cut: nothing after this point happens."""


class Bench:
    """A device that remembers what it did, and an agent's commands around it that can be started again."""

    def __init__(self, folder: Path, rules: Rules | None = None) -> None:
        self.folder = folder
        self.rules = rules or Rules()
        self.time = T0
        self.acts: list[str] = []
        self.reports: list[ResultRecord] = []
        self.answer: Callable[[str, dict[str, Any]], dict[str, Any]] = lambda name, args: {"did": name, **args}
        self.hold: asyncio.Event | None = None
        self.cut = ""
        self.version = 0
        self.unreachable = False

    async def started(self) -> Commands:
        self.disk = Disk()
        target = Target(PROFILE, self.rules, self, lambda: self.version)
        self.clock = Clock(lambda: self.time)
        commands = Commands({"d": target}, State(self.folder), self.disk, self.clock, self.reports.append)
        await commands.start()
        return commands

    async def command(
        self,
        name: str,
        args: dict[str, Any],
        lease_s: int | None,
        timeout_s: float,
        begin: Callable[[], Awaitable[None]],
    ) -> dict[str, Any]:
        if self.unreachable:
            raise Retriable("no connection")
        if self.hold is not None:
            await self.hold.wait()
        self._cut("before begin")
        await begin()
        self._cut("after begin")
        assert timeout_s > 0
        self.acts.append(name if lease_s is None else f"{name} for {lease_s} s")
        self._cut("after act")
        return self.answer(name, args)

    def _cut(self, place: str) -> None:
        if self.cut == place:
            raise Power(place)

    def states(self, nth: int = 1) -> list[str]:
        return [str(report.state) for report in self.reports if report.command == ulid(nth)]


async def settle(commands: Commands) -> None:
    """Wait for what runs; a cut of power ends it in mid-step, as a crash does."""
    for task in list(commands._tasks):
        with suppress(Power):
            await task


def play(bench: Bench, *items: Command | Cancel) -> Bench:
    """One life of the agent: start, take these, settle, die."""

    async def life() -> None:
        commands = await bench.started()
        for item in items:
            await (commands.command(item) if isinstance(item, Command) else commands.cancel(item))
        await settle(commands)
        bench.disk.close()

    asyncio.run(life())
    return bench


def test_a_command_is_journalled_run_and_reported(tmp_path: Path) -> None:
    bench = play(Bench(tmp_path), command(args={"n": 3}))
    assert bench.states() == ["received", "running", "succeeded"]
    assert bench.reports[-1].data == {"did": "go", "n": 3}


def test_delivered_twice_it_runs_once_also_across_a_restart(tmp_path: Path) -> None:
    bench = play(Bench(tmp_path), command(), command())
    play(bench, command())
    assert bench.acts == ["go"]
    assert bench.states()[-1] == "succeeded"
    assert bench.reports[-1].data == {"did": "go"}


@pytest.mark.parametrize("place", ["before begin", "after begin", "after act"])
def test_a_crash_never_leads_to_a_second_act(tmp_path: Path, place: str) -> None:
    bench = Bench(tmp_path)
    bench.cut = place
    play(bench, command())
    done = len(bench.acts)
    bench.cut = ""
    play(bench, command())
    if place == "before begin":
        assert (done, bench.acts, bench.states()[-1]) == (0, ["go"], "succeeded")
    else:
        assert len(bench.acts) == done, "what had begun is never run again"
        assert bench.states()[-1] == "failed"
        assert "interrupted" in bench.reports[-1].reason


def test_too_late_is_expired_and_not_run(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.time = T0 + 30_000
    play(bench, command())
    assert (bench.acts, bench.states()) == ([], ["expired"])
    bench.time = T0
    play(bench, command())
    assert (bench.acts, bench.states()) == ([], ["expired", "expired"]), "also when the clock goes back"


def test_the_hubs_clock_counts_and_signed_times_are_a_floor(tmp_path: Path) -> None:
    async def life() -> None:
        bench = Bench(tmp_path)
        bench.time = T0 - 86_400_000
        commands = await bench.started()
        bench.clock.hub_said(T0 + 31_000)
        await commands.command(command(1))
        await settle(commands)
        assert bench.states(1) == ["expired"]
        for _ in range(20):
            bench.clock.hub_said(T0 - 3_600_000)  # a forged receipt turns the clock back
        bench.clock.hub_signed(T0 + 40_000)
        await commands.command(command(2))
        await settle(commands)
        assert bench.states(2) == ["expired"]
        assert bench.acts == []
        bench.disk.close()

    asyncio.run(life())


def test_expiry_is_looked_at_again_when_the_device_was_busy(tmp_path: Path) -> None:
    async def life() -> None:
        bench = Bench(tmp_path)
        bench.hold = asyncio.Event()
        commands = await bench.started()
        await commands.command(command())
        await asyncio.sleep(0)
        bench.time = T0 + 31_000
        bench.hold.set()
        await settle(commands)
        assert (bench.acts, bench.states()) == ([], ["received", "expired"])
        bench.disk.close()

    asyncio.run(life())


class SlowState(State):
    """A disk on which the entry `running` takes until the command has expired, and its end until it is told to."""

    def __init__(self, bench: Bench, go_on: threading.Event) -> None:
        super().__init__(bench.folder)
        self._bench = bench
        self._go_on = go_on

    def write_journal(self, entry: Entry, forget: list[str]) -> None:
        if entry.state is CommandState.RUNNING:
            self._bench.time = T0 + 31_000
        else:
            assert self._go_on.wait(10)
        super().write_journal(entry, forget)


def test_what_expired_while_it_was_journalled_is_never_called_running(tmp_path: Path) -> None:
    async def life() -> None:
        bench, go_on = Bench(tmp_path), threading.Event()
        commands = await bench.started()
        commands._state = SlowState(bench, go_on)
        await commands.command(command())
        await eventually_async(lambda: ulid(1) in commands._journal)
        await commands.command(command())  # the hub repeats it while the end is being written
        go_on.set()
        await settle(commands)
        assert (bench.acts, bench.states()) == ([], ["received", "received", "expired"])
        bench.disk.close()

    asyncio.run(life())


def cancel(nth: int = 1) -> Cancel:
    return Cancel(id=ulid(nth), agent="a", device="d", issued_at=T0)


def test_a_cancel_overtakes_its_command(tmp_path: Path) -> None:
    bench = play(Bench(tmp_path), cancel(), command())
    play(bench, command())
    assert (bench.acts, set(bench.states())) == ([], {"cancelled"})


def test_a_waiting_command_is_cancelled_and_a_finished_one_is_not(tmp_path: Path) -> None:
    async def life() -> None:
        bench = Bench(tmp_path)
        bench.hold = asyncio.Event()
        commands = await bench.started()
        await commands.command(command())
        await commands.cancel(cancel())
        bench.hold.set()
        await settle(commands)
        assert (bench.acts, bench.states()) == ([], ["cancelled"])
        await commands.command(command(2))
        await settle(commands)
        await commands.cancel(cancel(2))
        assert bench.states(2)[-1] == "succeeded"
        bench.disk.close()

    asyncio.run(life())


@pytest.mark.parametrize(
    ("over", "reason"),
    [
        ({"name": "stop"}, "name:"),
        ({"args": {"n": 10}}, "args.n: is above 9"),
        ({"args": {"m": 1}}, "args.m: is unknown"),
        ({"name": "risk", "lease_s": 5}, "hazard:"),
        ({"name": "risk", "hazard": "dangerous"}, "lease_s:"),
        ({"name": "risk", "hazard": "dangerous", "lease_s": 101}, "lease_s:"),
        ({"expires_at": T0 + 100_000}, "expires_at:"),
        ({"issued_at": T0 + 700_000, "expires_at": T0 + 730_000}, "issued_at:"),
        ({"configuration_version": 4}, "configuration_version:"),
    ],
)
def test_the_guard_refuses_by_name(tmp_path: Path, over: dict[str, Any], reason: str) -> None:
    bench = play(Bench(tmp_path), command(**over))
    assert (bench.acts, bench.states()) == ([], ["rejected"])
    assert bench.reports[-1].reason.startswith(reason)


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        ({"refuse": ["risk"]}, "rules.refuse"),
        ({"max_hazard": "caution"}, "rules.max_hazard"),
        ({"max_lease_s": 10}, "rules.max_lease_s"),
    ],
)
def test_local_rules_only_restrict(tmp_path: Path, rules: dict[str, Any], reason: str) -> None:
    risky = command(name="risk", hazard="dangerous", lease_s=60)
    bench = play(Bench(tmp_path, Rules.model_validate(rules)), risky)
    assert (bench.acts, bench.states()) == ([], ["rejected"])
    assert reason in bench.reports[-1].reason


def test_harmful_commands_keep_their_distance_across_a_restart(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Rules(min_gap_s=20))
    play(bench, command(1, name="risk", hazard="dangerous", lease_s=60))
    bench.time += 19_000
    play(bench, command(2, name="risk", hazard="dangerous", lease_s=60))
    assert bench.states(2) == ["rejected"]
    bench.time += 2_000
    play(bench, command(3, name="risk", hazard="dangerous", lease_s=60))
    assert bench.states(3)[-1] == "succeeded"


def test_a_device_that_refuses_or_is_away_is_a_failure_with_its_reason(tmp_path: Path) -> None:
    bench = Bench(tmp_path)

    def refuse(name: str, args: dict[str, Any]) -> dict[str, Any]:
        raise Refused("drawer is open")

    bench.answer = refuse
    play(bench, command(1))
    assert (bench.states()[-1], bench.reports[-1].reason) == ("failed", "drawer is open")
    bench.unreachable = True
    play(bench, command(2))
    assert bench.states(2) == ["received", "rejected"]
    assert bench.reports[-1].reason == "not begun: no connection"


def test_an_answer_that_is_too_large_does_not_stop_the_result(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.answer = lambda *_: {"x": "y" * 10_000}
    play(bench, command())
    assert bench.states()[-1] == "succeeded"
    assert "left out" in bench.reports[-1].reason


def test_a_journal_that_cannot_be_written_means_that_nothing_is_done(tmp_path: Path) -> None:
    async def life() -> None:
        bench = Bench(tmp_path / "state")
        (tmp_path / "state").mkdir()
        commands = await bench.started()
        shutil.rmtree(tmp_path / "state")
        await commands.command(command())
        await settle(commands)
        assert (bench.acts, bench.states()) == ([], ["received", "rejected"])
        bench.disk.close()

    asyncio.run(life())


def test_the_journal_is_bounded_and_forgets_only_what_is_over(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    play(bench, *[cancel(nth) for nth in range(JOURNAL_LIMIT)])
    play(bench, command(9_999))
    assert bench.states(9_999) == [], "no room: not taken, not answered, not run"
    bench.time = T0 + 9 * 86_400_000
    late = command(9_998, issued_at=bench.time, expires_at=bench.time + 1_000)
    play(bench, late)
    assert bench.states(9_998)[-1] == "succeeded"


class CommandMachine(RuleBasedStateMachine):
    """Deliveries, cancels, time and power cuts in any order: never twice, never late, no contradicting reports."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench(Path(tempfile.mkdtemp(prefix="commands-")))
        self.original = self.bench.command
        self.began_at: list[tuple[str, int]] = []
        self.issued: dict[int, Command] = {}
        self.now: int = 0

    @rule(nth=st.integers(1, 4), cut=st.sampled_from(["", "", "before begin", "after begin", "after act"]))
    def deliver(self, nth: int, cut: str) -> None:
        sent = self.issued.setdefault(nth, command(nth, issued_at=self.bench.time, expires_at=self.bench.time + 30_000))
        before = len(self.bench.acts)
        self.bench.cut = cut
        play(self.bench, sent)
        self.began_at += [(sent.id, self.bench.time)] * (len(self.bench.acts) - before)

    @rule(nth=st.integers(1, 4))
    def cancel(self, nth: int) -> None:
        self.bench.cut = ""
        play(self.bench, cancel(nth))

    @rule(seconds=st.integers(1, 20))
    def wait(self, seconds: int) -> None:
        self.bench.time += seconds * 1000

    @rule()
    def restart(self) -> None:
        play(self.bench)

    @invariant()
    def never_twice_and_never_late(self) -> None:
        ids = [name for name, _ in self.began_at]
        assert len(ids) == len(set(ids))
        expiry = {sent.id: sent.expires_at for sent in self.issued.values()}
        assert all(at < expiry[name] for name, at in self.began_at)

    @invariant()
    def reports_do_not_contradict(self) -> None:
        for nth in range(1, 5):
            state = CommandState.SENT
            for reported in self.bench.states(nth):
                state = transition(state, CommandState(reported))
            if ulid(nth) not in [name for name, _ in self.began_at]:
                assert state is not CommandState.SUCCEEDED

    def teardown(self) -> None:
        shutil.rmtree(self.bench.folder)


CommandMachine.TestCase.settings = settings(max_examples=20, stateful_step_count=15, deadline=None)
TestCommandMachine = CommandMachine.TestCase
