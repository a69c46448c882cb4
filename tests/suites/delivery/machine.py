"""Outbox, ledger, receipts and fetches against a simple model, with a crash possible between any two statements.

The agent's side is the real outbox on the disk, the hub's the real pipeline, ledger, DuckDB store and SQLite registry;
between them is a network that loses, repeats and reorders. Both sides may end before any statement that they give to a
database, and begin again from what the disk held at that moment. Whatever happened, when both have talked it out each
number that was ever given is either stored, once, or set aside, once, or declared dropped: nothing lost, nothing twice.
"""

from __future__ import annotations

import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import Final

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lamplighter_agent.entries import Samples, Single, Window, single
from lamplighter_agent.outbox import Outbox
from lamplighter_agent.packing import Sample
from lamplighter_hub.ledger.account import Key
from lamplighter_protocols.commands import CommandState, Fetch
from lamplighter_protocols.model import parse_model
from lamplighter_protocols.presence import Birth, BornDevice
from lamplighter_protocols.records import EventRecord, Receipt, ResultRecord, Stream, parse_batch
from lamplighter_protocols.topics import Channel, parse
from suites.delivery.agent import AgentSide
from suites.delivery.hub import AGENT, DEVICE, PROFILE, HubSide, Parts
from suites.delivery.model import Model

T0: Final = 1_795_476_600_000
HOUR: Final = 3_600_000
CALM: Final = [None] * 6
OF_HUB: Final = st.sampled_from([*CALM, *range(12)])
"""Before which step of the hub it ends: each of a commit, and right behind it. Most commits live."""
OF_AGENT: Final = st.sampled_from([*CALM, *range(10)])
OF_SEALING: Final = st.sampled_from([None, *range(0, 60, 3)])
SKIPS: Final = st.sampled_from([0, 0, 0, 1, 3])
KINDS: Final = st.sampled_from(["event", "event", "readings", "readings", "nonsense", "result"])


