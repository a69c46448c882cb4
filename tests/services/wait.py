"""Waiting for what a test expects, with a deadline and no blind pause."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

Value = TypeVar("Value")
SOONEST_S = 0.02
LATEST_S = 0.1
SHARE = 0.1


def _pause_s(waited_s: float) -> float:
    """Return how long not to look: a tenth of what was waited so far, for a look often costs a hub an answer."""
    return min(LATEST_S, max(SOONEST_S, SHARE * waited_s))


def _late(condition: object, within_s: float, last: object) -> AssertionError:
    try:
        text = inspect.getsource(condition).strip()  # type: ignore[arg-type]
    except (OSError, TypeError):
        text = repr(condition)
    return AssertionError(f"not within {within_s:g} s: {text[:300]} (last value: {last!r:.300})")


def eventually(condition: Callable[[], Value], within_s: float = 10.0) -> Value:
    """Return the first true value of `condition`; fail when there is none within `within_s` seconds.

    >>> eventually(lambda: "ready", within_s=1)
    'ready'
    """
    began = time.monotonic()
    while not (value := condition()):
        waited_s = time.monotonic() - began
        if waited_s > within_s:
            raise _late(condition, within_s, value)
        time.sleep(_pause_s(waited_s))
    return value


async def eventually_async(condition: Callable[[], Value | Awaitable[Value]], within_s: float = 10.0) -> Value:
    """Like `eventually`, inside a running event loop; the condition may be a coroutine function."""
    began = time.monotonic()
    while True:
        found = condition()
        value: Value = await found if inspect.isawaitable(found) else found
        if value:
            return value
        waited_s = time.monotonic() - began
        if waited_s > within_s:
            raise _late(condition, within_s, value)
        await asyncio.sleep(_pause_s(waited_s))
