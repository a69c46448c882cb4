"""Which commits are valid: what makes several writes to InfluxDB one commit.

A commit has a number, and every point carries it. Its record is one point of the measurement `commits`, at the number
as time, in three steps: `start`, `end` before the first of its points is sent; `body_0` ... with its marks and with
what it releases from quarantine, once all are durable; or `void` when it was given up. Readers leave out what is not
valid. A write that is still under way when its commit is given up can arrive as late as it likes: it is void.

A commit may stand for raw points that are then deleted (`moved`): its record names them, and says `deleted` when they
are. After a crash between the two they are deleted before anything else is stored.

From time to time the sum of all records becomes a point of the measurement `checkpoints`, and the records are deleted.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Container, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, NamedTuple

from lamplighter_hub.series.influx.asking import named, select
from lamplighter_hub.series.influx.client import Influx
from lamplighter_hub.series.influx.islands import Islands
from lamplighter_hub.series.influx.lines import QUALITIES, joined, pieces
from lamplighter_hub.series.store import (
    BEGINNING,
    END_OF_TIME,
    Commit,
    Mark,
    Release,
    SeriesError,
    StoreUnavailable,
)

log = logging.getLogger(__name__)

SCHEMA: Final = 1


class Void(NamedTuple):
    """Commits `first..last` are not valid; what was written of them has times from `start` to `end` (ms).

    It took places below `places`, which nobody else may take: its writes may still arrive.
    """

    first: int
    last: int
    start: int
    end: int
    places: int


class Reach(NamedTuple):
    """Which times (ms) the points of a commit have, from `start` to `end`, and below which place they lie."""

    start: int
    end: int
    places: int


@dataclass(frozen=True, slots=True)
class Totals:
    """What would need a look through the store."""

    points: int = 0
    events: int = 0
    quarantined: int = 0
    quarantined_bytes: int = 0
    evicted: int = 0


class Move(NamedTuple):
    """Raw points of series (device, metric) from `start` up to `end` (ms), for which the commit `number` stands.

    Of the devices named in `whole` these are all series.
    """

    number: int
    start: int
    end: int
    series: tuple[tuple[str, str], ...]
    whole: tuple[str, ...] = ()


class Valid(NamedTuple):
    """What a reader may see: commits up to `last` that are not void."""

    last: int
    voids: tuple[Void, ...]

    def condition(self, start: int, end: int) -> str:
        """Return the condition on points from `start` up to `end` (ms).

        >>> Valid(9, (Void(3, 4, 0, 99, 1),)).condition(50, 200)
        'stamp < 160 AND (stamp < 48 OR stamp >= 80)'
        """
        near = (void for void in self.voids if void.start < end and void.end >= start)
        gaps = [f"(stamp < {void.first * QUALITIES} OR stamp >= {(void.last + 1) * QUALITIES})" for void in near]
        return " AND ".join([f"stamp < {(self.last + 1) * QUALITIES}", *gaps])

    def shows(self, stamp: int) -> bool:
        """Whether a point may be seen.

        >>> [Valid(9, (Void(3, 4, 0, 99, 1),)).shows(number * 16 + 1) for number in (2, 3, 4, 5, 10)]
        [True, False, False, True, False]
        """
        number = stamp // QUALITIES
        return number <= self.last and not any(void.first <= number <= void.last for void in self.voids)


class Journal:
    """The commits of one bucket. Used under the writer's lock; `valid` and `releases` may be read by anyone."""

    def __init__(self, influx: Influx, most_records: int) -> None:
        self._influx = influx
        self._most_records = most_records
        self._records = 0
        self.valid = Valid(0, ())
        self.number = 1
        self.totals = Totals()
        self.marks = Islands()
        self.releases: dict[str, Release] = {}
        self.moving: Move | None = None

    def load(self) -> None:
        """Read what is valid. A commit that was under way when the hub ended is void from now on.

        A write whose client was gone before the answer may be in the server's memory only: it is read, and after the
        server's next start it is not (influxd 2.8.0, docs/decisions/0096). So the last record, the only one of which
        nobody was told, is written again.
        """
        known = self._load_checkpoint()
        (tables,) = self._influx.query(select("*", "commits", f"time > {known}"))
        rows = named(tables)
        for row in rows:
            self._load_record(row)
        if rows and (last := joined("body", rows[-1])):
            self._write(pieces("body", last), rows[-1]["time"])
        if not (known or rows):
            self.checkpoint()

    def begin(self, reach: Reach) -> None:
        """Announce the commit in hand."""
        self._write(_fields(reach))

    def finish(
        self, marks: Sequence[Mark], releases: Sequence[Release], totals: Totals, move: Move | None = None
    ) -> None:
        """Make the commit in hand valid: its points are durable, its marks and releases become so."""
        body: dict[str, Any] = {"marks": marks, "totals": asdict(totals)} | ({"releases": releases} if releases else {})
        if move is not None:
            body["moved"] = move
        self._write(pieces("body", json.dumps(body, separators=(",", ":"))))
        self.moving = move
        self._take(self.number, marks, totals)
        self._release(releases)
        self.number += 1

    def settle(self, move: Move) -> None:
        """Note that the raw points which a commit stands for are deleted."""
        self._influx.write(f"commits deleted=true {move.number}\n".encode())
        self.moving = None

    def give_up(self, reach: Reach) -> None:
        """Make the commit in hand void."""
        self._write(f"void=true,{_fields(reach)}")
        self._forget(self.number, reach)
        self.number += 1

    def keep_releases(self, entries: Container[str]) -> None:
        """Forget what was released of entries that are not there any more; the next checkpoint makes it durable."""
        self.releases = {entry: release for entry, release in self.releases.items() if entry in entries}

    def tidy(self) -> None:
        """Sum the records up when there are many. What fails here is tried again after a later commit."""
        if self._records <= max(self._most_records, len(self.marks)):
            return
        try:
            self.checkpoint()
        except SeriesError as error:
            log.warning("the records of commits could not be summed up: %s", error)

    def checkpoint(self, totals: Totals | None = None) -> None:
        """Write the sum of all records, and delete them."""
        totals = totals or self.totals
        last = self.number - 1
        body = {"schema": SCHEMA, "marks": list(self.marks), "totals": asdict(totals), "voids": self.valid.voids}
        body["releases"] = list(self.releases.values())
        self._influx.write(f"checkpoints {pieces('body', json.dumps(body, separators=(',', ':')))} {last}\n".encode())
        self.totals = totals
        self._records = 0
        self._influx.delete("commits", 0, last)
        if last:
            self._influx.delete("checkpoints", 0, last - 1)

    def _write(self, fields: str, number: int | None = None) -> None:
        self._influx.write(f"commits {fields} {number or self.number}\n".encode())

    def _load_checkpoint(self) -> int:
        (tables,) = self._influx.query("SELECT * FROM checkpoints ORDER BY time DESC LIMIT 1")
        if not tables:
            return 0
        row = named(tables)[0]
        found: dict[str, Any] = json.loads(joined("body", row))
        if found["schema"] != SCHEMA:
            raise StoreUnavailable("the bucket was written by another version of Lamplighter; use that version")
        self.totals = Totals(**found["totals"])
        for mark in found["marks"]:
            self.marks.add(Mark(*mark))
        self._release(Release(*release) for release in found.get("releases", ()))
        last: int = row["time"]
        self.valid = Valid(last, tuple(Void(*void) for void in found["voids"]))
        self.number = last + 1
        return last

    def _load_record(self, row: dict[str, Any]) -> None:
        self.number = row["time"]
        body = None if row.get("void") else joined("body", row)
        if body:
            found = json.loads(body)
            self._take(self.number, [Mark(*mark) for mark in found["marks"]], Totals(**found["totals"]))
            self._release(Release(*release) for release in found.get("releases", ()))
            if "moved" in found and not row.get("deleted"):
                self.moving = _move(*found["moved"])
        else:
            reach = _reach(row)
            if not row.get("void"):
                self._write(f"void=true,{_fields(reach)}")
            self._forget(self.number, reach)
        self.number += 1

    def _take(self, number: int, marks: Sequence[Mark], totals: Totals) -> None:
        for mark in marks:
            self.marks.add(mark)
        self.totals = totals
        self._records += 1 + len(marks)
        self.valid = Valid(number, self.valid.voids)

    def _release(self, releases: Iterable[Release]) -> None:
        # A new dict, so that a reader in another thread never sees one that changes size.
        if added := {release.entry: release for release in releases}:
            self.releases = self.releases | added

    def _forget(self, number: int, reach: Reach) -> None:
        """Note a void commit; in a row they are one, so that a condition does not grow with every attempt."""
        before, void = self.valid.voids, Void(number, number, *reach)
        if before and before[-1].last == number - 1:
            before, last = before[:-1], before[-1]
            start, end = min(last.start, reach.start), max(last.end, reach.end)
            void = Void(last.first, number, start, end, max(last.places, reach.places))
        self.valid = Valid(number, (*before, void))
        self._records += 1


def _fields(reach: Reach) -> str:
    return f"start={reach.start}i,end={reach.end}i,places={reach.places}i"


def _move(number: int, start: int, end: int, series: Sequence[Sequence[str]], whole: Sequence[str] = ()) -> Move:
    """Read a move from its JSON. An earlier version did not say which devices are whole."""
    return Move(number, start, end, tuple((device, metric) for device, metric in series), tuple(whole))


def _reach(row: dict[str, Any]) -> Reach:
    """Return the reach of a record. One that was never durable had no points: they are sent behind it."""
    if row.get("start") is None:
        return Reach(BEGINNING, END_OF_TIME, 0)
    return Reach(row["start"], row["end"], row["places"])


def after(totals: Totals, commit: Commit, points: int, quarantined_bytes: int) -> Totals:
    """Return the totals after a commit."""
    return replace(
        totals,
        points=totals.points + points,
        events=totals.events + len(commit.events),
        quarantined=totals.quarantined + len(commit.quarantined),
        quarantined_bytes=totals.quarantined_bytes + quarantined_bytes,
    )
