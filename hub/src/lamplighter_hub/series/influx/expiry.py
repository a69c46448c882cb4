"""What goes by age from InfluxDB: each class of metric has its days for raw points and for each roll-up.

A day of some series is read and summed up; its roll-ups are one commit, whose record says which raw points they stand
for; then these are deleted. A crash before the record leaves a void commit, a crash after it a deletion that is done
before anything else is stored (docs/decisions/0049).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lamplighter_hub.series.ages import DAY_MS, WIDTHS, Ages, Level, Policy
from lamplighter_hub.series.influx import rolled
from lamplighter_hub.series.influx.asking import EARLIEST_NS, Row
from lamplighter_hub.series.influx.client import Influx
from lamplighter_hub.series.influx.journal import Journal, Move, Reach
from lamplighter_hub.series.influx.lines import NS
from lamplighter_hub.series.influx.moves import Moves
from lamplighter_hub.series.influx.reader import CHUNK, DEVICES, Reader, Series
from lamplighter_hub.series.influx.rolled import Rolled
from lamplighter_hub.series.influx.scopes import by_scope, old, together, whole_devices
from lamplighter_hub.series.pace import Moment, Pace
from lamplighter_hub.series.store import BEGINNING, SeriesError

TOGETHER: Final = 20
"""Series whose day is one commit: some 30,000 roll-ups."""
TRIES: Final = 3
_HOUR_MS: Final = 3_600_000


class _Sum(NamedTuple):
    """What a day of a series comes to, by level, and its last row."""

    series: Series
    rolled: dict[Level, list[Rolled]]
    last: Row | None


class Expiry:
    """Lets go what is older than it is kept.

    `writing` is the writer's lock, `newest` tells a series' newest time (ms), `metrics` what a device has of them.
    `ready` raises when the writer is in the middle of a commit.
    """

    def __init__(
        self,
        influx: Influx,
        reader: Reader,
        journal: Journal,
        moves: Moves,
        pace: Pace,
        writing: threading.Lock,
        newest: Callable[[Series], int],
        metrics: Callable[[str], Collection[str]],
        ready: Callable[[], None],
    ) -> None:
        self._influx = influx
        self._reader = reader
        self._journal = journal
        self._moves = moves
        self._pace = pace
        self._writing = writing
        self._newest = newest
        self._metrics = metrics
        self._ready = ready
        self._window: tuple[int, int] | None = None
        self._touched = False
        self._broken: Reach | None = None
        self._forgotten: dict[tuple[Level, Series], int] = {}
        self._looked: dict[int, dict[str, int]] = {}

    def points(self, ages: Mapping[Series, Ages], now: int) -> None:
        """Let points and roll-ups go. Raises SeriesError."""
        for device_series in _by_devices(ages):
            while todo := self._todo(device_series, ages, now):
                for (day, level), series in todo:
                    for part in together(series, TOGETHER):
                        began = Moment.now()
                        self._day(part, day, level)
                        self._pace.rest(began)
        for level in (Level.MINUTE, Level.HOUR, Level.DAY):
            self._forget(level, ages, now)

    def saw(self, times: NDArray[np.int64]) -> None:
        """Note what is committed: what is just being summed up may be incomplete. Called by the writer."""
        if self._window is not None:
            start, end = self._window
            self._touched = self._touched or bool(((times >= start) & (times < end)).any())

    def settle(self) -> None:
        """End what broke off, before anything else is stored. Called by the writer. Raises SeriesError."""
        if self._broken is not None:
            self._journal.give_up(self._broken)
            self._broken = None
        if (move := self._journal.moving) is None:
            return
        for tags in by_scope(move.series, move.whole):
            self._influx.delete("readings", move.start * NS, move.end * NS - 1, **tags)
        self._journal.settle(move)
        self._moves.end()

    # raw points

    def _todo(
        self, series: Sequence[Series], ages: Mapping[Series, Ages], now: int
    ) -> list[tuple[tuple[int, Level], list[Series]]]:
        """Return the oldest days that go: day and what is left of it, and whose."""
        found: dict[tuple[int, Level], list[Series]] = {}
        for one, t in self._reader.oldest(series, now):
            day = t // DAY_MS * DAY_MS
            if (level := ages[one].level(day + DAY_MS, now)) > Level.RAW:
                found.setdefault((day, level), []).append(one)
        return sorted(found.items())

    def _day(self, series: Sequence[Series], day: int, level: Level) -> None:
        """Let roll-ups stand for the raw points of a day. Raises SeriesError."""
        for _ in range(TRIES):
            with self._writing:
                self._window, self._touched = (day, day + DAY_MS), False
            try:
                sums = [self._sum(one, day, level) for one in series]
                with self._writing:
                    if not self._touched:
                        self._ready()
                        self.settle()
                        self._move(sums, day)
                        return
            finally:
                self._window = None
        raise SeriesError("late points came for what is too old, again and again; it is let go later")

    def _sum(self, one: Series, day: int, level: Level) -> _Sum:
        found: dict[Level, list[Rolled]] = {kept: [] for kept in WIDTHS if kept >= level}
        hours: list[Rolled] = []
        last: Row | None = None
        for rows in _hourly(self._reader.rows(one, day, day + DAY_MS)):
            hours += rolled.roll(rows, Level.HOUR)
            if Level.MINUTE in found:
                found[Level.MINUTE] += rolled.roll(rows, Level.MINUTE)
            last = rows[-1]
        if Level.HOUR in found:
            found[Level.HOUR] = hours
        if Level.DAY in found and hours:
            found[Level.DAY] = [rolled.joined(day, hours)]
        return _Sum(one, found, last)

    def _move(self, sums: Sequence[_Sum], day: int) -> None:
        number, totals = self._journal.number, self._journal.totals
        series = tuple((one.series.device, one.series.metric) for one in sums)
        reach = Reach(day, day + DAY_MS, 0)
        self._broken = reach
        self._journal.begin(reach)
        if lines := "".join(self._lines(sums, day, number)):
            self._influx.write(lines.encode())
        self._reader.has_rolled = True
        self._moves.begin(series)
        try:
            whole = tuple(whole_devices(series, self._metrics))
            self._journal.finish((), (), totals, Move(number, day, day + DAY_MS, series, whole))
        except SeriesError:
            self._moves.end()
            raise
        self._broken = None
        self.settle()

    def _lines(self, sums: Sequence[_Sum], day: int, number: int) -> Iterator[str]:
        for one in sums:
            device, metric, _ = one.series
            for level, found in one.rolled.items():
                for item in found:
                    yield rolled.line(device, metric, level, item, number)
            if one.last is not None and self._newest(one.series) < day + DAY_MS:
                yield rolled.newest_line(device, metric, one.last, number)

    # roll-ups

    def _forget(self, level: Level, ages: Mapping[Series, Ages], now: int) -> None:
        """Delete the roll-ups of a level that are older than they are kept; at once what is kept alike."""
        if not self._reader.has_rolled:
            return
        until = {one: _until(kept[level], now) for one, kept in ages.items()}
        fresh = {one: t for one, t in until.items() if t is not None and self._forgotten.get((level, one)) != t}
        for before, tags in old(until, fresh):
            began = Moment.now()
            self._delete_rolled(level, before, **tags)
            self._pace.rest(began)
        self._forgotten |= {(level, one): t for one, t in fresh.items()}

    def _delete_rolled(self, level: Level, before: int, **tags: str) -> None:
        self._ready()
        self._influx.delete(rolled.NAMES[level], EARLIEST_NS, before * NS - 1, **tags)

    # events

    def events(self, devices: Sequence[str], policy: Policy, now: int) -> None:
        """Let events go. Raises SeriesError."""
        for days in {ages.events for ages in policy.ages.values() if ages.events}:
            looked = self._looked.setdefault(days, {})
            for device in devices:
                began = Moment.now()
                self._device_events(device, policy, now, (now // DAY_MS - days) * DAY_MS, looked)
                self._pace.rest(began)

    def saw_event(self, device: str, t: int) -> None:
        """Look again at what is older than what was looked at. Called by the writer."""
        for looked in self._looked.values():
            if t < looked.get(device, BEGINNING):
                looked[device] = t

    def _device_events(self, device: str, policy: Policy, now: int, before: int, looked: dict[str, int]) -> None:
        def goes(row: Row) -> bool:
            kept = policy.of_event(device, row[1]["name"]).events
            return kept is not None and row[0] // NS < (now // DAY_MS - kept) * DAY_MS

        while (start := looked.get(device, BEGINNING)) < before:
            with self._writing:
                self._ready()
                rows = self._reader.event_rows(device, start, before)
                for is_old, run in groupby(rows, goes):
                    found = [row[0] for row in run]
                    if is_old:
                        self._influx.delete("events", found[0], found[-1], device=device)
                looked[device] = before if len(rows) < CHUNK else rows[-1][0] // NS + 1


def _until(days: int | None, now: int) -> int | None:
    """Return before which time (ms) nothing is kept; None keeps everything."""
    return None if days is None else now // DAY_MS * DAY_MS - days * DAY_MS


def _by_devices(ages: Mapping[Series, Ages]) -> Iterator[list[Series]]:
    """Yield series whose raw points may go, so many devices at a time as one question names."""
    going = sorted(one for one, kept in ages.items() if kept.raw is not None)
    devices = list(dict.fromkeys(one.device for one in going))
    for place in range(0, len(devices), DEVICES):
        part = set(devices[place : place + DEVICES])
        yield [one for one in going if one.device in part]


def _hourly(pages: Iterable[list[Row]]) -> Iterator[list[Row]]:
    """Yield the rows of each hour, so that no more than these are in memory."""
    hour: list[Row] = []
    for rows in pages:
        for begin, group in groupby(rows, lambda row: row[0] // NS // _HOUR_MS):
            if hour and hour[-1][0] // NS // _HOUR_MS != begin:
                yield hour
                hour = []
            hour += group
    if hour:
        yield hour