class DeliveryMachine(RuleBasedStateMachine):
    """The two sides and what happens to them; the model says what must hold."""

    parts = Parts()
    outboxes: type[Outbox] = Outbox

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="delivery-"))
        self.now = T0
        self.n = 0
        self.up: list[bytes] = []
        self.backup: Path | None = None
        self.image: Path | None = None
        self.image_is_unmet = False
        self.held_until = 0
        self.excused = False
        self.hub = HubSide(self.root, lambda: self.now, self.parts)
        self.model = Model(self.hub)

    @initialize(budget=st.sampled_from([64 * 1024, 64 * 1024, 1 << 22]))
    def begin(self, budget: int) -> None:
        self.agent = AgentSide(self.root, lambda: self.now, budget, self.outboxes)
        self.meet()

    @property
    def outbox(self) -> Outbox:
        return self.agent.outbox

    # the agent

    @rule(
        stream=st.sampled_from(Stream),
        kind=KINDS,
        count=st.integers(1, 5),
        size=st.sampled_from([0, 7_000]),
        crash=OF_AGENT,
    )
    def record(self, stream: Stream, kind: str, count: int, size: int, crash: int | None) -> None:
        first = self.n + 1
        self.n += count
        entries = [self.entry(stream, kind, n, size) for n in range(first, first + count)]
        self.append(stream, {first + place: entry for place, entry in enumerate(entries)}, crash)

    def entry(self, stream: Stream, kind: str, n: int, size: int) -> Samples | Single:
        if kind == "readings":
            return Samples(stream, DEVICE, [Sample(self.now, {"n": n}, {})])
        if kind == "nonsense":
            self.model.bad.add(n)
            return Single(stream, self.now, b'{"kind":"nonsense","n":%d}' % n)
        if kind == "result":  # the hub accepts a command, the agent carries it out and says so
            command = self.model.results[n] = self.hub.command()
            done = ResultRecord(device=DEVICE, command=command, state=CommandState.SUCCEEDED, t=self.now, data={"n": n})
            return single(stream, done, self.now)
        data = {"n": n, "pad": "x" * size}
        return single(stream, EventRecord(device=DEVICE, t=self.now, name="e", data=data), self.now)

    def append(self, stream: Stream, entries: dict[int, Samples | Single], crash: int | None) -> None:
        """Append, and note which numbers were given; a crash leaves all of them there, or none."""
        before = self.outbox.last()[stream]
        found: list[int] = []
        lives = self.agent.do(lambda outbox: found.extend(outbox.append([*entries.values()])), crash)
        numbers = dict(zip(entries, found, strict=True)) if found else self.found_again(stream, before, [*entries])
        assert lives or len(numbers) in {0, len(entries)}, "a part of what was appended together"
        self.model.give(self.outbox.id, stream, numbers)

    def found_again(self, stream: Stream, before: int, ours: list[int]) -> dict[int, int]:
        """Return which numbers the disk has for what was being appended when the process ended."""
        held = {n: item.number for item in self.agent.held() if item.stream is stream for n in item.ours}
        if any(n in held for n in ours) and not all(n in held for n in ours):
            return {n: held.get(n, before + 1) for n in ours}  # some had to go at once: they are declared
        return {n: held[n] for n in ours if n in held}

    @rule(stream=st.sampled_from(Stream), after=st.integers(0, 12), records=st.integers(1, 6))
    def send(self, stream: Stream, after: int, records: int) -> None:
        window = self.window(stream, after, max_records=records)
        if window is not None and self.may_send(stream):
            self.up.append(window.payload(self.now))

    def window(self, stream: Stream, after: int, upto: int | None = None, max_records: int = 1_000) -> Window | None:
        """Return what is to be sent; nothing is before the hub has met this life."""
        self.meet()
        return self.outbox.window(stream, after, upto, max_records=max_records)

    def meet(self, crash: int | None = None) -> dict[Stream, int]:
        """Say births until the hub has met this life, as the link does; return by how much numbers moved."""
        before = self.outbox.last()
        for _ in range(5):
            if not self.outbox.lives():
                break
            self.say_birth(None)
            receipt = parse_model(Receipt, self.hub.receipts()[-1][1])
            self.agent.do(partial(_settle, receipt=receipt), crash)
            crash = None
        else:
            raise AssertionError(f"the hub does not meet {self.outbox.lives()}")
        return {stream: number - before[stream] for stream, number in self.outbox.last().items()}

    def may_send(self, stream: Stream) -> bool:
        """A busy hub asks to hold the backlog."""
        return stream is not Stream.BACKLOG or self.now >= self.held_until

    @rule(
        exchanges=st.lists(st.tuples(st.sampled_from(Stream), KINDS, SKIPS, OF_HUB, OF_AGENT), min_size=2, max_size=6)
    )
    def talk(self, exchanges: list[tuple[Stream, str, int, int | None, int | None]]) -> None:
        for stream, kind, skip, crash, deaf in exchanges:
            self.exchange(stream, kind, skip, crash, deaf)

    def exchange(self, stream: Stream, kind: str, skip: int, crash: int | None, deaf: int | None) -> None:
        """A batch and its receipt, as on a good day, or behind a hole, or with a crash of either side in between."""
        if self.outbox.held()[stream] <= skip:
            self.record(stream, kind, 1 + skip, 0, None)
        window = self.window(stream, self.outbox.freed()[stream] + skip)
        if window is None or not self.may_send(stream):
            return
        self.arrive(window.payload(self.now), crash)
        for item in self.hub.receipts():
            self.hear(*item, crash=deaf)

    @rule(stream=st.sampled_from((Stream.BACKLOG, Stream.LIVE)), crash=OF_HUB)
    def overtake(self, stream: Stream, crash: int | None) -> None:
        """What is on the wire is given up meanwhile, and the word of that is there first."""
        window = self.window(stream, self.outbox.freed()[stream], max_records=3)
        for _ in range(2):
            self.record(Stream.LIVE, "event", 5, 7_000, None)
        self.send_all(Stream.ALARM)
        if window is not None and window.outbox == self.outbox.id:
            self.arrive(window.payload(self.now), crash)

    @rule(crash=OF_HUB)
    def say_birth(self, crash: int | None) -> None:
        birth = Birth(
            session=1,
            boot="01M80T5JNV0000000000000000",
            heard_within_s=30,
            outbox=self.outbox.id,
            lives=self.outbox.lives(),
            sent=self.now,
            devices=[BornDevice(id=DEVICE, profile=PROFILE.id)],
            **self.outbox.inventory()._asdict(),
        )
        self.hub.hear(birth.model_dump_json().encode(), Channel.BIRTH, crash)
        if self.hub.devices.count() == 0:
            self.hub.hear(birth.model_dump_json().encode(), Channel.BIRTH)  # the agent repeats it until it is answered

    @rule(meets=st.booleans(), crash=OF_AGENT)
    def crash_agent(self, crash: int | None, *, meets: bool) -> None:
        self.agent.kill()
        if meets:
            moved = self.meet(crash)
            assert not any(moved.values()), "only an older copy moves"

    @precondition(lambda self: len(self.model.given) < 9)
    @rule(sure=st.integers(0, 3))
    def lose_outbox(self, sure: int) -> None:
        """The agent's disk is replaced."""
        if sure == 0:
            self.agent.become(self.agent.disk.fresh())
            self.excused = True

    @rule()
    def copy_outbox(self) -> None:
        """Somebody makes an image of the agent's disk."""
        self.image = self.agent.disk.image()
        self.image_is_unmet = bool(self.outbox.lives())

    @precondition(lambda self: self.image is not None)
    @rule(data=st.data(), stream=st.sampled_from(Stream), count=st.integers(1, 40))
    def restore_outbox(self, data: st.DataObject, stream: Stream, count: int) -> None:
        """The image comes back to life, records without a connection, over several starts, and then meets the hub."""
        assert self.image is not None
        image, self.image = self.image, None
        self.agent.become(image)
        self.up.clear()  # what the one before had on the wire is over when this one connects
        self.hub.down.clear()
        self.excused = True
        known = self.model.what_outlives_the_disk(self.agent)
        for _ in range(data.draw(st.integers(0, 2))):
            self.record(stream, "event", count, 3_000, None)
            for _ in range(data.draw(st.sampled_from([0, 0, 1, 20]))):
                self.agent.kill()
        offline = {stream: self.model.given.pop((self.outbox.id, stream), {}) for stream in Stream}
        moved = self.meet(data.draw(OF_AGENT))
        for stream_, numbers in offline.items():
            shifted = {number + moved[stream_]: n for number, n in numbers.items()}
            assert shifted.keys().isdisjoint(known[stream_]), "a number was given twice"
            self.model.given[self.outbox.id, stream_] = known[stream_] | shifted
        self.forget_what_is_nowhere()

    # the network

    @precondition(lambda self: self.up)
    @rule(data=st.data(), crash=OF_HUB, again=st.booleans())
    def deliver(self, data: st.DataObject, crash: int | None, *, again: bool) -> None:
        place = data.draw(st.integers(0, len(self.up) - 1))
        self.arrive(self.up[place], crash)
        if not again:
            del self.up[place]

    @precondition(lambda self: self.up)
    @rule()
    def lose_batch(self) -> None:
        self.up.pop()

    @precondition(lambda self: self.hub.down)
    @rule(data=st.data(), crash=OF_AGENT, again=st.booleans())
    def deliver_down(self, data: st.DataObject, crash: int | None, *, again: bool) -> None:
        place = data.draw(st.integers(0, len(self.hub.down) - 1))
        item = self.hub.down[place] if again else self.hub.down.pop(place)
        self.hear(*item, crash=crash)

    # the hub

    def arrive(self, payload: bytes, crash: int | None = None) -> None:
        """Let the hub hear a batch: it counts all of its records as received, or none when it ended before that."""
        header, records = parse_batch(payload)
        key = Key(AGENT, header.outbox, header.stream)
        before = self.hub.ledger.snapshot(key).received
        self.hub.hear(payload, crash=crash)
        counted = self.hub.ledger.snapshot(key).received - before
        assert counted == len(records) or (crash is not None and counted == 0)

    @rule(seconds=st.sampled_from([1, 31, 2_000, 8_000]))
    def pass_time(self, seconds: int) -> None:
        self.now += seconds * 1000
        self.hub.fetcher.tick(self.now)

    @rule(busy=st.sampled_from([0.0, 0.15, 1.0]))
    def be_busy(self, busy: float) -> None:
        self.hub.busy = busy

    @rule(crash=OF_SEALING)
    def seal(self, crash: int | None) -> None:
        self.hub.seal(crash)

    @rule()
    def crash_hub(self) -> None:
        self.hub.kill()

    @rule()
    def back_up(self) -> None:
        self.backup = self.hub.copy()

    @precondition(lambda self: self.backup is not None)
    @rule()
    def restore(self) -> None:
        assert self.backup is not None
        copy, self.backup = self.backup, None
        if self.image_is_unmet:
            self.image = None  # an older hub does not know what an unmet life has sent since (decision 0024)
        self.hub.restore(copy)
        self.excused = True
        self.forget_what_is_nowhere()
        self.model.forgotten |= self.hub.confirmed()  # receipts of the hub that was before are still on their way

    @rule(stream=st.sampled_from(Stream))
    def forget(self, stream: Stream) -> None:
        """What was confirmed since the copy is gone, and perhaps nothing follows it."""
        self.back_up()
        self.record(stream, "event", 2, 0, None)
        self.exchange(stream, "event", 0, None, None)
        self.restore()

    @rule(busy=st.booleans())
    def come_to_rest(self, *, busy: bool) -> None:
        """Both talk it out in between; a busy hub does without the backlog."""
        self.talk_it_out(without=Stream.BACKLOG if busy else None)
        self.sent_is_stored_or_dropped_or_held()

    # what must hold

    @invariant()
    def the_books_add_up_and_nothing_is_there_twice(self) -> None:
        self.model.books_add_up_and_nothing_is_there_twice()

    @invariant()
    def no_number_is_nowhere(self) -> None:
        """What the hub does not have is held, or a record that is held tells that it is gone."""
        if hasattr(self, "agent"):
            assert self.model.nowhere(self.agent) <= self.model.forgotten

    def forget_what_is_nowhere(self) -> None:
        self.model.forgotten |= self.model.nowhere(self.agent)

    def teardown(self) -> None:
        try:
            if hasattr(self, "agent"):
                self.talk_it_out()
                assert not self.model.nowhere(self.agent)
                self.model.everything_is_stored_or_declared(self.agent)
                self.sent_is_stored_or_dropped_or_held()
                self.the_books_add_up_and_nothing_is_there_twice()
        finally:
            if hasattr(self, "agent"):
                self.outbox.close()
            self.hub.close()
            shutil.rmtree(self.root)

    def talk_it_out(self, without: Stream | None = None) -> None:
        """No more faults: the agent sends what it holds, the hub answers and asks for what it misses."""
        self.up.clear()
        self.hub.down.clear()
        self.hub.busy = 0.0 if without is None else 1.0
        for _ in range(12):
            self.meet()
            self.say_birth(None)
            for stream in Stream:
                if stream is not without:
                    self.send_all(stream)
            self.now += HOUR
            self.hub.fetcher.tick(self.now)
            while self.hub.down:
                self.hear(*self.hub.down.pop(0))
            for payload in self.up:
                if parse_batch(payload)[0].stream is not without:
                    self.arrive(payload)
            self.up.clear()
            self.say_birth(None)  # it tells what the agent no longer holds, as every sign of life does
            waits = any(number for stream, number in self.outbox.held().items() if stream is not without)
            missing = any(key.stream != without for key in self.hub.ledger.holes())
            if not waits and not missing:
                return
        raise AssertionError(f"still open: {self.outbox.held()} held, {self.hub.ledger.holes()} missing")

    def sent_is_stored_or_dropped_or_held(self) -> None:
        self.say_birth(None)
        self.model.sent_is_stored_or_dropped_or_held(self.agent)

    def send_all(self, stream: Stream) -> None:
        after = 0
        while (window := self.window(stream, after)) is not None:
            self.arrive(window.payload(self.now))
            after = window.last

    def hear(self, topic: str, payload: bytes, crash: int | None = None) -> None:
        """The agent's ear: a receipt frees, a fetch is answered."""
        if parse(topic).channel is Channel.RECEIPT:
            receipt = parse_model(Receipt, payload)
            self.held_until = max(self.held_until, self.now + receipt.retry_after_ms) if receipt.retry_after_ms else 0
            self.agent.do(lambda outbox: outbox.release(receipt), crash)
            return
        fetch = parse_model(Fetch, payload)
        if fetch.stream is not None:
            self.answer(fetch, Stream(fetch.stream), crash)

    def answer(self, fetch: Fetch, stream: Stream, crash: int | None) -> None:
        self.meet()
        self.go_beyond_what_is_asked(fetch, stream)
        before = self.outbox.last()[Stream.ALARM]
        held: list[tuple[int, int]] = []
        self.agent.do(lambda outbox: held.extend(outbox.answer(fetch.outbox, stream, fetch.ranges)), crash)
        # What was received is committed: only an older hub, or a new outbox, makes that something is nowhere.
        assert self.excused or self.outbox.last()[Stream.ALARM] == before
        for first, last in held:
            window = self.window(stream, first - 1, last)
            assert window is not None
            assert first <= window.first <= window.last <= last, "exactly what was asked for"
            self.up.append(window.payload(self.now))

    def go_beyond_what_is_asked(self, fetch: Fetch, stream: Stream) -> None:
        """Numbers that were never given here are an earlier life's: what is new goes on behind them, as in the link."""
        asked = max(last for _, last in fetch.ranges)
        if fetch.outbox not in (None, self.outbox.id) or asked <= self.outbox.last()[stream]:
            return
        by = self.outbox.go_beyond({stream: asked})[stream]
        self.model.shift(self.outbox.id, stream, asked - by, by)
        self.forget_what_is_nowhere()


def _settle(outbox: Outbox, receipt: Receipt) -> None:
    settled = outbox.settle(receipt.highest, receipt.met)
    if settled.met:
        outbox.release(receipt)
