"""What a backup's folder holds, counted by opening its stores: the proof that it can be opened at all."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

from lamplighter_hub.backup.archive import Contents
from lamplighter_hub.ledger.ledger import Ledger
from lamplighter_hub.registry import copies
from lamplighter_hub.registry.database import Database, sqlite_url
from lamplighter_hub.series.store import TimeSeries

OpenSeries = Callable[[Path], TimeSeries]
"""Opens the series store of a data folder."""
_SERIES: Final = ("points", "events", "series", "quarantined")
_LEDGER: Final = ("stored", "duplicate", "quarantined", "dropped", "missing")


def look(folder: Path, open_series: OpenSeries) -> Contents:
    """Count what lies in a folder; its registry is brought up to date. Raises SeriesError, BadRegistry and the like."""
    with closing(Database(sqlite_url(folder))) as registry:
        registry.upgrade()
        rows = copies.count(registry)
    with closing(open_series(folder)) as series:
        counts, totals = series.counts()._asdict(), Ledger(series.marks()).totals()
    return Contents(
        series={name: counts[name] for name in _SERIES},
        ledger={name: totals[name] for name in _LEDGER},
        registry=rows,
    )
