"""What points come to by minute, hour and day: kept in InfluxDB when their raw points go (docs/decisions/0049).

| measurement | tags | fields | time |
|---|---|---|---|
| minutes, hours, days | device, metric | good, flagged, n, low, high, total, energy, sine, cosine, | begin, and |
| | | first_t, last_t, good_t, value_f or value_b or value_s, x, x_t, stamp | the commit as ns |
| newest | device, metric | value_f or value_b or value_s; stamp | as in readings |

Every figure is a sum of its points (docs/decisions/0046), so what came late is a point of its own beside the first.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np

from lamplighter_hub.series.ages import WIDTHS, Level
from lamplighter_hub.series.influx.asking import Row, value
from lamplighter_hub.series.influx.lines import NS, QUALITIES, quoted
from lamplighter_protocols.profile import Aggregation
from lamplighter_protocols.readings import Value

NAMES: Final = {Level.MINUTE: "minutes", Level.HOUR: "hours", Level.DAY: "days"}
_BASIC: Final = frozenset({Aggregation.MEAN, Aggregation.SUM})
_COUNTS: Final = ("good", "flagged", "n", "first_t", "last_t", "good_t", "x_t")
_FIGURES: Final = ("low", "high", "total", "energy", "sine", "cosine", "x")
COLUMNS: Final = ", ".join(f'"{name}"' for name in (*_COUNTS, *_FIGURES, "value_f", "value_b", "value_s"))


class Rolled(NamedTuple):
    """What points of a series from `t` (ms) on come to; `n` of them are good numbers, truth values as 0 and 1."""

    t: int
    good: int
    flagged: int
    n: int
    first_t: int
    last_t: int
    good_t: int | None
    x_t: int | None
    low: float | None
    high: float | None
    total: float | None
    energy: float | None
    sine: float | None
    cosine: float | None
    x: float | None
    last: Value | None


def levels_for(width_ms: int, aggregation: Aggregation) -> tuple[Level, Level] | None:
    """Return the coarsest and the finest roll-ups that serve buckets of a width; None when none do.

    >>> levels_for(172_800_000, Aggregation.LAST), levels_for(60_000, Aggregation.LAST)
    ((<Level.DAY: 3>, <Level.HOUR: 2>), None)
    """
    finest = Level.MINUTE if aggregation in _BASIC else Level.HOUR
    coarsest = next((level for level in (Level.DAY, Level.HOUR, Level.MINUTE) if width_ms % WIDTHS[level] == 0), None)
    return None if coarsest is None or coarsest < finest else (coarsest, finest)


def roll(rows: Sequence[Row], level: Level) -> Iterator[Rolled]:
    """Yield what rows of a series, in order of time and arrival, come to."""
    t = np.array([row[0] for row in rows], dtype=np.int64) // NS
    begins = t // WIDTHS[level] * WIDTHS[level]
    starts = np.flatnonzero(np.concatenate(([True], begins[1:] != begins[:-1]))).tolist()
    for first, end in zip(starts, [*starts[1:], len(rows)], strict=True):
        yield _rolled(int(begins[first]), rows[first:end])


def joined(begin: int, parts: Sequence[Rolled]) -> Rolled:
    """Return what roll-ups in order of time, of a longer span that begins at `begin` (ms), come to together."""
    some = [part for part in parts if part.x_t is not None]
    good = [part for part in parts if part.good_t is not None]
    return Rolled(
        begin,
        sum(part.good for part in parts),
        sum(part.flagged for part in parts),
        sum(part.n for part in parts),
        parts[0].first_t,
        parts[-1].last_t,
        good[-1].good_t if good else None,
        some[-1].x_t if some else None,
        min((part.low for part in some if part.low is not None), default=None),
        max((part.high for part in some if part.high is not None), default=None),
        _total(part.total for part in some),
        _total(part.energy for part in some),
        _total(part.sine for part in some),
        _total(part.cosine for part in some),
        some[-1].x if some else None,
        good[-1].last if good else None,
    )


def _total(figures: Iterable[float | None]) -> float | None:
    found = list(figures)
    return math.fsum(figure for figure in found if figure is not None) if found and None not in found else None


def line(device: str, metric: str, level: Level, rolled: Rolled, number: int) -> str:
    """Return the line of a roll-up that the commit `number` writes."""
    counts = ((name, getattr(rolled, name)) for name in _COUNTS)
    figures = ((name, getattr(rolled, name)) for name in _FIGURES)
    fields = [f"{name}={count}i" for name, count in counts if count is not None]
    fields += [f"{name}={figure!r}" for name, figure in figures if figure is not None and math.isfinite(figure)]
    fields += [] if rolled.last is None else [field(rolled.last)]
    tags = f"device={device},metric={metric}"
    return f"{NAMES[level]},{tags} {','.join(fields)},stamp={number * QUALITIES}i {rolled.t * NS + number}\n"


def newest_line(device: str, metric: str, row: Row, number: int) -> str:
    """Return the line that keeps a newest reading whose raw point goes."""
    found = value(row)
    shown = "" if found is None else field(found) + ","
    stamp = number * QUALITIES + row[4] % QUALITIES
    return f"newest,device={device},metric={metric} {shown}stamp={stamp}i {row[0]}\n"


def read(row: Row) -> tuple[int, Rolled]:
    """Return a roll-up from its time (ns) and `COLUMNS`, with the number of the commit that wrote it."""
    figures = [None if figure is None else float(figure) for figure in row[8:15]]
    return row[0] % NS, Rolled._make([row[0] // NS, *row[1:8], *figures, value([row[0], *row[15:18]])])


def field(found: Value) -> str:
    """Return a value as the field that its type has.

    >>> field(1.5), field(True), field("on")
    ('value_f=1.5', 'value_b=True', 'value_s="on"')
    """
    if isinstance(found, bool):
        return f"value_b={found}"
    return f"value_s={quoted(found)}" if isinstance(found, str) else f"value_f={float(found)!r}"


def _rolled(begin: int, rows: Sequence[Row]) -> Rolled:
    good = [row for row in rows if row[4] % QUALITIES == 0]
    numbers = [(row[0] // NS, float(x)) for row in good if (x := row[1] if row[1] is not None else row[2]) is not None]
    x = np.array([number for _, number in numbers])
    angles = np.radians(x)
    some = bool(numbers)
    with np.errstate(over="ignore"):
        # Clamped, so that 10^(x/10) stays a finite double whatever a device says.
        energy = float(np.power(10.0, np.clip(x, -3000, 3000) / 10).sum())
        total = float(x.sum())
    return Rolled(
        begin,
        len(good),
        len(rows) - len(good),
        len(numbers),
        rows[0][0] // NS,
        rows[-1][0] // NS,
        good[-1][0] // NS if good else None,
        numbers[-1][0] if some else None,
        float(x.min()) if some else None,
        float(x.max()) if some else None,
        total if some else None,
        energy if some else None,
        float(np.sin(angles).sum()) if some else None,
        float(np.cos(angles).sum()) if some else None,
        numbers[-1][1] if some else None,
        value(good[-1]) if good else None,
    )
