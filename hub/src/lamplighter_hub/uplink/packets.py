"""The one MQTT packet that comes and goes in thousands, without a client library: PUBLISH at QoS 0 (MQTT 3.1.1, 3.3).

It needs no answer and changes nothing between hub and broker, so it can be taken off the stream, or put on it; all
others stay.

>>> publish("o", b"hi").hex()
'300500016f6869'
>>> read_publishes(bytes.fromhex("300500016f6869" "d000"))
([Publish(topic=b'o', payload=b'hi', retain=False)], 7)
"""

from __future__ import annotations

from typing import Final, NamedTuple

PUBLISH_0: Final = frozenset({0x30, 0x31})
"""First byte of a PUBLISH at QoS 0, without and with the retain flag."""
_LENGTH_BYTES: Final = 4


class Publish(NamedTuple):
    """A message at QoS 0. The topic may be anything; nobody has looked at it yet."""

    topic: bytes
    payload: bytes
    retain: bool


def frame(data: bytes, start: int) -> tuple[int, int] | None:
    """Return where the body of the packet at `start` begins and ends; None while its length has not arrived.

    The body may not be there yet. A length that goes on for more than four bytes ends after them, and is the client
    library's to refuse.
    """
    length = shift = 0
    for place in range(start + 1, start + 1 + _LENGTH_BYTES):
        if place >= len(data):
            return None
        length |= (data[place] & 0x7F) << shift
        if data[place] < 0x80:
            return place + 1, place + 1 + length
        shift += 7
    return start + 1 + _LENGTH_BYTES, start + 1 + _LENGTH_BYTES


def publish(topic: str, payload: bytes) -> bytes:
    """Return the packet of a message at QoS 0. Topic and payload are ours, so they fit."""
    name = topic.encode()
    length = 2 + len(name) + len(payload)
    head = bytearray((0x30,))
    while length > 0x7F:
        head.append(length & 0x7F | 0x80)
        length >>= 7
    head.append(length)
    return b"".join((head, len(name).to_bytes(2, "big"), name, payload))


def read_publishes(data: bytes, start: int = 0) -> tuple[list[Publish], int]:
    """Return the QoS 0 messages that lie complete at `start`, and where the next packet begins."""
    found: list[Publish] = []
    size = len(data)
    while start < size and data[start] in PUBLISH_0:
        place = frame(data, start)
        if place is None:
            break
        begin, end = place
        if end > size:
            break
        name = begin + 2
        topic_end = name + (data[begin] << 8 | data[begin + 1]) if name <= end else size + 1
        if topic_end > end:
            break  # malformed: the client library ends the connection
        found.append(Publish(data[name:topic_end], data[topic_end:end], data[start] == 0x31))
        start = end
    return found, start
