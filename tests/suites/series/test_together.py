"""Readers beside the writer: they see whole commits only, in order, and a slow export holds nobody up."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from lamplighter_hub.series.store import BEGINNING, END_OF_TIME, Commit, TimeSeries
from lamplighter_protocols.profile import Aggregation
from lamplighter_protocols.quality import Samples
from suites.series.make import T0, column, flat, put

COMMITS = 150
READERS = 3


def test_readers_see_whole_commits_in_order(store: TimeSeries) -> None:
    done = threading.Event()

    def write() -> None:
        try:
            for number in range(1, COMMITS + 1):
                store.commit(Commit([Samples("air-1", "pm25", [T0 + number] * 100, [float(number)] * 100)]))
        finally:
            done.set()

    def read() -> int:
        looks, seen = 0, 0
        while not done.is_set() or not looks:
            points = store.span("air-1", "pm25", BEGINNING, END_OF_TIME).points
            latest = store.latest(["air-1"]).get("air-1", {})
            found = store.buckets("air-1", "pm25", BEGINNING, END_OF_TIME, width_ms=1, aggregation=Aggregation.MEAN)
            exported = Counter(item.t for item in flat(store.export_readings(["air-1"], [], BEGINNING, END_OF_TIME)))
            assert points % 100 == 0
            assert points >= seen
            assert {bucket.count for bucket in found} <= {100}
            assert set(exported.values()) <= {100}
            assert len(exported) * 100 >= points
            assert points <= 100 or latest["pm25"].t >= T0 + points // 100 - 1, "at most the commit in hand is missing"
            looks, seen = looks + 1, points
        return looks

    with ThreadPoolExecutor(READERS + 1) as pool:
        writer = pool.submit(write)
        readers = [pool.submit(read) for _ in range(READERS)]
        writer.result()
        assert all(reader.result() for reader in readers)
    assert store.counts().points == COMMITS * 100


def test_an_export_that_nobody_reads_on_does_not_hold_commits_up(store: TimeSeries) -> None:
    for number in range(3):
        store.commit(Commit([Samples("air-1", f"m{number}", range(100_000), [1.0] * 100_000)]))
    stalled = [store.export_readings([], [], BEGINNING, END_OF_TIME) for _ in range(3)]
    first = [next(export) for export in stalled]
    assert all(first)
    for number in range(100):
        put(store, column("air-2", "pm25", [(T0 + number, 1.0)] * 1000))
    assert store.span("air-2", "pm25", BEGINNING, END_OF_TIME).points == 100_000
    assert sum(map(len, stalled[0])) + len(first[0]) >= 300_000


def test_an_export_may_be_given_up(store: TimeSeries) -> None:
    put(store, column("air-1", "pm25", [(T0 + i, 1.0) for i in range(20_000)]))
    for _ in range(50):
        next(store.export_readings([], [], BEGINNING, END_OF_TIME))
    store.close()
