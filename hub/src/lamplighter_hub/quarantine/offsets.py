"""By how much a device's clock was wrong, as far as arrivals can tell (docs/decisions/0016).

Whoever sends at once arrives `delay` after the time of its newest reading, so `arrival - time` is what its clock lacks
plus that delay. While it stays the same for longer than a burst, the clock ran on and nothing was held back.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

Basis = Literal["constant", "time_zone", "few", "varies"]
"""Why a shift is proposed, or why none is: too few records or all of them at once, or offsets that differ."""

STEADY_MS: Final = 5_000
"""By how much the offsets of one run of a clock may differ: delays of the way, and how long a record is gathered."""
ENOUGH: Final = 3
"""Records that show one offset; fewer may be chance."""
BURST_MS: Final = 60_000
"""What arrives within less may have been held back together: its offsets are alike, and wrong."""
MOST_RUNS: Final = 5
"""Beyond so many, those that prove nothing are told together."""
_QUARTER_MS: Final = 15 * 60_000
_NEAR_MS: Final = 30_000
_ZONES_MS: Final = 14 * 3_600_000
"""No place is further from UTC."""


@dataclass(slots=True)
class Run:
    """Entries in order of arrival between which a clock did not step; times and offsets in ms.

    `low` and `high` are the least and the greatest `arrival - newest time`; `earliest` and `latest` the device's times.
    """

    arrived_first: int
    arrived_last: int
    earliest: int
    latest: int
    low: int
    high: int
    entries: int = 1

    @classmethod
    def of(cls, arrived: int, earliest: int, latest: int) -> Run:
        """Return the run of one entry."""
        return cls(arrived, arrived, earliest, latest, arrived - latest, arrived - latest)

    def steady_with(self, other: Run) -> bool:
        """Whether both together still show one offset."""
        return max(self.high, other.high) - min(self.low, other.low) <= STEADY_MS

    def take(self, other: Run) -> None:
        """Take up what came after it."""
        self.arrived_last = max(self.arrived_last, other.arrived_last)
        self.earliest, self.latest = min(self.earliest, other.earliest), max(self.latest, other.latest)
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)
        self.entries += other.entries

    @property
    def proves(self) -> bool:
        """Whether its offset is that of the clock: the same in several entries, for longer than a burst takes."""
        enough = self.entries >= ENOUGH and self.arrived_last - self.arrived_first >= BURST_MS
        return enough and self.high - self.low <= STEADY_MS

    @property
    def basis(self) -> Basis:
        """What its offsets tell."""
        if self.high - self.low > STEADY_MS:
            return "varies"
        if not self.proves:
            return "few"
        return "time_zone" if _zone(self.low) is not None else "constant"

    @property
    def shift(self) -> int | None:
        """By how much (ms) its times should be moved, None when that cannot be known."""
        return self.shift_after(0)

    def shift_after(self, delay: int) -> int | None:
        """Return the shift when it is known how long (ms) the device's records are under way."""
        if not self.proves:
            return None
        zone = _zone(self.low - delay)
        return self.low - delay if zone is None else zone


def runs(entries: Iterable[Run]) -> list[Run]:
    """Join single entries, in order of arrival, to runs of a clock.

    A clock that drifts makes a run for each five seconds. Of many runs those that prove nothing, as what was held back
    does, become one that varies.

    >>> [(run.entries, run.shift) for run in runs([Run.of(t + 9_000_000_000, 5, t) for t in (5, 30_000, 60_005)])]
    [(3, 9000000000)]
    """
    found: list[Run] = []
    for entry in entries:
        if found and found[-1].steady_with(entry):
            found[-1].take(entry)
        else:
            found.append(entry)
    return found if len(found) <= MOST_RUNS else _told_together(found)


def _told_together(found: list[Run]) -> list[Run]:
    kept = found[:1]
    for run in found[1:]:
        if kept[-1].proves or run.proves:
            kept.append(run)
        else:
            kept[-1].take(run)
    return kept


def _zone(offset: int) -> int | None:
    """Return the whole quarter of an hour that an offset is, as a clock that shows the time of another zone has it."""
    whole = round(offset / _QUARTER_MS) * _QUARTER_MS
    near = abs(offset - whole) <= _NEAR_MS
    return whole if whole and near and abs(whole) <= _ZONES_MS else None
