"""Thousands of MQTT connections at once, from one thread, with nothing but sockets."""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

AT_ONCE: Final = 512
"""Connections whose answer is awaited at the same time; a listen queue holds no more anyway."""


@dataclass
class Storm:
    """What came of it: open sockets, the codes of refusals (-1: closed without an answer), and seconds."""

    accepted: list[socket.socket] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    seconds: float = 0.0

    def close(self) -> None:
        """Drop all connections without a goodbye."""
        for stream in self.accepted:
            stream.close()
        self.accepted.clear()


def connect_packet(agent: str, password: str, will: tuple[str, bytes] | None = None) -> bytes:
    """MQTT 3.1.1 CONNECT with a clean session, keep-alive off, and perhaps a will at QoS 1."""
    flags = 0xC2 | (0x0C if will else 0)
    testament = _field(will[0].encode()) + _field(will[1]) if will else b""
    body = _field(b"MQTT") + bytes([4, flags, 0, 0]) + _field(agent.encode()) + testament
    body += _field(agent.encode()) + _field(password.encode())
    return b"\x10" + _length(len(body)) + body


def storm(
    port: int, agents: Sequence[str], password: Callable[[str], str], within_s: float = 120.0, at_once: int = AT_ONCE
) -> Storm:
    """Connect all agents as fast as the broker answers."""
    result = Storm()
    waiting = list(reversed(agents))
    started = time.monotonic()
    with selectors.DefaultSelector() as selector:
        while waiting or selector.get_map():
            assert time.monotonic() - started < within_s, f"{len(result.accepted)} of {len(agents)} within {within_s} s"
            while waiting and len(selector.get_map()) < at_once:
                agent = waiting.pop()
                stream = socket.create_connection(("127.0.0.1", port), timeout=30)
                stream.sendall(connect_packet(agent, password(agent)))
                selector.register(stream, selectors.EVENT_READ, stream)
            for key, _ in selector.select(1):
                selector.unregister(key.fileobj)
                _sort(key.data, result)
    result.seconds = time.monotonic() - started
    return result


def _sort(stream: socket.socket, result: Storm) -> None:
    answer = b""
    with contextlib.suppress(OSError):
        answer = stream.recv(4)
    if answer == b"\x20\x02\x00\x00":
        result.accepted.append(stream)
        return
    result.refused.append(answer[3] if len(answer) == 4 else -1)
    stream.close()


def _field(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


def _length(number: int) -> bytes:
    encoded = bytearray()
    while True:
        number, low = divmod(number, 128)
        encoded.append(low | (128 if number else 0))
        if not number:
            return bytes(encoded)
