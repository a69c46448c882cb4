"""The outbox against a model, with crashes: its files are copied as they are on the disk and opened again."""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lamplighter_agent.entries import Samples, Single, single
from lamplighter_agent.errors import StateUnreadable
from lamplighter_agent.outbox import Outbox
from lamplighter_agent.packing import Sample
from lamplighter_agent.tables import read_only
from lamplighter_protocols.readings import Quality, ReadingsRecord
from lamplighter_protocols.records import EventRecord, Header, Receipt, Stream, parse_batch

T0 = 1_795_476_600_000


def open_outbox(folder: Path, max_bytes: int = 1 << 24) -> Outbox:
    outbox = Outbox(folder / "outbox.sqlite", max_bytes, lambda: T0)
    outbox.open()
    return outbox


def row(t: int, **values: float | bool | str | None) -> Sample:
    return Sample(T0 + t, values, {})


def event(stream: Stream, nth: int, size: int = 0) -> Single:
    return single(stream, EventRecord(device="d", t=T0 + nth, name="e", data={"n": nth, "pad": "x" * size}), T0 + nth)


def receipt(outbox: Outbox, also: dict[Stream, list[tuple[int, int]]] | None = None, **through: int) -> Receipt:
    return Receipt(outbox=outbox.id, through={Stream(name): n for name, n in through.items()}, also=also or {}, now=T0)


def records(outbox: Outbox, stream: Stream) -> list[Any]:
    """Everything that a stream hands out."""
    found: list[Any] = []
    after = 0
    while (window := outbox.window(stream, after)) is not None:
        header, batch = parse_batch(window.payload(T0))
        assert isinstance(header, Header)
        assert header.first == window.first
        found += batch
        after = window.last
    return found


def test_numbers_go_on_after_a_restart(tmp_path: Path) -> None:
    outbox = open_outbox(tmp_path)
    assert outbox.append([event(Stream.LIVE, 1), event(Stream.ALARM, 2), event(Stream.LIVE, 3)]) == [1, 1, 2]
    assert outbox.window(Stream.LIVE, 0) is not None
    outbox.release(receipt(outbox, live=2))
    name = outbox.id
    outbox.close()
    again = open_outbox(tmp_path)
    assert again.id == name
    assert again.append([event(Stream.LIVE, 4)]) == [3]
    assert again.held() == {Stream.ALARM: 1, Stream.LIVE: 1, Stream.BACKLOG: 0}
    again.close()


def test_rows_of_one_device_share_a_record_until_it_is_handed_out(tmp_path: Path) -> None:
    outbox = open_outbox(tmp_path)
    for second in range(3):
        outbox.append([Samples(Stream.LIVE, "d", [row(second * 1000, a=float(second), b=True)])])
    (first,) = records(outbox, Stream.LIVE)
    assert isinstance(first, ReadingsRecord)
    assert first.dt == [0, 1000, 2000]
    assert first.m == {"a": [0, 1, 2], "b": [True, True, True]}
    outbox.append([Samples(Stream.LIVE, "d", [row(3000, a=3.5)])])
    (_, second_record) = records(outbox, Stream.LIVE)
    assert (second_record.t, second_record.dt) == (T0 + 3000, [0])
    outbox.close()


def test_what_no_reading_can_be_is_flagged(tmp_path: Path) -> None:
    outbox = open_outbox(tmp_path)
    outbox.append([Samples(Stream.LIVE, "d", [row(0, a=float("nan"), b=1.5, c="x" * 5000, d=-(10**400))])])
    (found,) = records(outbox, Stream.LIVE)
    assert {(p.metric, p.value, p.quality) for p in found.points()} == {
        ("a", None, Quality.SENSOR_FAULT),
        ("b", 1.5, Quality.GOOD),
        ("c", None, Quality.SENSOR_FAULT),
        ("d", None, Quality.SENSOR_FAULT),
    }
    outbox.close()


def test_a_column_that_changes_its_type_begins_a_new_record(tmp_path: Path) -> None:
    outbox = open_outbox(tmp_path)
    outbox.append([Samples(Stream.LIVE, "d", [row(0, a=1.0), row(1, a="open"), row(2, a=True)])])
    assert [record.m for record in records(outbox, Stream.LIVE)] == [{"a": [1]}, {"a": ["open"]}, {"a": [True]}]
    outbox.close()


