"""Whose raw points are just giving way to roll-ups: who asks for these series then waits, or asks again.

Between the record that makes roll-ups valid and the end of the deletion both are there, and an answer would count
points twice.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from lamplighter_hub.series.store import SeriesError

WAIT_S: Final = 60.0
Named = tuple[str, str]
Answer = TypeVar("Answer")


class Moves:
    """Which series (device, metric) are moving now. Safe to use from several threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._moving: frozenset[Named] = frozenset()
        self._times: Counter[Named] = Counter()

    def begin(self, series: Sequence[Named]) -> None:
        """Let nobody read these series' roll-ups from here on."""
        with self._changed:
            self._moving = frozenset(series)
            self._times.update(series)

    def end(self) -> None:
        """Let everybody read again."""
        with self._changed:
            self._moving = frozenset()
            self._changed.notify_all()

    def still(self, series: Named, ask: Callable[[], Answer]) -> Answer:
        """Return what a question answers that was asked while the series did not move. Raises SeriesError."""
        while True:
            with self._changed:
                if not self._changed.wait_for(lambda: series not in self._moving, WAIT_S):
                    raise SeriesError("old points of this series are just being let go; ask again")
                before = self._times[series]
            found = ask()
            if self._times[series] == before:
                return found
