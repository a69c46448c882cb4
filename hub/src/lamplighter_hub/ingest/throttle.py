"""What a busy hub asks of its agents: hold your backlog for a while.

Two marks on the queue in front of ingest, so that it does not flutter: at the upper one receipts begin to carry
`retry_after_ms`, below the lower one they stop. Live data and alarms are never held back; that queue is for them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

from lamplighter_protocols.records import Receipt

log = logging.getLogger(__name__)

HIGH: Final = 0.5
LOW: Final = 0.2
SHORTEST_MS: Final = 5_000
LONGEST_MS: Final = 30_000
REASON: Final = "the hub's queue is full beyond its mark; hold the backlog"


class Throttle:
    """Used by the ingest thread; read by all. `clock` returns ms, `fill` how full the queue is, from 0 to 1."""

    def __init__(self, clock: Callable[[], int], fill: Callable[[], float]) -> None:
        self._clock = clock
        self._look = fill
        self._fill = 0.0
        self._since = 0
        self._began = 0
        self._receipts = 0

    @property
    def active(self) -> bool:
        """True while agents are asked to hold their backlog."""
        return self._since > 0

    def worded(self, receipt: Receipt) -> Receipt:
        """Return the receipt as it goes out; while active it asks for the longer a pause the fuller the queue is."""
        self._decide()
        if not self.active:
            return receipt
        self._receipts += 1
        part = min(1.0, max(0.0, self._fill - LOW) / (1 - LOW))
        pause = round(SHORTEST_MS + part * (LONGEST_MS - SHORTEST_MS))
        return receipt.model_copy(update={"retry_after_ms": pause, "reason": REASON})

    def facts(self) -> dict[str, Any]:
        """Return what the status says of it."""
        return {
            "active": self.active,
            "since": self._since or None,
            "fill_percent": round(100 * self._fill, 1),
            "began": self._began,
            "receipts": self._receipts,
        }

    def _decide(self) -> None:
        fill = self._fill = self._look()
        if not self.active and fill >= HIGH:
            self._since = self._clock()
            self._began += 1
            log.warning("the ingest queue is %.0f %% full: agents are asked to hold their backlog", 100 * fill)
        elif self.active and fill < LOW:
            log.info("the ingest queue is down to %.0f %%: agents may send their backlog", 100 * fill)
            self._since = 0
