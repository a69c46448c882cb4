"""Outbox, ledger, receipts and fetches against a simple model, with a crash possible at every step.

The agent's side is the real outbox on the disk, the hub's the real pipeline, ledger and DuckDB store; between them is a
network that loses, repeats and reorders. Whatever happened, when both have talked it out each number that was ever
given is either stored, once, or declared dropped: nothing lost, nothing twice, gaps declared exactly.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lamplighter_agent.entries import Single, single
from lamplighter_agent.outbox import Outbox
from lamplighter_hub.ingest.pipeline import Pipeline
from lamplighter_hub.ledger.account import Key
from lamplighter_hub.ledger.fetching import Fetcher
from lamplighter_hub.ledger.ledger import Ledger
from lamplighter_hub.series.duckdb import open_duckdb
from lamplighter_hub.series.store import BEGINNING, END_OF_TIME, Commit, TimeSeries
from lamplighter_hub.uplink.session import Message
from lamplighter_protocols.commands import Fetch
from lamplighter_protocols.model import parse_model
from lamplighter_protocols.presence import Birth, Presence
from lamplighter_protocols.profile import Profile, parse_profile
from lamplighter_protocols.records import EventRecord, Receipt, ReportedRecord, ResultRecord, Stream
from lamplighter_protocols.topics import Channel, build, parse

T0 = 1_795_476_600_000
AGENT = "agent-1"
PROFILE = parse_profile('id = "p"\ndevice_class = "test"\ntitle = { en = "p" }\n')
FETCH_AFTER_MS = 30_000
CRASHES = [None, None, None, "before the commit", "after the commit", "before the receipt"]


class Crash(BaseException):
    """The hub's process ends here."""


class Store:
    """The real store; the process may end right before or right after a commit."""

    def __init__(self, real: TimeSeries, crash: Callable[[str], None]) -> None:
        self._real = real
        self._crash = crash

    def commit(self, commit: Commit) -> None:
        self._crash("before the commit")
        self._real.commit(commit)
        self._crash("after the commit")


class Registry:
    """Who owns devices is no matter here: it takes everything."""

    def births(self, births: list[tuple[str, Birth, int]]) -> None: ...
    def told(self, agent: str, presence: Presence, arrived_ms: int) -> None: ...
    def session(self, _agent: str) -> int:
        return 0

    def heard(self, agents: dict[str, int]) -> None: ...
    def settle(self) -> None: ...
    def results(self, results: list[tuple[str, ResultRecord, int]]) -> None: ...
    def reports(self, reports: list[tuple[str, ReportedRecord, int]]) -> None: ...


class HubSide:
    """The hub from its broker inwards; `down` is what it published."""

    def __init__(self, folder: Path, clock: Callable[[], int]) -> None:
        self.folder = folder
        self.clock = clock
        self.down: list[tuple[str, bytes]] = []
        self.crash_at: str | None = None
        self.start()

    def start(self) -> None:
        self.series = open_duckdb(self.folder)
        self.wake()

    def wake(self) -> None:
        """What a process that begins knows: the store's marks, nothing else."""
        self.crash_at = None
        self.ledger = Ledger(self.series.marks(), self.clock())
        self.fetcher = Fetcher(self.ledger, lambda _: True, _unsigned, self.publish, FETCH_AFTER_MS)
        store: Any = Store(self.series, self._crash)
        self.pipeline = Pipeline(self, store, self.ledger, Registry(), _owner, _unknown, self.clock, lambda _: None)

    def take(self, limit: int, timeout_s: float) -> list[Message]:  # noqa: ARG002
        return []

    def hear(self, payload: bytes, channel: Channel = Channel.BATCH, crash: str | None = None) -> None:
        self.crash_at = crash
        message = Message(build(AGENT, channel), payload, 0, retain=False, mid=1, arrived_ms=self.clock())
        try:
            self.pipeline.process([message])
        except Crash:
            self.wake()
        self.crash_at = None

    def publish(self, topic: str, payload: bytes) -> None:
        self._crash("before the receipt")
        self.down.append((topic, payload))

    def acknowledge(self, messages: list[Message]) -> None: ...

    def _crash(self, where: str) -> None:
        if self.crash_at == where:
            raise Crash

    def stored(self) -> Counter[int]:
        """How often each event is in the store, by its number `n`."""
        found, _ = self.series.events(None, None, BEGINNING, END_OF_TIME, limit=100_000)
        return Counter(event.data["n"] for event in found)


