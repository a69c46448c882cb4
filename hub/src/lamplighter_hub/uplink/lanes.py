"""What waits to be taken, in four lanes by urgency: alarms, births and presences, live data, backlog.

A batch says its stream in its first bytes. Other data at QoS 1 is in the live lane. An agent's birth asks which of the
numbers that it has given are known here, so it overtakes nothing that the agent said before: that goes ahead of it.
"""

from __future__ import annotations

import re
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Final, NamedTuple

from lamplighter_protocols.envelope import MAX_JSON, peek
from lamplighter_protocols.records import Stream
from lamplighter_protocols.topics import Channel, build, sender

MESSAGE_OVERHEAD: Final = 200
"""Bytes that a queued message costs besides topic and payload."""
HEAD: Final = 80
"""Bytes within which a batch has told its outbox and its stream."""
BACKLOG_SIZE: Final = 512 * 1024
"""Bytes of JSON that backlog may have of a group, some 80,000 points: what is urgent waits for no more than those."""
URGENT_PART: Final = 0.75
"""What a lane may have of a group while less urgent messages wait; they have the rest."""
RATIO: Final = 4
"""How many bytes of JSON a byte of compressed live data is taken for: there are too many of them to look."""
_LIVE: Final = b'"stream":"live"'
_ZLIB: Final = b"x"
_STREAM: Final = re.compile(rb'"stream"\s*:\s*"(alarm|live|backlog)"')
_BIRTH: Final = f"/{Channel.BIRTH}"
_NEWS: Final = (_BIRTH, f"/{Channel.PRESENCE}")
_SLASHES: Final = 4
"""In a topic that names no device: one may be called `birth`."""


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


def stream_of(message: Message) -> Stream:
    """Return the lane that a message waits in."""
    if message.qos:
        return Stream.LIVE
    found = _STREAM.search(peek(message.payload, HEAD))
    return Stream(found[1].decode()) if found else Stream.LIVE


def is_news(message: Message) -> bool:
    """Whether a message is a birth or a presence."""
    return message.topic.endswith(_NEWS) and message.topic.count("/") == _SLASHES


def plainly_live(messages: Sequence[Message]) -> bool:
    """Whether messages say at first sight, nothing being decompressed, that all of them are live data."""
    return all([message.payload.find(_LIVE, 0, HEAD) >= 0 for message in messages])  # noqa: C419 - half the time of a generator


def weight(message: Message) -> int:
    """Return what it costs to take a message, in bytes of JSON: ingest's time and memory go by them."""
    payload = message.payload
    return MESSAGE_OVERHEAD + (len(peek(payload, MAX_JSON)) if payload[:1] == _ZLIB else len(payload))


