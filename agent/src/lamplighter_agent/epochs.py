"""Records that were made before the hub had said what time it is, and how their times are corrected afterwards.

An epoch is one setting of the machine's clock: how far it was from the clock that is never set (`apart`). When the hub
has spoken, the true distance is known, and each epoch learns by how much its times are wrong, once and for ever. Its
records are corrected as they are handed out, always in the same way. The epoch of an earlier start of the machine
cannot learn it: there the clock that is never set began anew. Its times stand where that machine kept its clock right
by itself; otherwise its records say `"clock": "unsynced"`, and the hub sets them aside.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from pydantic_core import from_json, to_json

from lamplighter_agent.clock import IGNORED_MS
from lamplighter_agent.machine import Machine

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS epochs (
    id INTEGER PRIMARY KEY, boot TEXT NOT NULL, apart INTEGER NOT NULL, keeps_time INTEGER NOT NULL, shift INTEGER,
    lost INTEGER NOT NULL DEFAULT 0
);
"""
CERTAIN: Final = 0
"""The epoch of records whose times need no correction."""
LIMIT: Final = 1_000
"""Epochs that are kept apart; a clock that is set more often is not worth more."""
NEAR_MS: Final = 20
"""Two clocks are read one after the other: so far their distance may seem to change while none of them is set."""
_TIMES: Final = ("t", "from_t", "to_t")


@dataclass(frozen=True, slots=True)
class _Epoch:
    boot: str
    apart: int
    keeps_time: bool
    shift: int | None = None
    lost: bool = False


class Epochs:
    """The epochs of one outbox; `machine` is asked while times are uncertain. All methods run in its transactions."""

    def __init__(self, machine: Callable[[], Machine]) -> None:
        self._machine = machine
        self._true_apart: int | None = None
        self._known: dict[int, _Epoch] = {}

    def load(self, db: sqlite3.Connection) -> None:
        """Read what the database knows; what has been learnt since is not forgotten."""
        rows = db.execute("SELECT id, boot, apart, keeps_time, shift, lost FROM epochs").fetchall()
        found = {row[0]: _Epoch(row[1], row[2], bool(row[3]), row[4], bool(row[5])) for row in rows}
        self._known = {number: self._settled(epoch) for number, epoch in found.items()}

    def prune(self, db: sqlite3.Connection) -> None:
        """Forget epochs that no record is of."""
        db.execute("DELETE FROM epochs WHERE id NOT IN (SELECT epoch FROM records)")

    def number(self, db: sqlite3.Connection, apart: int | None) -> int:
        """Return the number of the epoch that a time is of; CERTAIN where nothing is to be corrected."""
        if apart is None:
            return CERTAIN
        boot, keeps_time = self._machine()
        number = self._found(boot, apart)
        if number is None and len(self._known) >= LIMIT:
            boot, apart, keeps_time = "", 0, False  # one for all that follow, never to be corrected
            number = self._found(boot, apart)
        if number is None:
            return self._put(db, max(self._known, default=CERTAIN) + 1, _Epoch(boot, apart, keeps_time))
        known = self._known[number]
        return self._put(db, number, replace(known, keeps_time=True)) if keeps_time > known.keeps_time else number

    def learn(self, true_apart: int) -> list[str]:
        """Learn the true distance between the time and the clock that is never set; say what it means for records."""
        self._true_apart = true_apart
        open_ones = {number: self._settled(epoch) for number, epoch in self._known.items() if epoch.shift is None}
        self._known |= open_ones
        return sorted({_said(epoch) for epoch in open_ones.values() if epoch.lost or epoch.shift})

    def keep(self, db: sqlite3.Connection) -> None:
        """Write down everything that is known."""
        for number in self._known:
            self._keep(db, number)

    def known(self, number: int) -> bool:
        """True when it is known what to do about the times of an epoch."""
        return number == CERTAIN or self._known[number].shift is not None

    def right(self, number: int, t: int | None) -> int | None:
        """Return the corrected time in ms; None when it is not known and will not be."""
        if number == CERTAIN or t is None:
            return t
        epoch = self._known[number]
        return None if epoch.lost else t + (epoch.shift or 0)

    def corrected(self, number: int, body: bytes) -> bytes:
        """Return a record as it goes out."""
        if number == CERTAIN or (not (epoch := self._known[number]).lost and not epoch.shift):
            return body
        record: dict[str, Any] = from_json(body)
        if epoch.lost:
            return to_json(_uncertain(record))
        return to_json(record | {key: record[key] + epoch.shift for key in _TIMES if record.get(key) is not None})

    def _found(self, boot: str, apart: int) -> int | None:
        alike = (n for n, old in self._known.items() if old.boot == boot and abs(old.apart - apart) <= NEAR_MS)
        return next(alike, None)

    def _put(self, db: sqlite3.Connection, number: int, epoch: _Epoch) -> int:
        self._known[number] = self._settled(epoch)
        self._keep(db, number)
        return number

    def _settled(self, epoch: _Epoch) -> _Epoch:
        if self._true_apart is None or epoch.shift is not None:
            return epoch
        if epoch.boot == self._machine().boot:
            wrong = self._true_apart - epoch.apart
            return replace(epoch, shift=wrong if abs(wrong) > IGNORED_MS else 0)
        return replace(epoch, shift=0, lost=not epoch.keeps_time)

    def _keep(self, db: sqlite3.Connection, number: int) -> None:
        epoch = self._known[number]
        row = (number, epoch.boot, epoch.apart, epoch.keeps_time, epoch.shift, epoch.lost)
        db.execute("INSERT OR REPLACE INTO epochs VALUES (?, ?, ?, ?, ?, ?)", row)


def _uncertain(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record that says that its time is not known; a `dropped` one just says no times."""
    if record["kind"] == "dropped":
        return {key: value for key, value in record.items() if key not in ("from_t", "to_t")}
    return record | {"clock": "unsynced"}


def _said(epoch: _Epoch) -> str:
    if epoch.lost:
        return "times of an earlier start of the machine cannot be known: the hub sets those records aside"
    return f"times of records from before the hub was heard are corrected by {(epoch.shift or 0) / 1000:+,.1f} s"
