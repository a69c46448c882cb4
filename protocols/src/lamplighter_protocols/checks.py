"""Values against those before them and beside them: rate of change, spike, stuck, gap, and rules between metrics.

The tests are those of the IOOS manuals of real-time quality control (QARTOD: rate of change, spike, flat line, gap,
multi-variate), made causal: a value is judged once, when it arrives, by what arrived before it, so the same values in
the same order get the same flags however they are packed. Only flags are set, and a flag that is there counts more.

- `rate_of_change`: further from the last unflagged value than `max_rate` times the time between them.
- `spike`: further than `spike` from the median of the three values before. A step is flagged twice, then believed.
- `stuck`: within `stuck_tolerance` of the same value for `stuck_after_s` or longer.
- `gap`: the first value after more than `max_gap_s` without one.
- `cross_field`: it and another metric of the same row cannot both be true.

Differences of directions go the short way round. What is older than the newest value is judged in a lane of its own:
a backlog is compared with itself, and nothing late moves what the next new value is compared with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import sub
from struct import Struct
from typing import Final, NamedTuple

from lamplighter_protocols.profile import Aggregation, AtMost, Metric, Never, Profile
from lamplighter_protocols.quality import Samples
from lamplighter_protocols.readings import Quality, Reading, Value

_T, _GOOD_T, _GOOD, _FIRST, _SECOND, _THIRD, _RUN_T, _RUN = range(8)
"""What is known of a series: newest time, last unflagged value, the three before, start and value of a still run."""
_NOTHING: Final = [-math.inf, *[math.nan] * 7]
_PACKED: Final = Struct("8d")
_Known = list[float]
_LEAST_PAUSE_MS: Final = 3_600_000.0
_HALF_TURN: Final = 180.0
_Flags = list[Quality | None]


class Limits(NamedTuple):
    """What one metric is held to, in ms and units; infinite where the profile asks for nothing.

    After a pause of more than `memory` nothing before counts.
    """

    place: int
    rate: float
    spike: float
    stuck: float
    tolerance: float
    gap: float
    memory: float
    circular: bool


class Rule(NamedTuple):
    """A rule between metrics, and which ones it compares."""

    metrics: tuple[str, ...]
    asked: AtMost | Never


class Plan(NamedTuple):
    """What a profile's checks come to: limits by metric, and rules between metrics."""

    profile: str
    limits: dict[str, Limits]
    rules: list[Rule]


@dataclass(slots=True)
class State:
    """What is known of one device's watched series: 64 bytes for each, and as much again once late values came."""

    profile: str
    live: bytearray
    late: bytearray | None = None

    def copy(self) -> State:
        """Return one that can go on for itself."""
        return State(self.profile, self.live[:], None if self.late is None else self.late[:])


def plan(profile: Profile) -> Plan | None:
    """Return what a profile asks for; None when that is nothing."""
    watched = [(name, metric) for name, metric in profile.metrics.items() if metric.watched]
    limits = {
        name: _limits(nth * _PACKED.size, metric, profile.interval_s) for nth, (name, metric) in enumerate(watched)
    }
    rules = [Rule(tuple(asked.metrics), asked) for asked in profile.checks]
    return Plan(profile.id, limits, rules) if limits or rules else None


def beginning(plan: Plan) -> State:
    """Return the state of a device of which nothing is known."""
    return State(plan.profile, _unknown(len(plan.limits)))


def _unknown(series: int) -> bytearray:
    return bytearray(_PACKED.pack(*_NOTHING) * series)


def resumed(plan: Plan, newest: Mapping[str, Reading]) -> State:
    """Return the state of a device whose newest readings are known: what is stuck stays stuck, three values are not."""
    state = beginning(plan)
    for name, limits in plan.limits.items():
        reading = newest.get(name)
        if reading is not None:
            _PACKED.pack_into(state.live, limits.place, *_resumed(limits, reading))
    return state


def check_columns(plan: Plan, state: State, columns: Sequence[Samples], *, filling: bool = False) -> list[Samples]:
    """Return a record's columns with more flags, and take them up in the state.

    While a device is `filling` a gap from what it kept, nothing is called a gap: it may close yet.
    """
    found = list(columns)
    if len(found) > 1 and plan.rules:
        _cross_all(plan.rules, found)
    steps: _Steps | None = None
    for nth, column in enumerate(found):
        limits = plan.limits.get(column.metric)
        if limits is None:
            continue
        if len(column.times) == 1:
            calm = _calm_one(limits, state.live, column)
        else:
            steps = steps or _Steps()
            calm = _calm(limits, state.live, column, steps)
        if not calm:
            found[nth] = _walk(limits, state, column, filling=filling)
    return found


