"""Which place among equal milliseconds a point takes, so that InfluxDB keeps all of them and in the order of arrival.

InfluxDB keeps one value per series and nanosecond; a device's milliseconds leave six digits. Per series we know a few
runs of time in which all stored points lie. After the end of a run nothing is stored before the next run begins, so
what comes there needs no look: its places count from 0. Only for a point inside of a run the store is asked, and the
run is cut in two behind it, so that a backlog that fills a hole asks once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lamplighter_hub.series.influx.lines import NS
from lamplighter_hub.series.store import Unstorable

GAP_MS: Final = 60_000
"""A pause after which a new run begins; what is late is likely to fall into it."""
RUNS: Final = 6
"""Runs kept for a series, beside its newest; older ones are joined."""
_NEVER: Final = np.iinfo(np.int64).min


class Run(NamedTuple):
    """All that is stored between two gaps lies from `start` to `end` (ms); `free` is the next place at `end`."""

    start: int
    end: int
    free: int


class Floor(NamedTuple):
    """From `start` to `end` (ms) the places below `least` belong to writes that may still arrive."""

    start: int
    end: int
    least: int


class Question(NamedTuple):
    """Asks what is stored of a series from `start` to `end` (ms), both included."""

    series: int
    start: int
    end: int


class Answer(NamedTuple):
    """The next free place of each millisecond that is taken, and the first time after the range, if any."""

    free: dict[int, int]
    following: int | None


class Places:
    """The runs of all series. Used under the writer's lock, but for `tell`."""

    def __init__(
        self,
        newest: Callable[[Sequence[int]], dict[int, int]],
        look: Callable[[Sequence[Question]], list[Answer]],
        unknown: int = 0,
    ) -> None:
        self._ask_newest = newest
        self._look = look
        self._start: NDArray[np.int64] = np.full(unknown, _NEVER, dtype=np.int64)
        self._end: NDArray[np.int64] = np.full(unknown, _NEVER, dtype=np.int64)
        self._free: NDArray[np.int64] = np.zeros(unknown, dtype=np.int64)
        self._known: NDArray[np.bool_] = np.zeros(unknown, dtype=np.bool_)
        self._earlier: dict[int, list[Run]] = {}
        self._telling = threading.Lock()

    def tell(self, series: Sequence[int], newest: Mapping[int, int]) -> None:
        """Take up the newest times (ns) of series that were there before us; from any thread.

        Of those that are known already something else may be newest by now: they are left alone.
        """
        with self._telling:
            for number in series:
                if number < len(self._known) and not self._known[number]:
                    if number in newest:
                        self._end[number], place = divmod(newest[number], NS)
                        self._free[number] = place + 1
                    self._known[number] = True

    def assign(
        self, series: NDArray[np.int32], t: NDArray[np.int64], floors: Sequence[Floor] = ()
    ) -> NDArray[np.int64]:
        """Return the nanoseconds at which points (in order of arrival) are to be written, and hold them taken."""
        if not len(t):
            return t
        self._reach(int(series.max()))
        self._learn(np.unique(series))
        order = np.lexsort((t, series))
        group = _Groups(series[order], t[order])
        least = _least(group.t, floors)
        base = np.maximum(np.where(group.t == self._end[group.series], self._free[group.series], 0), least)
        late = group.t < self._end[group.series]
        if late.any():
            base[late] = self._late(group.series[late], group.t[late], group.size[late], least[late])
        self._advance(group, base, ~late)
        place = np.repeat(base, group.size) + group.rank
        if place.max() >= NS:
            raise Unstorable(f"more than {NS} points of one series have the same time")
        times = np.empty(len(t), dtype=np.int64)
        times[order] = t[order] * NS + place
        return times

    def _learn(self, series: NDArray[np.int32]) -> None:
        """Ask for the newest time of series that were there before us: all that they have is one run up to it."""
        missing = series[~self._known[series]].tolist()
        if missing:
            self.tell(missing, self._ask_newest(missing))

    def _advance(self, group: _Groups, base: NDArray[np.int64], newer: NDArray[np.bool_]) -> None:
        """Stretch the newest run of each series up to its last point, or begin a new one behind a gap."""
        if not newer.any():
            return
        numbers, t, free = group.series[newer], group.t[newer], base[newer] + group.size[newer]
        change = np.flatnonzero(np.diff(numbers)) + 1
        first, last = np.concatenate(([0], change)), np.concatenate((change - 1, [len(numbers) - 1]))
        series = numbers[first]
        begins = (t[first] > self._end[series] + GAP_MS) | (self._end[series] == _NEVER)
        for number in series[begins & (self._end[series] != _NEVER)].tolist():
            self._keep(number, Run(int(self._start[number]), int(self._end[number]), int(self._free[number])))
        self._start[series[begins]] = t[first][begins]
        self._end[series], self._free[series] = t[last], free[last]

    def _late(
        self,
        series: NDArray[np.int32],
        t: NDArray[np.int64],
        size: NDArray[np.int64],
        least: NDArray[np.int64],
    ) -> NDArray[np.int64]:
        """Return the first place of groups that lie before the newest time of their series."""
        base = least.copy()
        asked: list[tuple[Question, slice]] = []
        change = np.flatnonzero(np.diff(series)) + 1
        bounds = [0, *change.tolist(), len(series)]
        for first, last in pairwise(bounds):
            part = slice(first, last)
            number, times = int(series[first]), t[part].tolist()
            if not self._fill(number, times, size[part].tolist(), base[part]):
                asked.append((Question(number, times[0], times[-1]), part))
        answers = self._look([question for question, _ in asked]) if asked else []
        for (question, part), answer in zip(asked, answers, strict=True):
            base[part] = np.maximum([answer.free.get(time, 0) for time in t[part].tolist()], least[part])
            self._cut(question, int(base[part][-1] + size[part][-1]), answer.following)
        return base

    def _fill(self, number: int, times: list[int], sizes: list[int], base: NDArray[np.int64]) -> bool:
        """Place late groups that lie behind or between all runs; False, and nothing done, when one lies within."""
        runs = list(self._earlier.get(number, ()))
        newest_start = int(self._start[number])
        for place, (time, size) in enumerate(zip(times, sizes, strict=True)):
            at = next((at for at in range(len(runs) - 1, -1, -1) if runs[at].start <= time), -1)
            if time >= newest_start or (at >= 0 and time < runs[at].end):
                return False
            if at >= 0 and time - runs[at].end <= GAP_MS:
                if time == runs[at].end:
                    base[place] = max(int(base[place]), runs[at].free)
                runs[at] = Run(runs[at].start, time, int(base[place]) + size)
            else:
                runs.insert(at + 1, Run(time, time, int(base[place]) + size))
        self._earlier[number] = _few(runs)
        return True

    def _cut(self, question: Question, free: int, following: int | None) -> None:
        """Note what a look has shown: nothing lies between the end of a question and the time that follows it."""
        number, start, end = question
        newest = Run(int(self._start[number]), int(self._end[number]), int(self._free[number]))
        runs = [*self._earlier.get(number, ()), newest]
        before = [run for run in runs if run.end < start]
        touched = [run for run in runs if run.end >= start and run.start <= end]
        after = [run for run in runs if run.start > end]
        if touched and touched[-1].end > end:
            rest = touched[-1]
            after.insert(0, Run(rest.end if following is None else min(following, rest.end), rest.end, rest.free))
        middle = Run(min([start, *(run.start for run in touched)]), end, free)
        known = [*before, middle, *after]
        last = known.pop()
        self._start[number], self._end[number], self._free[number] = last.start, last.end, last.free
        self._earlier[number] = _few(known)

    def _keep(self, number: int, run: Run) -> None:
        self._earlier[number] = _few([*self._earlier.get(number, ()), run])

    def _reach(self, number: int) -> None:
        """Make room for series that are new: nothing of them is stored."""
        size = len(self._end)
        if number < size:
            return
        more = max(1024, number + 1 - size, size)
        with self._telling:
            self._grow(more)

    def _grow(self, more: int) -> None:
        self._start = np.concatenate([self._start, np.full(more, _NEVER, dtype=np.int64)])
        self._end = np.concatenate([self._end, np.full(more, _NEVER, dtype=np.int64)])
        self._free = np.concatenate([self._free, np.zeros(more, dtype=np.int64)])
        self._known = np.concatenate([self._known, np.ones(more, dtype=np.bool_)])


class _Groups:
    """Sorted points as groups of one series and time: series, t and size by group, rank within it by point."""

    def __init__(self, series: NDArray[np.int32], t: NDArray[np.int64]) -> None:
        starts = np.flatnonzero(np.concatenate(([True], (series[1:] != series[:-1]) | (t[1:] != t[:-1]))))
        self.series, self.t = series[starts], t[starts]
        self.size: NDArray[np.int64] = np.diff(np.append(starts, len(t)))
        self.rank = np.arange(len(t)) - np.repeat(starts, self.size)


def _least(t: NDArray[np.int64], floors: Sequence[Floor]) -> NDArray[np.int64]:
    """Return the lowest place that is allowed at each time."""
    least = np.zeros(len(t), dtype=np.int64)
    for floor in floors:
        within = (t >= floor.start) & (t <= floor.end)
        least[within] = np.maximum(least[within], floor.least)
    return least


def _few(runs: list[Run]) -> list[Run]:
    """Join the oldest runs when there are too many: what lies between them is unknown again."""
    while len(runs) > RUNS:
        runs[:2] = [Run(runs[0].start, runs[1].end, runs[1].free)]
    return runs
