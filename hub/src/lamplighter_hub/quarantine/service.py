"""Releases what was kept whole: looks what can be released, and has the ingest thread commit it.

What was set aside for its times is released with the right ones, what waits for its device or profile as it is.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final, NamedTuple

from lamplighter_hub.errors import Conflict, NotFound, Unavailable
from lamplighter_hub.ingest.batches import OwnerProfile
from lamplighter_hub.ingest.desk import Desk
from lamplighter_hub.ingest.foreign import known_in
from lamplighter_hub.ingest.group import Group
from lamplighter_hub.ingest.kept import AS_THEY_ARE, span
from lamplighter_hub.ingest.release import Corrected, take_release
from lamplighter_hub.ingest.times import REASON
from lamplighter_hub.quarantine.clocks import Clocks, Right
from lamplighter_hub.quarantine.content import corrected
from lamplighter_hub.quarantine.offsets import Run, runs
from lamplighter_hub.series.access import answering
from lamplighter_hub.series.store import Quarantined, TimeSeries
from lamplighter_protocols.readings import ReadingsRecord
from lamplighter_protocols.topics import Channel

log = logging.getLogger(__name__)

MOST_ENTRIES: Final = 1_000
"""Released with one commit at most."""
MOST_VALUES: Final = 100_000
"""Values in one commit at most, so that ingest is not kept for long."""
PAGE: Final = 1_000
"""Entries that are read at once; all of quarantine is 64 MiB at most."""
MOST_TOLD: Final = 20
UNDER_WAY: Final = "release_under_way"
BY_ITSELF: Final = "hub"
"""Who released what a clock's return explains."""
PATIENCE_S: Final = 20.0
"""How long a caller waits for the ingest thread, and again for the store."""


class Selection(NamedTuple):
    """Which entries: those named, else all of an agent, a device or both that arrived from `start` before `end`.

    Of an agent or device those that were set aside for one of the `reasons`.
    """

    agent: str = ""
    device: str = ""
    ids: Sequence[str] = ()
    start: int | None = None
    end: int | None = None
    reasons: Sequence[str] = (REASON,)


EVERYTHING: Final = Selection()
UNMOVED: Final = Selection(reasons=AS_THEY_ARE)


class Kept(NamedTuple):
    """An entry that stays where it is, and why."""

    entry: str
    why: str


@dataclass
class Outcome:
    """What a release did, or would do. `repetitions` are released entries that brought nothing new.

    `earliest` and `latest` are new times (ms); `kept` names the first of those that stay. With `more` the selection
    holds further entries that can be released, with another call.
    """

    released: int = 0
    repetitions: int = 0
    staying: int = 0
    kept: list[Kept] = field(default_factory=list)
    earliest: int | None = None
    latest: int | None = None
    more: bool = False

    def take(self, item: Corrected | Kept) -> None:
        """Count one entry."""
        if isinstance(item, Kept):
            self.staying += 1
            self.kept += [item] if len(self.kept) < MOST_TOLD else []
            return
        self.released += 1
        if item.content is None:
            self.repetitions += 1
            return
        first, last = span(item.content)
        self.earliest = first if self.earliest is None else min(self.earliest, first)
        self.latest = last if self.latest is None else max(self.latest, last)


class Waiting(NamedTuple):
    """One run of the clock of a device whose entries wait for the right times."""

    agent: str
    device: str
    run: Run


@dataclass
class Unknown:
    """Entries of a device that were set aside for one reason: until the hub knows it, its profile or a metric.

    `why` says what still stands against the newest of them; empty when they can be released as they are.
    """

    agent: str
    device: str
    reason: str
    field: str
    entries: int
    why: str


