"""What goes when the outbox is full: the right records, said exactly, as long as anybody may ask, within the budget."""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lamplighter_agent.entries import Single, single
from lamplighter_agent.outbox import Outbox
from lamplighter_agent.tables import BASE, MASK, OVERHEAD
from lamplighter_protocols.records import OUTBOX_FULL, EventRecord, Receipt, Stream

T0 = 1_795_476_600_000
BUDGET = 64 * 1024
ORDER = (Stream.BACKLOG, Stream.LIVE, Stream.ALARM)


class Held(NamedTuple):
    """A record in the database. `told` is what it says, when it tells of a loss."""

    t: int | None
    size: int
    told: dict[str, Any] | None


def open_outbox(folder: Path, budget: int = BUDGET) -> Outbox:
    outbox = Outbox(folder / "outbox.sqlite", budget, lambda: T0)
    outbox.open()
    return outbox


def event(stream: Stream, t: int, size: int) -> Single:
    return single(stream, EventRecord(device="d", t=T0 + t, name="e", data={"pad": "x" * size}), T0 + t)


def contents(outbox: Outbox) -> dict[Stream, dict[int, Held]]:
    """Read the database from outside."""
    db = sqlite3.connect(outbox.path)
    found: dict[Stream, dict[int, Held]] = {stream: {} for stream in Stream}
    streams = {base >> 56: stream for stream, base in BASE.items()}
    for record, from_t, dropped, body in db.execute("SELECT id, from_t, dropped, body FROM records"):
        told = json.loads(body) if dropped else None
        found[streams[record >> 56]][record & MASK] = Held(from_t, len(body), told)
    db.close()
    return found


def notes(found: dict[Stream, dict[int, Held]]) -> Iterator[dict[str, Any]]:
    for held in found[Stream.ALARM].values():
        if held.told is not None:
            yield held.told


