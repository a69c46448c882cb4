"""Readings against their profile: what is impossible is flagged, what is nonsense is refused, nothing is altered.

Outside its range, or not among its choices, a value is kept and flagged `out_of_range`; a flag that the device gave
counts more. A metric that the profile does not know, or a value of another type, is refused by name, and only that
metric: the rest of the record goes through.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import compress
from typing import Final, NamedTuple, Protocol

from lamplighter_protocols.errors import BadField
from lamplighter_protocols.profile import Metric, Profile
from lamplighter_protocols.readings import Quality, Reading, Value

_TYPES: Final = {"number": float, "boolean": bool, "string": str}


class Samples(NamedTuple):
    """One column: sample i of a device's metric was taken at `times[i]` (ms). `qualities` is None when all are good.

    A sample without value and without quality is no sample and is left out.
    """

    device: str
    metric: str
    times: Sequence[int]
    values: Sequence[Value | None]
    qualities: Sequence[Quality | None] | None = None


class Columns(Protocol):
    """A `ReadingsRecord`, or what has its columns. Lists are as long as `dt`, values of a metric of one type."""

    @property
    def device(self) -> str:
        """Whose they are."""

    @property
    def t(self) -> int:
        """Time base in ms."""

    @property
    def dt(self) -> Sequence[int]:
        """Offsets of the samples in ms, one at least."""

    @property
    def m(self) -> Mapping[str, Sequence[Value | None]]:
        """Values by metric."""

    @property
    def q(self) -> Mapping[str, Sequence[Quality | None]]:
        """Flags by metric, as far as there are any."""


def check(profile: Profile, reading: Reading) -> Quality:
    """Return the quality that a reading deserves. Raises BadField `m.METRIC` for one that cannot be taken."""
    metric = _metric(profile, reading.metric)
    if reading.value is not None:
        _check_type(metric, reading.metric, reading.value)
    if reading.quality is not Quality.GOOD or reading.value is None:
        return reading.quality
    return Quality.OUT_OF_RANGE if _outside(metric, reading.value) else Quality.GOOD


def check_record(profile: Profile, record: Columns) -> tuple[list[Samples], list[BadField]]:
    """Return a record's columns, flagged, and one refusal for each metric that cannot be taken (`field` = m.METRIC)."""
    device, start, flags = record.device, record.t, record.q
    times = [start + offset for offset in record.dt]
    rows: _Rows | None = None
    taken: list[Samples] = []
    refused: list[BadField] = []
    for name, values in record.m.items():
        known = profile.metrics.get(name)
        if known is not None and name not in flags:
            if _plainly_good(known, values):
                taken.append(Samples(device, name, times, values))
                continue
            rows = rows or _Rows(times)
            left, there = rows.filled(values)
            if len(there) < len(values) and _plainly_good(known, there):
                taken.append(Samples(device, name, left, there))
                continue
        _take(profile, Samples(device, name, times, values, flags.get(name)), taken, refused)
    for name in flags.keys() - record.m.keys() if flags else ():
        _take(profile, Samples(device, name, times, [None] * len(times), flags[name]), taken, refused)
    return taken, refused


class _Rows:
    """The times of a record. Columns that lack the same rows, as they mostly do, share the times that are left."""

    def __init__(self, times: list[int]) -> None:
        self._all = times
        self._there: list[bool] = []
        self._left: list[int] = []

    def filled(self, values: Sequence[Value | None]) -> tuple[list[int], list[Value | None]]:
        """Leave out the rows in which a column has no value."""
        there = [value is not None for value in values]
        if there != self._there:
            self._there, self._left = there, list(compress(self._all, there))
        return self._left, list(compress(values, there))


def _take(profile: Profile, column: Samples, taken: list[Samples], refused: list[BadField]) -> None:
    """Check a column of which not everything is plainly good; it is refused as a whole, or taken if it holds any."""
    try:
        checked = _checked(_metric(profile, column.metric), column)
    except BadField as error:
        refused.append(error)
    else:
        if checked.times:
            taken.append(checked)


def _metric(profile: Profile, name: str) -> Metric:
    metric = profile.metrics.get(name)
    if metric is None:
        known = ", ".join(sorted(profile.metrics)[:40])
        raise BadField(f"profile {profile.id} has no such metric; it has {known or 'none'}", f"m.{name}")
    return metric


def _checked(metric: Metric, column: Samples) -> Samples:
    """Return a column with the flags that it deserves and without empty rows. Raises BadField."""
    flags = column.qualities
    present = [value for value in column.values if value is not None]
    if present:
        _check_type(metric, column.metric, present[0])  # a column of the contract holds values of one type
        if _any_outside(metric, present):
            flags = _flagged(metric, column.values, flags)
    return _present(column._replace(qualities=flags))


def _plainly_good(metric: Metric, values: Sequence[Value | None]) -> bool:
    """True for a full column of numbers in range: the common case, told by two passes that make no object."""
    if not values or type(values[0]) is not float or values[-1] is None or metric.type != "number":
        return False
    numbers: Sequence[float] = values  # type: ignore[assignment]
    try:
        low, high = min(numbers), max(numbers)
    except TypeError:  # a null cannot be compared
        return False
    limits = metric.range
    return limits is None or (limits[0] <= low and high <= limits[1])


def _check_type(metric: Metric, name: str, value: Value | None) -> None:
    if type(value) is not _TYPES[metric.type] and not (metric.type == "number" and type(value) is int):
        raise BadField(f"{value!r:.60} is not a {metric.type}", f"m.{name}")


def _any_outside(metric: Metric, present: Sequence[Value | None]) -> bool:
    if metric.range is not None and metric.type == "number":
        numbers: Sequence[float] = present  # type: ignore[assignment]  # the type was just checked
        return min(numbers) < metric.range[0] or max(numbers) > metric.range[1]
    return bool(metric.choices) and not set(present).issubset(metric.choices)


def _outside(metric: Metric, value: Value | None) -> bool:
    return value is not None and _any_outside(metric, (value,))


def _flagged(
    metric: Metric, values: Sequence[Value | None], flags: Sequence[Quality | None] | None
) -> list[Quality | None]:
    own = flags or [None] * len(values)
    return [_flag(metric, value, flag) for value, flag in zip(values, own, strict=True)]


def _flag(metric: Metric, value: Value | None, flag: Quality | None) -> Quality | None:
    if flag is not None and flag is not Quality.GOOD:
        return flag
    return Quality.OUT_OF_RANGE if _outside(metric, value) else None


def _present(column: Samples) -> Samples:
    """Leave out the rows that hold nothing; a flag `good` is none."""
    device, name, times, values, flags = column
    own = [None if flag is Quality.GOOD else flag for flag in flags] if flags else [None] * len(values)
    rows = [row for row in zip(times, values, own, strict=True) if row[1] is not None or row[2] is not None]
    kept: list[Quality | None] = [row[2] for row in rows]
    return Samples(device, name, [row[0] for row in rows], [row[1] for row in rows], kept if any(kept) else None)
