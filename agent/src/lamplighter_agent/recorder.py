"""Between the runners and the outbox: what many devices give within a moment becomes one durable commit.

Nothing rests here for longer than COMMIT_S. A stream is chosen when a record is written and never changes: warnings,
results and reports are `alarm`; what is old, or arrives while the hub has long been away, is `backlog`; the rest is
`live`.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from lamplighter_agent.clock import Clock, Moment
from lamplighter_agent.disk import Disk
from lamplighter_agent.driver import Event, Output
from lamplighter_agent.entries import Samples, Single, single
from lamplighter_agent.outbox import Outbox
from lamplighter_agent.packing import Sample
from lamplighter_protocols.events import severity
from lamplighter_protocols.model import MAX_DATA
from lamplighter_protocols.profile import Profile
from lamplighter_protocols.records import EventRecord, ReportedRecord, ResultRecord, Stream

COMMIT_S: Final = 0.25
OLD_MS: Final = 10 * 60_000
AWAY_S: Final = 60.0
RETRY_S: Final = 2.0
THIS_MOMENT_MS: Final = 1_000
LIMIT: Final = 20_000
"""Rows and events that may wait for the disk; beyond that, whoever brings more waits."""


class Committed(NamedTuple):
    """What became durable: bytes by stream, and how long the most urgent of it may wait for company (None: freely)."""

    sizes: dict[Stream, int]
    max_wait_s: float | None = None


class _Waiting(NamedTuple):
    entries: list[Samples | Single]
    device: str
    position: dict[str, Any] | None
    done: asyncio.Future[list[int]]
    size: int
    max_wait_s: float | None = None


class Recorder:
    """Collects, commits, tells `committed` (the link). `away_s` says for how long the hub has been away."""

    def __init__(
        self,
        outbox: Outbox,
        disk: Disk,
        clock: Clock,
        away_s: Callable[[], float],
        committed: Callable[[Committed], None],
    ) -> None:
        self._outbox = outbox
        self._disk = disk
        self._clock = clock
        self._away_s = away_s
        self._committed = committed
        self._waiting: list[_Waiting] = []
        self._size = 0
        self._wanted = asyncio.Event()
        self._urgent = asyncio.Event()
        self._room = asyncio.Event()
        self._failing = ""
        self._log = logging.getLogger("lamplighter.outbox")
        self.refused_events = 0

    async def put(self, device: str, profile: Profile, output: Output, at: Moment) -> asyncio.Future[list[int]]:
        """Take what a read gave; `at` is the moment of the read. The future is done when it is durable."""
        entries: list[Samples | Single] = [*self._samples(device, output, at)]
        entries += self._events(device, profile, output, at)
        # A position must be durable before the device may forget, and more is waiting behind it.
        urgent = output.more or any(entry.stream is Stream.ALARM for entry in entries)
        waiting = _Waiting(entries, device, output.position, _future(), _rows(output), profile.max_wait_s)
        return await self._wait(waiting, urgent=urgent)

    async def event(self, device: str, profile: Profile, event: Event) -> asyncio.Future[list[int]]:
        """Take an event that the agent itself observed."""
        return await self.put(device, profile, Output(events=[event]), self._clock.moment())

    def report(self, record: ResultRecord | ReportedRecord) -> asyncio.Future[list[int]]:
        """Take a result or report, always: they are few. The future holds its number in the alarm stream."""
        now = self._clock.moment()
        apart = now.apart if abs(record.t - now.t) <= THIS_MOMENT_MS else None  # else it tells of an earlier time
        waiting = _Waiting([single(Stream.ALARM, record, record.t, apart)], record.device, None, _future(), 1)
        self._add(waiting, urgent=True)
        return waiting.done

    async def run(self) -> None:
        """Commit what comes, for ever."""
        while True:
            await self._wanted.wait()
            if not self._urgent.is_set():
                await _first_of(self._urgent, COMMIT_S)
            if not await self.flush():
                await asyncio.sleep(RETRY_S)

    async def flush(self) -> bool:
        """Commit everything that waits now. False when the disk refused; it stays here and is tried again."""
        batch, self._waiting = self._waiting, []
        self._wanted.clear()
        self._urgent.clear()
        if not batch:
            return True
        entries = [entry for waiting in batch for entry in waiting.entries]
        positions = {waiting.device: waiting.position for waiting in batch if waiting.position is not None}
        try:
            numbers = await self._disk.run(self._outbox.append, entries, positions)
        except (sqlite3.Error, OSError) as error:
            self._refused(error, batch)
            return False
        self._stored(batch, numbers)
        return True

    def _stored(self, batch: list[_Waiting], numbers: list[int]) -> None:
        sizes = dict.fromkeys(Stream, 0)
        at = 0
        for waiting in batch:
            own = numbers[at : at + len(waiting.entries)]
            at += len(waiting.entries)
            if not waiting.done.done():
                waiting.done.set_result(own)
            for entry in waiting.entries:
                sizes[entry.stream] += len(entry.body) if isinstance(entry, Single) else 24 * len(entry.rows)
        sizes[Stream.ALARM] += self._outbox.noted
        self._size -= sum(waiting.size for waiting in batch)
        self._room.set()
        if self._failing:
            self._log.warning("the outbox takes records again")
            self._failing = ""
        waits = [waiting.max_wait_s for waiting in batch if waiting.max_wait_s is not None]
        self._committed(Committed({stream: size for stream, size in sizes.items() if size}, min(waits, default=None)))

    def _refused(self, error: Exception, batch: list[_Waiting]) -> None:
        self._waiting = [*batch, *self._waiting]
        self._wanted.set()
        if str(error) != self._failing:
            self._failing = str(error)
            self._log.error("the outbox cannot be written (%s); readings wait in memory, then devices wait", error)

    async def _wait(self, waiting: _Waiting, *, urgent: bool) -> asyncio.Future[list[int]]:
        while self._size > LIMIT:
            self._room.clear()
            await self._room.wait()
        self._add(waiting, urgent=urgent)
        return waiting.done

    def _add(self, waiting: _Waiting, *, urgent: bool) -> None:
        self._waiting.append(waiting)
        self._size += waiting.size
        self._wanted.set()
        if urgent:
            self._urgent.set()

    def _samples(self, device: str, output: Output, at: Moment) -> list[Samples]:
        alike: dict[tuple[Stream, int | None], list[Sample]] = {}
        for row in output.rows:
            t, apart = at if row.t is None else Moment(row.t)
            alike.setdefault((self._stream(t), apart), []).append(Sample(t, row.values, row.quality))
        return [Samples(stream, device, rows, apart) for (stream, apart), rows in alike.items()]

    def _events(self, device: str, profile: Profile, output: Output, at: Moment) -> list[Single]:
        found = []
        for event in output.events:
            t, apart = at if event.t is None else Moment(event.t)
            alarming = severity(event.name, profile) in ("warning", "critical")
            stream = Stream.ALARM if alarming else self._stream(t)
            try:
                record = EventRecord(device=device, t=t, name=event.name, data=dict(event.data))
            except ValidationError as error:
                self._bad_event(device, event, error)
                continue
            found.append(single(stream, record, t, apart))
        return found

    def _stream(self, t: int) -> Stream:
        if t < self._clock.now() - OLD_MS or self._away_s() > AWAY_S:
            return Stream.BACKLOG
        return Stream.LIVE

    def _bad_event(self, device: str, event: Event, error: ValidationError) -> None:
        self.refused_events += 1
        first = error.errors(include_url=False, include_input=False)[0]
        if self.refused_events & (self.refused_events - 1) == 0:  # 1, 2, 4, 8 ...: often enough to be seen
            what = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"[:200]
            text = "%s: event %.60r is not recorded (%s; at most %d bytes); %d so far"
            self._log.warning(text, device, event.name, what, MAX_DATA, self.refused_events)


def _future() -> asyncio.Future[list[int]]:
    return asyncio.get_running_loop().create_future()


def _rows(output: Output) -> int:
    return len(output.rows) + len(output.events) + 1


async def _first_of(event: asyncio.Event, within_s: float) -> None:
    try:
        async with asyncio.timeout(within_s):
            await event.wait()
    except TimeoutError:
        return