def _owner(agent: str, device: str) -> Profile | str:
    return PROFILE


def _unknown(device: str, readings: list[Any]) -> set[Any]:
    return set()


def _unsigned(fetch: Fetch) -> bytes:
    return fetch.model_dump_json().encode()


class DeliveryMachine(RuleBasedStateMachine):
    """`given` is the model: which event has which number, per outbox and stream."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="delivery-"))
        self.now = T0
        self.n = 0
        self.places = 0
        self.given: dict[tuple[str, Stream], dict[int, int]] = {}
        self.last: dict[tuple[str, Stream], int] = {}
        self.up: list[bytes] = []
        self.backup: Path | None = None
        self.image: Path | None = None
        self.excused = False
        (self.root / "hub").mkdir()
        self.hub = HubSide(self.root / "hub", lambda: self.now)

    @initialize(budget=st.sampled_from([64 * 1024, 64 * 1024, 1 << 22]))
    def begin(self, budget: int) -> None:
        self.budget = budget
        self.outbox = self.open(self.place())

    def place(self) -> Path:
        self.places += 1
        folder = self.root / f"agent-{self.places}"
        folder.mkdir()
        return folder

    def open(self, folder: Path) -> Outbox:
        outbox = Outbox(folder / "outbox.sqlite", self.budget, lambda: self.now)
        outbox.open()
        return outbox

    # the agent

    @rule(stream=st.sampled_from(Stream), count=st.integers(1, 5), size=st.sampled_from([0, 7_000]))
    def record(self, stream: Stream, count: int, size: int) -> None:
        entries: list[Single] = []
        for _ in range(count):
            self.n += 1
            data = {"n": self.n, "pad": "x" * size}
            entries.append(single(stream, EventRecord(device="d", t=self.now, name="e", data=data), self.now))
        numbers = self.outbox.append(entries)
        known = self.given.setdefault((self.outbox.id, stream), {})
        known |= {number: self.n - count + 1 + nth for nth, number in enumerate(numbers)}
        self.note_numbers()

    @rule(stream=st.sampled_from(Stream), after=st.integers(0, 12), records=st.integers(1, 6))
    def send(self, stream: Stream, after: int, records: int) -> None:
        window = self.outbox.window(stream, after, max_records=records)
        if window is not None:
            self.up.append(window.payload(self.now))

    @rule(stream=st.sampled_from(Stream), crash=st.sampled_from(CRASHES))
    def exchange(self, stream: Stream, crash: str | None) -> None:
        """A batch and its receipt, as on a good day, or with a crash in between."""
        window = self.outbox.window(stream, self.outbox.freed()[stream])
        if window is not None:
            self.hub.hear(window.payload(self.now), crash=crash)
            receipts = [item for item in self.hub.down if parse(item[0]).channel is Channel.RECEIPT]
            self.hub.down = [item for item in self.hub.down if item not in receipts]
            for item in receipts:
                self.hear(*item)

    @rule(stream=st.sampled_from((Stream.BACKLOG, Stream.LIVE)), crash=st.sampled_from(CRASHES))
    def overtake(self, stream: Stream, crash: str | None) -> None:
        """What is on the wire is given up meanwhile, and the word of that is there first."""
        window = self.outbox.window(stream, self.outbox.freed()[stream], max_records=3)
        for _ in range(2):
            self.record(Stream.LIVE, 5, 7_000)
        self.send_all(Stream.ALARM)
        if window is not None:
            self.hub.hear(window.payload(self.now), crash=crash)

    @rule()
    def say_birth(self) -> None:
        self.deliver_birth()

    @rule()
    def crash_agent(self) -> None:
        """Kill -9: what the disk holds now is all there is."""
        folder = self.copied()
        self.outbox.close()
        self.outbox = self.open(folder)

    def copied(self) -> Path:
        folder = self.place()
        for ending in ("", "-wal"):
            source = Path(f"{self.outbox.path}{ending}")
            if source.exists():
                shutil.copy(source, folder / source.name)
        return folder

    @precondition(lambda self: self.places < 4)
    @rule(sure=st.integers(0, 3))
    def lose_outbox(self, sure: int) -> None:
        """The agent's disk is replaced."""
        if sure == 0:
            self.outbox.close()
            self.outbox = self.open(self.place())
            self.excused = True

    @precondition(lambda self: self.places < 8)
    @rule()
    def copy_outbox(self) -> None:
        """Somebody makes an image of the agent's disk."""
        self.image = self.copied()

    @precondition(lambda self: self.image is not None)
    @rule(data=st.data(), stream=st.sampled_from(Stream), count=st.integers(1, 40))
    def restore_outbox(self, data: st.DataObject, stream: Stream, count: int) -> None:
        """The image comes back to life, records for a while without a connection, and then meets the hub."""
        assert self.image is not None
        self.outbox.close()
        image, self.image = self.image, None
        self.outbox = self.open(image)
        self.up.clear()  # what the one before had on the wire is over when this one connects
        self.hub.down.clear()
        self.excused = True
        known = self.what_outlives_the_disk(self.outbox.last())
        for _ in range(data.draw(st.integers(0, 2))):
            self.record(stream, count, 3_000)
        offline = {stream: self.given.pop((self.outbox.id, stream), {}) for stream in Stream}
        self.deliver_birth()
        (answer,) = [item for item in self.hub.down if parse(item[0]).channel is Channel.RECEIPT]
        receipt = parse_model(Receipt, answer[1])
        self.outbox.release(receipt)
        moved = self.outbox.go_beyond(receipt.highest)
        for stream_, numbers in offline.items():
            shifted = {number + moved.get(stream_, 0): n for number, n in numbers.items()}
            assert shifted.keys().isdisjoint(known[stream_]), "a number was given twice"
            self.given[self.outbox.id, stream_] = known[stream_] | shifted
        self.note_numbers()

    def what_outlives_the_disk(self, kept: dict[Stream, int]) -> dict[Stream, dict[int, int]]:
        """Return what the copy holds and what the hub has of the time after it; the rest went with the disk."""
        stored = self.hub.stored()
        found = {}
        for stream, last in kept.items():
            account = self.hub.ledger.snapshot(Key(AGENT, self.outbox.id, stream))
            numbers = self.given.pop((self.outbox.id, stream), {})
            found[stream] = {i: n for i, n in numbers.items() if i <= last or n in stored or i in account.gone}
        return found

    # the network

    @precondition(lambda self: self.up)
    @rule(data=st.data(), crash=st.sampled_from(CRASHES), again=st.booleans())
    def deliver(self, data: st.DataObject, crash: str | None, *, again: bool) -> None:
        place = data.draw(st.integers(0, len(self.up) - 1))
        self.hub.hear(self.up[place], crash=crash)
        if not again:
            del self.up[place]

    @precondition(lambda self: self.up)
    @rule()
    def lose_batch(self) -> None:
        self.up.pop()

    @precondition(lambda self: self.hub.down)
    @rule(data=st.data(), again=st.booleans())
    def deliver_down(self, data: st.DataObject, *, again: bool) -> None:
        place = data.draw(st.integers(0, len(self.hub.down) - 1))
        self.hear(*self.hub.down[place])
        if not again:
            del self.hub.down[place]

    # the hub

    @rule(seconds=st.sampled_from([1, 31, 2_000]))
    def pass_time(self, seconds: int) -> None:
        self.now += seconds * 1000
        self.hub.fetcher.tick(self.now)

    @rule()
    def crash_hub(self) -> None:
        self.hub.wake()

    @rule()
    def back_up(self) -> None:
        self.hub.series.close()
        self.backup = self.root / "backup"
        shutil.rmtree(self.backup, ignore_errors=True)
        shutil.copytree(self.hub.folder, self.backup)
        self.hub.start()

    @precondition(lambda self: self.backup is not None)
    @rule()
    def restore(self) -> None:
        assert self.backup is not None
        self.hub.series.close()
        shutil.rmtree(self.hub.folder)
        shutil.copytree(self.backup, self.hub.folder)
        self.hub.start()
        self.excused = True

    @rule(stream=st.sampled_from(Stream))
    def forget(self, stream: Stream) -> None:
        """What was confirmed since the copy is gone, and perhaps nothing follows it."""
        self.back_up()
        self.record(stream, 2, 0)
        self.exchange(stream, None)
        self.restore()

    # what must hold

    @invariant()
    def the_books_add_up_and_nothing_is_there_twice(self) -> None:
        assert self.hub.ledger.violations == 0
        stored = self.hub.stored()
        assert max(stored.values(), default=1) == 1
        for row in self.hub.ledger.rows():
            assert row.received == row.stored + row.duplicate + row.quarantined
            assert row.quarantined == 0
            key = Key(row.agent, row.outbox, row.stream)
            account = self.hub.ledger.snapshot(key)
            taken = account.seen.count() - row.dropped
            assert taken == row.stored
            for number, n in self.given.get((row.outbox, Stream(row.stream)), {}).items():
                is_taken = number in account.seen and number not in account.gone
                assert is_taken == (n in stored), f"{key} {number}"

    def teardown(self) -> None:
        try:
            if hasattr(self, "outbox"):
                self.talk_it_out()
                self.everything_is_stored_or_declared()
                self.outbox.close()
        finally:
            self.hub.series.close()
            shutil.rmtree(self.root)

    def talk_it_out(self) -> None:
        """No more faults: the agent sends what it holds, the hub answers and asks for what it misses."""
        self.up.clear()
        self.hub.down.clear()
        for _ in range(12):
            self.deliver_birth()
            for stream in Stream:
                self.send_all(stream)
            self.now += 3_600_000
            self.hub.fetcher.tick(self.now)
            while self.hub.down:
                self.hear(*self.hub.down.pop(0))
            for payload in self.up:
                self.hub.hear(payload)
            self.up.clear()
            if not any(self.outbox.held().values()) and not self.hub.ledger.holes():
                return
        raise AssertionError(f"still open: {self.outbox.held()} held, {self.hub.ledger.holes()} missing")

    def everything_is_stored_or_declared(self) -> None:
        stored = self.hub.stored()
        for (outbox, stream), numbers in self.given.items():
            account = self.hub.ledger.snapshot(Key(AGENT, outbox, stream))
            if outbox == self.outbox.id and (last := self.last[outbox, stream]):
                assert account.seen.ranges() == [(1, last)]
            lost = {number for number, n in numbers.items() if number in account.seen and n not in stored}
            declared = {number for number in numbers if number in account.gone}
            assert lost == declared, f"{outbox} {stream}"

    def send_all(self, stream: Stream) -> None:
        after = 0
        while (window := self.outbox.window(stream, after)) is not None:
            self.hub.hear(window.payload(self.now))
            after = window.last

    def deliver_birth(self) -> None:
        birth = Birth(
            session=1,
            boot="01M80T5JNV0000000000000000",
            heard_within_s=30,
            outbox=self.outbox.id,
            freed=self.outbox.freed(),
            sent=self.now,
        )
        self.hub.hear(birth.model_dump_json().encode(), Channel.BIRTH)

    def hear(self, topic: str, payload: bytes) -> None:
        """The agent's ear: a receipt frees, a fetch is answered."""
        if parse(topic).channel is Channel.RECEIPT:
            self.outbox.release(parse_model(Receipt, payload))
            return
        fetch = parse_model(Fetch, payload)
        if fetch.stream is None:
            return
        stream = Stream(fetch.stream)
        self.go_beyond_what_is_asked(fetch, stream)
        before = self.outbox.last()[Stream.ALARM]
        held = self.outbox.answer(fetch.outbox, stream, fetch.ranges)
        # What was received is committed: only an older hub, or a new outbox, makes that something is nowhere.
        assert self.excused or self.outbox.last()[Stream.ALARM] == before
        for first, last in held:
            window = self.outbox.window(stream, first - 1, last)
            assert window is not None
            assert first <= window.first <= window.last <= last, "exactly what was asked for"
            self.up.append(window.payload(self.now))
        self.note_numbers()

    def go_beyond_what_is_asked(self, fetch: Fetch, stream: Stream) -> None:
        """Numbers that were never given here are an earlier life's: what is new goes on behind them, as in the link."""
        asked = max(last for _, last in fetch.ranges)
        if fetch.outbox not in (None, self.outbox.id) or asked <= self.outbox.last()[stream]:
            return
        by = self.outbox.go_beyond({stream: asked})[stream]
        numbers = self.given.get((self.outbox.id, stream), {})
        fresh = {number + by: n for number, n in numbers.items() if number > asked - by}
        self.given[self.outbox.id, stream] = {i: n for i, n in numbers.items() if i <= asked - by} | fresh

    def note_numbers(self) -> None:
        for stream, number in self.outbox.last().items():
            self.last[self.outbox.id, stream] = number


DeliveryMachine.TestCase.settings = settings(max_examples=20, stateful_step_count=40, deadline=None)
TestDeliveryMachine = pytest.mark.timeout(400)(DeliveryMachine.TestCase)