def _limits(place: int, metric: Metric, interval_s: float) -> Limits:
    gap = _ms(metric.max_gap_s)
    return Limits(
        place=place,
        rate=math.inf if metric.max_rate is None else metric.max_rate / 1000,
        spike=metric.spike or math.inf,
        stuck=_ms(metric.stuck_after_s),
        tolerance=metric.stuck_tolerance,
        gap=gap,
        memory=gap if gap < math.inf else max(_LEAST_PAUSE_MS, 10_000 * interval_s),
        circular=metric.aggregation is Aggregation.CIRCULAR,
    )


def _ms(seconds: float | None) -> float:
    return math.inf if seconds is None else seconds * 1000


_USED: Final = frozenset({Quality.GOOD, Quality.STUCK, Quality.GAP})
"""_Flags of values that later ones may be compared with."""


def _resumed(limits: Limits, reading: Reading) -> _Known:
    known = [float(reading.t), *_NOTHING[1:]]
    if reading.quality not in _USED or reading.value is None or isinstance(reading.value, str):
        return known
    known[_GOOD_T] = known[_RUN_T] = reading.t
    known[_GOOD] = known[_RUN] = float(reading.value)
    if reading.quality is Quality.STUCK:
        known[_RUN_T] = reading.t - limits.stuck
    return known


class _Steps:
    """Shortest and longest step of a record's times: its columns mostly share them, so they are found once."""

    def __init__(self) -> None:
        self.times: Sequence[int] = ()
        self.shortest, self.longest = math.inf, 0.0

    def take(self, times: Sequence[int]) -> None:
        steps = list(map(sub, times[1:], times))
        self.times = times
        self.shortest, self.longest = (min(steps), max(steps)) if steps else (math.inf, 0.0)


def _calm_one(limits: Limits, live: bytearray, column: Samples) -> bool:
    """The same as `_calm` for a column of one value, without the way around sequences."""
    _, _, (t,), (number,), flags = column
    if flags is not None or type(number) is not float:
        return False
    known = _PACKED.unpack_from(live, limits.place)
    if not 0 < t - known[_T] <= limits.memory or not math.isfinite(number) or not _near_one(limits, known, t, number):
        return False
    *_, second, third, run_t, run = known
    if limits.stuck < math.inf:
        if not abs(number - run) <= limits.tolerance:
            run_t, run = t, number
        elif not t - run_t < limits.stuck:
            return False
    _PACKED.pack_into(live, limits.place, t, t, number, second, third, number, run_t, run)
    return True


def _near_one(limits: Limits, known: tuple[float, ...], t: int, number: float) -> bool:
    """The same as `_near` for one value."""
    _, good_t, good, first, second, third, _, run = known
    spike, rate = limits.spike, limits.rate
    if limits.circular and not abs(number - run) <= _HALF_TURN:
        return False
    # what is not known is not a number, and no comparison with it is true
    if abs(number - first) > spike or abs(number - second) > spike or abs(number - third) > spike:
        return False
    return rate == math.inf or abs(number - good) <= rate * (t - good_t)


def _calm(limits: Limits, live: bytearray, column: Samples, steps: _Steps) -> bool:
    """Take up a column that surely gets no flag; False when it must be walked through. The common case, cheaply."""
    _, _, times, values, flags = column
    if flags is not None or type(values[0]) is not float:
        return False
    numbers: Sequence[float] = values  # type: ignore[assignment]  # a column holds values of one type
    if times is not steps.times:
        steps.take(times)
    known = _PACKED.unpack_from(live, limits.place)
    pause = times[0] - known[_T]
    if not (0 < pause <= limits.memory and steps.shortest > 0 and steps.longest <= limits.memory):
        return False
    if not (math.isfinite(sum(numbers)) and _near(limits, known, times[0], numbers, steps.shortest)):
        return False
    *_, first, second, third, run_t, run = known
    if limits.stuck < math.inf:
        if not -limits.tolerance <= numbers[0] - run <= limits.tolerance:
            run_t, run = times[0], numbers[0]
        if not times[-1] - run_t < limits.stuck:
            return False
        run_t, run = _run(limits.tolerance, times, numbers, (run_t, run))
    first, second, third = (first, second, third, *numbers[-3:])[-3:]
    end = times[-1]
    _PACKED.pack_into(live, limits.place, end, end, numbers[-1], first, second, third, run_t, run)
    return True


