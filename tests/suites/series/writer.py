"""A process that commits without end and says of each commit when it is done; a test kills it."""

from __future__ import annotations

import sys
from pathlib import Path

from lamplighter_hub.series.store import BEGINNING, END_OF_TIME, Commit, StoredEvent
from lamplighter_protocols.readings import Quality
from suites.series.make import T0, column, mark, refused
from suites.series.stores import STORES

POINTS = 50
SERIES = 5


def commit(number: int) -> Commit:
    """Commit n: POINTS points in each of SERIES series, an event, a mark and a quarantined entry, all named n."""
    points = [(T0 + number, float(number))] * POINTS
    return Commit(
        [column(f"air-{i}", f"m{number % 50}", points, [Quality.SUSPECT] * POINTS) for i in range(SERIES)],
        [StoredEvent("air-1", T0 + number, "commit", {"n": number})],
        [mark(number, number)],
        [refused(number, b"x" * 1000)],
    )


def main(name: str, folder: str) -> None:
    store = STORES[name](Path(folder))
    number = store.span("air-0", "m0", BEGINNING, END_OF_TIME).points and max(item.last for item in store.marks())
    while True:
        number += 1
        store.commit(commit(number))
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
