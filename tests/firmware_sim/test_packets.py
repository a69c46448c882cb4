"""MQTT packets against bytes written down from the standard, and against a real broker's client library."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamplighter_firmware_sim.errors import ProtocolError
from lamplighter_firmware_sim.swarm import packets


def test_connect_as_the_standard_lays_it_out() -> None:
    will = packets.Will("w", b"gone")
    raw = packets.connect("abc", username="u", password="pw", keepalive_s=60, will=will)
    body = "00044d51545404ce003c00036162630001770004676f6e6500017500027077"
    assert raw.hex() == "10" + f"{len(body) // 2:02x}" + body


def test_an_anonymous_connect_has_neither_user_nor_will() -> None:
    raw = packets.connect("abc", username="", password="", keepalive_s=0, will=None)
    assert raw.hex() == "100f00044d515454040200000003616263"


def test_publish_and_subscribe() -> None:
    assert packets.publish("a/b", b"xy", 1, 10).hex() == "32090003612f62000a7879"
    assert packets.publish("a/b", b"xy", 1, 10, again=True)[0] == 0x3A
    assert packets.subscribe(2, "a/#").hex() == "820800020003612f2300"


def test_long_packets_have_a_length_of_several_bytes() -> None:
    assert packets.publish("t", bytes(200))[1:3] == bytes([203 & 0x7F | 0x80, 1])
    [message] = packets.Reader().feed(packets.publish("t", bytes(20_000)))
    assert isinstance(message, packets.Message)
    assert len(message.payload) == 20_000


SENT = st.lists(
    st.one_of(
        st.builds(packets.Connack, st.integers(0, 5)),
        st.builds(packets.Puback, st.integers(1, 65_535)),
        st.builds(packets.Suback, st.integers(1, 65_535), st.binary(min_size=1, max_size=3)),
        st.just(packets.Pingresp()),
        st.builds(
            packets.Message, st.text(max_size=20), st.binary(max_size=300), st.just(1), st.booleans(), st.integers(1, 9)
        ),
        st.builds(
            packets.Message, st.text(max_size=20), st.binary(max_size=300), st.just(0), st.booleans(), st.just(0)
        ),
    ),
    max_size=8,
)


def as_broker(packet: packets.Packet) -> bytes:
    match packet:
        case packets.Connack(code):
            return bytes([0x20, 2, 0, code])
        case packets.Puback(number):
            return packets.puback(number)
        case packets.Suback(number, codes):
            return bytes([0x90, 2 + len(codes)]) + number.to_bytes(2) + codes
        case packets.Message(topic, payload, qos, retain, number):
            raw = bytearray(packets.publish(topic, payload, qos, number))
            raw[0] |= retain
            return bytes(raw)
        case _:
            return b"\xd0\x00"


@given(SENT, st.integers(1, 50))
def test_packets_arrive_however_the_stream_is_cut(sent: list[packets.Packet], size: int) -> None:
    stream = b"".join(as_broker(packet) for packet in sent)
    reader, got = packets.Reader(), []
    for start in range(0, len(stream), size):
        got += reader.feed(stream[start : start + size])
    assert got == sent


@given(st.binary(max_size=200))
def test_nonsense_is_a_protocol_error_or_incomplete(raw: bytes) -> None:
    try:
        packets.Reader().feed(raw)
    except ProtocolError:
        return


@pytest.mark.parametrize(
    "raw",
    [
        bytes([0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F]),  # a length of five bytes
        bytes([0x30, 0xFF, 0xFF, 0xFF, 0x7F]),  # 256 MB
        bytes([0x10, 0]),  # CONNECT is not for a client
        bytes([0x36, 3, 0, 1, 0x61]),  # QoS 3
        bytes([0x32, 3, 0, 9, 0x61]),  # shorter than its topic
    ],
)
def test_what_a_client_must_not_accept(raw: bytes) -> None:
    with pytest.raises(ProtocolError):
        packets.Reader().feed(raw)
