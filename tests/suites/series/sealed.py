"""The embedded store in a hurry: it seals after every commit, as if every hour were closed, into many small files."""

from __future__ import annotations

from pathlib import Path

from lamplighter_hub.series.duckdb import FILE, DuckDbSeries, Keep, Limits, Rules
from lamplighter_hub.series.store import Commit

YEAR_2040 = 2_208_988_800_000
TINY = Rules(grace_ms=0, small_day=20_000, part=30_000, large=200, patches=3, gather=1, share=1.0, every_s=3600)


class Eager(DuckDbSeries):
    """Seals after each of the first commits, then after every fortieth."""

    commits = 0

    def commit(self, commit: Commit) -> None:
        super().commit(commit)
        self.commits += 1
        if self.commits < 5 or not self.commits % 40:
            self.seal()


def open_eager(folder: Path) -> Eager:
    store = Eager(folder / FILE, Limits(), TINY, lambda: YEAR_2040, Keep())
    store.open()
    store.tend()
    return store


def open_restless(folder: Path) -> DuckDbSeries:
    """Seal without a pause in the thread of the store."""
    store = DuckDbSeries(folder / FILE, Limits(), TINY._replace(every_s=0.0), lambda: YEAR_2040, Keep())
    store.open()
    store.tend()
    return store