def test_true_duplicates_stay(tmp_path: Path) -> None:
    outbox = open_outbox(tmp_path)
    outbox.append([Samples(Stream.LIVE, "d", [row(0, a=1.0), row(0, a=1.0)])])
    (found,) = records(outbox, Stream.LIVE)
    assert found.dt == [0, 0]
    outbox.close()


def test_foreign_and_invented_receipts_free_nothing(tmp_path: Path) -> None:
    outbox = open_outbox(tmp_path)
    outbox.append([event(Stream.LIVE, 1)])
    assert outbox.release(Receipt(outbox="0" * 26, through={Stream.LIVE: 9}, now=T0)) == 0
    assert outbox.release(receipt(outbox, live=9)) == 0, "it was never handed out"
    assert outbox.window(Stream.LIVE, 0) is not None
    assert outbox.release(receipt(outbox, live=9)) == 1
    outbox.close()


def test_ranges_beyond_a_hole_are_freed(tmp_path: Path) -> None:
    outbox = open_outbox(tmp_path)
    outbox.append([event(Stream.LIVE, nth) for nth in range(1, 11)])
    assert outbox.window(Stream.LIVE, 0) is not None
    assert outbox.release(receipt(outbox, {Stream.LIVE: [(5, 7)]}, live=2)) == 5
    window = outbox.window(Stream.LIVE, 0)
    assert window is not None
    assert (window.first, window.last, window.whole) == (3, 4, False)
    window = outbox.window(Stream.LIVE, window.last)
    assert window is not None
    assert (window.first, window.last, window.whole) == (8, 10, True)
    outbox.close()


def test_a_window_is_bounded(tmp_path: Path) -> None:
    outbox = open_outbox(tmp_path)
    outbox.append([event(Stream.BACKLOG, nth, 500) for nth in range(300)])
    after, seen = 0, 0
    while (window := outbox.window(Stream.BACKLOG, after)) is not None:
        assert sum(map(len, window.bodies)) <= 64 * 1024
        after, seen = window.last, seen + len(window.bodies)
    assert seen == 300
    outbox.close()


def test_backlog_goes_first_then_live_and_alarm_last(tmp_path: Path) -> None:
    outbox = open_outbox(tmp_path, max_bytes=70_000)
    for nth in range(100):
        outbox.append([event(Stream.ALARM, nth, 300), event(Stream.LIVE, nth, 300), event(Stream.BACKLOG, nth, 300)])
        assert outbox.size <= 70_000
    told = [record for record in records(outbox, Stream.ALARM) if record.kind == "dropped"]
    held = outbox.held()
    for stream in (Stream.BACKLOG, Stream.LIVE):
        own = [record for record in told if record.stream is stream]
        assert sum(record.count for record in own) + held[stream] == 100
        assert own[0].first == 1
        assert (own[0].from_t, own[0].reason) == (T0, "outbox_full")
    assert held[Stream.ALARM] == 100 + len(told)
    assert len(told) < 20, "neighbouring losses are told as one"
    outbox.close()


def test_no_budget_no_alarm_but_the_loss_is_told(tmp_path: Path) -> None:
    outbox = open_outbox(tmp_path, max_bytes=70_000)
    for nth in range(400):
        outbox.append([event(Stream.ALARM, nth, 300)])
    found = records(outbox, Stream.ALARM)
    told = [record for record in found if record.kind == "dropped"]
    lost = sum(record.count for record in told)
    assert lost + outbox.held()[Stream.ALARM] == outbox.last()[Stream.ALARM]
    assert outbox.size <= 70_000
    outbox.close()


def test_a_fetch_is_answered_with_what_is_held_and_the_rest_is_declared_once(tmp_path: Path) -> None:
    outbox = open_outbox(tmp_path)
    outbox.append([event(Stream.LIVE, nth) for nth in range(1, 21)])
    assert outbox.window(Stream.LIVE, 0) is not None
    outbox.release(receipt(outbox, {Stream.LIVE: [(9, 12)]}, live=5))
    assert outbox.freed() == {Stream.ALARM: 0, Stream.LIVE: 5, Stream.BACKLOG: 0}

    for _ in range(2):
        assert outbox.answer(outbox.id, Stream.LIVE, [(4, 10), (13, 14), (19, 40)]) == [(6, 8), (13, 14), (19, 20)]
        told = [(item.stream, item.first, item.last, item.reason) for item in records(outbox, Stream.ALARM)]
        assert told == [("live", 4, 5, "not_held"), ("live", 9, 10, "not_held")], "numbers never given are not lost"
        name = outbox.id
        outbox.close()
        outbox = open_outbox(tmp_path)
        assert outbox.id == name
    window = outbox.window(Stream.LIVE, 3, 7)
    assert window is not None
    assert (window.first, window.last) == (6, 7)
    assert outbox.window(Stream.LIVE, 8, 12) is None
    assert outbox.append([event(Stream.ALARM, 1)]) == [3], "what tells of losses is numbered like everything"
    outbox.close()


