"""What has arrived and was not taken yet: bounded by count and bytes, filled by one thread, emptied by another.

When it is over its budget a QoS 0 message is shed (its agent sends it again) and a QoS 1 message may use the same
budget once more. Beyond that it is left out unacknowledged: the broker still has it, and gives it again.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

MESSAGE_OVERHEAD: Final = 200
"""Bytes that a queued message costs besides topic and payload."""


class Message(NamedTuple):
    """One message from the broker. `mid` and `generation` are for its acknowledgement; `dup` is MQTT's flag."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    mid: int
    arrived_ms: int
    generation: int = 0
    dup: bool = False

    @property
    def size(self) -> int:
        """Bytes that it occupies, about."""
        return len(self.topic) + len(self.payload) + MESSAGE_OVERHEAD


@dataclass(frozen=True)
class Budget:
    """How much may wait to be taken."""

    messages: int = 100_000
    size: int = 64 * 1024 * 1024


class Inbox:
    """The queue between the network and the ingest thread."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._waiting: deque[Message] = deque()
        self._size = 0
        self._filled = threading.Condition()
        self._closed = False
        self.shed = 0
        """QoS 0 messages dropped unread since the start."""
        self.left_out = 0
        """QoS 1 messages not taken in since the start; the broker keeps them."""

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def size(self) -> int:
        """Bytes that wait."""
        return self._size

    @property
    def fill(self) -> float:
        """How full it is, from 0 to 1; up to 2 with messages that the broker keeps for us."""
        return max(len(self._waiting) / self._budget.messages, self._size / self._budget.size)

    def put(self, message: Message) -> bool:
        """Add a message; false when there is no room for it, which is then counted."""
        with self._filled:
            if not self._has_room(message):
                self.shed += message.qos == 0
                self.left_out += message.qos > 0
                return False
            self._waiting.append(message)
            self._size += message.size
            self._filled.notify()
            return True

    def put_all(self, messages: Sequence[Message]) -> None:
        """Add QoS 0 messages as long as there is room; the rest is shed and counted."""
        size = _size(messages)
        with self._filled:
            if len(self._waiting) + len(messages) <= self._budget.messages and self._size + size <= self._budget.size:
                self._waiting.extend(messages)
                self._size += size
            else:
                self._put_some(messages)
            self._filled.notify()

    def take(self, limit: int, timeout_s: float) -> list[Message]:
        """Return the oldest messages, at most `limit`, as soon as there is one; empty after `timeout_s` or a close."""
        with self._filled:
            self._filled.wait_for(lambda: self._waiting or self._closed, timeout_s)
            taken = [self._waiting.popleft() for _ in range(min(limit, len(self._waiting)))]
            self._size -= _size(taken)
            return taken

    def close(self) -> None:
        """Wake whoever waits; what is inside can still be taken."""
        with self._filled:
            self._closed = True
            self._filled.notify_all()

    def _put_some(self, messages: Sequence[Message]) -> None:
        for message in messages:
            if self._has_room(message):
                self._waiting.append(message)
                self._size += message.size
            else:
                self.shed += 1

    def _has_room(self, message: Message) -> bool:
        times = 2 if message.qos else 1
        return (
            len(self._waiting) < self._budget.messages * times
            and self._size + message.size <= self._budget.size * times
        )


def _size(messages: Sequence[Message]) -> int:
    """Bytes that messages occupy together, about."""
    return sum(len(one.topic) + len(one.payload) for one in messages) + MESSAGE_OVERHEAD * len(messages)
