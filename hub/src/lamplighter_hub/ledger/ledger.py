"""The ledger: per agent, outbox and stream, which records are committed.

It recognises what comes twice, words the receipts, and tells what is missing. The series store keeps it durable: every
commit carries the marks that the ledger takes up only after that commit (`Draft` before, `Ledger.take` after).
`received = stored + duplicate + quarantined` holds for every account.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from lamplighter_hub.ledger.intervals import Intervals
from lamplighter_hub.series.store import Mark
from lamplighter_protocols.records import Header, Receipt, Stream

MAX_RANGES: Final = 512
"""Ranges kept per account; a stream torn into more pieces than this is not taken until its gaps are filled."""


class Key(NamedTuple):
    """Whose account: an agent may have had several outboxes, each with its streams."""

    agent: str
    outbox: str
    stream: str


@dataclass(slots=True)
class Account:
    """One stream of one outbox. `held` is what the agent last said it still keeps."""

    seen: Intervals = field(default_factory=Intervals)
    stored: int = 0
    duplicate: int = 0
    quarantined: int = 0
    dropped: int = 0
    held: int = 0

    @property
    def received(self) -> int:
        """How many records came, repetitions included."""
        return self.stored + self.duplicate + self.quarantined

    def copy(self) -> Account:
        """Return an independent copy."""
        return Account(self.seen.copy(), self.stored, self.duplicate, self.quarantined, self.dropped, self.held)

    def take(self, mark: Mark) -> None:
        """Book one mark."""
        self.seen.add(mark.first, mark.last)
        self.stored += mark.stored
        self.duplicate += mark.duplicate
        self.quarantined += mark.quarantined
        self.dropped += mark.dropped


class Row(NamedTuple):
    """What the ledger says of one account. `missing` are the gaps; `received` counts repetitions too."""

    agent: str
    outbox: str
    stream: str
    through: int
    highest: int
    received: int
    stored: int
    duplicate: int
    quarantined: int
    dropped: int
    held: int
    missing: list[tuple[int, int]]


class Draft:
    """Changes of one commit. Nothing of it counts before `Ledger.take`."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._accounts: dict[Key, Account] = {}
        self.marks: list[Mark] = []

    def account(self, key: Key) -> Account:
        """Return the account as this draft sees it."""
        if key not in self._accounts:
            self._accounts[key] = self._ledger.snapshot(key)
        return self._accounts[key]

    def fresh(self, agent: str, header: Header, count: int) -> list[bool] | None:
        """Say for each record of a batch whether it is new; None when the stream is torn into too many pieces."""
        seen = self.account(Key(agent, header.outbox, header.stream)).seen
        if header.first > seen.highest:
            torn = len(seen) >= MAX_RANGES and header.first != seen.highest + 1
            return None if torn else [True] * count
        return [header.first + index not in seen for index in range(count)]

    def book(self, mark: Mark) -> None:
        """Add a mark to this commit."""
        self.marks.append(mark)
        self.account(Key(mark.agent, mark.outbox, mark.stream)).take(mark)

    def hold(self, agent: str, header: Header) -> None:
        """Note what the agent says it still keeps."""
        for stream in Stream:
            if stream in header.held:
                self.account(Key(agent, header.outbox, stream)).held = header.held[stream]

    def changed(self) -> dict[Key, Account]:
        """Return the accounts that this draft touched."""
        return self._accounts


class Ledger:
    """The accounts of all agents, in memory; written by the ingest thread, read by all."""

    def __init__(self, marks: Iterable[Mark] = ()) -> None:
        self._lock = threading.Lock()
        self._accounts: dict[Key, Account] = {}
        self._outboxes: dict[str, dict[str, None]] = {}
        for mark in marks:
            key = Key(mark.agent, mark.outbox, mark.stream)
            self._open(key, self._accounts.get(key, Account())).take(mark)

    def draft(self) -> Draft:
        """Begin a commit."""
        return Draft(self)

    def take(self, draft: Draft) -> None:
        """Take up a draft whose commit is durable."""
        with self._lock:
            for key, account in draft.changed().items():
                self._open(key, account)

    def snapshot(self, key: Key) -> Account:
        """Return a copy of an account; an empty one when it is new."""
        with self._lock:
            found = self._accounts.get(key)
            return found.copy() if found else Account()

    def receipt(self, agent: str, outbox: str, now_ms: int) -> Receipt:
        """Word what is committed of an outbox. Cumulative, so that any receipt may be lost."""
        with self._lock:
            accounts = {s: self._accounts[k] for s in Stream if (k := Key(agent, outbox, s)) in self._accounts}
            through = {stream: account.seen.through for stream, account in accounts.items()}
            also = {stream: account.seen.beyond() for stream, account in accounts.items() if account.seen.beyond()}
        return Receipt(outbox=outbox, through=through, also=also, now=now_ms)

    def outboxes(self, agent: str) -> list[str]:
        """Return the outboxes known of an agent, oldest first."""
        with self._lock:
            return list(self._outboxes.get(agent, {}))

    def rows(self) -> list[Row]:
        """Return all accounts, by agent."""
        return [_row(key, account) for key, account in sorted(self._now(), key=_key)]

    def row(self, agent: str) -> list[Row]:
        """Return the accounts of one agent."""
        with self._lock:
            keys = [Key(agent, outbox, stream) for outbox in self._outboxes.get(agent, ()) for stream in Stream]
            found = [(key, self._accounts[key]) for key in keys if key in self._accounts]
        return [_row(key, account) for key, account in sorted(found, key=_key)]

    def totals(self) -> dict[str, int]:
        """Return the sums over all accounts; `missing` counts numbers, not gaps."""
        accounts = [account for _, account in self._now()]
        sums = {name: sum(getattr(account, name) for account in accounts) for name in _SUMMED}
        return sums | {"missing": sum(account.seen.highest - account.seen.count() for account in accounts)}

    def _now(self) -> list[tuple[Key, Account]]:
        """Return the present accounts. They are replaced and never changed, so they can be read without the lock."""
        with self._lock:
            return list(self._accounts.items())

    def _open(self, key: Key, account: Account) -> Account:
        self._accounts[key] = account
        self._outboxes.setdefault(key.agent, {})[key.outbox] = None
        return account


_SUMMED: Final = ("received", "stored", "duplicate", "quarantined", "dropped", "held")


def _key(item: tuple[Key, Account]) -> Key:
    return item[0]


def _row(key: Key, account: Account) -> Row:
    return Row(
        *key,
        through=account.seen.through,
        highest=account.seen.highest,
        received=account.received,
        stored=account.stored,
        duplicate=account.duplicate,
        quarantined=account.quarantined,
        dropped=account.dropped,
        held=account.held,
        missing=account.seen.missing(),
    )
