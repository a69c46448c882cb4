"""What comes to a hub from its broker: a stream of packets at its session, and messages all the way into its stores."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from chaos.wire import Packets
from console.rig import Street
from contract.test_vectors import NOW_MS
from fuzz.kinds import Target
from lamplighter_hub.uplink.packets import publish
from lamplighter_hub.uplink.session import Bell, Message, Session
from lamplighter_hub.uplink.sockets import BufferedSocket
from lamplighter_protocols.errors import BadEnvelope, BadTopic
from lamplighter_protocols.topics import Channel, parse

WELCOME: Final = b"\x20\x02\x00\x00\x90\x03\x00\x01\x01"
"""CONNACK and SUBACK."""
QOS_1: Final = b"\x32\x13\x00\x0blamplighter\x00\x07a1"
PUBLISH: Final = 0x30
PUBLISH_QOS_RETAIN: Final = 0xF7
"""All of the first byte but the flag that says that it came before: at QoS 0 that is none, and the library takes it."""
LIBRARY: Final = "paho"
UP: Final = (Channel.BIRTH, Channel.PRESENCE, Channel.BATCH, Channel.SENML)


def hub_sides(folder: Path, messages: Sequence[tuple[str, bytes]]) -> Iterator[Target]:
    """Yield both; `folder` is for what is stored, `messages` are good ones with their topics."""
    packets = [publish(topic, payload) for topic, payload in messages if len(payload) < 4_096]
    uplink = Uplink()
    yield Target(
        "hub-broker",
        (QOS_1 + packets[0], *packets, packets[-1] + b"\xd0\x00"),
        uplink.feed,
        2,
        uplink.open,
        uplink.close,
    )
    ingest = Ingest(folder / "hub", {payload: topic for topic, payload in messages})
    yield Target("hub-ingest", tuple(ingest.topics), ingest.feed, 20, ingest.open, ingest.close)


class Uplink:
    """The hub's session with a broker that says this behind its welcome, and hangs up."""

    _session: Session
    _bell: Bell

    def open(self) -> None:
        """Make the session; it connects to nobody by itself."""
        self._session, self._bell = Session("mqtt://127.0.0.1:1", "hub", clock=lambda: NOW_MS), Bell()

    def feed(self, payload: bytes) -> None:
        """One connection. QoS 0 messages must come out as they lie there, up to where the connection breaks."""
        session = self._session
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.sendall(WELCOME + payload)
        theirs.shutdown(socket.SHUT_WR)
        session._client._create_socket = lambda: _buffered(session, ours)  # type: ignore[method-assign]
        ended: Exception | None = None
        try:
            session._connection(self._bell)
        except Exception as error:  # noqa: BLE001 - what the library raises ends a connection, as `_run` has it
            ended = error
        finally:
            session._lost()
            ours.close()
            theirs.close()
        _judge(payload, [message for message in session.take(1_000_000, 0) if not message.qos], ended)

    def close(self) -> None:
        """Nothing runs; the bell is a pair of sockets."""
        self._bell.close()


def _buffered(session: Session, inner: socket.socket) -> Any:
    session._client.buffered = BufferedSocket(inner)
    return session._client.buffered


def _judge(payload: bytes, taken: list[Message], ended: Exception | None) -> None:
    """Hold what was taken against the packets as they lie on the stream."""
    owed = [found for packet in Packets().feed(payload) if (found := _message(packet)) is not None]
    said = [(message.topic, message.payload) for message in taken]
    assert said == owed[: len(said)], "not what lies on the stream"
    if ended is not None:
        frame = ended.__traceback__
        while frame is not None and frame.tb_next is not None:
            frame = frame.tb_next
        if frame is None or LIBRARY not in frame.tb_frame.f_code.co_filename:
            raise ended
        raise BadEnvelope(f"the client library gives up: {type(ended).__name__}")
    if not said:
        raise BadEnvelope("no message came of it")


def _message(packet: bytes) -> tuple[str, bytes] | None:
    """Return topic and payload of a QoS 0 PUBLISH that ingest is to get; None for any other packet."""
    if packet[0] & PUBLISH_QOS_RETAIN != PUBLISH:
        return None
    start = next(place for place in range(1, 5) if packet[place] < 0x80) + 1
    size = int.from_bytes(packet[start : start + 2], "big")
    topic, payload = packet[start + 2 : start + 2 + size], packet[start + 2 + size :]
    if len(packet) < start + 2 + size:
        return None
    try:
        return (topic.decode(), payload) if topic else None
    except UnicodeDecodeError:
        return None


class Ingest:
    """A hub's ingest with its stores and registry, which knows the senders of the good messages."""

    _street: Street

    def __init__(self, folder: Path, topics: dict[bytes, str]) -> None:
        self.topics = {payload: topic for payload, topic in topics.items() if _goes_up(topic)}
        self._folder = folder

    def open(self) -> None:
        """Open the stores, and let the agents be born."""
        self._folder.mkdir()
        self._street = Street(self._folder)
        for agent in sorted({parse(topic).agent for topic in self.topics.values()}):
            self._street.enrol(agent, {f"{agent}-air": "air-station"})

    def feed(self, payload: bytes) -> None:
        """Take one message all the way. What is set aside is refused; nothing may be raised."""
        street = self._street
        set_aside = street.ingest.counts["quarantined"]
        topic = self.topics.get(payload) or self._likely(payload)
        street.ingest.process([Message(topic, payload, 0, retain=False, mid=0, arrived_ms=street.now())])
        if street.ingest.counts["quarantined"] > set_aside:
            raise BadEnvelope("it was set aside")

    def close(self) -> None:
        """Close the stores."""
        self._street.close()

    def _likely(self, payload: bytes) -> str:
        """Return the topic of the good message that begins most alike."""
        return max(self.topics.items(), key=lambda item: _alike(item[0], payload))[1]


def _goes_up(topic: str) -> bool:
    try:
        return parse(topic).channel in UP
    except BadTopic:
        return False


def _alike(one: bytes, other: bytes) -> int:
    return next((place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), len(one))
