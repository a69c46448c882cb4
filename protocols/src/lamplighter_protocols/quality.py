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


class CheckedColumn(NamedTuple):
    """One metric of a record: sample i was taken at `times[i]` ms. `qualities` is None when all are good.

    Rows without value and without flag are left out.
    """

    metric: str
    times: Sequence[int]
    values: Sequence[Value | None]
    qualities: Sequence[Quality | None] | None


class Columns(Protocol):
    """A `ReadingsRecord`, or what has its columns. Lists are as long as `dt`, values of a metric of one type."""

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


def check_record(profile: Profile, record: Columns) -> tuple[list[CheckedColumn], list[BadField]]:
    """Return a record's columns, flagged, and one refusal for each metric that cannot be taken (`field` = m.METRIC)."""
    start, flags = record.t, record.q
    times = [start + offset for offset in record.dt]
    taken: list[CheckedColumn] = []
    refused: list[BadField] = []
    for name, values in record.m.items():
        known = profile.metrics.get(name)
        if known is not None and name not in flags and _plainly_good(known, values):
            taken.append(CheckedColumn(name, times, values, None))
            continue
        try:
            column = _checked(_metric(profile, name), name, times, values, flags.get(name))
        except BadField as error:
            refused.append(error)
        else:
            if column.times:
                taken.append(column)
    for name in flags.keys() - record.m.keys() if flags else ():
        try:
            _metric(profile, name)
        except BadField as error:
            refused.append(error)
        else:
            column = _present(name, times, [None] * len(times), flags[name])
            if column.times:
                taken.append(column)
    return taken, refused


def _metric(profile: Profile, name: str) -> Metric:
    metric = profile.metrics.get(name)
    if metric is None:
        known = ", ".join(sorted(profile.metrics)[:40])
        raise BadField(f"profile {profile.id} has no such metric; it has {known or 'none'}", f"m.{name}")
    return metric


def _checked(
    metric: Metric,
    name: str,
    times: Sequence[int],
    values: Sequence[Value | None],
    flags: Sequence[Quality | None] | None,
) -> CheckedColumn:
    if flags is None:
        times, values = _filled(times, values)
        if _plainly_good(metric, values):
            return CheckedColumn(name, times, values, None)
    present = [value for value in values if value is not None]
    if present:
        _check_type(metric, name, present[0])  # a column of the contract holds values of one type
        if _any_outside(metric, present):
            flags = _flagged(metric, values, flags)
    return _present(name, times, values, flags)


def _filled(times: Sequence[int], values: Sequence[Value | None]) -> tuple[list[int], list[Value | None]]:
    """Leave out the rows without value of a column without flags."""
    there = [value is not None for value in values]
    return list(compress(times, there)), list(compress(values, there))


def _plainly_good(metric: Metric, values: Sequence[Value | None]) -> bool:
    """True for a full column of numbers in range: the common case, told by two passes that make no object."""
    if metric.type != "number" or not values or type(values[0]) is not float or values[-1] is None:
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


def _present(
    name: str, times: Sequence[int], values: Sequence[Value | None], flags: Sequence[Quality | None] | None
) -> CheckedColumn:
    """Leave out the rows that hold nothing; a flag `good` is none."""
    own = [None if flag is Quality.GOOD else flag for flag in flags] if flags else [None] * len(values)
    rows = [row for row in zip(times, values, own, strict=True) if row[1] is not None or row[2] is not None]
    kept: list[Quality | None] = [row[2] for row in rows]
    return CheckedColumn(name, [row[0] for row in rows], [row[1] for row in rows], kept if any(kept) else None)
