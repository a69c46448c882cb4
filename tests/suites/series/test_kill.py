"""kill -9 in the middle of commits: what was acknowledged is there, nothing is there by half."""

from __future__ import annotations

import os
import random
import sys
from collections import Counter
from pathlib import Path

from lamplighter_hub.series.store import BEGINNING, END_OF_TIME, TimeSeries
from services.process import Children
from services.wait import eventually
from suites.series import writer
from suites.series.make import flat
from suites.series.stores import Open

TESTS = Path(__file__).parents[2]


def acknowledged(text: str) -> list[int]:
    return [int(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def whole_commits(store: TimeSeries) -> int:
    """Return how many commits are there, all of them whole and from 1 without a gap."""
    points = Counter(
        int(item.value) for item in flat(store.export_readings([], [], BEGINNING, END_OF_TIME)) if item.value
    )
    events = [item.data["n"] for item in flat(store.export_events([], [], BEGINNING, END_OF_TIME))]
    count = len(events)
    assert events == list(range(1, count + 1))
    assert points == dict.fromkeys(events, writer.POINTS * writer.SERIES)
    assert [(item.first, item.last, item.stored) for item in store.marks()] == ([(1, count, count)] if count else [])
    assert store.counts().quarantined + store.counts().quarantine_evicted == count
    return count


def test_what_was_acknowledged_survives_kill_9(
    store_name: str, open_store: Open, tmp_path: Path, children: Children
) -> None:
    folder = tmp_path / "series"
    folder.mkdir()
    seed = random.Random(7)
    env = {"PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])}
    for _ in range(4):
        child = children.start([sys.executable, "-m", "suites.series.writer", store_name, folder], env=env)
        most = seed.randint(1, 150)
        eventually(lambda: not child.running or len(acknowledged(child.said())) >= most, within_s=30)  # noqa: B023
        assert child.running, child.said()
        child.kill()
        last = acknowledged(child.said())[-1]
        store = open_store(folder)
        count = whole_commits(store)
        store.close()
        assert last <= count <= last + 1
