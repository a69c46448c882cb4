"""The agent's time: its own clock, corrected by what the hub says; for commands never behind what it signed.

When somebody sets the operating system's clock, what the hub said counts from the old setting. How far it was set is
seen beside a clock that nobody sets, so the corrected time goes on without a jump.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Final

IGNORED_MS: Final = 1_000
"""Offsets below this are the network's delay rather than a wrong clock."""
SAMPLES: Final = 8


def system_ms() -> int:
    """Return the operating system's clock in ms since 1970."""
    return time.time_ns() // 1_000_000


def since_boot_ms() -> int:
    """Return the time since the machine started in ms; it goes on while the machine sleeps, and nobody sets it."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime_ns(clock) // 1_000_000


class Clock:
    """Milliseconds since 1970. `read` is the operating system's clock, `since_boot` one that is never set."""

    def __init__(self, read: Callable[[], int] = system_ms, since_boot: Callable[[], int] | None = None) -> None:
        self._read = read
        self._since_boot = since_boot
        self._apart: int | None = None
        self._seen: deque[int] = deque(maxlen=SAMPLES)
        self._floor = 0

    def own(self) -> int:
        """Return the uncorrected time."""
        now = self._read()
        if self._since_boot is not None:
            self._notice(now - self._since_boot())
        return now

    def now(self) -> int:
        """Return the corrected time."""
        return self.own() + self.offset_ms

    def safe_now(self) -> int:
        """Return the time that decides over expiry: never before a time that the hub signed.

        Receipts are not signed, so whoever holds the broker may turn the clock; not behind the last signed document.
        """
        return max(self.now(), self._floor)

    @property
    def offset_ms(self) -> int:
        """What must be added to the own clock. Late messages only make it smaller, so the largest recent one counts."""
        best = max(self._seen, default=0)
        return best if abs(best) > IGNORED_MS else 0

    @property
    def synced(self) -> bool:
        """True when the hub has been heard and the own clock agrees with it."""
        return bool(self._seen) and self.offset_ms == 0

    def hub_said(self, now_ms: int) -> None:
        """Learn from the hub's time in a receipt."""
        self._seen.append(now_ms - self.own())

    def _notice(self, apart: int) -> None:
        """Learn how far the own clock is from the one that is never set; a jump of it was a setting."""
        step = 0 if self._apart is None else apart - self._apart
        self._apart = apart
        if abs(step) > IGNORED_MS:
            self._seen = deque((seen - step for seen in self._seen), maxlen=SAMPLES)

    def hub_signed(self, issued_at: int) -> None:
        """Learn from a signed document: it is at least that late."""
        self._floor = max(self._floor, issued_at)
