"""Who was refused, and why. Repetitions are counted; the table is bounded, and the longest silent entry goes first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, and_, delete, or_, select

from lamplighter_hub.registry import models
from lamplighter_hub.registry.database import Database
from lamplighter_hub.services import Clock

MAX_ENTRIES: Final = 1_000
MAX_WHO: Final = 100
MAX_DETAIL: Final = 300

Key = tuple[str, str]


@dataclass(slots=True)
class Entry:
    """One who and one why."""

    who: str
    why: str
    detail: str
    count: int
    first_at: int
    last_at: int


class Refusals:
    """Remembers refusals in memory; `flush` writes what changed. Any thread may call."""

    def __init__(self, registry: Database, clock: Clock) -> None:
        self._registry = registry
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: OrderedDict[Key, Entry] = OrderedDict()
        self._changed: set[Key] = set()
        self._gone: set[Key] = set()
        self._totals: dict[str, int] = {}

    def load(self) -> None:
        """Read what an earlier run knew."""
        with self._registry.read() as session:
            rows = session.scalars(select(models.Refusal).order_by(models.Refusal.last_at)).all()
        with self._lock:
            for row in rows:
                entry = Entry(row.who, row.why, row.detail, row.count, row.first_at, row.last_at)
                self._entries[row.who, row.why] = entry

    def record(self, who: str, why: str, detail: str = "") -> None:
        """Note that somebody was refused. `why` is a stable code, `detail` a line for people."""
        key = _clean(who, MAX_WHO) or "unknown", why
        now = self._clock()
        with self._lock:
            self._totals[why] = self._totals.get(why, 0) + 1
            entry = self._entries.get(key)
            if entry is None:
                entry = self._entries[key] = Entry(*key, "", 0, now, now)
                self._gone.discard(key)
            entry.count += 1
            entry.last_at = now
            entry.detail = _clean(detail, MAX_DETAIL)
            self._entries.move_to_end(key)
            self._changed.add(key)
            self._shrink()

    def rows(self) -> list[Entry]:
        """Return all entries, the latest first."""
        with self._lock:
            return [Entry(e.who, e.why, e.detail, e.count, e.first_at, e.last_at) for e in self._newest_first()]

    def totals(self) -> Mapping[str, int]:
        """Return how many were refused since the start, by reason."""
        with self._lock:
            return dict(self._totals)

    def flush(self) -> None:
        """Write what changed since the last time, in one transaction."""
        with self._lock:
            changed = [self._entries[key] for key in self._changed if key in self._entries]
            rows = [_row(entry) for entry in changed]
            gone = list(self._gone)
            self._changed.clear()
            self._gone.clear()
        if not rows and not gone:
            return
        with self._registry.write() as session:
            for start in range(0, len(gone), 200):
                session.execute(delete(models.Refusal).where(_any_of(gone[start : start + 200])))
            for row in rows:
                session.merge(row)

    def _newest_first(self) -> list[Entry]:
        return sorted(self._entries.values(), key=lambda e: (-e.last_at, e.who, e.why))

    def _shrink(self) -> None:
        while len(self._entries) > MAX_ENTRIES:
            key, _ = self._entries.popitem(last=False)
            self._changed.discard(key)
            if len(self._gone) < 10 * MAX_ENTRIES:
                self._gone.add(key)


def _clean(text: str, length: int) -> str:
    """Keep what can be shown and stored of a text that a stranger chose."""
    return "".join(c if c.isprintable() else "�" for c in text[:length])


def _row(entry: Entry) -> models.Refusal:
    return models.Refusal(
        who=entry.who,
        why=entry.why,
        detail=entry.detail,
        count=entry.count,
        first_at=entry.first_at,
        last_at=entry.last_at,
    )


def _any_of(keys: list[Key]) -> ColumnElement[bool]:
    return or_(*(and_(models.Refusal.who == who, models.Refusal.why == why) for who, why in keys))
