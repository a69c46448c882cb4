"""What is fed: a corpus of good inputs, and a function that raises only what is documented."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from typing import Any

Feed = Callable[[bytes], object]
AsyncFeed = Callable[[bytes], Awaitable[object]]


def _nothing() -> None:
    return


@dataclass(frozen=True, slots=True)
class Target:
    """One decoder. `feed` raises one of the documented errors, or nothing. `slow`: it gets so many times less.

    `open` and `close` come before the first and behind the last input.
    """

    name: str
    corpus: tuple[bytes, ...]
    feed: Feed
    slow: int = 1
    open: Callable[[], None] = _nothing
    close: Callable[[], None] = _nothing


class Running:
    """Parts that live in an event loop of their own, fed one input after the other.

    `make` opens them and gives their feed. What goes wrong beside an input, in a task or a callback, is raised by it.
    """

    def __init__(self, make: Callable[[], AbstractAsyncContextManager[AsyncFeed]]) -> None:
        self._make = make
        self._open: tuple[asyncio.AbstractEventLoop, AsyncExitStack, AsyncFeed] | None = None
        self._beside: list[BaseException] = []

    def __call__(self, payload: bytes) -> None:
        """Feed one input."""
        assert self._open is not None
        loop, _, feed = self._open
        try:
            loop.run_until_complete(feed(payload))
        finally:
            beside, self._beside = self._beside, []
        if beside:
            raise beside[0]

    def open(self) -> None:
        """Make the parts."""
        loop, stack = asyncio.new_event_loop(), AsyncExitStack()
        loop.set_exception_handler(self._note)
        self._open = loop, stack, loop.run_until_complete(stack.enter_async_context(self._make()))

    def close(self) -> None:
        """End the parts and their loop."""
        if self._open is not None:
            loop, stack, _ = self._open
            loop.run_until_complete(stack.aclose())
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()
            self._open = None

    def _note(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self._beside.append(context.get("exception") or RuntimeError(context["message"]))


def running(
    name: str, corpus: tuple[bytes, ...], make: Callable[[], AbstractAsyncContextManager[AsyncFeed]], slow: int
) -> Target:
    """Return the target of parts that live in an event loop."""
    parts = Running(make)
    return Target(name, corpus, parts, slow, parts.open, parts.close)