def _near(limits: Limits, known: tuple[float, ...], start: int, numbers: Sequence[float], shortest: float) -> bool:
    """Tell by the extremes whether nothing can be a spike or too fast. Straight differences are never the smaller ones.

    Of directions only those within half a turn: there the straight difference is the round one.
    """
    rate, spike, circular = limits.rate, limits.spike, limits.circular
    if spike == rate == math.inf and not circular:
        return True
    low, high = min(numbers), max(numbers)
    _, good_t, good, first, second, third, _, run = known
    if circular and not max(high, run) - min(low, run) <= _HALF_TURN:
        return False
    # what is not known is not a number, and no comparison with it is true
    if high - low > spike or high - first > spike or high - second > spike or high - third > spike:
        return False
    if first - low > spike or second - low > spike or third - low > spike:
        return False
    if rate == math.inf:
        return True
    most = rate * shortest
    return abs(numbers[0] - good) <= rate * (start - good_t) and (high - low <= most or _steepest(numbers) <= most)


def _steepest(numbers: Sequence[float]) -> float:
    steps: Iterator[float] = map(sub, numbers[1:], numbers)
    return max(map(abs, steps))


def _run(
    tolerance: float, times: Sequence[int], numbers: Sequence[float], known: tuple[float, float]
) -> tuple[float, float]:
    """Return where the still run begins that is on at the end, and its value."""
    run_t, run = known
    if tolerance == 0:
        return _equal(times, numbers, known)
    for t, number in zip(times, numbers, strict=True):
        if not -tolerance <= number - run <= tolerance:
            run_t, run = t, number
    return run_t, run


def _equal(times: Sequence[int], numbers: Sequence[float], known: tuple[float, float]) -> tuple[float, float]:
    """Return the same for a run of equal values: found from the end, mostly at the first look."""
    last = numbers[-1]
    for at in range(len(numbers) - 1, 0, -1):
        if numbers[at - 1] != last:
            return times[at], last
    return known


