"""The durable queue: everything that goes up leaves through it, and only a receipt frees it.

SQLite with a write-ahead log and synchronous=FULL. Three streams, each numbered from 1 without gaps, also across
restarts. A readings record that has never been handed out may still grow by rows (that is what makes batches small on
the wire); once `window` has returned it, it never changes.

    append --> records --> window --> (link) --> release
                  |          ^
                  |          +-- answer: the hub asks for numbers; a `dropped` record says which are not there
                  |
                  +--> over the byte budget: oldest backlog, then live, then alarm goes; a `dropped` record says what

All methods wait for the disk and are called from one thread at a time.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from lamplighter_agent import notes
from lamplighter_agent.entries import Inventory, Samples, Single, Window
from lamplighter_agent.epochs import CERTAIN, Epochs
from lamplighter_agent.errors import StateUnreadable
from lamplighter_agent.eviction import give_up
from lamplighter_agent.holdings import Holdings, following
from lamplighter_agent.lives import Lives, Settled, before
from lamplighter_agent.losses import Ranges, Run, gathered, told, widen, without
from lamplighter_agent.machine import Machine, read_machine
from lamplighter_agent.numbers import held_within, move, tell_anew, told_of
from lamplighter_agent.packing import Columns, Sample, sound
from lamplighter_agent.spare import LOG_PAGES, Spare
from lamplighter_agent.tables import BASE, MASK, prepare
from lamplighter_protocols.ids import new_ulid
from lamplighter_protocols.presence import Life
from lamplighter_protocols.records import NOT_HELD, OUTBOX_FULL, Receipt, Stream

TARGET: Final = 0.95
"""Room is made in one go down to this part of the budget, so that one `dropped` record tells of many."""
BATCH_BYTES: Final = 64 * 1024
BATCH_RECORDS: Final = 1_000
_PRAGMAS: Final = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "cache_size=-512",
    "journal_size_limit=4194304",
    f"wal_autocheckpoint={LOG_PAGES}",
)
_ORDER: Final = (Stream.BACKLOG, Stream.LIVE, Stream.ALARM)
T = TypeVar("T")


@dataclass(slots=True)
class _Growing:
    id: int
    epoch: int
    columns: Columns


@dataclass(slots=True)
class _Note:
    """A `dropped` record that has not been handed out and may still be widened."""

    id: int
    run: Run


class Outbox:
    """One outbox database. `clock` gives ms since 1970, `machine` says what its start and its clock are worth."""

    def __init__(
        self, path: Path, max_bytes: int, clock: Callable[[], int], machine: Callable[[], Machine] = read_machine
    ) -> None:
        self.path = path
        self.id = ""
        self.noted = 0
        """Bytes of `dropped` records that the last `append` wrote into the alarm stream, beside what it was given."""
        self._max = max_bytes
        self._clock = clock
        self._db: sqlite3.Connection | None = None
        self._holdings = Holdings()
        self._handed: dict[Stream, int] = {}
        self._growing: dict[tuple[Stream, str], _Growing] = {}
        self._notes: dict[Stream, _Note] = {}
        self._epochs = Epochs(machine)
        self._spare = Spare(path.with_name("spare"))
        self._lives = Lives()

    @property
    def size(self) -> int:
        """Bytes that all records take."""
        return self._holdings.size

    def open(self) -> None:
        """Open or make the database, on a full disk with the room that was spared. Raises StateUnreadable."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._spare.keep()
        try:
            self._despite_a_full_disk(self._open)
        except sqlite3.DatabaseError as error:
            self.close()
            raise StateUnreadable(f"{self.path}: {error}; move it away to go on with an empty outbox") from None

    def close(self) -> None:
        """Close the database; everything appended is in it."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def append(
        self, entries: Sequence[Samples | Single], positions: Mapping[str, dict[str, Any]] | None = None
    ) -> list[int]:
        """Store entries and positions together; durable when it returns. Returns each entry's last number."""
        self.noted = 0
        self._spare.guard(self._connection)
        with self._transaction() as db:
            numbers = [self._append(db, entry) for entry in entries]
            for device, position in (positions or {}).items():
                db.execute("INSERT OR REPLACE INTO positions VALUES (?, ?)", (device, json.dumps(position)))
            if self._make_room(db):
                self._holdings.find_freed(db)
            self._holdings.keep_numbers(db)
        return numbers

    def window(
        self,
        stream: Stream,
        after: int,
        upto: int | None = None,
        *,
        max_bytes: int = BATCH_BYTES,
        max_records: int = BATCH_RECORDS,
    ) -> Window | None:
        """Return the next consecutive records beyond number `after` (and not beyond `upto`); None without any.

        What is returned is closed: it may be on the wire from now on.
        """
        first, bodies, size = 0, list[bytes](), 0
        whole = True
        for number, body in self._following(stream, after, MASK if upto is None else upto):
            if bodies and (number != first + len(bodies) or len(bodies) >= max_records or size + len(body) > max_bytes):
                whole = False
                break
            first = first or number
            bodies.append(body)
            size += len(body) + 1
        if not bodies:
            return None
        found = Window(self.id, stream, first, bodies, self.held(), self.freed(), whole)
        self._close_up_to(stream, found.last)
        return found

    def release(self, receipt: Receipt) -> int:
        """Free what a receipt says is committed; return how many records that were. Foreign receipts free nothing."""
        if receipt.outbox != self.id:
            return 0
        freed = self._despite_a_full_disk(lambda: self._release(receipt))
        if freed and not self._spare.keep():
            with suppress(sqlite3.OperationalError):
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return freed

    def answer(self, outbox: str | None, stream: Stream, ranges: Sequence[tuple[int, int]]) -> Ranges:
        """Return what of these numbers is held; what is not is declared dropped, durably, unless it already is.

        `outbox` is the one that is asked for: of an earlier one nothing is held. Numbers never given are left out.
        """
        mine = outbox in (None, self.id)
        asked = [(a, min(b, self._holdings.last[stream])) for a, b in ranges] if mine else list(ranges)
        asked = [pair for pair in asked if pair[0] <= pair[1]]
        held = held_within(self._connection, stream, asked) if mine else []
        named = None if mine else outbox
        gone = without(without(asked, held), told_of(self._connection, named, stream))
        if gone:
            with self._transaction() as db:
                for first, last in gone:
                    self._declare(db, told(named, stream, Run(first, last), NOT_HELD, self._clock()))
                if self._make_room(db):
                    self._holdings.find_freed(db)
                self._holdings.keep_numbers(db)
            held = held_within(self._connection, stream, asked) if mine else []
        return held

    def lives(self) -> list[Life]:
        """Return the lives that the hub has not met, the present one last."""
        return self._lives.unmet()

    def settle(self, highest: Mapping[Stream, int], met: Collection[str] | None) -> Settled:
        """Learn from the answer to a birth which lives the hub has met, and go beyond the numbers that it knows.

        `met` is None when the hub does not know of lives: then only the present one is new. Until the present life is
        met nothing may be handed out.
        """
        if met is None:
            met = [life.id for life in self._lives.unmet()]
        if first := self._lives.met(met):
            earlier = before(first)
            self._handed = {stream: max(handed, earlier[stream]) for stream, handed in self._handed.items()}
        moved = self.go_beyond(highest)
        known = self._lives.is_met(met) and not moved
        if known and self._lives.unmet():
            self._forget_lives()
        return Settled(moved, known)

    def go_beyond(self, highest: Mapping[Stream, int]) -> dict[Stream, int]:
        """Move on behind numbers that the hub knows and this database never handed out; return by how much.

        It knows them only when this database is an older copy of itself. What was handed out before the copy was made
        is the same on both sides; what is held beyond it is new, and would be taken for repetitions.
        """
        moved = {stream: n - self._handed[stream] for stream, n in highest.items() if n > self._handed[stream]}
        if moved:
            with self._transaction() as db:
                for stream, by in moved.items():
                    move(db, stream, self._handed[stream], by)
                    self._holdings.last[stream] += by
                tell_anew(db, self._handed, moved)
                self._lives.move(db, moved)
                self._holdings.keep_numbers(db)
            self._load()
            self._handed |= {stream: highest[stream] for stream in moved}
        return moved

    def settle_times(self, true_apart: int) -> list[str]:
        """Learn how far true time is from the clock that is never set; say what it means for records without a time.

        What was learnt holds for this process even when it cannot be written down (sqlite3.Error).
        """
        said = self._epochs.learn(true_apart)
        if said:
            with self._transaction() as db:
                self._epochs.keep(db)
        return said

    def held(self) -> dict[Stream, int]:
        """Return how many records each stream holds."""
        return dict(self._holdings.held)

    def freed(self) -> dict[Stream, int]:
        """Return up to which number each stream holds nothing any more."""
        return dict(self._holdings.freed)

    def inventory(self) -> Inventory:
        """Return what the hub is told of the outbox, all of it of one moment."""
        last = {stream: number for stream, number in self._holdings.last.items() if self._holdings.held[stream]}
        return Inventory(self.freed(), self.held(), last)

    def last(self) -> dict[Stream, int]:
        """Return the number that each stream gave last."""
        return dict(self._holdings.last)

    def position(self, device: str) -> dict[str, Any] | None:
        """Return the last durable position of a device's driver."""
        row = self._connection.execute("SELECT value FROM positions WHERE device = ?", (device,)).fetchone()
        found: dict[str, Any] | None = None if row is None else json.loads(row[0])
        return found

    def _open(self) -> None:
        self.close()
        self._db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=10)
        for pragma in _PRAGMAS:
            self._db.execute(f"PRAGMA {pragma}")
        self.path.chmod(0o600)
        with self._transaction() as db:
            prepare(db)
            self._epochs.prune(db)
            fresh = new_ulid(self._clock(), os.urandom(10))
            db.execute("INSERT OR IGNORE INTO about VALUES ('outbox', ?)", (fresh,))
            self._load()
            self._lives.begin(db, new_ulid(self._clock(), os.urandom(10)), self._holdings.last)
        # What is found at start does not change any more: it may have been sent, unless the hub never met its life.
        self._handed = before(self._lives.unmet()[0])

    def _release(self, receipt: Receipt) -> int:
        freed = 0
        with self._transaction() as db:
            for stream in Stream:
                ranges = [(1, receipt.through.get(stream, 0)), *receipt.also.get(stream, [])]
                freed += sum(self._free(db, stream, first, last) for first, last in ranges)
            if freed:
                self._holdings.find_freed(db)
        return freed

    def _despite_a_full_disk(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except sqlite3.OperationalError:
            if not self._spare.give_up():
                raise
            return work()

    @property
    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            raise sqlite3.ProgrammingError("the outbox is closed")
        return self._db

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        db = self._connection
        db.execute("BEGIN IMMEDIATE")
        try:
            yield db
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            self._load()
            raise

    def _load(self) -> None:
        """Read what is kept in memory from the database; nothing may grow that was not read here."""
        db = self._connection
        self._growing.clear()
        self._notes.clear()
        if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'about'").fetchone():
            return
        self._epochs.load(db)
        self._lives.load(db)
        row = db.execute("SELECT value FROM about WHERE key = 'outbox'").fetchone()
        self.id = row[0] if row else ""
        self._holdings.load(db)

    def _forget_lives(self) -> None:
        with suppress(sqlite3.Error), self._transaction() as db:  # when the disk is full, the hub is asked again
            self._lives.forget(db)

    def _append(self, db: sqlite3.Connection, entry: Samples | Single) -> int:
        if isinstance(entry, Single):
            epoch = self._epochs.number(db, entry.apart)
            return self._holdings.insert(db, entry.stream, (entry.t, entry.t), entry.body, epoch)
        touched: dict[int, _Growing] = {}
        epoch = self._epochs.number(db, entry.apart)
        for sample in map(sound, entry.rows):
            growing = self._row_goes_to(db, entry.stream, entry.device, epoch, sample)
            growing.columns.add(sample)
            touched[growing.id] = growing
        for growing in touched.values():
            self._holdings.rewrite(db, growing.id, growing.columns.span, growing.columns.body())
        return self._holdings.last[entry.stream]

    def _row_goes_to(self, db: sqlite3.Connection, stream: Stream, device: str, epoch: int, sample: Sample) -> _Growing:
        growing = self._growing.get((stream, device))
        if growing is None or growing.epoch != epoch or not growing.columns.takes(sample):
            number = self._holdings.insert(db, stream, (sample.t, sample.t), b"", epoch)
            growing = _Growing(BASE[stream] | number, epoch, Columns(device, sample.t))
            self._growing[stream, device] = growing
        return growing

    def _following(self, stream: Stream, after: int, upto: int) -> Iterator[tuple[int, bytes]]:
        for number, epoch, body in following(self._connection, stream, after, upto, BATCH_RECORDS + 1):
            if not self._epochs.known(epoch):
                return  # it waits until the hub has said what time it is
            yield number, self._epochs.corrected(epoch, body)

    def _close_up_to(self, stream: Stream, last: int) -> None:
        self._hand(stream, last)
        limit = BASE[stream] | last
        for key in [key for key, item in self._growing.items() if key[0] is stream and item.id <= limit]:
            del self._growing[key]
        if stream is Stream.ALARM:
            told = {about: note for about, note in self._notes.items() if note.id <= limit}
            for about, note in told.items():
                self._hand(about, note.run.last)
                del self._notes[about]

    def _hand(self, stream: Stream, last: int) -> None:
        """Note up to which number the hub may know a stream: it was sent, or told to be gone."""
        self._handed[stream] = max(self._handed[stream], last)

    def _free(self, db: sqlite3.Connection, stream: Stream, first: int, last: int) -> int:
        # What was never handed out cannot have been received, whatever a receipt says.
        return self._holdings.delete(db, stream, first, min(last, self._handed[stream]))

    def _make_room(self, db: sqlite3.Connection) -> bool:
        """Give records up while there are too many bytes; True when it was so."""
        if self.size <= self._max:
            return False
        if notes.weigh(db) > self._max // notes.SHARE:
            self._gather(db)
        earlier = self.size + 1
        while self._max < self.size < earlier:
            earlier = self.size
            self._evict(db, int(self._max * TARGET))
            if self.size > self._max:
                self._gather(db)
        return True

    def _evict(self, db: sqlite3.Connection, target: int) -> None:
        """Give up and tell, stream by stream; what is told takes room, but nothing more urgent goes for it."""
        for stream in _ORDER:
            runs = self._give_up(db, stream, target)
            enough = self.size <= target
            for run in runs:
                self._tell(db, stream, run)
            if enough:
                return

    def _gather(self, db: sqlite3.Connection) -> None:
        """Let fewer notes say the same, and that the others are gone: what was handed out is never changed."""
        for cluster in notes.clusters(db, self._epochs):
            gone = {note.number for note in cluster}
            fewer = gathered(cluster, notes.fences(db, self._borders, gone))
            if len(fewer) < len(cluster):
                self._holdings.subtract(Stream.ALARM, len(gone), notes.delete(db, gone))
                self._notes = {about: note for about, note in self._notes.items() if note.id & MASK not in gone}
                for note in fewer:
                    self._declare(db, told(note.outbox, note.stream, note.run, note.reason, note.t), note.run)

    def _give_up(self, db: sqlite3.Connection, stream: Stream, target: int) -> list[Run]:
        """Delete the oldest records of a stream until the outbox fits; those that tell of losses stay."""
        found = give_up(db, stream, self.size - target, self._epochs, self._borders(stream))
        self._holdings.subtract(stream, found.records, found.size)
        limit = BASE[stream] | found.runs[-1].last if found.runs else 0
        for key in [key for key, item in self._growing.items() if key[0] is stream and item.id <= limit]:
            del self._growing[key]
        return found.runs

    def _borders(self, stream: Stream) -> set[int]:
        """Return behind which numbers another `dropped` record begins: those before and after may part (settle)."""
        return {self._handed[stream], *self._lives.starts(stream)}

    def _tell(self, db: sqlite3.Connection, stream: Stream, run: Run) -> None:
        """Say what is gone; a record that says it of the neighbours before, and was not handed out, is widened."""
        note = self._notes.get(stream)
        widened = [note.run] if note is not None else []
        widen(widened, run, notes.fence(db, stream, self._borders(stream)))
        if note is not None and len(widened) == 1:
            note.run = widened[0]
            body = told(None, stream, note.run, OUTBOX_FULL, self._clock())
            self.noted += len(body)
            self._holdings.rewrite(db, note.id, (note.run.from_t, note.run.to_t), body)
            return
        record = self._declare(db, told(None, stream, run, OUTBOX_FULL, self._clock()), run)
        self._notes[stream] = _Note(record, run)

    def _declare(self, db: sqlite3.Connection, body: bytes, run: Run | None = None) -> int:
        """Append a record that tells of a loss: it is never given up. Returns its id."""
        self.noted += len(body)
        span = (run.from_t, run.to_t) if run else (None, None)
        epoch = run.epoch if run else CERTAIN
        record = BASE[Stream.ALARM] | self._holdings.insert(db, Stream.ALARM, span, body, epoch)
        db.execute("UPDATE records SET dropped = 1 WHERE id = ?", (record,))
        return record
