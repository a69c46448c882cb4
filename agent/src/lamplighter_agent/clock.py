"""The agent's time: its own clock, corrected by what the hub says; for commands never behind what it signed.

When somebody sets the operating system's clock, what the hub said counts from the old setting. How far it was set is
seen beside a clock that nobody sets, so the corrected time goes on without a jump.

Until the hub has said what time it is, nobody knows how wrong the own clock is. A `Moment` of that time carries what is
needed to correct it afterwards (epochs.py).
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

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


class Moment(NamedTuple):
    """A time in ms since 1970. `apart` is none when it is corrected already.

    Otherwise `t` is the own clock's, and `apart` is how far that clock was from the one that is never set.
    """

    t: int
    apart: int | None = None


class Clock:
    """Milliseconds since 1970. `read` is the operating system's clock, `since_boot` one that is never set."""

    def __init__(self, read: Callable[[], int] = system_ms, since_boot: Callable[[], int] | None = None) -> None:
        self._read = read
        self._since_boot = since_boot
        self._apart: int | None = None
        self._seen: deque[tuple[int, float]] = deque(maxlen=SAMPLES)
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

    def moment(self) -> Moment:
        """Return the corrected time, or the own one with what it takes to correct it later."""
        now = self.own()
        return Moment(now + self.offset_ms) if self._seen else Moment(now, self._apart)

    @property
    def true_apart(self) -> int | None:
        """How far true time is from the clock that is never set; None before the hub has been heard."""
        self.own()
        return self._apart + self.offset_ms if self._seen and self._apart is not None else None

    def safe_now(self) -> int:
        """Return the time that decides over expiry: never before a time that the hub signed.

        Receipts are not signed, so whoever holds the broker may turn the clock; not behind the last signed document.
        """
        return max(self.now(), self._floor)

    @property
    def offset_ms(self) -> int:
        """What must be added to the own clock. Late messages only make it smaller, so the largest recent one counts.

        Where it is known how late a message may have been, a clock that may be right is taken for right.
        """
        least = max((low for low, _ in self._seen), default=0)
        most = min((high for _, high in self._seen), default=math.inf)
        may_be_right = least <= IGNORED_MS and -IGNORED_MS <= most < math.inf
        return 0 if abs(least) <= IGNORED_MS or may_be_right else least

    @property
    def synced(self) -> bool:
        """True when the hub has been heard and the own clock agrees with it."""
        return bool(self._seen) and self.offset_ms == 0

    def hub_said(self, now_ms: int, late_ms: float = math.inf) -> None:
        """Learn from the hub's time in a receipt, which may have been on its way for `late_ms` at most."""
        offset = now_ms - self.own()
        self._seen.append((offset, offset + late_ms))

    def _notice(self, apart: int) -> None:
        """Learn how far the own clock is from the one that is never set; a jump of it was a setting."""
        step = 0 if self._apart is None else apart - self._apart
        self._apart = apart
        if abs(step) > IGNORED_MS:
            self._seen = deque(((low - step, high - step) for low, high in self._seen), maxlen=SAMPLES)

    def hub_signed(self, issued_at: int) -> None:
        """Learn from a signed document: it is at least that late."""
        self._floor = max(self._floor, issued_at)
