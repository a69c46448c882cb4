"""Buckets that InfluxDB reduces itself, for series of numbers: nine times less to carry than their rows."""

from __future__ import annotations

from typing import Any, Final

from lamplighter_hub.series.influx import asking
from lamplighter_hub.series.influx.client import Influx
from lamplighter_hub.series.influx.lines import NS, QUALITIES
from lamplighter_hub.series.store import Bucket, SeriesError
from lamplighter_protocols.profile import Aggregation

_MEAN: Final = {Aggregation.MEAN: 5, Aggregation.SUM: 6, Aggregation.LAST: 4}
"""Which column answers; the other aggregations need more than InfluxQL offers."""
_FIGURES: Final = "count(value_f), min(value_f), max(value_f), last(value_f), mean(value_f), sum(value_f)"
_MOST_BUCKETS: Final = 100_000


def fast_buckets(
    influx: Influx, where: str, limits: tuple[int, int], width_ms: int, aggregation: Aggregation
) -> list[Bucket] | None:
    """Return buckets between two times (ms), None when InfluxDB cannot make them: `where` names the series."""
    column = _MEAN.get(aggregation)
    if column is None or (limits[1] - limits[0]) // width_ms > _MOST_BUCKETS:
        return None
    good = f"stamp % {QUALITIES} = 0"
    groups = f"GROUP BY time({width_ms}ms) fill(none)"
    try:
        others, numbers, flagged = influx.query(
            asking.select("count(value_b), count(value_s)", "readings", where, good),
            asking.select(_FIGURES, "readings", where, good, more=groups),
            asking.select("count(stamp)", "readings", where, f"stamp % {QUALITIES} > 0", more=groups),
        )
    except SeriesError:
        # A sum beyond a double's range has no JSON.
        return None
    if any(row[1] or row[2] for row in asking.rows(others)):
        return None
    found = {row[0] // NS: _bucket(row, column) for row in asking.rows(numbers) if row[1]}
    for t, count in asking.rows(flagged):
        known = found.get(t // NS, Bucket(t // NS, 0, None, None, None, None, 0))
        found[t // NS] = Bucket(known.t, known.count, known.min, known.max, known.mean, known.last, count)
    return [found[t] for t in sorted(found)]


def _bucket(row: list[Any], column: int) -> Bucket:
    return Bucket(row[0] // NS, row[1], float(row[2]), float(row[3]), float(row[column]), float(row[4]), 0)
