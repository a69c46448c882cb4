"""What has arrived and was not taken yet: bounded by count and bytes, filled by one thread, emptied by another.

Backlog may use half of the budget, live data all of it, alarms as much again. What finds no room at QoS 0 is shed (its
agent sends it again). A QoS 1 message may use the budget twice as well, and beyond that it is left out unacknowledged:
the broker still has it, and gives it again.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from lamplighter_hub.uplink.lanes import MESSAGE_OVERHEAD, Lanes, Message, plainly_live, stream_of
from lamplighter_protocols.records import Stream

GROUP_SIZE: Final = 2 * 1024 * 1024
"""Bytes of JSON that are handed over at once, at most: some 300,000 points."""
_PARTS: Final = {Stream.ALARM: 2.0, Stream.LIVE: 1.0, Stream.BACKLOG: 0.5}
"""How full the inbox may be, as a part of its budget, for a message of a stream to be taken in."""
_KEPT_PART: Final = 2.0
"""The same for messages at QoS 1."""


@dataclass(frozen=True)
class Budget:
    """How much may wait to be taken."""

    messages: int = 100_000
    size: int = 64 * 1024 * 1024


class Waiting(NamedTuple):
    """A lane: how many messages wait, when the one arrived that is next (ms; None without), and how many were shed."""

    messages: int
    next_ms: int | None
    shed: int


class Inbox:
    """The queue between the network and the ingest thread."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._lanes = Lanes()
        self._size = 0
        self._filled = threading.Condition()
        self._closed = False
        self._shed = dict.fromkeys(Stream, 0)
        self.left_out = 0
        """QoS 1 messages not taken in since the start; the broker keeps them."""

    def __len__(self) -> int:
        return len(self._lanes)

    @property
    def size(self) -> int:
        """Bytes that wait."""
        return self._size

    @property
    def fill(self) -> float:
        """How full it is, from 0 to 1; up to 2 with alarms, and with messages that the broker keeps for us."""
        return max(len(self._lanes) / self._budget.messages, self._size / self._budget.size)

    @property
    def shed(self) -> int:
        """QoS 0 messages dropped unread since the start."""
        return sum(self._shed.values())

    def waiting(self) -> dict[Stream, Waiting]:
        """Return what waits in each lane."""
        arrivals = self.arrivals()
        return {stream: Waiting(self._lanes.count(stream), at, self._shed[stream]) for stream, at in arrivals.items()}

    def arrivals(self) -> dict[Stream, int | None]:
        """Return when the message arrived (ms) that is next in each lane; None where none waits."""
        with self._filled:
            return {stream: self._lanes.next_ms(stream) for stream in Stream}

    def put(self, message: Message) -> bool:
        """Add a message; false when there is no room for it, which is then counted."""
        with self._filled:
            taken = self._put(message)
            self._filled.notify()
        return taken

    def put_all(self, messages: Sequence[Message]) -> None:
        """Add QoS 0 messages as long as there is room; the rest is shed and counted."""
        size = _size(messages)
        live = plainly_live(messages)
        with self._filled:
            if live and self._has_room(len(messages), size, _PARTS[Stream.LIVE]):
                self._lanes.add_live(messages)
                self._size += size
            else:
                for message in messages:
                    self._put(message)
            self._filled.notify()

    def take(self, limit: int, timeout_s: float) -> list[Message]:
        """Return the next messages for one commit, at most `limit`, as soon as there is one; see `Lanes.take`.

        Empty after `timeout_s` or a close.
        """
        with self._filled:
            self._filled.wait_for(lambda: len(self._lanes) or self._closed, timeout_s)
            taken = self._lanes.take(limit, GROUP_SIZE)
            self._size -= _size(taken)
            return taken

    def close(self) -> None:
        """Wake whoever waits; what is inside can still be taken."""
        with self._filled:
            self._closed = True
            self._filled.notify_all()

    def _put(self, message: Message) -> bool:
        stream = stream_of(message)
        if not self._has_room(1, message.size, _KEPT_PART if message.qos else _PARTS[stream]):
            self._shed[stream] += message.qos == 0
            self.left_out += message.qos > 0
            return False
        self._lanes.add(message, stream)
        self._size += message.size
        return True

    def _has_room(self, messages: int, size: int, part: float) -> bool:
        return (
            len(self._lanes) + messages <= self._budget.messages * part
            and self._size + size <= self._budget.size * part
        )


def _size(messages: Sequence[Message]) -> int:
    """Bytes that messages occupy together, about."""
    return sum(len(one.topic) + len(one.payload) for one in messages) + MESSAGE_OVERHEAD * len(messages)
