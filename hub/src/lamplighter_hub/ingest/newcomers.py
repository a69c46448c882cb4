"""Records may overtake the birth that names their device: they travel at QoS 0, it at QoS 1.

A batch with a device that is not known *yet* is left alone for a few seconds, without a receipt: its agent sends it
again. A device that stays unknown is then judged like any other.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

PATIENCE_MS: Final = 10_000
FORGET_MS: Final = 10 * 60_000
MOST: Final = 10_000


class Newcomers:
    """Devices seen before their birth, and since when. Bounded; used by the ingest thread alone."""

    def __init__(self) -> None:
        self._first_seen: OrderedDict[tuple[str, str], int] = OrderedDict()

    def early(self, agent: str, device: str, now_ms: int) -> bool:
        """Return whether a birth that names this unknown device may still be on its way."""
        key = (agent, device)
        first = self._first_seen.get(key)
        if first is None or not 0 <= now_ms - first < FORGET_MS:
            first = self._first_seen[key] = now_ms
            self._first_seen.move_to_end(key)
            if len(self._first_seen) > MOST:
                self._first_seen.popitem(last=False)
        return now_ms - first < PATIENCE_MS
