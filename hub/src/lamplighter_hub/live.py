"""What just happened, told to everybody who listens: from the hub's threads to the streams of the API.

Topics are `presence`, `command`, `event`, `configuration`, `tick` and `readings:DEVICE`; a listener may end a topic
with `*`. News are a convenience and never the record: whoever falls behind is told how much went by, and asks the API.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple

from lamplighter_protocols.errors import LamplighterError

DROPPED: Final = "dropped"
"""Topic of the message that tells a listener how many others it missed; `count` is null when nobody knows."""
READY: Final = "ready"
"""Topic of the message after which nothing goes by unsaid."""
LATEST_ONLY: Final = frozenset({"tick"})
"""Topics of which a listener wants the newest message and no history."""


class Message(NamedTuple):
    """One piece of news. `id` is what a listener gives to go on after it; empty where that makes no sense."""

    id: str
    topic: str
    data: dict[str, Any]


class TooManyListeners(LamplighterError):
    """No more streams are served at once."""


class Bounds(NamedTuple):
    """How much is kept: listeners at once, messages that wait for one, messages to go on from, and for how long (s)."""

    listeners: int = 1_000
    waiting: int = 1_000
    ring: int = 512
    linger_s: float = 60.0


class _Listener:
    """One subscription: what waits for it, and how to wake it in its own event loop."""

    def __init__(self, topics: Iterable[str], waiting: int) -> None:
        self.exact = frozenset(topic for topic in topics if not topic.endswith("*"))
        self.prefixes = tuple(topic[:-1] for topic in topics if topic.endswith("*"))
        self.dropped = 0
        self._most = waiting
        self._waiting: OrderedDict[object, Message] = OrderedDict()
        self._loop = asyncio.get_running_loop()
        self._ready = asyncio.Event()
        self._woken = False

    def wants(self, topic: str) -> bool:
        return topic in self.exact or topic.startswith(self.prefixes)

    def put(self, message: Message, key: object) -> bool:
        """Add a message, in place of one that it outdates; False when the oldest had to go for it."""
        self._waiting.pop(key, None)
        self._waiting[key] = message
        fits = len(self._waiting) <= self._most
        if not fits:
            self._waiting.popitem(last=False)
            self.dropped += 1
        return fits

    def wake(self) -> bool:
        """Wake the listener; False when its event loop is gone."""
        if not self._woken:
            self._woken = True
            try:
                self._loop.call_soon_threadsafe(self._ready.set)
            except RuntimeError:
                return False
        return True

    def take(self) -> tuple[list[Message], int]:
        """Return what waits, and how many messages went by before it."""
        waiting, self._waiting = list(self._waiting.values()), OrderedDict()
        dropped, self.dropped = self.dropped, 0
        self._woken = False
        self._ready.clear()
        return waiting, dropped

    async def wait(self) -> None:
        await self._ready.wait()


class Broadcast:
    """Publishes from any thread to any number of listeners in event loops; nobody's slowness reaches the publisher."""

    def __init__(self, bounds: Bounds = Bounds(), clock: Callable[[], float] = time.monotonic) -> None:  # noqa: B008
        self._bounds = bounds
        self._clock = clock
        self._lock = threading.Lock()
        self._listeners: set[_Listener] = set()
        self._ring: deque[tuple[int, Message]] = deque(maxlen=bounds.ring)
        self._boot = os.urandom(4).hex()
        self._number = 0
        self._torn = False
        self._until = 0.0
        self._closed = False
        self.dropped = 0

    @property
    def listeners(self) -> int:
        """How many listen now."""
        return len(self._listeners)

    @property
    def full(self) -> bool:
        """True when no more listeners are taken."""
        return len(self._listeners) >= self._bounds.listeners

    def wanted(self, topic: str) -> bool:
        """True when somebody listens to a topic; spares the making of messages that nobody reads."""
        with self._lock:
            return any(listener.wants(topic) for listener in self._listeners)

    def publish(self, topic: str, data: dict[str, Any], *, key: str = "") -> None:
        """Tell everybody who listens. Returns at once; costs next to nothing when nobody does.

        A message takes the place of one that still waits with the same topic and `key` (such as a device's id).
        """
        if not self._listeners and self._clock() > self._until:
            self._torn = True
            return
        with self._lock:
            self._number += 1
            message = Message(self._id(), topic, data)
            if topic not in LATEST_ONLY:
                self._ring.append((self._number, message))
            self._hand_out(message, (topic, key) if key or topic in LATEST_ONLY else self._number)

    async def subscribe(self, topics: Iterable[str], last_id: str = "") -> AsyncGenerator[Message, None]:
        """Yield news of some topics, first what was missed since `last_id` as far as it is known, and then `ready`.

        `dropped` says that some went by. Ends when the broadcast is closed. Raises TooManyListeners.
        """
        listener = _Listener(tuple(topics), self._bounds.waiting)
        missed = self._join(listener, last_id)
        try:
            for message in missed:
                yield message
            while not self._closed:
                await listener.wait()
                for message in self._news(listener):
                    yield message
        finally:
            self._leave(listener)

    def close(self) -> None:
        """End every subscription, so that a server can stop."""
        with self._lock:
            self._closed = True
            for listener in self._listeners:
                listener.wake()

    def _hand_out(self, message: Message, key: object) -> None:
        for listener in [listener for listener in self._listeners if listener.wants(message.topic)]:
            if not listener.put(message, key):
                self.dropped += 1
            if not listener.wake():
                self._listeners.discard(listener)

    def _join(self, listener: _Listener, last_id: str) -> list[Message]:
        with self._lock:
            if self.full:
                raise TooManyListeners(f"{len(self._listeners)} streams are open; close some")
            if self._torn:
                self._ring.clear()
                self._number += 1
                self._torn = False
            self._listeners.add(listener)
            missed = self._since(listener, last_id) if last_id else ()
            return [*missed, Message(self._id(), READY, {})]

    def _since(self, listener: _Listener, last_id: str) -> Iterator[Message]:
        boot, _, number = last_id.partition("-")
        last = int(number) if boot == self._boot and number.isdecimal() and len(number) < 20 else -1
        known_from = self._ring[0][0] - 1 if self._ring else self._number
        if last < known_from:
            yield Message("", DROPPED, {"count": None})
        yield from (message for number, message in self._ring if number > last and listener.wants(message.topic))

    def _news(self, listener: _Listener) -> list[Message]:
        with self._lock:
            waiting, dropped = listener.take()
            told = [Message("", DROPPED, {"count": dropped})] if dropped else []
            return [*told, *waiting]

    def _leave(self, listener: _Listener) -> None:
        with self._lock:
            self._listeners.discard(listener)
            self._until = self._clock() + self._bounds.linger_s

    def _id(self) -> str:
        return f"{self._boot}-{self._number}"