class QuarantineService:
    """Any thread may call; one release is made at a time."""

    def __init__(self, series: TimeSeries, owner: OwnerProfile, clock: Callable[[], int], desk: Desk) -> None:
        self._series = series
        self._owner = owner
        self._clock = clock
        self.desk = desk
        self.clocks = Clocks()
        self._turn = threading.Lock()
        self._looked = False

    def preview(self, selection: Selection, shift_ms: int | None) -> Outcome:
        """Say what a release of all that is selected would do. Raises NotFound, Unavailable."""
        outcome = Outcome()
        with answering():
            for item in self._look(selection, shift_ms):
                outcome.take(item)
        return outcome

    def release(self, selection: Selection, shift_ms: int | None, by: str) -> Outcome:
        """Store what is selected with its times moved, as much as one commit takes, the oldest first.

        Without a shift the newest time of each entry becomes that of its arrival. Raises NotFound, Conflict when
        nothing can be released or another release is under way, TooMany, and Unavailable when a store does not answer.
        """
        if not self._turn.acquire(blocking=False):
            raise Conflict("another release is under way; wait for its end", code=UNDER_WAY)
        try:
            with answering():
                found, outcome = self._choose(self._look(selection, shift_ms))
            done = self.desk.leave(lambda group: self._take(group, found, by))
        except BaseException:
            self._turn.release()
            raise
        done.add_done_callback(lambda _: self._turn.release())
        _wait(done)
        log.info("%s released %d entries of quarantine: %s, moved by %s", by, len(found), selection, _worded(shift_ms))
        return outcome

    def settle(self) -> None:
        """Release what devices left whose clocks are right again; what is not known stays. Raises Unavailable.

        At its first call it looks whose entries wait since before the hub's start.
        """
        if not self._looked:
            for found in self.waiting():
                self.clocks.watch(found.agent, found.device)
            self._looked = True
        for right in self.clocks.right():
            self._settle(right)

    def waiting(self, selection: Selection = EVERYTHING) -> list[Waiting]:
        """Return whose entries wait for the right times, by agent, device and arrival. Raises Unavailable."""
        by_device: dict[tuple[str, str], list[Run]] = defaultdict(list)
        with answering():
            for entry in self._pages(selection):
                if entry.held and not entry.release:
                    single = Run.of(entry.at, entry.held.earliest, entry.held.latest)
                    by_device[entry.agent, entry.device].append(single)
        return [Waiting(*key, run) for key in sorted(by_device) for run in runs(by_device[key])]

    def unknown(self) -> list[Unknown]:
        """Return what waits until the hub knows its device, profile or metric, by agent and device.

        Raises Unavailable.
        """
        found: dict[tuple[str, str, str, str], Unknown] = {}
        newest: dict[tuple[str, str, str, str], Quarantined] = {}
        with answering():
            for entry in self._pages(UNMOVED):
                if entry.held and not entry.release:
                    key = entry.agent, entry.device, entry.reason, entry.field
                    found.setdefault(key, Unknown(*key, 0, "")).entries += 1
                    newest[key] = entry
        for key, entry in newest.items():
            item = corrected(entry, 0, self._owner, self._clock())
            found[key].why = item if isinstance(item, str) else ""
        return [found[key] for key in sorted(found)]

    def _settle(self, right: Right) -> None:
        for agent, device, run in self.waiting(Selection(right.agent, right.device)):
            shift = run.shift_after(right.delay)
            selection = Selection(agent, device, start=run.arrived_first, end=run.arrived_last + 1)
            try:
                while shift is not None and self.release(selection, shift, BY_ITSELF).more:
                    pass
            except Conflict as error:
                if error.code == UNDER_WAY:
                    return  # it is looked at again
                log.info("entries of %s in quarantine stay: %s", device, error)
        self.clocks.forget(right.device)

    def _take(self, group: Group, found: Sequence[Corrected], by: str) -> None:
        take_release(group, found, self._owner, known_in(self._series), by)

    def _choose(self, items: Iterable[Corrected | Kept]) -> tuple[list[Corrected], Outcome]:
        """Return what one commit takes of all that is selected."""
        found: list[Corrected] = []
        outcome, values = Outcome(), 0
        for item in items:
            if isinstance(item, Corrected):
                values += _values(item)
                if found and (len(found) == MOST_ENTRIES or values > MOST_VALUES):
                    outcome.more = True
                    break
                found.append(item)
            outcome.take(item)
        if not found:
            raise Conflict(_nothing(outcome), code="nothing_to_release")
        return found, outcome

    def _look(self, selection: Selection, shift_ms: int | None) -> Iterator[Corrected | Kept]:
        """Judge what is selected, the oldest first. What is named is judged though it was released; else that is left.

        A pack of a foreign device with wrong times is recognised by its bytes: its arrival tells nothing new.
        """
        now = self._clock()
        seen: set[bytes] = set()
        for entry in self._named(selection.ids) if selection.ids else self._pages(selection):
            if selection.ids or (entry.release is None and _within(entry, selection)):
                yield _judged(entry, corrected(entry, shift_ms, self._owner, now), seen)
            if entry.channel == Channel.SENML and entry.reason == REASON:
                seen.add(_fingerprint(entry))

    def _named(self, ids: Sequence[str]) -> Iterator[Quarantined]:
        for name in sorted(set(ids)):
            entry = self._series.quarantined(name)
            if entry is None:
                text = f"no entry {name!r} in quarantine; the oldest make room for new ones"
                raise NotFound(text, code="entry_unknown")
            yield entry

    def _pages(self, selection: Selection) -> Iterator[Quarantined]:
        for reason in selection.reasons:
            yield from self._pages_of(selection, reason)

    def _pages_of(self, selection: Selection, reason: str) -> Iterator[Quarantined]:
        cursor: str | None = None
        while True:
            page, cursor = self._series.quarantine(
                selection.agent or None,
                reason,
                device=selection.device or None,
                limit=PAGE,
                cursor=cursor,
                oldest_first=True,
            )
            yield from page
            if cursor is None:
                return