class EvictionMachine(RuleBasedStateMachine):
    """A hub that receives some of what it is handed and confirms it late; an outbox that is always full."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="eviction-"))
        self.clock = 0
        self.given: dict[Stream, dict[int, int]] = {stream: {} for stream in Stream}
        self.received: dict[Stream, set[int]] = {stream: set() for stream in Stream}
        self.heard: list[dict[str, Any]] = []
        self.evicted: dict[Stream, set[int]] = {stream: set() for stream in Stream}

    @initialize(full=st.booleans())
    def start(self, *, full: bool) -> None:
        self.outbox = open_outbox(self.root)
        self.before = contents(self.outbox)
        if full:
            for _ in range(6):
                self.give(Stream.BACKLOG, 20, 500)

    @rule(stream=st.sampled_from(Stream), count=st.integers(1, 30), size=st.sampled_from([0, 300, 3_000]))
    def give(self, stream: Stream, count: int, size: int) -> None:
        entries = [event(stream, self.clock + nth, size) for nth in range(count)]
        numbers = self.outbox.append(entries)
        self.given[stream] |= {number: T0 + self.clock + nth for nth, number in enumerate(numbers)}
        self.clock += count
        self.note_evictions()

    @rule(stream=st.sampled_from(Stream), skip=st.integers(0, 40), share=st.integers(1, 4), arrives=st.booleans())
    def hand_out(self, stream: Stream, skip: int, share: int, *, arrives: bool) -> None:
        first = min(contents(self.outbox)[stream], default=1)
        window = self.outbox.window(stream, first - 1 + skip, max_records=8)
        if window is None:
            return
        for nth, body in enumerate(window.bodies):
            if arrives and (window.first + nth) % share == 0:
                self.received[stream].add(window.first + nth)
                if b'"dropped"' in body:
                    self.heard.append(json.loads(body))

    @rule(stream=st.sampled_from(Stream))
    def confirm(self, stream: Stream) -> None:
        """Confirm what was received, and nothing that only was told to be gone."""
        runs = [(number, number) for number in sorted(self.received[stream])]
        self.outbox.release(Receipt(outbox=self.outbox.id, also={stream: runs}, now=T0))
        self.before = contents(self.outbox)

    @rule(stream=st.sampled_from(Stream), first=st.integers(1, 200), length=st.integers(0, 100))
    def ask(self, stream: Stream, first: int, length: int) -> None:
        found = self.outbox.answer(None, stream, [(first, first + length)])
        listed = {number for a, b in found for number in range(a, b + 1)}
        assert listed == {number for number in contents(self.outbox)[stream] if first <= number <= first + length}
        self.note_evictions()

    @rule()
    def restart(self) -> None:
        self.outbox.close()
        self.outbox = open_outbox(self.root)

    def note_evictions(self) -> None:
        """Learn what went in the last step, and that it were the right ones."""
        after = contents(self.outbox)
        went = {}
        for stream in Stream:
            known = {n: held.told for n, held in self.before[stream].items()}
            known |= {n: None for n in self.given[stream] if n not in self.evicted[stream] and n not in known}
            still = {n for n in known if n in after[stream] or self.was_released(stream, n)}
            went[stream] = {n for n, told in known.items() if n not in still and told is None}
            self.evicted[stream] |= {n for n in known if n not in still}
        for place, stream in enumerate(ORDER):
            left = {n for n, held in after[stream].items() if held.told is None}
            if went[stream]:
                assert not left or max(went[stream]) < min(left), "oldest first"
                for earlier in ORDER[:place]:
                    assert not [n for n, held in after[earlier].items() if held.told is None], "the less urgent first"
        self.before = after

    def was_released(self, stream: Stream, number: int) -> bool:
        return number in self.received[stream] and number not in self.before[stream]

    @precondition(lambda self: hasattr(self, "outbox"))
    @invariant()
    def the_budget_holds_and_the_notes_have_their_part(self) -> None:
        found = contents(self.outbox)
        size = sum(held.size + OVERHEAD for stream in found.values() for held in stream.values())
        assert size == self.outbox.size
        assert size <= BUDGET
        alarms = [held for _, held in sorted(found[Stream.ALARM].items())]
        runs = sum(1 for left, right in pairwise(alarms) if left.told and not right.told) + 1
        assert sum(held.told is not None for held in alarms) <= 40 + 10 * runs

    @precondition(lambda self: hasattr(self, "outbox"))
    @invariant()
    def what_is_told_is_true_and_what_is_gone_is_told(self) -> None:
        found = contents(self.outbox)
        told = [*notes(found), *self.heard]
        for stream in Stream:
            own = [note for note in told if note["stream"] == stream]
            covered = {number for note in own for number in range(note["first"], note["last"] + 1)}
            assert not covered & found[stream].keys(), "what is told to be gone is not here any more"
            for number in range(1, self.outbox.last()[stream] + 1):
                assert number in found[stream] or number in self.received[stream] or number in covered, number

    @precondition(lambda self: hasattr(self, "outbox"))
    @invariant()
    def a_note_is_exact(self) -> None:
        for note in notes(contents(self.outbox)):
            if note["reason"] != OUTBOX_FULL or note["stream"] == "alarm":
                continue
            stream = Stream(note["stream"])
            gone = {n for n in self.evicted[stream] if note["first"] <= n <= note["last"]}
            assert note["count"] == len(gone)
            assert {note["first"], note["last"]} <= gone
            times = [self.given[stream][n] for n in gone]
            assert (note["from_t"], note["to_t"]) == (min(times), max(times))

    def teardown(self) -> None:
        self.outbox.close()
        shutil.rmtree(self.root)


EvictionMachine.TestCase.settings = settings(max_examples=20, stateful_step_count=40, deadline=None)
TestEvictionMachine = EvictionMachine.TestCase


@pytest.mark.parametrize("stream", [Stream.LIVE, Stream.BACKLOG])
def test_many_scattered_gaps_are_told_in_few_words(tmp_path: Path, stream: Stream) -> None:
    """Every second record was received; what was between them is given up."""
    outbox = open_outbox(tmp_path)
    outbox.append([event(stream, nth, 0) for nth in range(250)])
    after = 0
    while (window := outbox.window(stream, after)) is not None:
        after = window.last
    outbox.release(Receipt(outbox=outbox.id, also={stream: [(n, n) for n in range(2, 251, 2)]}, now=T0))
    outbox.append([event(Stream.ALARM, 1_000 + nth, 3_000) for nth in range(17)])
    told = list(notes(contents(outbox)))
    gone = 125 - outbox.held()[stream]
    assert gone > 20
    assert [(note["first"], note["count"], note["last"]) for note in told] == [(1, gone, 2 * gone - 1)]
    assert outbox.size <= BUDGET
    outbox.close()


def test_a_year_without_receipts_does_not_fill_the_outbox_with_notes(tmp_path: Path) -> None:
    """All is handed out, so no note may change any more; the hub answers nothing."""
    outbox = open_outbox(tmp_path)
    for nth in range(2_000):
        outbox.append([event(Stream.BACKLOG, nth, 700)])
        outbox.window(Stream.ALARM, outbox.freed()[Stream.ALARM])
        assert outbox.size <= BUDGET
    found = contents(outbox)
    assert outbox.held()[Stream.BACKLOG] > 50, "the room is for records"
    told = [note for note in notes(found) if note["stream"] == "backlog"]
    covered = [number for note in told for number in range(note["first"], note["last"] + 1)]
    assert sorted(covered) == list(range(1, 2_001 - outbox.held()[Stream.BACKLOG])), "each told once"
    assert sum(note["count"] for note in told) == len(covered)
    own = {
        number
        for note in notes(found)
        if note["stream"] == "alarm"
        for number in range(note["first"], note["last"] + 1)
    }
    assert own | found[Stream.ALARM].keys() == set(range(1, outbox.last()[Stream.ALARM] + 1))
    outbox.close()


def test_what_a_fetch_makes_it_declare_is_within_the_budget_too(tmp_path: Path) -> None:
    outbox = open_outbox(tmp_path)
    outbox.append([event(Stream.LIVE, nth, 100) for nth in range(240)])
    after = 0
    while (window := outbox.window(Stream.LIVE, after)) is not None:
        after = window.last
    outbox.release(Receipt(outbox=outbox.id, also={Stream.LIVE: [(n, n) for n in range(2, 241, 2)]}, now=T0))
    outbox.append([event(Stream.ALARM, nth, 900) for nth in range(30)])
    assert outbox.size > BUDGET * 0.85
    before = contents(outbox)
    found = outbox.answer(None, Stream.LIVE, [(n, n) for n in range(2, 241, 2)])
    now = contents(outbox)
    assert found == []
    assert outbox.size <= BUDGET
    assert now[Stream.LIVE].keys() < before[Stream.LIVE].keys(), "live records made room"
    told = {n for note in notes(now) if note["stream"] == "live" for n in range(note["first"], note["last"] + 1)}
    assert told >= set(range(2, 241, 2))
    assert not told & now[Stream.LIVE].keys()
    outbox.close()
