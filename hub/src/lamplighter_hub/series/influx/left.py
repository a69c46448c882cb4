"""What is left of a range whose raw points are gone: whole roll-ups, and the finest of those that the range cuts.

Of the points of a day that one commit (a number) rolled up, all roll-ups of a level are there, or none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from lamplighter_hub.series.ages import WIDTHS, Level
from lamplighter_hub.series.influx.rolled import Rolled
from lamplighter_hub.series.store import Span

Range = tuple[int, int]
"""From a time up to another (ms)."""
Numbered = tuple[int, Rolled]
Ask = Callable[[Level, Sequence[Range]], Iterable[Numbered]]
"""Returns the roll-ups of a level that begin in some ranges, with the number of the commit that wrote each."""


class Left(NamedTuple):
    """A roll-up that touches a range, and whether the range cuts it; cut ones count whole."""

    number: int
    rolled: Rolled
    cut: bool


def left(ask: Ask, within: Range, coarsest: Level, finest: Level) -> list[Left]:
    """Return what is left of a range, in order of time."""
    return sorted(_left(ask, within, coarsest, finest), key=lambda one: one.rolled.t)


def span(found: Sequence[Left], raw: Span, within: Range) -> Span:
    """Return how much of roll-ups and raw points together lies in a range."""
    firsts = [max(one.rolled.first_t, within[0]) for one in found]
    lasts = [min(one.rolled.last_t, within[1] - 1) for one in found]
    return Span(
        raw.points + sum(map(_points, found)),
        min(firsts if raw.first is None else [*firsts, raw.first], default=None),
        max(lasts if raw.last is None else [*lasts, raw.last], default=None),
        sum(_points(one) for one in found if one.cut),
    )


def _left(ask: Ask, within: Range, level: Level, finest: Level) -> Iterator[Left]:
    """Look into what the range cuts, level by level, as far as there is something finer."""
    whole = _begin(within[0], level), -_begin(-within[1], level)
    found = list(_judged(ask(level, [whole]), within))
    while level > finest and (cut := [one for one in found if one.cut]):
        yield from (one for one in found if not one.cut)
        begins = sorted({one.rolled.t for one in cut})
        finer = list(ask(Level(level - 1), [(t, t + WIDTHS[level]) for t in begins]))
        known = {(number, _begin(rolled.t, level)) for number, rolled in finer}
        yield from _judged([one[:2] for one in cut if (one.number, one.rolled.t) not in known], within)
        found = list(_judged(finer, within))
        level = Level(level - 1)
    yield from found


def _judged(rolled: Iterable[Numbered], within: Range) -> Iterator[Left]:
    """Yield those that touch a range; those of one time are cut together."""
    for _, group in groupby(sorted(rolled, key=lambda one: one[1].t), lambda one: one[1].t):
        mine = list(group)
        first, last = min(one.first_t for _, one in mine), max(one.last_t for _, one in mine)
        if first < within[1] and last >= within[0]:
            cut = first < within[0] or last >= within[1]
            yield from (Left(number, one, cut) for number, one in mine)


def _begin(t: int, level: Level) -> int:
    return t // WIDTHS[level] * WIDTHS[level]


def _points(one: Left) -> int:
    return one.rolled.good + one.rolled.flagged
