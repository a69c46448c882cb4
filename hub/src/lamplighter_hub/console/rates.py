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


class Rates:
    """Readings per second, by tick."""

    def __init__(self) -> None:
        self._rates: deque[tuple[int, float]] = deque(maxlen=KEPT)
        self._before: tuple[int, int] | None = None

    def rows(self) -> list[tuple[int, float]]:
        """Return (time in ms, readings per second), oldest first."""
        return list(self._rates)

    def take(self, tick: dict[str, Any]) -> None:
        """Take a tick: its time and how many readings there were since the hub's start."""
        t, points = tick.get("t", 0), tick.get("points", 0)
        if self._before is not None and t > self._before[0] and points >= self._before[1]:
            self._rates.append((t, round((points - self._before[1]) * 1000 / (t - self._before[0]), 2)))
        self._before = t, points

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
