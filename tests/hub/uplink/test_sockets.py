"""The buffered socket does what paho expects of a socket."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from lamplighter_hub.uplink.sockets import MAX_UNSENT, BufferedSocket


@pytest.fixture
def pair() -> Iterator[tuple[BufferedSocket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    buffered = BufferedSocket(ours)
    yield buffered, theirs
    buffered.close()
    theirs.close()


def fetched(ours: BufferedSocket) -> BufferedSocket:
    ours.fetch()
    return ours


def test_small_reads_come_out_of_one_large_one(pair: tuple[BufferedSocket, socket.socket]) -> None:
    ours, theirs = pair
    with pytest.raises(BlockingIOError):
        fetched(ours).recv(1)
    theirs.sendall(b"\x90\x03\x00\x01\x01\xd0\x00")
    assert (fetched(ours).recv(1), ours.recv(2), ours.pending()) == (b"\x90", b"\x03\x00", 2)
    assert ours.recv(100) == b"\x01\x01", "never beyond the packet's end"
    assert ours.recv(100) == b"\xd0\x00"
    assert ours.pending() == 0
    theirs.close()
    assert fetched(ours).recv(1) == b""


def test_qos_0_is_taken_out_between_packets_and_the_rest_is_read_in_order(
    pair: tuple[BufferedSocket, socket.socket],
) -> None:
    ours, theirs = pair
    plain, counted = b"\x30\x05\x00\x01ohi", b"\x32\x06\x00\x01o\x00\x07!"
    theirs.sendall(plain + plain + counted + plain + plain[:3])
    assert [found.payload for found in fetched(ours).publishes()] == [b"hi", b"hi"]
    assert (ours.recv(1), ours.publishes()) == (b"\x32", []), "not amid a packet"
    assert ours.recv(100) == counted[1:]
    assert [found.payload for found in ours.publishes()] == [b"hi"]
    with pytest.raises(BlockingIOError):
        ours.recv(1)
    assert ours.pending() == 0, "a message that is still arriving is nobody's yet"
    theirs.sendall(plain[3:])
    assert [found.payload for found in fetched(ours).publishes()] == [b"hi"]


def test_a_long_message_is_not_gathered(pair: tuple[BufferedSocket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.sendall(b"\x30\xff\xff\xff\x7f\x00\x01ohi")
    assert fetched(ours).publishes() == []
    assert ours.recv(5) == b"\x30\xff\xff\xff\x7f"
    assert ours.recv(100) == b"\x00\x01ohi"


def test_a_connection_that_breaks_amid_a_message_has_ended(pair: tuple[BufferedSocket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.sendall(b"\x30\x05\x00")
    fetched(ours)
    theirs.close()
    assert fetched(ours).recv(100) == b"\x30\x05\x00"
    assert ours.recv(100) == b""


def test_nothing_is_sent_before_the_flush_and_all_of_it_then(pair: tuple[BufferedSocket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.setblocking(False)
    assert ours.send(b"one") == 3
    assert ours.send(bytearray(b"two")) == 3
    with pytest.raises(BlockingIOError):
        theirs.recv(10)
    ours.flush()
    assert theirs.recv(10) == b"onetwo"
    assert ours.unsent == 0


def test_a_peer_that_does_not_read_is_noticed(pair: tuple[BufferedSocket, socket.socket]) -> None:
    ours, theirs = pair
    sent = 0
    with pytest.raises(BlockingIOError):  # noqa: PT012 - it takes some data until the buffers are full
        while True:
            sent += ours.send(b"x" * 65_536)
            ours.flush()
    assert MAX_UNSENT < ours.unsent < MAX_UNSENT + 2 * 65_536
    received = 0
    while received < sent:
        received += len(theirs.recv(1_000_000))
        ours.flush()
    assert ours.unsent == 0


def test_a_connection_that_is_gone_is_an_error_at_the_flush(pair: tuple[BufferedSocket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.close()
    ours.send(b"late")
    with pytest.raises(OSError):  # noqa: PT011 - broken pipe or reset, as the system likes
        ours.flush()
