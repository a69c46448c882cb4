"""A copy of a store whose old hours are sealed: it answers the same, of one moment, whatever sealing does meanwhile."""

from __future__ import annotations

import errno
import os
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from hub.series.test_retention import kept
from lamplighter_hub.series.duckdb import DuckDbSeries, Keep, Limits, Rules, open_duckdb
from lamplighter_hub.series.engine import Engine
from lamplighter_hub.series.manifest import DAY, HOUR
from lamplighter_hub.series.store import BEGINNING, END_OF_TIME, Commit, SeriesError
from lamplighter_protocols.profile import Aggregation
from services.wait import eventually
from suites.series.make import T0, column, damaged_files, everything, flat, mark, put
from suites.series.sealed import open_restless

MIDNIGHT = T0 // DAY * DAY
NOW = MIDNIGHT + 10 * DAY
RULES = Rules(grace_ms=0, share=1.0, every_s=3600)


def opened(folder: Path, keep: Keep | None = None) -> DuckDbSeries:
    return open_duckdb(folder, Limits(), RULES, lambda: NOW, keep or Keep())


def filled(folder: Path, keep: Keep | None = None) -> DuckDbSeries:
    """Ten days in sealed files, a late point and an open hour."""
    store = opened(folder, keep)
    put(store, column("air-1", "pm25", [(MIDNIGHT + i * HOUR, float(i)) for i in range(10 * 24 + 1)]))
    store.seal()
    put(store, column("air-1", "pm25", [(MIDNIGHT + 5, 9.0)]), column("kiosk-1", "door", [(T0, "open")]))
    return store


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.parquet*"))


def answers(store: DuckDbSeries) -> dict[str, Any]:
    buckets = {
        (width, how): store.buckets("air-1", "pm25", BEGINNING, END_OF_TIME, width_ms=width, aggregation=how)
        for width in (60_000, HOUR, DAY)
        for how in Aggregation
    }
    return {
        "exported": flat(store.export_readings([], [], BEGINNING, END_OF_TIME)),
        "paged": everything(store, "air-1"),
        "latest": store.latest(["air-1", "kiosk-1"]),
        "span": store.span("air-1", "pm25", BEGINNING, END_OF_TIME),
        "buckets": buckets,
        "marks": list(store.marks()),
        "points": store.counts().points,
    }


def copied(store: DuckDbSeries, folder: Path) -> Path:
    folder.mkdir()
    store.backup(folder)
    return folder


@pytest.mark.parametrize("disk", ["same", "other"])
def test_sealed_files_and_roll_ups_are_in_a_copy(disk: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    if disk == "other":
        monkeypatch.setattr(os, "link", no_links)
    (tmp_path / "store").mkdir()
    store = filled(tmp_path / "store", Keep())
    store.expire(kept(raw=3), NOW)
    before, named = answers(store), files(tmp_path / "store")
    folder = copied(store, tmp_path / "it's a copy")
    assert files(folder) == named
    assert {path.split("/")[0] for path in named} == {"series", "rollups"}
    store.seal()
    store.close()
    copy = opened(folder)
    assert answers(copy) == before
    assert damaged_files(copy) == []
    copy.seal()
    assert answers(copy)["exported"] == before["exported"]
    copy.close()
    again = opened(tmp_path / "store")
    assert answers(again) == before, "what a copy does to its files is nothing to the store"
    assert damaged_files(again) == []
    again.close()


def test_a_copy_is_of_one_moment_while_sealing_never_rests(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    store = open_restless(tmp_path / "store")
    committed: list[int] = []
    enough = threading.Event()

    def write() -> None:
        while not enough.is_set():
            number = len(committed) + 1
            points = column("air-1", "pm25", [(T0 + step * HOUR, float(number)) for step in range(5)])
            store.commit(Commit(samples=[points], marks=[mark(number, number)]))
            committed.append(number)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for round_ in range(5):
            eventually(lambda: len(committed) > 15 * (round_ + 1), within_s=60)  # noqa: B023 - looked at before it changes
            before = len(committed)
            copy = opened(copied(store, tmp_path / f"copy-{round_}"))
            (found,) = copy.marks()
            assert found.last >= before
            values = Counter(item.value for item in flat(copy.export_readings([], [], BEGINNING, END_OF_TIME)))
            assert values == {float(n): 5 for n in range(1, found.last + 1)}
            assert copy.facts()["damaged"] == []
            copy.close()
    finally:
        enough.set()
        writer.join()
    assert store.facts()["trouble"] == ""
    store.close()


def test_what_a_backup_shares_does_not_go_for_want_of_room(tmp_path: Path) -> None:
    """Letting it go would make no room, and one file after the other would be lost for nothing."""
    (tmp_path / "store").mkdir()
    store = filled(tmp_path / "store", Keep(free_bytes=10_000_000))
    folder = copied(store, tmp_path / "copy")
    before = answers(store)

    def free(_: Engine) -> int:
        return 0

    store._guard._free = free
    with pytest.raises(SeriesError, match="delete backups"):
        put(store, column("air-1", "pm25", [(NOW, 1.0)]))
    assert answers(store) == before
    store.close()
    copy = opened(folder)
    assert answers(copy) == before
    copy.close()


def test_a_damaged_file_that_is_gone_does_not_prevent_a_copy(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    store = filled(tmp_path / "store")
    next((tmp_path / "store" / "series").rglob("*.parquet")).unlink()
    assert len(damaged_files(store)) == 1
    before = answers(store)
    copy = opened(copied(store, tmp_path / "copy"))
    assert answers(copy) == before
    assert copy.facts()["damaged"] == store.facts()["damaged"]
    copy.close()
    store.close()


def test_a_closed_store_is_not_copied(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    store = filled(tmp_path / "store")
    store.close()
    with pytest.raises(SeriesError, match="closed"):
        copied(store, tmp_path / "copy")
