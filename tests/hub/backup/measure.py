"""What a backup costs a hub that is at work: PYTHONPATH=tests python -m hub.backup.measure [MILLIONS]"""

from __future__ import annotations

import statistics
import sys
import tempfile
import threading
import time
from itertools import count
from pathlib import Path

import numpy as np

from hub.devices.measure_city import births, measured
from hub.registry.rig import START, Rig, rig
from lamplighter_hub.backup.restore import restore
from lamplighter_hub.series.duckdb import open_duckdb
from lamplighter_hub.series.store import Commit, Mark
from lamplighter_protocols.quality import Samples
from services.wait import eventually

OUTBOX = "01M80T5JNV0000000000000001"
SERIES = 1_000
AGENTS = 2_000


def fill(made: Rig, millions: int) -> None:
    seed = np.random.default_rng(1)
    for part in range(millions):
        times = range(START + part * 1_000_000, START + (part + 1) * 1_000_000, 1_000)
        columns = [Samples("d", f"m{n}", times, seed.normal(50, 9, 1_000).round(1).tolist()) for n in range(SERIES)]
        made.hub.series.commit(Commit(columns))


class Writer(threading.Thread):
    """Commits as ingest does, 20,000 points at a time, and keeps how long each took."""

    def __init__(self, made: Rig) -> None:
        super().__init__(daemon=True)
        self.made, self.took, self.enough = made, list[float](), threading.Event()

    def run(self) -> None:
        for number in count(1):
            columns = [Samples("d", f"m{n}", range(START, START + 200), [1.0] * 200) for n in range(100)]
            begun = time.perf_counter()
            self.made.hub.series.commit(Commit(columns, marks=[Mark("a", OUTBOX, "live", number, number, 1, 0, 0, 0)]))
            self.took.append(time.perf_counter() - begun)
            if self.enough.wait(0.1):
                return

    def told(self, what: str) -> None:
        took, self.took = self.took, []
        print(f"{what:<50} {statistics.median(took) * 1000:6.0f} ms median, {max(took) * 1000:.0f} ms longest commit")


def main(millions: int = 10) -> None:
    with tempfile.TemporaryDirectory() as folder, rig(Path(folder)) as made:
        agents = [f"agent-{number:05d}" for number in range(AGENTS)]
        for start in range(0, AGENTS, 1_000):
            made.hub.enrolment.provision(agents[start : start + 1_000], "bench")
        made.hub.devices.born(births(agents, 1, made.clock()))
        fill(made, millions)
        writer = Writer(made)
        writer.start()
        eventually(lambda: len(writer.took) > 30)
        writer.told("commits alone")
        with measured(f"a backup of {millions} million points"):
            begun = made.hub.backups.begin()
            eventually(lambda: made.hub.backups.find(begun.id).state != "running", within_s=600)
        writer.told("commits beside it")
        writer.enough.set()
        writer.join()
        found = made.hub.backups.find(begun.id)
        print(f"{found.state}, {found.bytes / 1e6:.0f} MB of {made.hub.series.counts().disk_bytes / 1e6:.0f} MB")
        with tempfile.TemporaryDirectory() as target, measured("restore it"):
            restore(made.data / "backups" / begun.id, Path(target) / "new", "", open_duckdb)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
