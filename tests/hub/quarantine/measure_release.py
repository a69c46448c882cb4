"""How long a full quarantine takes: `PYTHONPATH=tests python -m hub.quarantine.measure_release`."""

from __future__ import annotations

import random
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from lamplighter_hub.quarantine.service import Selection
from lamplighter_hub.series.duckdb import open_duckdb
from suites.series.test_release import DEVICE, OFFSET, HubSide, record

SHIFT = OFFSET - 10_000_000
RECORDS, VALUES = 10_000, 600


def main() -> None:
    """Print what there is, then seconds."""
    with tempfile.TemporaryDirectory() as folder:
        side = HubSide(open_duckdb, Path(folder))
        fill(side)
        counts = side.series.counts()
        print(f"{counts.quarantined} entries, {counts.quarantined_bytes / 1e6:.0f} MB, {VALUES} values each")
        print(f"clocks  {seconds(side.quarantine.waiting):.2f} s")
        print(f"preview {seconds(lambda: side.quarantine.preview(Selection(device=DEVICE), SHIFT)):.2f} s")
        held: list[float] = []
        watch(side, held)
        print(f"release {seconds(lambda: release(side)):.2f} s, ingest held {max(held):.2f} s at most")
        side.series.close()


def fill(side: HubSide) -> None:
    """Let more records come than quarantine keeps."""
    made = random.Random(1)
    for first in range(1, RECORDS + 1, 50):
        numbers = range(first, first + 50)
        side.hear(first, *(record(1000 * number, *(made.random() for _ in range(VALUES))) for number in numbers))


def watch(side: HubSide, held: list[float]) -> None:
    """Note how long each order keeps the ingest thread."""
    work = side.pipeline._do

    def do(order: Any, stop: threading.Event) -> None:
        held.append(seconds(lambda: work(order, stop)))

    side.pipeline._do = do  # type: ignore[method-assign]


def release(side: HubSide) -> None:
    while side.release(SHIFT).more:
        pass


def seconds(work: Any) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


if __name__ == "__main__":
    main()
