"""The series stores that the contract suite is run against, and how each is opened."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lamplighter_hub.series.duckdb import open_duckdb
from lamplighter_hub.series.store import TimeSeries
from suites.series.sealed import open_eager

Open = Callable[[Path], TimeSeries]


def _duckdb(folder: Path) -> TimeSeries:
    return open_duckdb(folder)


STORES: dict[str, Open] = {"duckdb": _duckdb, "duckdb-eager": open_eager}
