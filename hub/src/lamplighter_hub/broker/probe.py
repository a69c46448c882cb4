"""Whether an MQTT broker serves a user, found out by connecting."""

from __future__ import annotations

import asyncio
from typing import Final

ACCEPTED: Final = b"\x20\x02\x00\x00"


async def serves(host: str, port: int, username: str, password: str, timeout_s: float) -> bool:
    """Connect once with a clean MQTT 3.1.1 session; true when the CONNACK accepts it (MQTT 3.1.1, 3.2.2.3)."""
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(_connect("_probe", username, password))
                answer = await reader.readexactly(4)
                writer.write(b"\xe0\x00")
                await writer.drain()
            finally:
                writer.close()
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        return False
    return answer == ACCEPTED


def _connect(client_id: str, username: str, password: str) -> bytes:
    body = _text("MQTT") + b"\x04\xc2\x00\x0a" + _text(client_id) + _text(username) + _text(password)
    return bytes([0x10, len(body)]) + body


def _text(text: str) -> bytes:
    data = text.encode()
    return len(data).to_bytes(2, "big") + data
