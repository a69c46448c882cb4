"""Questions of the hub, put to InfluxDB: each sees the commits that are valid when it begins."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final, NamedTuple

from lamplighter_hub.series.ages import Level
from lamplighter_hub.series.influx import asking
from lamplighter_hub.series.influx.asking import Row, literal, within
from lamplighter_hub.series.influx.client import Influx, Table
from lamplighter_hub.series.influx.fast import fast_buckets
from lamplighter_hub.series.influx.journal import Valid
from lamplighter_hub.series.influx.left import Left, Numbered, Range, left, span
from lamplighter_hub.series.influx.lines import EARLIEST_MS, LATEST_MS, NS, TEXTS, joined
from lamplighter_hub.series.influx.moves import Moves
from lamplighter_hub.series.influx.places import Answer, Question
from lamplighter_hub.series.influx.reduce import Reducer
from lamplighter_hub.series.influx.rolled import COLUMNS, NAMES, levels_for, read
from lamplighter_hub.series.rows import Place, held, place_after, write_cursor
from lamplighter_hub.series.store import BEGINNING, END_OF_TIME, Bucket, Quarantined, Span, StoredEvent
from lamplighter_protocols.profile import Aggregation
from lamplighter_protocols.readings import Reading

CHUNK: Final = 5_000
"""Rows that an export hands out at once."""
LARGE_CHUNK: Final = 20_000
TOGETHER: Final = 400
"""Series in one question of an export, of whole devices: InfluxDB finds many single series much slower."""
AT_ONCE: Final = 100_000
"""Rows that come back at most."""
DEVICES: Final = 200
"""Devices named in one question."""
NEAR_MS: Final = 120_000
NEAR_DEVICES: Final = 50
"""Questions for places within this time and of so many devices are asked together."""
RECENT_MS: Final = 8 * 86_400_000
"""Where the newest points are looked for first, so that years of data are not opened."""


class Series(NamedTuple):
    """A series by name and number."""

    device: str
    metric: str
    number: int


class Newest(NamedTuple):
    """The newest time (ns) of a series by number, valid or not, and its newest valid row, also when its points went."""

    number: int
    ns: int | None
    row: Row | None


class Reader:
    """Reads one bucket. Safe to use from several threads."""

    def __init__(self, influx: Influx, valid: Callable[[], Valid], moves: Moves) -> None:
        self._influx = influx
        self._valid = valid
        self._moves = moves
        self.has_rolled = False
        """Whether there are roll-ups: then they are asked for beside raw points."""

    # readings

    def span(self, device: str, metric: str, start: int, end: int) -> Span:
        """Return how many points a series holds, the first and the last time, also of those that went."""
        return self._moves.still((device, metric), lambda: self._span(device, metric, start, end))

    def _span(self, device: str, metric: str, start: int, end: int) -> Span:
        raw = self._raw_span(device, metric, start, end)
        if not self.has_rolled:
            return raw
        return span(self._left(device, metric, (start, end), Level.DAY, Level.MINUTE), raw, (start, end))

    def _raw_span(self, device: str, metric: str, start: int, end: int) -> Span:
        where = asking.one_series(device, metric), self._seen(start, end)
        asked = ("count(stamp)", "first(stamp)", "last(stamp)")
        counted, first, last = self._influx.query(*(asking.select(what, "readings", *where) for what in asked))
        if not counted:
            return Span(0, None, None)
        return Span(asking.rows(counted)[0][1], asking.rows(first)[0][0] // NS, asking.rows(last)[0][0] // NS)

    def readings(
        self, device: str, metrics: Sequence[str], start: int, end: int, limit: int, place: Place | None
    ) -> tuple[list[Reading], str | None]:
        """Return a page of readings and the next cursor."""
        which = f"device = {literal(device)} AND {asking.any_of('metric', metrics)}"

        def select(first: int, last: int, most: int | None) -> list[Row]:
            limits = self._seen(first, last)
            what = f"{asking.VALUES}, metric"
            (found,) = self._influx.query(asking.select(what, "readings", which, limits, more=asking.limited(most)))
            return asking.rows(found)

        def order(row: Row) -> tuple[int, str, int]:
            return row[0] // NS, row[5], row[0]

        found: list[Row] = []
        if place is not None and start <= place.t < end:
            found = _rest(sorted(select(place.t, place.t + 1, None), key=order), place)
        begin = start if place is None else max(start, place.t + 1)
        if len(found) <= limit and begin < end:
            found += sorted(asking.whole(select, begin, end, limit + 1), key=order)
        page = [asking.reading(device, row[5], row) for row in found[:limit]]
        return page, write_cursor(*place_after(page, place)) if len(found) > limit else None

    def buckets(
        self, device: str, metric: str, start: int, end: int, width_ms: int, aggregation: Aggregation
    ) -> list[Bucket]:
        """Return the buckets of a series, also of points that went and whose roll-ups are left."""

        def ask() -> list[Bucket]:
            # Asked anew each time: the very first points may be giving way just now.
            levels = levels_for(width_ms, aggregation) if self.has_rolled else None
            if levels is None:
                return self._raw_buckets(device, metric, start, end, width_ms, aggregation)
            found = [one.rolled for one in self._left(device, metric, (start, end), *levels)]
            reducer = Reducer(width_ms, aggregation)
            reducer.take_rolled(found)
            # Behind the last of them there are raw points alone, and the server may reduce these.
            border = min(end, -(-(found[-1].t + 1) // width_ms) * width_ms) if found else start
            if found:
                for rows in self._pages(device, metric, start, border):
                    reducer.take(rows)
            return reducer.buckets() + self._raw_buckets(device, metric, border, end, width_ms, aggregation)

        return self._moves.still((device, metric), ask)

    def _left(self, device: str, metric: str, within: Range, coarsest: Level, finest: Level) -> list[Left]:
        """Return the roll-ups that touch a range, in order of time: the finest there are of those that it cuts."""

        def ask(level: Level, ranges: Sequence[Range]) -> Iterator[Numbered]:
            limits = [(max(start, EARLIEST_MS), min(end, LATEST_MS)) for start, end in ranges]
            which = asking.one_series(device, metric)
            asked = [asking.select(COLUMNS, NAMES[level], which, self._seen(*one)) for one in limits]
            for tables in self._influx.query(*asked):
                yield from map(read, asking.rows(tables))

        return left(ask, within, coarsest, finest)

    def _raw_buckets(
        self, device: str, metric: str, start: int, end: int, width_ms: int, aggregation: Aggregation
    ) -> list[Bucket]:
        """Reduced by InfluxDB where that is possible, else here."""
        span = self._raw_span(device, metric, start, end)
        if span.first is None or span.last is None:
            return []
        start, end = max(start, span.first), min(end, span.last + 1)
        where = f"{asking.one_series(device, metric)} AND {self._seen(start, end)}"
        found = fast_buckets(self._influx, where, (start, end), width_ms, aggregation)
        if found is not None:
            return found
        reducer = Reducer(width_ms, aggregation)
        for rows in self._pages(device, metric, start, end):
            reducer.take(rows)
        return reducer.buckets()

    def export_readings(
        self, series: Sequence[Series], metrics: Sequence[str], start: int, end: int
    ) -> Iterator[list[Reading]]:
        """Yield chunks of readings by series, time and arrival; `series` are all of their devices, or of `metrics`."""
        only = [asking.any_of("metric", metrics)] if metrics else []
        for part in packed(by_device(series), TOGETHER):
            limit = max(1, min(CHUNK, AT_ONCE // len(part)))
            which = asking.any_of("device", dict.fromkeys(one.device for one in part)), *only
            groups = f"GROUP BY device, metric LIMIT {limit}"
            (tables,) = self._influx.query(
                asking.select(asking.VALUES, "readings", *which, self._seen(start, end), more=groups)
            )
            first = {(table.tags["device"], table.tags["metric"]): table.rows for table in tables}
            for one in part:
                rows = first.pop((one.device, one.metric), [])
                yield from _chunks(one, rows)
                if len(rows) == limit:
                    for more in self._pages(one.device, one.metric, start, end, after=rows[-1][0]):
                        yield from _chunks(one, more)

    def _pages(self, device: str, metric: str, start: int, end: int, after: int | None = None) -> Iterator[list[Row]]:
        """Yield all rows of a series in chunks; no question stays open while somebody reads them."""
        which = asking.one_series(device, metric)
        while True:
            behind = () if after is None else (f"time > {after}",)
            limits = which, self._seen(start, end), *behind
            (tables,) = self._influx.query(
                asking.select(asking.VALUES, "readings", *limits, more=asking.limited(LARGE_CHUNK))
            )
            rows = asking.rows(tables)
            if rows:
                yield rows
            if len(rows) < LARGE_CHUNK:
                return
            after = rows[-1][0]

    def oldest(self, series: Sequence[Series], before: int) -> list[tuple[Series, int]]:
        """Return the first time (ms) of each series that has a point before a time (ms), valid or not."""
        by_name = {one[:2]: one for one in series}
        which = asking.any_of("device", dict.fromkeys(one.device for one in series))
        limits = within(BEGINNING, before)
        (tables,) = self._influx.query(
            asking.select("stamp", "readings", which, limits, more="GROUP BY device, metric LIMIT 1")
        )
        found = ((by_name.get((table.tags["device"], table.tags["metric"])), table.rows[0][0]) for table in tables)
        return [(one, ns // NS) for one, ns in found if one is not None]

    def rows(self, one: Series, start: int, end: int) -> Iterator[list[Row]]:
        """Yield the valid rows of a series in chunks, in order."""
        return self._pages(one.device, one.metric, start, end)

    def event_rows(self, device: str, start: int, end: int) -> list[Row]:
        """Return the oldest events of a device, many at most; the last millisecond is complete."""

        def select(first: int, last: int, most: int | None) -> list[Row]:
            return self._events((device, None), first, last, most, oldest_first=True)

        return asking.whole(select, start, end, CHUNK)

    def look_for_rolled(self) -> None:
        """Learn whether points went: then there are roll-ups, or newest readings whose raw points went."""
        (tables,) = self._influx.query(f"SELECT stamp FROM {NAMES[Level.DAY]}, newest LIMIT 1")  # noqa: S608 (names of this package)
        self.has_rolled = bool(tables)

    def newest(self, series: Sequence[Series]) -> Iterator[Newest]:
        """Return what is newest of each series that has or had points, valid or not."""
        kept = dict(self._newest(asking.VALUES, "newest", series, valid=True)) if self.has_rolled else {}
        valid = self._valid()
        doubtful: dict[Series, int] = {}
        for one, row in self._newest(asking.VALUES, "readings", series, valid=False):
            if valid.shows(row[4]):
                yield Newest(one.number, row[0], _later(row, kept.pop(one, None)))
            else:
                doubtful[one] = row[0]
        sure = dict(self._newest(asking.VALUES, "readings", list(doubtful), valid=True))
        for one, ns in doubtful.items():
            yield Newest(one.number, ns, _later(sure.get(one), kept.pop(one, None)))
        for one, row in kept.items():
            yield Newest(one.number, None, row)

    def newest_event_times(self, devices: Sequence[Series]) -> dict[int, int]:
        """Return the newest time (ns) of an event by number of devices."""
        found = self._newest("n", "events", devices, valid=False)
        return {one.number: row[0] for one, row in found}

    def _newest(
        self, what: str, measurement: str, series: Sequence[Series], *, valid: bool
    ) -> Iterator[tuple[Series, Row]]:
        recent = time.time_ns() // NS - RECENT_MS
        missing = {one[:2]: one for one in series}
        for start, end in ((recent, END_OF_TIME), (BEGINNING, recent)):
            if not missing:
                return
            limits = self._seen(start, end) if valid else within(start, end)
            for table, row in self._last_rows(what, measurement, list(missing.values()), limits):
                if one := missing.pop((table.tags["device"], table.tags.get("metric", "")), None):
                    yield one, row

    def _last_rows(
        self, what: str, measurement: str, series: Sequence[Series], limits: str
    ) -> Iterator[tuple[Table, Row]]:
        groups = "device" if measurement == "events" else "device, metric"
        devices = list(dict.fromkeys(one.device for one in series))
        metrics = list(dict.fromkeys(one.metric for one in series if one.metric))
        only = [asking.any_of("metric", metrics)] if 0 < len(metrics) < DEVICES else []
        more = f"GROUP BY {groups} ORDER BY time DESC LIMIT 1"
        for place in range(0, len(devices), DEVICES):
            which = asking.any_of("device", devices[place : place + DEVICES]), *only, limits
            (tables,) = self._influx.query(asking.select(what, measurement, *which, more=more))
            for table in tables:
                yield table, table.rows[0]

    # which nanoseconds are taken

    def look(self, measurement: str, questions: Sequence[tuple[Series, Question]]) -> list[Answer]:
        """Return which places are taken, whether by valid points or not."""
        answers: dict[Question, Answer] = {}
        for group in _near(questions):
            taken, following = self._taken(measurement, group)
            for one, question in group:
                answers[question] = _answer(question, taken.get(one[:2], []), following.get(one[:2], []))
        return [answers[question] for _, question in questions]

    def _taken(
        self, measurement: str, group: Sequence[tuple[Series, Question]]
    ) -> tuple[dict[tuple[str, str], list[Row]], dict[tuple[str, str], list[Row]]]:
        """Return the rows of all these series within the range that holds all questions, and the first behind it."""
        # Whole devices: a device's metrics come together, and InfluxDB finds many single series much slower.
        which = asking.any_of("device", dict.fromkeys(one.device for one, _ in group))
        start, end = min(question.start for _, question in group), max(question.end for _, question in group) + 1
        groups = "GROUP BY device, metric" if measurement == "readings" else "GROUP BY device"
        inside, behind = self._influx.query(
            asking.select("stamp", measurement, which, within(start, end), more=groups),
            asking.select("stamp", measurement, which, within(end, END_OF_TIME), more=f"{groups} LIMIT 1"),
        )
        return _by_series(inside), _by_series(behind)

    # events

    def events(
        self,
        which: tuple[str | None, str | None],
        start: int,
        end: int,
        limit: int,
        after: tuple[int, int] | None,
        *,
        oldest_first: bool,
    ) -> tuple[list[StoredEvent], str | None]:
        """Return a page of events and the next cursor; `which` is device and name."""
        step = 1 if oldest_first else -1

        def order(row: Row) -> tuple[int, int]:
            return step * (row[0] // NS), step * row[1]["n"]

        def select(first: int, last: int, most: int | None) -> list[Row]:
            return sorted(self._events(which, first, last, most, oldest_first=oldest_first), key=order)

        found: list[Row] = []
        if after is not None:
            t, n = after
            if start <= t < end:
                found = [row for row in select(t, t + 1, None) if step * row[1]["n"] > step * n]
            start, end = (max(start, t + 1), end) if oldest_first else (start, min(end, t))
        if len(found) <= limit and start < end:
            found += sorted(asking.whole(select, start, end, limit + 1), key=order)
        page = [row[1] for row in found[:limit]]
        more = write_cursor(page[-1]["time"] // NS, page[-1]["n"]) if len(found) > limit else None
        return [asking.event(row) for row in page], more

    def export_events(
        self, devices: Sequence[str], names: Sequence[str], start: int, end: int
    ) -> Iterator[list[StoredEvent]]:
        """Yield chunks of events by device, time and arrival."""
        for device in devices:
            after: int | None = None
            while True:
                rows = self._events((device, None), start, end, CHUNK, oldest_first=True, after=after)
                found = [asking.event(row[1]) for row in rows if not names or row[1]["name"] in names]
                if found:
                    yield found
                if len(rows) < CHUNK:
                    break
                after = rows[-1][0]

    def _events(
        self,
        which: tuple[str | None, str | None],
        start: int,
        end: int,
        most: int | None,
        *,
        oldest_first: bool,
        after: int | None = None,
    ) -> list[Row]:
        device, name = which
        parts = [self._seen(start, end)]
        parts += [f"device = {literal(device)}"] if device is not None else []
        parts += [f'"name" = {literal(name)}'] if name is not None else []
        parts += [f"time > {after}"] if after is not None else []
        more = asking.limited(most) if oldest_first else f"ORDER BY time DESC {asking.limited(most)}"
        (tables,) = self._influx.query(asking.select("*", "events", *parts, more=more))
        return [[row["time"], row] for row in asking.named(tables)]

    # quarantine

    def quarantine(
        self, wanted: Mapping[str, str | None], limit: int, beyond: int | None, *, oldest_first: bool
    ) -> tuple[list[Quarantined], str | None]:
        """Return a page of what was set aside, whose fields are as wanted, behind a place; and the next cursor."""
        parts = [self._valid().condition(BEGINNING, END_OF_TIME)]
        parts += [f"{name} = {literal(text)}" for name, text in wanted.items() if text is not None]
        if oldest_first:
            parts.append(f"time > {-1 if beyond is None else beyond} AND time < {asking.LATEST_NS}")
        else:
            parts.append(f"time < {asking.LATEST_NS if beyond is None else min(beyond, asking.LATEST_NS)}")
        found = self._set_aside(" AND ".join(parts), limit + 1, "ASC" if oldest_first else "DESC")
        page = found[:limit]
        return list(map(_entry, page)), str(page[-1]["time"]) if len(found) > limit else None

    def quarantined(self, entry: str) -> Quarantined | None:
        """Return one entry by its id."""
        found = self._set_aside(f"id = {literal(entry)} AND {self._valid().condition(BEGINNING, END_OF_TIME)}", 1)
        return _entry(found[0]) if found else None

    def quarantine_sizes(self) -> list[tuple[int, int, str]]:
        """Return place (ns), size in bytes and id of all entries, newest first."""
        condition = self._valid().condition(BEGINNING, END_OF_TIME)
        (tables,) = self._influx.query(asking.select("size, id", "quarantine", condition, more="ORDER BY time DESC"))
        return [(row[0], row[1], row[2]) for row in asking.rows(tables)]

    def _set_aside(self, condition: str, limit: int, order: str = "DESC") -> list[dict[str, Any]]:
        more = f"ORDER BY time {order} {asking.limited(limit)}"
        (tables,) = self._influx.query(asking.select("*", "quarantine", condition, more=more))
        return asking.named(tables)

    # what there is

    def tags(self, *measurements: str) -> list[dict[str, str]]:
        """Return the tags of all series of some measurements."""
        (tables,) = self._influx.query(f"SHOW SERIES FROM {', '.join(measurements)}")
        named = dict.fromkeys(row[0].partition(",")[2] for row in asking.rows(tables))
        return [dict(part.split("=", 1) for part in key.split(",")) for key in named]

    def _seen(self, start: int, end: int) -> str:
        return f"{within(start, end)} AND {self._valid().condition(start, end)}"


def by_device(series: Iterable[Series]) -> Iterator[list[Series]]:
    """Yield the series of each device; they come in order of their devices."""
    yield from (list(group) for _, group in groupby(series, lambda one: one.device))


def packed(groups: Iterable[list[Series]], most: int) -> Iterator[list[Series]]:
    """Put groups together as long as they have at most so many series; one that has more stays whole.

    >>> a, b, c = (Series("air-1", metric, 0) for metric in "abc")
    >>> [len(part) for part in packed([[a], [b, c], [a, b, c], [c]], 2)]
    [1, 2, 3, 1]
    """
    part: list[Series] = []
    for group in groups:
        if part and len(part) + len(group) > most:
            yield part
            part = []
        part += group
    if part:
        yield part


def _chunks(one: Series, rows: Sequence[Row]) -> Iterator[list[Reading]]:
    for place in range(0, len(rows), CHUNK):
        yield [asking.reading(one.device, one.metric, row) for row in rows[place : place + CHUNK]]


def _later(one: Row | None, other: Row | None) -> Row | None:
    return max((row for row in (one, other) if row), key=lambda row: row[0], default=None)


def _near(questions: Sequence[tuple[Series, Question]]) -> Iterator[list[tuple[Series, Question]]]:
    """Put questions together that ask for about the same time, so that few of them go to the server."""
    group: list[tuple[Series, Question]] = []
    devices: set[str] = set()
    for item in sorted(questions, key=lambda item: (item[1].start, item[0].device)):
        full = len(devices) == NEAR_DEVICES and item[0].device not in devices
        if group and (full or item[1].end - group[0][1].start > NEAR_MS):
            yield group
            group, devices = [], set()
        group.append(item)
        devices.add(item[0].device)
    if group:
        yield group


def _by_series(tables: Sequence[Table]) -> dict[tuple[str, str], list[Row]]:
    return {(table.tags["device"], table.tags.get("metric", "")): table.rows for table in tables}


def _answer(question: Question, rows: Sequence[Row], behind: Sequence[Row]) -> Answer:
    """Return the answer to one question from rows in order, which may reach further than it does."""
    free = {row[0] // NS: row[0] % NS + 1 for row in rows}
    later = [t for t in (*free, *(row[0] // NS for row in behind)) if t > question.end]
    return Answer(free, min(later, default=None))


def _rest(rows: list[Row], place: Place) -> list[Row]:
    """Return the rows of one millisecond, in order, that a page before has not given."""
    following = [row for row in rows if row[5] > place.metric]
    return [row for row in rows if row[5] == place.metric][place.skip :] + following


def _entry(row: dict[str, Any]) -> Quarantined:
    payload = base64.b85decode(joined("payload", row))
    texts = {name: row[name] for name in TEXTS}
    return Quarantined(at=row["at"], payload=payload, **texts, held=held(row.get("held") or ""))
