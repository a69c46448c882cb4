"""How fast readings came in during the last minutes: the hub's ticks, kept so that a new page's chart is not empty."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, Final

from fastapi import FastAPI

from lamplighter_hub.live import Broadcast

KEPT: Final = 300
"""Ticks, one a second."""
WINDOW_MS: Final = 10_000


class Rates:
    """Readings per second, by tick, each over the last WINDOW_MS: agents send in batches, and each would be a spike."""

    def __init__(self) -> None:
        self._rates: deque[tuple[int, float]] = deque(maxlen=KEPT)
        self._ticks: deque[tuple[int, int]] = deque()

    def rows(self) -> list[tuple[int, float]]:
        """Return (time in ms, readings per second), oldest first."""
        return list(self._rates)

    def take(self, tick: dict[str, Any]) -> None:
        """Take a tick: its time and how many readings there were since the hub's start."""
        t, points = tick.get("t", 0), tick.get("points", 0)
        if self._ticks and (t <= self._ticks[-1][0] or points < self._ticks[-1][1]):
            self._ticks.clear()
        while self._ticks and self._ticks[0][0] < t - WINDOW_MS:
            self._ticks.popleft()
        if self._ticks:
            since, before = self._ticks[0]
            self._rates.append((t, round((points - before) * 1000 / (t - since), 2)))
        self._ticks.append((t, points))

    async def listen(self, live: Broadcast) -> None:
        """Take ticks until the broadcast is closed."""
        async for message in live.subscribe(["tick"]):
            if message.topic == "tick":
                self.take(message.data)

    @contextlib.asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        """Listen for as long as the application runs."""
        task = asyncio.create_task(self.listen(app.state.services.live), name="console rates")
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
