"""What a swarm counts; figures of several processes add up to one."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

STEPS_PER_OCTAVE: Final = 8
BUCKETS: Final = 8 * 21


class Latencies:
    """A histogram of milliseconds in logarithmic buckets (9 % wide, up to about half an hour): fixed size, addable."""

    def __init__(self) -> None:
        self.buckets = [0] * BUCKETS

    def add(self, ms: float) -> None:
        """Count one latency."""
        self.buckets[min(int(STEPS_PER_OCTAVE * math.log2(1 + max(ms, 0.0))), BUCKETS - 1)] += 1

    def merge(self, other: Latencies) -> None:
        """Add the counts of another histogram."""
        self.buckets = [a + b for a, b in zip(self.buckets, other.buckets, strict=True)]

    def since(self, earlier: Latencies) -> Latencies:
        """Return what was counted since an earlier state of this histogram."""
        found = Latencies()
        found.buckets = [now - before for now, before in zip(self.buckets, earlier.buckets, strict=True)]
        return found

    def quantile(self, share: float) -> float | None:
        """Return the upper bound in ms of the bucket that holds this share of all; None when nothing was counted."""
        wanted = share * sum(self.buckets)
        seen = 0
        for index, count in enumerate(self.buckets):
            seen += count
            if count and seen >= wanted:
                return float(round(2.0 ** ((index + 1) / STEPS_PER_OCTAVE) - 1, 1))
        return None


@dataclass
class Figures:
    """Counters of one process or, added up, of a swarm. Records are counted once, however often they were sent."""

    agents: int = 0
    connected: int = 0
    reporting: int = 0
    connects: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    lost_connections: int = 0
    records: int = 0
    points: int = 0
    confirmed: int = 0
    resent: int = 0
    receipts: int = 0
    bytes_sent: int = 0
    births: int = 0
    births_acknowledged: int = 0
    held_back: int = 0
    backlog_records: int = 0
    backlog_points: int = 0
    backlog_confirmed: int = 0
    throttled: int = 0
    downlinks: Counter[str] = field(default_factory=Counter)
    latencies: Latencies = field(default_factory=Latencies)

    @property
    def unconfirmed(self) -> int:
        """Records, live and of the backlog, that have no receipt yet."""
        return self.records - self.confirmed + self.backlog_records - self.backlog_confirmed

    def add(self, other: Figures) -> None:
        """Add what another process counted."""
        for name, value in vars(other).items():
            mine = getattr(self, name)
            if isinstance(mine, Latencies):
                mine.merge(value)
            elif isinstance(mine, Counter):
                mine.update(value)
            else:
                setattr(self, name, mine + value)

    def summary(self) -> dict[str, Any]:
        """Return everything as JSON: counts, and latencies of live records from first sending to receipt in ms."""
        plain = {name: value for name, value in vars(self).items() if not isinstance(value, Latencies)}
        return {
            **{name: dict(value) if isinstance(value, Counter) else value for name, value in plain.items()},
            "lost": self.unconfirmed,
            "latency_ms": {
                "p50": self.latencies.quantile(0.5),
                "p99": self.latencies.quantile(0.99),
                "max": self.latencies.quantile(1.0),
            },
        }
