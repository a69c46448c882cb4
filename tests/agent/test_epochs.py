"""Records from before the hub was heard: held until it is known how wrong their times are, then corrected for ever."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from lamplighter_agent import epochs
from lamplighter_agent.entries import Samples, Single, single
from lamplighter_agent.machine import Machine, read_machine
from lamplighter_agent.outbox import Outbox
from lamplighter_agent.packing import Sample
from lamplighter_protocols.records import EventRecord, Stream, parse_batch

ROOM = 1 << 24
TRUE = 1_795_476_600_000
SHIFT = TRUE - 5_000
"""How far a clock that began at 1970 is behind, 5 s after the machine was started."""
APART = 0
TRUE_APART = SHIFT


class Bench:
    """An outbox on a machine that may be started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.machine = Machine("first boot", keeps_time=False)
        self.outbox = self.start()

    def start(self, max_bytes: int = ROOM) -> Outbox:
        self.outbox = Outbox(self.folder / "outbox.sqlite", max_bytes, lambda: 6_000, lambda: self.machine)
        self.outbox.open()
        return self.outbox

    def again(self, max_bytes: int = ROOM) -> Outbox:
        self.outbox.close()
        return self.start(max_bytes)

    def out(self, stream: Stream = Stream.LIVE) -> list[Any]:
        found: list[Any] = []
        while (window := self.outbox.window(stream, len(found))) is not None:
            found += parse_batch(window.payload(TRUE))[1]
        return found


@pytest.fixture
def bench(tmp_path: Path) -> Any:
    made = Bench(tmp_path)
    yield made
    made.outbox.close()


def rows(*times: int, apart: int | None = APART) -> Samples:
    return Samples(Stream.LIVE, "d", [Sample(t, {"v": t / 7, "on": True, "s": "x"}, {}) for t in times], apart)


def event(t: int, apart: int | None = APART, stream: Stream = Stream.LIVE) -> Single:
    return single(stream, EventRecord(device="d", t=t, name="e", data={"n": 2**60, "t": 1}), t, apart)


def test_records_wait_for_the_time_and_keep_everything_else(bench: Bench) -> None:
    bench.outbox.append([event(5_000), rows(5_000, 5_500)])
    assert bench.out() == []
    assert bench.outbox.held()[Stream.LIVE] == 2
    (said,) = bench.outbox.settle_times(TRUE_APART)
    assert "corrected by +1,795,476,595.0 s" in said
    told, readings = bench.out()
    assert (told.t, told.data, told.clock) == (TRUE, {"n": 2**60, "t": 1}, None)
    assert (readings.t, readings.dt) == (TRUE, [0, 500])
    assert readings.m == {"v": [5_000 / 7, 5_500 / 7], "on": [True, True], "s": ["x", "x"]}
    assert bench.outbox.settle_times(TRUE_APART + 90_000) == [], "what was learnt stands"
    assert bench.out() == [told, readings]


def test_the_times_of_devices_are_left_alone(bench: Bench) -> None:
    bench.outbox.append([event(77, None), rows(88, apart=None), rows(5_000)])
    assert [record.t for record in bench.out()] == [77, 88], "only what was timed by the machine waits"
    bench.outbox.settle_times(TRUE_APART)
    assert [record.t for record in bench.out()] == [77, 88, TRUE]


@pytest.mark.parametrize("off", [0, 999, -999])
def test_a_clock_that_was_right_is_not_touched(bench: Bench, off: int) -> None:
    bench.outbox.append([rows(TRUE, apart=TRUE_APART + off)])
    assert bench.outbox.settle_times(TRUE_APART) == []
    assert [record.t for record in bench.out()] == [TRUE]


def test_a_restart_of_the_agent_loses_nothing_of_it(bench: Bench) -> None:
    bench.outbox.append([rows(5_000)])
    bench.again().append([rows(7_000)])
    bench.outbox.settle_times(TRUE_APART)
    assert [record.t for record in bench.out()] == [TRUE, TRUE + 2_000]
    bench.again()
    assert [record.t for record in bench.out()] == [TRUE, TRUE + 2_000], "without the hub's word once more"


def test_a_clock_that_was_set_in_between_has_two_epochs(bench: Bench) -> None:
    bench.outbox.append([rows(5_000)])
    bench.outbox.append([rows(905_000, apart=APART + 900_000)])
    bench.outbox.settle_times(TRUE_APART)
    assert [record.t for record in bench.out()] == [TRUE, TRUE]


