"""QoS 0 messages read off the stream are those that paho writes, wherever the stream is cut."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import paho.mqtt.client as paho
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.enums import CallbackAPIVersion

from lamplighter_hub.uplink.packets import PUBLISH_0, Publish, frame, publish, read_publishes

TOPICS = st.text(st.characters(codec="utf-8", exclude_characters="+#\x00"), min_size=1, max_size=40)
PAYLOADS = st.one_of(st.binary(max_size=300), st.integers(0, 40_000).map(bytes))


def written(topic: str, payload: bytes, *, qos: int, retain: bool) -> bytes:
    """Return the packet that paho puts on the wire."""
    client = paho.Client(CallbackAPIVersion.VERSION2)
    packets: list[bytes] = []

    def keep(_command: int, packet: bytearray, *_: Any) -> Any:
        packets.append(bytes(packet))
        return 0

    client._packet_queue = keep  # type: ignore[method-assign,assignment]
    client._sock = object()  # type: ignore[assignment]
    client._send_publish(7, topic.encode(), payload, qos, retain)
    client._sock = None
    return packets[0]


MESSAGES = st.lists(st.tuples(TOPICS, PAYLOADS, st.booleans()), max_size=8)


@given(MESSAGES, st.data())
def test_messages_are_those_that_paho_writes_however_the_stream_is_cut(
    messages: list[tuple[str, bytes, bool]], data: st.DataObject
) -> None:
    stream = b"".join(written(topic, payload, qos=0, retain=retain) for topic, payload, retain in messages)
    cut = data.draw(st.integers(0, len(stream)))
    first, place = read_publishes(stream[:cut])
    rest, end = read_publishes(stream, place)
    assert first + rest == [Publish(topic.encode(), payload, retain) for topic, payload, retain in messages]
    assert end == len(stream)


@given(TOPICS, PAYLOADS)
def test_qos_1_stays_and_its_frame_is_known(topic: str, payload: bytes) -> None:
    packet = written(topic, payload, qos=1, retain=False)
    assert read_publishes(packet + b"\x30\x03\x00\x01o") == ([], 0)
    found = frame(packet, 0)
    assert found is not None
    assert found[1] == len(packet)


@given(TOPICS, PAYLOADS)
def test_what_is_put_on_the_stream_is_what_paho_would_write(topic: str, payload: bytes) -> None:
    assert publish(topic, payload) == written(topic, payload, qos=0, retain=False)


@pytest.mark.parametrize("length", [0, 120, 121, 122, 16_375, 16_376, 16_377, 2_097_144, 2_097_145, 2_097_146])
def test_lengths_at_which_another_byte_is_needed(length: int) -> None:
    packet = publish("topic", bytes(length))
    assert packet == written("topic", bytes(length), qos=0, retain=False)
    assert read_publishes(packet) == ([Publish(b"topic", bytes(length), False)], len(packet))


@given(st.binary(max_size=60))
def test_any_bytes_are_read_to_the_first_that_is_no_whole_message(data: bytes) -> None:
    found, end = read_publishes(data)
    assert list(_plainly(data)) == found
    assert 0 <= end <= len(data)


def _plainly(data: bytes) -> Iterator[Publish]:
    """The same by the words of MQTT 3.1.1, 2.2.3 and 3.3, one packet at a time."""
    while data and data[0] in PUBLISH_0:
        length, used = 0, 1
        while used < len(data) and data[used] >= 0x80 and used < 4:
            length, used = length + (data[used] & 0x7F) * 128 ** (used - 1), used + 1
        if used >= len(data) or data[used] >= 0x80:
            return
        length, used = length + data[used] * 128 ** (used - 1), used + 1
        body, data, retain = data[used : used + length], data[used + length :], data[0] == 0x31
        if len(body) < max(length, 2) or struct.unpack(">H", body[:2])[0] + 2 > length:
            return
        (size,) = struct.unpack(">H", body[:2])
        yield Publish(body[2 : 2 + size], body[2 + size :], retain)
