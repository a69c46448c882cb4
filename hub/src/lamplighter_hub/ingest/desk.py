"""Where others leave work for the ingest thread: it alone books, so what they want committed it does between groups."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final

from lamplighter_hub.errors import TooMany, Unavailable
from lamplighter_hub.ingest.group import Group

Order = Callable[[Group], None]
"""Puts into a group what is to be committed with it."""
MOST: Final = 8


class Desk:
    """Orders that wait; any thread may leave one, the ingest thread serves them."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Order, Future[None]]] = deque()
        self._closed = False

    def leave(self, order: Order) -> Future[None]:
        """Leave an order; the future is done when it is committed, or says why not. Raises TooMany, Unavailable."""
        done: Future[None] = Future()
        with self._lock:
            if self._closed:
                raise Unavailable("the hub is ending", code="ingest_busy")
            if len(self._waiting) >= self._most:
                raise TooMany("ingest has enough to do; ask again in a moment", retry_after_s=2)
            self._waiting.append((order, done))
        return done

    def serve(self, work: Callable[[Order], None]) -> None:
        """Do what waits, each to its end; an order that was cancelled meanwhile is not begun."""
        while self._waiting:
            order, done = self._waiting.popleft()
            if done.set_running_or_notify_cancel():
                _serve(work, order, done)

    def close(self) -> None:
        """Take no more orders, and cancel those that wait."""
        with self._lock:
            self._closed = True
            while self._waiting:
                self._waiting.popleft()[1].cancel()


def _serve(work: Callable[[Order], None], order: Order, done: Future[None]) -> None:
    try:
        work(order)
    except Exception as error:  # noqa: BLE001 - supervision: it is the business of who left the order
        done.set_exception(error)
    else:
        done.set_result(None)
