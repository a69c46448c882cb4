"""What the link carried, by day in UTC, and how much more a data budget lets it carry now. Arithmetic only.

A day's budget is not there to be burnt in the morning: of it a line may be used that begins with a head start and
rises to the whole at midnight. Below the line by more than a reserve everything goes (`ok`); within the reserve backlog
stops and live readings wait longer for company (`saving`); on the line they wait for it to rise (`spent`), and only
alarms, results and declarations go. What a quiet night left is still there at noon. A state is left for a better one
only when there is a step more room than it needs: what waited goes in few large batches, and nobody hears of a change
more often than every quarter of an hour.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple

from lamplighter_protocols.presence import BudgetState
from lamplighter_protocols.records import Stream

DAY_MS: Final = 86_400_000
HEAD_START: Final = 20
"""Percent of the budget that may be used at once."""
RESERVE: Final = 10
"""Percent of the budget that is kept from the backlog."""
STEP: Final = 1
"""Percent of the budget by which there must be more room than a state needs before it is entered from a worse one."""
LONGER: Final = 4
"""How many times longer live readings wait while it is being saved."""
DAYS_KEPT: Final = 35
_ORDER: Final = tuple(BudgetState)


class Traffic(NamedTuple):
    """Bytes on the link, with the headers of TCP and IP."""

    up: int = 0
    down: int = 0

    def plus(self, other: Traffic) -> Traffic:
        """Return the sum."""
        return Traffic(self.up + other.up, self.down + other.down)

    def since(self, earlier: Traffic) -> Traffic:
        """Return what came since a connection had carried `earlier`."""
        return Traffic(self.up - earlier.up, self.down - earlier.down)

    @property
    def total(self) -> int:
        """Both directions."""
        return self.up + self.down


def day_of(now_ms: int) -> str:
    """Return the day of a moment in UTC.

    >>> day_of(1795476600000)
    '2026-11-23'
    """
    return datetime.fromtimestamp(now_ms / 1000, UTC).date().isoformat()


class Account:
    """Traffic by day in UTC; beside today's the last DAYS_KEPT are kept."""

    def __init__(self, days: Mapping[str, Traffic] | None = None) -> None:
        self.days = dict(days or {})

    def add(self, now_ms: int, more: Traffic) -> None:
        """Book what was carried just now."""
        today = day_of(now_ms)
        self.days[today] = self.of(now_ms).plus(more)
        for old in sorted(self.days.keys() - {today})[:-DAYS_KEPT]:
            del self.days[old]

    def of(self, now_ms: int) -> Traffic:
        """Return what was carried on the day of a moment."""
        return self.days.get(day_of(now_ms), Traffic())


class Budget:
    """What may go, given what a day has used. `bytes_per_day` None: nothing limits it."""

    def __init__(self, bytes_per_day: int | None) -> None:
        self.bytes_per_day = bytes_per_day

    def state(self, used: int, now_ms: int, before: BudgetState = BudgetState.OK) -> BudgetState:
        """Return where a day's use stands at a moment of that day; `before` is where it stood."""
        if self.bytes_per_day is None:
            return BudgetState.OK
        risen = HEAD_START * DAY_MS + (100 - HEAD_START) * (now_ms % DAY_MS)
        room = self.bytes_per_day * risen // (100 * DAY_MS) - used
        for state, percent in ((BudgetState.OK, RESERVE), (BudgetState.SAVING, 0)):
            step = STEP if _ORDER.index(state) < _ORDER.index(before) else 0
            if room > self.bytes_per_day * (percent + step) // 100:
                return state
        return BudgetState.SPENT


def lets(state: BudgetState, stream: Stream) -> bool:
    """True when a stream may be sent in this state; alarms (with results and declarations) always may."""
    if state is BudgetState.OK or stream is Stream.ALARM:
        return True
    return state is BudgetState.SAVING and stream is Stream.LIVE


def patience(state: BudgetState, wait_s: float) -> float:
    """Return how long live readings wait for company that would wait so long otherwise."""
    return wait_s if state is BudgetState.OK else wait_s * LONGER