def test_a_loss_that_is_told_already_is_not_told_again(tmp_path: Path) -> None:
    outbox = open_outbox(tmp_path, max_bytes=64 * 1024)
    for nth in range(200):
        outbox.append([event(Stream.BACKLOG, nth, 500)])
    lost = 200 - outbox.held()[Stream.BACKLOG]
    assert lost > 0
    before = outbox.last()[Stream.ALARM]
    assert outbox.answer(None, Stream.BACKLOG, [(1, lost + 3)]) == [(lost + 1, lost + 3)]
    assert outbox.last()[Stream.ALARM] == before
    assert outbox.freed()[Stream.BACKLOG] == lost
    outbox.close()


def test_of_an_earlier_outbox_nothing_is_held(tmp_path: Path) -> None:
    outbox = open_outbox(tmp_path)
    earlier = "01M7Z00000000000000000000A"
    outbox.append([event(Stream.LIVE, 1)])
    for _ in range(2):
        assert outbox.answer(earlier, Stream.LIVE, [(1, 900)]) == []
    (told,) = records(outbox, Stream.ALARM)
    assert (told.outbox, told.stream, told.first, told.last, told.count) == (earlier, "live", 1, 900, 900)
    outbox.close()


def test_kill_in_the_middle_of_an_eviction(tmp_path: Path) -> None:
    """The files are copied before each statement that the disk sees: all of it happened, or nothing."""
    work = tmp_path / "work"
    work.mkdir()
    outbox = open_outbox(work, max_bytes=64 * 1024)
    while not outbox.last()[Stream.ALARM]:
        before = (outbox.last(), outbox.held(), outbox.size)
        shutil.copytree(work, tmp_path / "before", dirs_exist_ok=True)
        copies = list[Path]()

        def copy(_statement: str, copies: list[Path] = copies) -> None:
            copies.append(tmp_path / f"copy-{len(copies)}")
            shutil.copytree(work, copies[-1], dirs_exist_ok=True)

        outbox._connection.set_trace_callback(copy)
        outbox.append([event(Stream.BACKLOG, outbox.last()[Stream.BACKLOG] + 1, 900)])
        outbox._connection.set_trace_callback(None)
    after = (outbox.last(), outbox.held(), outbox.size)
    outbox.close()

    assert len(copies) > 5
    seen = []
    for place in copies:
        again = open_outbox(place, max_bytes=64 * 1024)
        state = (again.last(), again.held(), again.size)
        assert state in (before, after)
        seen.append(state)
        told = sum(item.count for item in records(again, Stream.ALARM))
        assert told + again.held()[Stream.BACKLOG] == again.last()[Stream.BACKLOG]
        again.close()
    assert seen[0] == before
    shutil.copytree(work, tmp_path / "end")
    end = open_outbox(tmp_path / "end", max_bytes=64 * 1024)
    assert (end.last(), end.held(), end.size) == after
    end.close()


def test_position_and_records_are_one(tmp_path: Path) -> None:
    outbox = open_outbox(tmp_path)
    outbox.append([event(Stream.LIVE, 1)], {"d": {"offset": 7}})
    with pytest.raises(sqlite3.Error):
        outbox.append([event(Stream.LIVE, 2), Single(Stream.LIVE, T0, None)], {"d": {"offset": 9}})  # type: ignore[arg-type]
    assert outbox.position("d") == {"offset": 7}
    assert outbox.last()[Stream.LIVE] == 1
    assert outbox.append([event(Stream.LIVE, 2)]) == [2]
    outbox.close()


def test_a_file_that_is_no_outbox_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "outbox.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(StateUnreadable, match=r"outbox\.sqlite"):
        open_outbox(tmp_path)


def test_it_can_be_read_while_in_use(tmp_path: Path) -> None:
    outbox = open_outbox(tmp_path)
    outbox.append([event(Stream.LIVE, 1)])
    found = read_only(outbox.path)
    assert found["outbox"] == outbox.id
    assert found["streams"]["live"] == {"held": 1, "first": 1, "newest": 1, "last": 1}
    outbox.close()


