"""The ledger: per agent, outbox and stream, which records are committed.

It recognises what comes twice, words the receipts, and tells what is missing. The series store keeps it durable: every
commit carries the marks that the ledger takes up only after that commit (`Draft` before, `Ledger.take` after).
`received = stored + duplicate + quarantined` is checked for every account with every commit.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from lamplighter_hub.ledger.account import Account, Balance, Hole, Key
from lamplighter_hub.series.store import Mark
from lamplighter_protocols.presence import Birth, Presence
from lamplighter_protocols.records import DroppedRecord, Header, Receipt, Stream

log = logging.getLogger(__name__)

MAX_RANGES: Final = 512
"""Ranges kept per account; a stream torn into more pieces than this is not taken until its gaps are filled."""
_STREAMS: Final = tuple(Stream)
MOST_ACCUSED: Final = 100
"""Streams of agents whose first violation is logged; those of the others are counted, like every later one."""


class Row(NamedTuple):
    """What the ledger says of one account. `missing` are the gaps, `lost` what was declared dropped.

    `received` counts repetitions too. `sent = stored + quarantined + dropped + held + unaccounted`, as far as the
    agent's word goes, which is of `told_at` (ms; 0: none since the hub's start).
    """

    agent: str
    outbox: str
    stream: str
    through: int
    highest: int
    sent: int
    received: int
    stored: int
    duplicate: int
    quarantined: int
    dropped: int
    held: int
    unaccounted: int
    told_at: int
    missing: list[tuple[int, int]]
    lost: list[tuple[int, int]]
    holes: list[Hole]


@dataclass(slots=True)
class _Run:
    """A mark that may still grow."""

    first: int
    last: int
    stored: int = 0
    duplicate: int = 0
    quarantined: int = 0

    def add(self, stored: int, duplicate: int, quarantined: int) -> None:
        """Count what became of more records."""
        self.stored += stored
        self.duplicate += duplicate
        self.quarantined += quarantined

    def mark(self, key: Key) -> Mark:
        """Return it as it is stored."""
        return Mark(*key, self.first, self.last, self.stored, self.duplicate, self.quarantined, 0)


class Draft:
    """Changes of one commit at a time (ms). Nothing of it counts before `Ledger.take`."""

    def __init__(self, ledger: Ledger, now_ms: int) -> None:
        self._ledger = ledger
        self._accounts: dict[Key, Account] = {}
        self._runs: dict[Key, _Run] = {}
        self._closed: list[Mark] = []
        self.now_ms = now_ms

    @property
    def marks(self) -> list[Mark]:
        """Return what this commit books, neighbouring numbers of a stream in one mark."""
        return self._closed + [run.mark(key) for key, run in self._runs.items()]

    def account(self, key: Key) -> Account:
        """Return the account as this draft sees it."""
        if key not in self._accounts:
            self._accounts[key] = self._ledger.snapshot(key)
        return self._accounts[key]

    def fresh(self, agent: str, header: Header, count: int) -> list[bool] | None:
        """Say for each record of a batch whether it is new; None when the stream is torn into too many pieces."""
        account = self.account(Key(agent, header.outbox, header.stream))
        if header.first > account.seen.highest:
            return None if _tears(account, header.first) else [True] * count
        return [account.is_new(header.first + index) for index in range(count)]

    def receive(self, agent: str, header: Header, count: int) -> None:
        """Count records that arrived, before anything is done with them."""
        self.account(Key(agent, header.outbox, header.stream)).received += count

    def book(self, mark: Mark) -> None:
        """Add a mark to this commit."""
        key = Key(mark.agent, mark.outbox, mark.stream)
        self.account(key).take(mark)
        if mark.dropped:
            self._closed.append(mark)
        else:
            self._run(key, mark.first, mark.last).add(mark.stored, mark.duplicate, mark.quarantined)

    def awaits(self, key: Key, first: int) -> bool:
        """Whether a stream is known and this is its very next number. What is not known is not opened by asking."""
        account = self._accounts.get(key) or (self.account(key) if self._ledger.knows(key) else None)
        return account is not None and first > 1 and first == account.seen.highest + 1

    def extend(self, key: Key, first: int, count: int) -> None:
        """Book so many records that a stream awaited, all of which are kept."""
        last = first + count - 1
        account = self.account(key)
        account.seen.add(first, last)
        account.received += count
        account.stored += count
        self._run(key, first, last).stored += count

    def _run(self, key: Key, first: int, last: int) -> _Run:
        """Return the run of numbers that goes on with these, or begins with them."""
        run = self._runs.get(key)
        if run is not None and run.last + 1 == first:
            run.last = last
            return run
        if run is not None:
            self._closed.append(run.mark(key))
        run = self._runs[key] = _Run(first, last)
        return run

    def declare(self, agent: str, outbox: str, record: DroppedRecord) -> None:
        """Book what an agent had to give up, as far as it has not arrived: that much is exactly what is lost."""
        key = Key(agent, record.outbox or outbox, record.stream)
        if _tears(self.account(key), record.first):
            return
        for first, last in self.account(key).seen.gaps(record.first, record.last):
            self.book(Mark(*key, first, last, 0, 0, 0, last - first + 1))

    def heed(self, agent: str, outbox: str, held: Mapping[Stream, int], freed: Mapping[Stream, int]) -> None:
        """Note what the agent says: how much it still keeps, and up to which number it keeps nothing."""
        for stream, count in held.items():
            account = self.account(Key(agent, outbox, stream))
            account.held = count
            account.last = max(account.last, freed.get(stream, 0) + count)
            account.told_at = self.now_ms
        for stream, number in freed.items():
            account = self.account(Key(agent, outbox, stream))
            account.freed = max(account.freed, number)

    def heed_inventory(self, agent: str, said: Birth | Presence) -> None:
        """Note what the agent says of its outbox. An outbox that it had before is no more: what was held is missing."""
        if said.outbox is None:
            return
        self.heed(agent, said.outbox, said.held, said.freed)
        for stream in said.held:
            last = said.last.get(stream, said.freed.get(stream, 0))
            self.account(Key(agent, said.outbox, stream)).last = last
        for key in self._ledger.left_behind(agent, said.outbox):
            account = self.account(key)
            account.freed, account.held, account.told_at = account.balance().sent, 0, self.now_ms

    def changed(self) -> dict[Key, Account]:
        """Return the accounts that this draft touched."""
        return self._accounts


def _tears(account: Account, first: int) -> bool:
    """True when taking this number would tear a stream into one piece too many."""
    return len(account.seen) >= MAX_RANGES and first > account.seen.highest + 1


class Ledger:
    """The accounts of all agents, in memory; written by the ingest thread, read by all.

    `marks` are those of the store. `violations` counts how often the books did not add up.
    """

    def __init__(self, marks: Iterable[Mark] = (), now_ms: int = 0) -> None:
        self._lock = threading.Lock()
        self._accounts: dict[Key, Account] = {}
        self._outboxes: dict[str, dict[str, None]] = {}
        self._torn: dict[Key, None] = {}
        self._accused: set[tuple[str, str]] = set()
        self.violations = 0
        self._load(marks, now_ms)

    def _load(self, marks: Iterable[Mark], now_ms: int) -> None:
        declared = []
        for mark in marks:
            if mark.dropped:
                declared.append(mark)
            else:
                self._of(mark).take(mark)
        for mark in declared:  # what arrived, before or after it was given up, is not lost
            self._of(mark).take(mark)
        for key, account in self._accounts.items():
            account.received = account.booked
            account.grow_old(now_ms)
            self._remember_holes(key, account)

    def _of(self, mark: Mark) -> Account:
        key = Key(mark.agent, mark.outbox, mark.stream)
        return self._accounts.get(key) or self._open(key, Account())

    def draft(self, now_ms: int = 0) -> Draft:
        """Begin a commit."""
        return Draft(self, now_ms)

    def take(self, draft: Draft) -> None:
        """Take up a draft whose commit is durable."""
        for key, account in draft.changed().items():
            self._check(key, account)
            account.grow_old(draft.now_ms)
        with self._lock:
            for key, account in draft.changed().items():
                self._open(key, account)
                self._remember_holes(key, account)

    def knows(self, key: Key) -> bool:
        """Whether there is such an account."""
        return key in self._accounts

    def snapshot(self, key: Key) -> Account:
        """Return a copy of an account; an empty one when it is new."""
        with self._lock:
            found = self._accounts.get(key)
            return found.copy() if found else Account()

    def receipt(self, agent: str, outbox: str, now_ms: int) -> Receipt:
        """Word what is committed of an outbox. Cumulative, so that any receipt may be lost."""
        accounts = self._of_outbox(agent, outbox)
        through = {stream: account.seen.through for stream, account in accounts.items()}
        also = {stream: ranges for stream, account in accounts.items() if (ranges := account.seen.beyond())}
        return Receipt(outbox=outbox, through=through, also=also, now=now_ms)

    def answer(self, agent: str, outbox: str, session: int, now_ms: int) -> Receipt:
        """Answer a birth: beside what is committed, the highest number that is accounted for in each stream."""
        highest = {stream: account.seen.highest for stream, account in self._of_outbox(agent, outbox).items()}
        return self.receipt(agent, outbox, now_ms).model_copy(update={"session": session, "highest": highest})

    def left_behind(self, agent: str, outbox: str) -> list[Key]:
        """Return the accounts of an agent's other outboxes that hold something, or of which it was never heard."""
        with self._lock:
            others = [other for other in self._outboxes.get(agent, ()) if other != outbox]
            known = {k: v for other in others for s in Stream if (v := self._accounts.get(k := Key(agent, other, s)))}
        return [key for key, account in known.items() if account.held or not account.told_at]

    def holes(self) -> dict[Key, list[Hole]]:
        """Return everything that is missing, by account."""
        with self._lock:
            return {key: list(self._accounts[key].holes) for key in self._torn}

    def rows(self) -> list[Row]:
        """Return all accounts, by agent."""
        return [_row(key, account) for key, account in sorted(self._now(), key=_key)]

    def row(self, agent: str) -> list[Row]:
        """Return the accounts of one agent."""
        with self._lock:
            keys = [Key(agent, outbox, stream) for outbox in self._outboxes.get(agent, ()) for stream in Stream]
            found = [(key, self._accounts[key]) for key in keys if key in self._accounts]
        return [_row(key, account) for key, account in sorted(found, key=_key)]

    def totals(self) -> dict[str, Any]:
        """Return the sums over all accounts; `missing` counts numbers, `holes` gaps."""
        sums: dict[str, Any] = dict.fromkeys((*_SUMMED, *Balance._fields, "missing", "holes", "untold"), 0)
        for _, account in self._now():
            for name in _SUMMED:
                sums[name] += getattr(account, name)
            for name, count in zip(Balance._fields, account.balance(), strict=True):
                sums[name] += count
            sums["untold"] += account.told_at == 0
            sums["holes"] += len(account.holes)
            sums["missing"] += sum(hole.size for hole in account.holes)
        lost = lost_per_million(sums["stored"], sums["dropped"] + sums["missing"])
        return sums | {"violations": self.violations, "samples_lost_per_million": lost}

    def _of_outbox(self, agent: str, outbox: str) -> dict[Stream, Account]:
        """Return the present accounts of an outbox; they can be read without the lock, as those of `_now`."""
        with self._lock:
            found = [(stream, self._accounts.get(Key(agent, outbox, stream))) for stream in _STREAMS]
        return {stream: account for stream, account in found if account is not None}

    def _now(self) -> list[tuple[Key, Account]]:
        """Return the present accounts. They are replaced and never changed, so they can be read without the lock."""
        with self._lock:
            return list(self._accounts.items())

    def _open(self, key: Key, account: Account) -> Account:
        self._accounts[key] = account
        self._outboxes.setdefault(key.agent, {})[key.outbox] = None
        return account

    def _remember_holes(self, key: Key, account: Account) -> None:
        if account.holes:
            self._torn[key] = None
        else:
            self._torn.pop(key, None)

    def _check(self, key: Key, account: Account) -> None:
        """Hold what was received against what became of it. A defect of ours is counted, and said once a stream."""
        if account.received == account.booked:
            return
        self.violations += 1
        accused = (key.agent, key.stream)
        if accused not in self._accused and len(self._accused) < MOST_ACCUSED:
            self._accused.add(accused)
            text = "the ledger of %s %s does not add up: %d received, %d booked; please report it"
            log.error(text, key.agent, key.stream, account.received, account.booked)
        account.received = account.booked


_SUMMED: Final = ("received", "stored", "duplicate", "quarantined", "dropped")


def lost_per_million(stored: int, lost: int) -> float:
    """Return how many of a million records are lost: declared dropped, or missing.

    >>> lost_per_million(999_998, 2), lost_per_million(0, 0)
    (2.0, 0.0)
    """
    return round(1e6 * lost / (stored + lost), 3) if lost else 0.0


def _key(item: tuple[Key, Account]) -> Key:
    return item[0]


def _row(key: Key, account: Account) -> Row:
    return Row(
        *key,
        through=account.seen.through,
        highest=account.highest,
        received=account.received,
        stored=account.stored,
        duplicate=account.duplicate,
        quarantined=account.quarantined,
        dropped=account.dropped,
        **account.balance()._asdict(),
        told_at=account.told_at,
        missing=account.missing(),
        lost=account.gone.ranges(),
        holes=list(account.holes),
    )