@pytest.mark.parametrize("keeps_time", [True, False])
def test_of_an_earlier_start_only_a_clock_that_was_kept_is_believed(bench: Bench, *, keeps_time: bool) -> None:
    bench.outbox.append([rows(5_000), event(5_000)])
    bench.machine = Machine("first boot", keeps_time)
    bench.outbox.append([rows(6_000)])  # synchronised meanwhile, without being set
    bench.machine = Machine("second boot", keeps_time=True)
    bench.again().append([rows(9_000, apart=1_000)])
    said = bench.outbox.settle_times(TRUE_APART)
    assert len(said) == (1 if keeps_time else 2)
    *before, last = bench.out()
    assert [record.t for record in before] == [5_000, 5_000, 6_000][: len(before)]
    assert {record.clock for record in before} == {None if keeps_time else "unsynced"}
    assert (last.t, last.clock) == (9_000 + TRUE_APART - 1_000, None)


def test_what_comes_late_to_the_disk_is_of_its_own_epoch(bench: Bench) -> None:
    bench.outbox.settle_times(TRUE_APART)
    bench.outbox.append([rows(5_000)])  # was read before the hub answered
    bench.outbox.append([rows(TRUE, apart=None)])
    assert [record.t for record in bench.out()] == [TRUE, TRUE]


def test_what_was_given_up_is_told_with_corrected_times(bench: Bench) -> None:
    outbox = bench.again(max_bytes=2_000)
    outbox.append([event(t, stream=Stream.BACKLOG) for t in range(5_000, 5_100)])
    assert bench.out(Stream.ALARM) == []
    outbox.settle_times(TRUE_APART)
    outbox.append([event(t, stream=Stream.BACKLOG) for t in range(5_100, 5_200)])
    early, late = bench.out(Stream.ALARM)
    assert (early.from_t, early.to_t) == (TRUE, TRUE + early.count - 1)
    assert (late.first, late.from_t) == (early.last + 1, early.to_t + 1)
    assert late.to_t == late.from_t + late.count - 1


def test_a_loss_of_an_unknown_time_says_no_time(bench: Bench) -> None:
    bench.again(max_bytes=2_000).append([event(t, stream=Stream.BACKLOG) for t in range(5_000, 5_100)])
    bench.machine = Machine("second boot", keeps_time=False)
    bench.again().settle_times(TRUE_APART)
    (note,) = bench.out(Stream.ALARM)
    assert (note.from_t, note.to_t) == (None, None)
    assert note.count > 50


def test_a_disk_that_is_full_does_not_keep_the_time_from_being_learnt(bench: Bench) -> None:
    bench.outbox.append([rows(5_000)])
    other = sqlite3.connect(bench.folder / "outbox.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert bench.outbox._db is not None
    bench.outbox._db.execute("PRAGMA busy_timeout = 0")
    with pytest.raises(sqlite3.OperationalError):
        bench.outbox.settle_times(TRUE_APART)
    other.close()
    assert [record.t for record in bench.out()] == [TRUE]


def test_epochs_have_a_bound(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epochs, "LIMIT", 10)
    for nth in range(30):
        bench.outbox.append([event(5_000 + nth, nth * 10_000)])
    assert len(bench.outbox._epochs._known) == 11
    bench.outbox.settle_times(TRUE_APART)
    assert [record.clock for record in bench.out()] == [None] * 10 + ["unsynced"] * 20


def test_epochs_that_no_record_is_of_are_forgotten(bench: Bench) -> None:
    bench.outbox.append([rows(5_000)])

    def count() -> int:
        found: int = (
            sqlite3.connect(bench.folder / "outbox.sqlite").execute("SELECT count(*) FROM epochs").fetchone()[0]
        )
        return found

    assert count() == 1
    bench.again()
    assert count() == 1
    sqlite3.connect(bench.folder / "outbox.sqlite", isolation_level=None).execute("DELETE FROM records")
    bench.again()
    assert count() == 0


def test_an_outbox_of_an_earlier_release_is_taken_over(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "outbox.sqlite", isolation_level=None)
    db.execute(
        "CREATE TABLE records (id INTEGER PRIMARY KEY, from_t INTEGER, to_t INTEGER,"
        " dropped INTEGER NOT NULL DEFAULT 0, body BLOB NOT NULL)"
    )
    body = single(Stream.ALARM, EventRecord(device="d", t=TRUE, name="e"), TRUE).body
    db.execute("INSERT INTO records VALUES (1, 0, 0, 0, ?)", (body,))
    db.execute("CREATE TABLE streams (name TEXT PRIMARY KEY, last INTEGER NOT NULL) WITHOUT ROWID")
    db.execute("INSERT INTO streams VALUES ('alarm', 1)")
    db.close()
    bench = Bench(tmp_path)
    bench.outbox.append([event(5_000, stream=Stream.ALARM)])
    bench.outbox.settle_times(TRUE_APART)
    assert [record.t for record in bench.out(Stream.ALARM)] == [TRUE, TRUE]
    bench.outbox.close()


def test_the_machine_says_when_it_was_started() -> None:
    assert read_machine().boot
    assert read_machine().boot == read_machine().boot