class OutboxMachine(RuleBasedStateMachine):
    """A hub keeps what it is handed; the outbox may crash between any two steps. Nothing is lost, nothing changes."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="outbox-"))
        self.generation = 0
        self.counter = 0
        self.given: dict[Stream, list[int]] = {stream: [] for stream in Stream}
        self.hub: dict[Stream, dict[int, str]] = {stream: {} for stream in Stream}

    @initialize(budget=st.sampled_from([64 * 1024, 1 << 22]))
    def start(self, budget: int) -> None:
        self.budget = budget
        self.outbox = open_outbox(self.root, budget)
        self.name = self.outbox.id

    @rule(stream=st.sampled_from(Stream), count=st.integers(1, 5), size=st.sampled_from([0, 4000]))
    def append_events(self, stream: Stream, count: int, size: int) -> None:
        before = self.outbox.last()[stream]
        entries = [event(stream, self.counter + nth, size) for nth in range(count)]
        numbers = self.outbox.append(entries, {"d": {"n": self.counter + count}})
        assert numbers[0] > before
        self.counter += count

    @rule(stream=st.sampled_from(Stream), count=st.integers(1, 200), device=st.sampled_from("ab"))
    def append_rows(self, stream: Stream, count: int, device: str) -> None:
        rows = [row(self.counter + nth, v=float(self.counter + nth)) for nth in range(count)]
        self.outbox.append([Samples(stream, device, rows)])
        self.counter += count

    @rule(stream=st.sampled_from(Stream), start=st.integers(0, 3), keep=st.booleans())
    def hand_out(self, stream: Stream, start: int, *, keep: bool) -> None:
        window = self.outbox.window(stream, start)
        if window is None:
            return
        for nth, body in enumerate(window.bodies):
            number = window.first + nth
            known = self.hub[stream].get(number)
            assert known in (None, body.decode()), "a record changed after it was handed out"
            if keep:
                self.hub[stream][number] = body.decode()

    @rule()
    def receive_receipt(self) -> None:
        through = {}
        for stream in Stream:
            gone = self._gone(stream)
            number = 0
            while number + 1 in self.hub[stream] or number + 1 in gone:
                number += 1
            through[str(stream)] = number
        self.outbox.release(receipt(self.outbox, None, **through))

    @rule()
    def crash(self) -> None:
        """Kill -9: what the disk holds now is all there is."""
        self.generation += 1
        copy = self.root / str(self.generation)
        copy.mkdir()
        for ending in ("", "-wal"):
            source = Path(f"{self.outbox.path}{ending}")
            if source.exists():
                shutil.copy(source, copy / source.name)
        before = (self.outbox.last(), self.outbox.held(), self.outbox.size, self.outbox.position("d"))
        self.outbox.close()
        self.outbox = open_outbox(copy, self.budget)
        assert self.outbox.id == self.name
        assert (self.outbox.last(), self.outbox.held(), self.outbox.size, self.outbox.position("d")) == before

    @precondition(lambda self: hasattr(self, "outbox"))
    @invariant()
    def every_number_is_accounted_for(self) -> None:
        db = sqlite3.connect(self.outbox.path)
        held = {stream: set[int]() for stream in Stream}
        order = (Stream.ALARM, Stream.LIVE, Stream.BACKLOG)
        for (record,) in db.execute("SELECT id FROM records"):
            held[order[record >> 56]].add(record & ((1 << 56) - 1))
        db.close()
        for stream in Stream:
            gone = self._gone(stream)
            for number in range(1, self.outbox.last()[stream] + 1):
                assert number in held[stream] or number in self.hub[stream] or number in gone, f"{stream} {number}"
        assert self.outbox.size <= self.budget

    def _gone(self, stream: Stream) -> set[int]:
        """Numbers that `dropped` records tell of, held here or received by the hub."""
        db = sqlite3.connect(self.outbox.path)
        held = [json.loads(body) for (body,) in db.execute("SELECT body FROM records WHERE dropped")]
        db.close()
        received = [json.loads(body) for body in self.hub[Stream.ALARM].values() if '"dropped"' in body]
        told = [item for item in [*held, *received] if item["stream"] == stream]
        return {number for item in told for number in range(item["first"], item["last"] + 1)}

    def teardown(self) -> None:
        self.outbox.close()
        shutil.rmtree(self.root)


OutboxMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
TestOutboxMachine = OutboxMachine.TestCase
