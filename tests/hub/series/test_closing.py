"""A store that is closed while somebody reads: the reader is told so, and the process ends as it should."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from hub.registry.rig import calling, rig
from lamplighter_hub.access.roles import Role
from lamplighter_hub.series.duckdb import DuckDbSeries, Rules, open_duckdb
from lamplighter_hub.series.store import BEGINNING, END_OF_TIME, Commit, StoreUnavailable
from lamplighter_protocols.profile import Aggregation
from lamplighter_protocols.quality import Samples
from services.wait import eventually

OLD = 1_735_689_600_000


def filled(folder: Path) -> DuckDbSeries:
    store = open_duckdb(folder, rules=Rules(share=1.0))
    for part in range(4):
        times = range(OLD + part * 1_000_000, OLD + part * 1_000_000 + 500_000)
        store.commit(Commit([Samples(f"air-{number}", "pm25", times, [1.5] * len(times)) for number in range(2)]))
    return store


def ask_for_ever(store: DuckDbSeries) -> None:
    while True:
        store.buckets("air-1", "pm25", BEGINNING, END_OF_TIME, width_ms=7, aggregation=Aggregation.ENERGY)


def test_who_reads_is_told_and_nothing_is_left_in_use(tmp_path: Path) -> None:
    store = filled(tmp_path)
    said: list[Exception] = []

    def read() -> None:
        try:
            ask_for_ever(store)
        except StoreUnavailable as error:
            said.append(error)

    exported = store.export_readings([], [], BEGINNING, END_OF_TIME)
    next(exported)
    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    eventually(lambda: len(store._engine._used) >= 2)
    began = time.monotonic()
    store.close()
    assert time.monotonic() - began < 5
    assert store._engine._busy == 0
    for reader in readers:
        reader.join()
    assert [str(error) for error in said] == ["series.duckdb is closed"] * 3
    with pytest.raises(StoreUnavailable, match="is closed"):
        list(exported)
    again = open_duckdb(tmp_path)
    assert again.counts().points == 4_000_000
    again.close()


def test_a_list_that_nobody_reads_on_does_not_keep_the_store_open(tmp_path: Path) -> None:
    store = filled(tmp_path)
    marks = store.marks()
    assert list(marks) == []
    held = store._engine.read()
    held.__enter__()
    began = time.monotonic()
    store.close()
    assert time.monotonic() - began < 20
    held.__exit__(None, None, None)


def test_an_export_over_http_breaks_off_and_does_not_look_whole(tmp_path: Path) -> None:
    with rig(tmp_path) as made, calling(made.hub, made.token(Role.VIEWER)) as client:
        for part in range(10):
            times = range(OLD + part * 100_000, OLD + (part + 1) * 100_000)
            made.hub.series.commit(Commit([Samples("air-1", "pm25", times, [1.5] * len(times))]))
        with client.stream("GET", "/api/v1/export.csv") as answer:
            pieces = answer.iter_bytes()
            next(pieces)
            made.hub.series.close()
            with pytest.raises(httpx.RemoteProtocolError):
                list(pieces)


ENDING = """
import sys, threading
from pathlib import Path
from hub.series.test_closing import ask_for_ever, filled
store = filled(Path(sys.argv[1]))
for _ in range(3):
    threading.Thread(target=ask_for_ever, args=(store,), daemon=True).start()
while len(store._engine._used) < 2:
    pass
threading.excepthook = lambda told: None
store.close()
"""


def test_a_process_that_ends_while_threads_read_is_not_aborted(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", ENDING, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert (ran.returncode, ran.stderr) == (0, "")