def _within(entry: Quarantined, selection: Selection) -> bool:
    late_enough = selection.start is None or entry.at >= selection.start
    return late_enough and (selection.end is None or entry.at < selection.end)


def _judged(entry: Quarantined, item: Corrected | str, seen: set[bytes]) -> Corrected | Kept:
    if isinstance(item, str):
        return Kept(entry.id, item)
    return item._replace(content=None) if entry.reason == REASON and _fingerprint(entry) in seen else item


def _fingerprint(entry: Quarantined) -> bytes:
    return blake2b(entry.payload, digest_size=16, key=entry.device.encode()).digest()


def _values(item: Corrected) -> int:
    if not isinstance(item.content, ReadingsRecord):
        return 1
    return len(item.content.dt) * max(1, len(item.content.m), len(item.content.q))


def _nothing(outcome: Outcome) -> str:
    if not outcome.kept:
        return "nothing of this waits in quarantine for that"
    first = outcome.kept[0]
    more = f" (and {outcome.staying - 1} more)" if outcome.staying > 1 else ""
    return f"nothing can be released: {first.entry} {first.why}{more}"


def _worded(shift_ms: int | None) -> str:
    return "arrival" if shift_ms is None else f"{shift_ms} ms"


def _wait(done: Future[None]) -> None:
    """Wait until it is committed. What was not begun in time is called off."""
    for patience in (PATIENCE_S, PATIENCE_S):
        try:
            with answering():
                return done.result(patience)
        except CancelledError:
            raise Unavailable("the hub is ending: nothing was released", code="ingest_busy") from None
        except TimeoutError:
            if done.cancel():
                text = "ingest is busy: nothing was released; ask again in a moment"
                raise Unavailable(text, code="ingest_busy", retry_after_s=5) from None
    text = "the store does not answer; the release ends when it does: look into quarantine before you ask again"
    raise Unavailable(text, code="series_unavailable", retry_after_s=5)
