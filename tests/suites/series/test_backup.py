"""A copy of a store that is at work: whole, of one moment, and as good as the store."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from lamplighter_hub.series.store import (
    BEGINNING,
    END_OF_TIME,
    Commit,
    SeriesError,
    StoredEvent,
    TimeSeries,
)
from lamplighter_protocols.profile import Aggregation
from lamplighter_protocols.readings import Quality
from services.wait import eventually
from suites.series.make import T0, column, everything, flat, mark, refused
from suites.series.stores import Open


@pytest.fixture(params=["duckdb", "duckdb-eager"])
def store_name(request: pytest.FixtureRequest) -> str:
    """The stores that the hub itself copies; a server is copied by its own tool (tests/hub/series/test_influx.py)."""
    return str(request.param)


def answers(store: TimeSeries) -> dict[str, Any]:
    """Ask a store everything that matters."""
    return {
        "readings": flat(store.export_readings([], [], BEGINNING, END_OF_TIME)),
        "events": flat(store.export_events([], [], BEGINNING, END_OF_TIME)),
        "paged": everything(store, "air-1"),
        "latest": store.latest(["air-1", "kiosk-1"]),
        "marks": list(store.marks()),
        "quarantine": store.quarantine(None, None, limit=100),
        "buckets": store.buckets("air-1", "pm25", T0, T0 + 60, width_ms=10, aggregation=Aggregation.MEAN),
        "counts": store.counts()._replace(disk_bytes=0, marks=0),
    }


def test_a_copy_answers_as_the_store_did(store: TimeSeries, open_store: Open, tmp_path: Path) -> None:
    flags = [None, Quality.STALE, None, None]
    store.commit(
        Commit(
            samples=[
                column("air-1", "pm25", [(T0, 1.5), (T0, 1.5), (T0 + 5, -0.0), (T0 - 9, 3.0)], flags),
                column("kiosk-1", "door", [(T0, "open"), (T0, True), (T0, 1.0)]),
            ],
            events=[StoredEvent("kiosk-1", T0, name, {"n": n}) for n, name in enumerate(["b", "a", "b"])],
            marks=[mark(1, 5), mark(9, 9)],
            quarantined=[refused(1), refused(2, b"\x00\xff")],
        )
    )
    store.commit(Commit(samples=[column("air-1", "pm25", [(T0, 2.5)])], marks=[mark(5, 6, duplicate=1, stored=1)]))
    folder = tmp_path / "it's a copy"
    folder.mkdir()
    store.backup(folder)
    copy = open_store(folder)
    assert answers(copy) == answers(store)
    copy.commit(Commit(samples=[column("air-1", "pm25", [(T0 + 6, 9.0)])]))
    assert copy.latest(["air-1"]) != store.latest(["air-1"])
    copy.close()


def test_a_copy_is_one_moment_while_commits_go_on(store: TimeSeries, open_store: Open, tmp_path: Path) -> None:
    """What was committed before the call is in it, every commit is in it whole or not at all."""
    committed: list[int] = []
    enough = threading.Event()

    def write() -> None:
        number = 0
        while not enough.is_set():
            number += 1
            points = column("air-1", "pm25", [(T0 + step, float(number)) for step in range(500)])
            event = StoredEvent("air-1", T0, "commit", {"n": number})
            store.commit(Commit([points], [event], [mark(number, number)]))
            committed.append(number)

    writer = threading.Thread(target=write)
    writer.start()
    for round_ in range(4):
        eventually(lambda: len(committed) > 20 * (round_ + 1))  # noqa: B023 - looked at before it changes
        before = committed[-1]
        folder = tmp_path / f"copy-{round_}"
        folder.mkdir()
        store.backup(folder)
        copy = open_store(folder)
        found = [event.data["n"] for event in flat(copy.export_events([], [], BEGINNING, END_OF_TIME))]
        assert found == list(range(1, len(found) + 1))
        assert len(found) >= before
        assert [(item.first, item.last, item.stored) for item in copy.marks()] == [(1, len(found), len(found))]
        assert copy.counts().points == 500 * len(found)
        copy.close()
    enough.set()
    writer.join()
    assert committed == list(range(1, len(committed) + 1))


def test_a_copy_that_fails_harms_nothing(store: TimeSeries, open_store: Open, tmp_path: Path) -> None:
    store.commit(Commit(samples=[column("air-1", "pm25", [(T0, 1.0)])]))
    with pytest.raises(SeriesError):
        store.backup(tmp_path / "not there")
    store.commit(Commit(samples=[column("air-1", "pm25", [(T0, 2.0)])]))
    folder = tmp_path / "copy"
    folder.mkdir()
    store.backup(folder)
    copy = open_store(folder)
    assert answers(copy) == answers(store)
    copy.close()


def test_closing_the_store_ends_a_copy(open_store: Open, tmp_path: Path) -> None:
    store = open_store(tmp_path)
    for metric in range(20):
        many = [(T0 + step, float(step * metric % 997)) for step in range(50_000)]
        store.commit(Commit(samples=[column("air-1", f"m{metric}", many)]))
    folder = tmp_path / "copy"
    folder.mkdir()
    ended: list[str] = []

    def copy() -> None:
        try:
            store.backup(folder)
            ended.append("whole")
        except SeriesError:
            ended.append("ended")

    thread = threading.Thread(target=copy)
    thread.start()
    eventually(lambda: any(folder.iterdir()))
    store.close()
    thread.join()
    assert ended in (["whole"], ["ended"])
    again = open_store(tmp_path)
    assert again.counts().points == 1_000_000
    again.close()