def _walk(limits: Limits, state: State, column: Samples, *, filling: bool) -> Samples:
    """Judge a column value by value: what is newer than all before in one lane, what is late in the other."""
    before = column.qualities or [None] * len(column.times)
    live, late = _known(state.live, limits), _known(state.late, limits)
    flags: _Flags = []
    moved = False
    for t, value, flag in zip(column.times, column.values, before, strict=True):
        ahead = t > live[_T]
        moved = moved or not ahead
        found = _step(limits, live if ahead else late, t, value, flag)
        if found is Quality.GAP and (filling or not ahead):
            found = None
        flags.append(flag or found)
    _PACKED.pack_into(state.live, limits.place, *live)
    if moved:
        state.late = state.late or _unknown(len(state.live) // _PACKED.size)
        _PACKED.pack_into(state.late, limits.place, *late)
    return column if flags == list(before) else column._replace(qualities=flags)


def _known(lane: bytearray | None, limits: Limits) -> _Known:
    return list(_PACKED.unpack_from(lane, limits.place)) if lane else list(_NOTHING)


def _step(limits: Limits, known: _Known, t: int, value: Value | None, flag: Quality | None) -> Quality | None:
    """Take one value up in what is known of its lane; return the flag that it deserves."""
    pause = t - known[_T]
    gap = Quality.GAP if limits.gap < pause < math.inf else None
    if not 0 < pause <= limits.memory:  # nothing is known, or too old, or this goes back
        known[:] = _NOTHING
    known[_T] = t
    if value is None or isinstance(value, str) or flag not in (None, Quality.CROSS_FIELD) or not math.isfinite(value):
        return gap
    number = float(value)
    found = _unlikely(limits, known, t, number)
    if found is None and flag is None:
        known[_GOOD_T], known[_GOOD] = t, number
    known[_FIRST], known[_SECOND], known[_THIRD] = known[_SECOND], known[_THIRD], number
    still = _still(limits, known, t, number) if limits.stuck < math.inf else None
    return found or still or gap


def _unlikely(limits: Limits, known: _Known, t: int, number: float) -> Quality | None:
    away: Callable[[float, float], float] = _round if limits.circular else sub
    first, second, third = known[_FIRST], known[_SECOND], known[_THIRD]
    if limits.spike < math.inf and not math.isnan(first):  # three are known
        three = sorted((away(number, first), away(number, second), away(number, third)))
        if abs(three[1]) > limits.spike:
            return Quality.SPIKE
    if limits.rate < math.inf and abs(away(number, known[_GOOD])) > limits.rate * (t - known[_GOOD_T]):
        return Quality.RATE_OF_CHANGE
    return None


def _still(limits: Limits, known: _Known, t: int, number: float) -> Quality | None:
    away: Callable[[float, float], float] = _round if limits.circular else sub
    if not abs(away(number, known[_RUN])) <= limits.tolerance:
        known[_RUN_T], known[_RUN] = t, number
    return Quality.STUCK if t - known[_RUN_T] >= limits.stuck else None


def _round(a: float, b: float) -> float:
    """Return how far direction a is from b, in degrees, -180 to 180.

    >>> _round(10.0, 350.0), _round(350.0, 10.0)
    (20.0, -20.0)
    """
    return (a - b + 180) % 360 - 180


def _cross_all(rules: Sequence[Rule], columns: list[Samples]) -> None:
    """Flag the rows of a record in which rules between its metrics are broken."""
    names = [column.metric for column in columns]
    for rule in rules:
        if all(map(names.__contains__, rule.metrics)):
            _cross(rule, columns, [names.index(name) for name in rule.metrics])


def _cross(rule: Rule, columns: list[Samples], mine: Sequence[int]) -> None:
    """Flag the rows in which a rule is broken, in each of its metrics, which are `mine` of the columns."""
    compared = [columns[nth] for nth in mine]
    if _holds(rule.asked, compared):
        return
    for nth, flags in zip(mine, _crossed(rule.asked, compared), strict=True):
        columns[nth] = columns[nth]._replace(qualities=flags) if any(flags) else columns[nth]


def _holds(rule: AtMost | Never, columns: list[Samples]) -> bool:
    """Tell by the extremes alone that no row can break a rule."""
    numbers: list[Sequence[float]] = [column.values for column in columns if column.qualities is None]  # type: ignore[misc]
    if len(numbers) < len(columns):
        return False
    if isinstance(rule, AtMost):
        return max(numbers[0]) <= min(numbers[1]) + rule.tolerance
    return any(
        max(column) < low or min(column) > high
        for column, (low, high) in zip(numbers, rule.ranges.values(), strict=True)
    )


def _crossed(rule: AtMost | Never, columns: list[Samples]) -> list[_Flags]:
    """Return the flags of columns after a rule; values that are flagged already take no part in it."""
    keys = [_keys(column.times) for column in columns]
    flags = [list(column.qualities or [None] * len(column.times)) for column in columns]
    rows = [_rows(*parts) for parts in zip(keys, columns, flags, strict=True)]
    breaks = _above(rule) if isinstance(rule, AtMost) else _within(rule)
    shared = set(rows[0]).intersection(*rows[1:])
    broken = {key for key in shared if breaks([row[key] for row in rows])}
    return [
        [flag or (Quality.CROSS_FIELD if key in broken else None) for key, flag in zip(*parts, strict=True)]
        for parts in zip(keys, flags, strict=True)
    ]


def _above(rule: AtMost) -> Callable[[list[float]], bool]:
    return lambda row: row[0] > row[1] + rule.tolerance


def _within(rule: Never) -> Callable[[list[float]], bool]:
    ranges = list(rule.ranges.values())
    return lambda row: all(low <= value <= high for value, (low, high) in zip(row, ranges, strict=True))


def _rows(keys: list[tuple[int, int]], column: Samples, flags: _Flags) -> dict[tuple[int, int], float]:
    return {
        key: float(value)
        for key, value, flag in zip(keys, column.values, flags, strict=True)
        if isinstance(value, float | int) and flag in (None, Quality.CROSS_FIELD)
    }


def _keys(times: Sequence[int]) -> list[tuple[int, int]]:
    """Return what joins the rows of columns: the time, and which one of equal times it is."""
    if len(set(times)) == len(times):
        return [(t, 0) for t in times]
    seen: dict[int, int] = {}
    keys = []
    for t in times:
        keys.append((t, seen.get(t, 0)))
        seen[t] = seen.get(t, 0) + 1
    return keys
