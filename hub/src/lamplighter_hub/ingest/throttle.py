"""What a busy hub asks of its agents: hold your backlog for a while.

It goes by how full the queue in front of ingest is and by how long what is next there has waited. Two marks, so that
it does not flutter: at the upper one receipts begin to carry `retry_after_ms`, below the lower one they stop. Live data
and alarms are never held back; the queue is for them.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from lamplighter_protocols.records import Receipt, Stream

log = logging.getLogger(__name__)

HIGH: Final = 0.25
"""Half of what backlog may fill."""
LOW: Final = 0.1
TOO_LATE_S: Final = {Stream.ALARM: 8.0, Stream.LIVE: 8.0, Stream.BACKLOG: 40.0}
"""A wait that is as bad as a full queue."""
SHORTEST_MS: Final = 2_000
LONGEST_MS: Final = 20_000
SPREAD: Final = (math.sqrt(5) - 1) / 2
"""A pause is up to half as long again, in steps of the golden ratio: so not all agents come back at once."""
REASON: Final = "the hub has more to store than it can at once; hold the backlog"


class Throttle:
    """Used by the ingest thread; read by all.

    `clock` returns ms, `fill` how full the queue is, from 0 to 1, and `arrivals` when the messages arrived (ms) that
    are next, None for a stream of which none waits.
    """

    def __init__(
        self,
        clock: Callable[[], int],
        fill: Callable[[], float],
        arrivals: Callable[[], Mapping[Stream, int | None]] = dict,
    ) -> None:
        self._clock = clock
        self._look = fill
        self._arrivals = arrivals
        self._fill = 0.0
        self._pressure = 0.0
        self._since = 0
        self._began = 0
        self._receipts = 0

    @property
    def active(self) -> bool:
        """True while agents are asked to hold their backlog."""
        return self._since > 0

    def worded(self, receipt: Receipt) -> Receipt:
        """Return the receipt as it goes out; while active it asks for the longer a pause the fuller the queue is.

        How long messages have waited does not make it longer: the last of them have waited for the longest.
        """
        self._decide()
        if not self.active:
            return receipt
        self._receipts += 1
        part = min(1.0, max(0.0, self._fill - LOW) / (1 - LOW))
        spread = 1 + self._receipts * SPREAD % 1 / 2
        pause = round(spread * (SHORTEST_MS + part * (LONGEST_MS - SHORTEST_MS)))
        return receipt.model_copy(update={"retry_after_ms": pause, "reason": REASON})

    def facts(self) -> dict[str, Any]:
        """Return what the status says of it."""
        return {
            "active": self.active,
            "since": self._since or None,
            "fill_percent": round(100 * self._fill, 1),
            "pressure_percent": round(100 * self._pressure, 1),
            "began": self._began,
            "receipts": self._receipts,
        }

    def _decide(self) -> None:
        pressure = self._pressure = self._measure()
        if not self.active and pressure >= HIGH:
            self._since = self._clock()
            self._began += 1
            text = "ingest is behind (pressure %.0f %%, queue %.0f %% full): agents are asked to hold their backlog"
            log.warning(text, 100 * pressure, 100 * self._fill)
        elif self.active and pressure < LOW:
            log.info("ingest has caught up (pressure %.0f %%): agents may send their backlog", 100 * pressure)
            self._since = 0

    def _measure(self) -> float:
        self._fill = self._look()
        now = self._clock()
        late = [(now - at) / 1000 / TOO_LATE_S[stream] for stream, at in self._arrivals().items() if at is not None]
        return max(self._fill, *late, 0.0)
