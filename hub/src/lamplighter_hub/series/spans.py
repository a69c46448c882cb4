"""What one sealing makes of the hours that are closed: pure planning."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from lamplighter_hub.series.manifest import DAY, HOUR, SealedFile


class Rules(NamedTuple):
    """When and how points are sealed.

    An hour is closed `grace_ms` after its end. A day of at most `small_day` points becomes one span. A file holds about
    `part` points at most, sorted at once. Late points that are few beside a large span (`large` points or more) get a
    file of their own, up to `patches` times. Hours are gathered when so many files (`gather`) of 16 days are not yet.
    `share` is the part of one core that sealing may take, `every_s` how often it looks.
    """

    grace_ms: int = 5 * 60_000
    small_day: int = 4_000_000
    part: int = 4_000_000
    large: int = 1_000_000
    patches: int = 8
    gather: int = 8
    share: float = 0.1
    every_s: float = 60.0


class Span(NamedTuple):
    """Points with begin <= t < end are to be written anew from their hot ones and these files."""

    begin: int
    end: int
    files: tuple[SealedFile, ...]


def plan(hours: Mapping[int, int], files: Sequence[SealedFile], closed: int, rules: Rules) -> list[Span]:
    """Return the spans to seal: `hours` counts hot points by the start of their hour, all before `closed`.

    `files` are the ones of all days that are touched; small days whose hours lie in several files are joined too.
    """
    found: list[Span] = []
    days = {hour // DAY * DAY for hour in hours} | {item.begin // DAY * DAY for item in files}
    for day in sorted(days):
        mine = [item for item in files if day <= item.begin < day + DAY]
        fresh = {hour: rows for hour, rows in hours.items() if day <= hour < day + DAY}
        found += _day(day, fresh, mine, closed, rules)
    return found


def _day(day: int, hours: Mapping[int, int], mine: Sequence[SealedFile], closed: int, rules: Rules) -> Iterable[Span]:
    whole = sum(hours.values()) + sum(item.rows for item in mine)
    is_day = any(item.end - item.begin == DAY for item in mine)
    if is_day or (day + DAY <= closed and whole <= rules.small_day):
        if hours or len({(item.begin, item.end) for item in mine}) > 1:
            yield _span(day, day + DAY, sum(hours.values()), mine, rules)
        return
    for hour, rows in sorted(hours.items()):
        yield _span(hour, hour + HOUR, rows, [item for item in mine if item.begin == hour], rules)


def _span(begin: int, end: int, fresh: int, files: Sequence[SealedFile], rules: Rules) -> Span:
    sealed = sum(item.rows for item in files)
    patches = len(files) - -(-sealed // rules.part)
    if fresh and sealed >= rules.large and sealed > 20 * fresh and patches < rules.patches:
        return Span(begin, end, ())
    return Span(begin, end, tuple(files))


def parts(series: Sequence[tuple[int, int]], most: int) -> list[tuple[int, int, int]]:
    """Cut counted series (number, points) into ranges: first number, last number, points.

    >>> parts([(1, 40), (2, 50), (5, 30), (9, 900)], 100)
    [(1, 2, 90), (5, 5, 30), (9, 9, 900)]
    """
    found: list[tuple[int, int, int]] = []
    for number, points in series:
        if found and found[-1][2] + points <= most:
            low, _, held = found.pop()
            found.append((low, number, held + points))
        else:
            found.append((number, number, points))
    return found
