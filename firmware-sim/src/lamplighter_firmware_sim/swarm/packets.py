"""MQTT 3.1.1 as bytes, without a socket (OASIS mqtt-v3.1.1): what a client sends, and what it gets back.

>>> Reader().feed(bytes.fromhex("20020000"))
[Connack(code=0)]
>>> publish("a/b", b"hi", qos=0).hex()
'30070003612f626869'
"""

from __future__ import annotations

from typing import Final, NamedTuple

from lamplighter_firmware_sim.errors import ProtocolError

MAX_PACKET: Final = 1024 * 1024
"""Longest packet that is taken from a broker, in bytes."""
DISCONNECT: Final = b"\xe0\x00"

REFUSALS: Final = {
    1: "unacceptable protocol version",
    2: "client id rejected",
    3: "server unavailable",
    4: "bad user name or password",
    5: "not authorized",
}
"""What CONNACK return codes mean (table 3.1)."""


class Connack(NamedTuple):
    """The broker's answer to CONNECT; code 0 is yes, see REFUSALS for the others."""

    code: int


class Puback(NamedTuple):
    """The broker has taken a QoS 1 message."""

    packet: int


class Suback(NamedTuple):
    """The broker's answer to SUBSCRIBE; 0x80 among the codes is a refusal."""

    packet: int
    codes: bytes


class Message(NamedTuple):
    """A message from the broker. `packet` is 0 for QoS 0; otherwise it must be acknowledged."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    packet: int


class Pingresp(NamedTuple):
    """The broker is there."""


Packet = Connack | Puback | Suback | Message | Pingresp


class Will(NamedTuple):
    """What the broker publishes (QoS 1, not retained) when the connection is lost."""

    topic: str
    payload: bytes


def connect(client_id: str, *, username: str, password: str, keepalive_s: int, will: Will | None) -> bytes:
    """Return CONNECT with a clean session; an empty user name means an anonymous client."""
    flags = 0x02
    payload = _text(client_id)
    if will:
        flags |= 0x04 | (1 << 3)
        payload += _text(will.topic) + _bytes(will.payload)
    if username:
        flags |= 0x80 | 0x40
        payload += _text(username) + _text(password)
    return _packet(0x10, _text("MQTT") + bytes((4, flags)) + keepalive_s.to_bytes(2) + payload)


def publish(topic: str, payload: bytes, qos: int = 0, packet: int = 0, *, again: bool = False) -> bytes:
    """Return PUBLISH; QoS 1 needs a packet id from 1 to 65535, `again` sets DUP."""
    head = 0x30 | (qos << 1) | (0x08 if again else 0)
    return _packet(head, _text(topic) + (packet.to_bytes(2) if qos else b"") + payload)


def subscribe(packet: int, topic_filter: str) -> bytes:
    """Return SUBSCRIBE for one filter at QoS 0."""
    return _packet(0x82, packet.to_bytes(2) + _text(topic_filter) + b"\x00")


def puback(packet: int) -> bytes:
    """Return the acknowledgement of a QoS 1 message."""
    return b"\x40\x02" + packet.to_bytes(2)


class Reader:
    """Cuts a stream of bytes into packets. Raises ProtocolError for what a client must not accept."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Packet]:
        """Take bytes as they come and return the packets that are complete."""
        buffer = self._rest + data if self._rest else data
        found: list[Packet] = []
        start = 0
        while (frame := _frame(buffer, start)) is not None:
            body, end = frame
            found.append(_parse(buffer[start], buffer[body:end]))
            start = end
        self._rest = buffer[start:]
        return found


def _frame(buffer: bytes, start: int) -> tuple[int, int] | None:
    """Return where the body of the packet at `start` begins and ends; None while it is incomplete."""
    length = shift = 0
    position = start + 1
    while True:
        if position >= len(buffer):
            return None
        byte = buffer[position]
        position += 1
        length |= (byte & 0x7F) << shift
        if not byte & 0x80:
            break
        shift += 7
        if shift > 21:
            raise ProtocolError("a packet's length has more than four bytes")
    if length > MAX_PACKET:
        raise ProtocolError(f"a packet of {length} bytes; at most {MAX_PACKET} are taken")
    end = position + length
    return (position, end) if end <= len(buffer) else None


def _parse(head: int, body: bytes) -> Packet:
    kind = head >> 4
    if kind == 3:
        return _message(head, body)
    if kind == 13 and not body:
        return Pingresp()
    if len(body) >= 2:
        if kind == 2 and len(body) == 2:
            return Connack(body[1])
        if kind == 4 and len(body) == 2:
            return Puback(int.from_bytes(body))
        if kind == 9 and len(body) > 2:
            return Suback(int.from_bytes(body[:2]), body[2:])
    raise ProtocolError(f"packet type {kind} with {len(body)} bytes is not for a client")


def _message(head: int, body: bytes) -> Message:
    qos = (head >> 1) & 3
    end = 2 + int.from_bytes(body[:2])
    start = end + 2 if qos else end
    if len(body) < max(start, 2) or qos == 3:
        raise ProtocolError("a PUBLISH that is cut short or of QoS 3")
    try:
        topic = body[2:end].decode()
    except UnicodeDecodeError:
        raise ProtocolError("a topic that is not UTF-8") from None
    return Message(topic, body[start:], qos, bool(head & 1), int.from_bytes(body[end:start]) if qos else 0)


def _packet(head: int, body: bytes) -> bytes:
    length = len(body)
    if length > 268_435_455:
        raise ProtocolError(f"{length} bytes do not fit into a packet")
    digits = bytearray()
    while True:
        length, digit = length >> 7, length & 0x7F
        digits.append(digit | 0x80 if length else digit)
        if not length:
            return bytes((head,)) + bytes(digits) + body


def _text(text: str) -> bytes:
    return _bytes(text.encode())


def _bytes(raw: bytes) -> bytes:
    return len(raw).to_bytes(2) + raw