class Lanes:
    """The messages that wait. Not for several threads: the inbox sees to that."""

    def __init__(self) -> None:
        self._news = _News()
        self._born: set[str] = set()
        """Topics of those whose births came while live data waited that may be theirs."""
        self._live = _Line()
        self._backlog = _Turns()
        self._lanes: dict[Stream, _Line | _Turns] = {
            Stream.ALARM: _Turns(),
            Stream.LIVE: self._live,
            Stream.BACKLOG: self._backlog,
        }

    def __len__(self) -> int:
        return sum(map(len, self._lanes.values())) + len(self._news)

    def add(self, message: Message, stream: Stream) -> None:
        """Add a message to the lane of its stream; births and presences have one of their own."""
        if not is_news(message):
            self._lanes[stream].add(message)
            return
        if message.topic.endswith(_BIRTH):
            self._bring_forward(sender(message.topic))
        self._news.append(message)

    def add_live(self, messages: Iterable[Message]) -> None:
        """Add live batches."""
        self._live.extend(messages)

    def take(self, limit: int, size: int) -> list[Message]:
        """Return the next messages, at most `limit` of together `size` bytes of JSON; one of each lane whatever it has.

        The most urgent lane has its share first, and what a lane leaves is for those behind it. In the list, which is
        for one commit, what is least urgent comes first, as it is the oldest.
        """
        self._let_past()
        taken: list[Message] = []
        lanes = (self._lanes[Stream.ALARM], self._news, self._live, self._backlog)
        waiting = [lane for lane in lanes if len(lane)]
        for lane in waiting:
            if limit < 1:
                break
            part = 1.0 if lane is waiting[-1] else URGENT_PART
            room = min(size, BACKLOG_SIZE) if lane is self._backlog else size * part
            found, weighed = lane.take(max(1, round(limit * part)), room)
            limit, size = limit - len(found), size - weighed
            taken = found + taken
        return taken

    def count(self, stream: Stream) -> int:
        """Return how many messages wait in a lane; births and presences count as live."""
        return len(self._lanes[stream]) + (len(self._news) if stream is Stream.LIVE else 0)

    def next_ms(self, stream: Stream) -> int | None:
        """Return when the message arrived that is next in a lane; None when none waits."""
        lanes = (self._lanes[stream], self._news) if stream is Stream.LIVE else (self._lanes[stream],)
        return min((lane.first.arrived_ms for lane in lanes if len(lane)), default=None)

    def _bring_forward(self, agent: str) -> None:
        for lane in self._lanes.values():
            if isinstance(lane, _Turns):
                self._news.extend(lane.leave(agent))
        if self._live:
            self._born.add(build(agent, Channel.BATCH))

    def _let_past(self) -> None:
        """Put the live batches of those who were born since ahead of the births: one look at all, however many."""
        if not self._born:
            return
        theirs = [message for message in self._live if message.topic in self._born]
        if theirs:
            others = [message for message in self._live if message.topic not in self._born]
            self._live.clear()
            self._live.extend(others)
            self._news.extendleft(reversed(theirs))
        self._born.clear()


class _Line(deque[Message]):
    """First come, first served."""

    add = deque.append

    @property
    def first(self) -> Message:
        return self[0]

    def take(self, limit: int, size: float) -> tuple[list[Message], int]:
        """Return the first messages that fit, and about what they weigh; one fits always."""
        count = weighed = 0
        for message in islice(self, limit):
            payload = message.payload
            more = MESSAGE_OVERHEAD + len(payload) * (RATIO if payload[:1] == _ZLIB else 1)
            if weighed + more > size and count:
                break
            weighed += more
            count += 1
        return [self.popleft() for _ in range(count)], weighed


class _News(deque[Message]):
    """First come, first served, each by what is in it: what a birth brought forward may be backlog."""

    @property
    def first(self) -> Message:
        return self[0]

    def take(self, limit: int, size: float) -> tuple[list[Message], int]:
        """Return the first messages that fit, and what they weigh; one fits always."""
        return _fitting(self, self.popleft, limit, size)


def _fitting(lane: _News | _Turns, pop: Callable[[], Message], limit: int, size: float) -> tuple[list[Message], int]:
    taken: list[Message] = []
    weighed = 0
    while len(lane) and len(taken) < limit:
        more = weight(lane.first)
        if taken and weighed + more > size:
            break
        taken.append(pop())
        weighed += more
    return taken, weighed


class _Turns:
    """The agents in turns, so that one that says much does not hold up the others; each in its own order."""

    def __init__(self) -> None:
        # Lists, as most agents have one message here: a deque is 700 bytes from the first on.
        self._waiting: OrderedDict[str, list[Message]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def first(self) -> Message:
        return next(iter(self._waiting.values()))[0]

    def add(self, message: Message) -> None:
        self._waiting.setdefault(sender(message.topic), []).append(message)
        self._count += 1

    def leave(self, agent: str) -> Sequence[Message]:
        """Take out all of an agent."""
        found = self._waiting.pop(agent, ())
        self._count -= len(found)
        return found

    def take(self, limit: int, size: float) -> tuple[list[Message], int]:
        """Return the first messages that fit, and what they weigh; one fits always."""
        return _fitting(self, self._pop, limit, size)

    def _pop(self) -> Message:
        agent, said = next(iter(self._waiting.items()))
        message = said.pop(0)
        self._count -= 1
        if said:
            self._waiting.move_to_end(agent)
        else:
            del self._waiting[agent]
        return message
