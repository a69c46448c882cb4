"""MQTT 3.1.1 as bytes on a stream: whole packets, and what a batch in one says. Shares no code with agent or hub."""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Iterator
from typing import Any, Final

PUBLISH: Final = 3
DUPLICATE: Final = 0.3
HOLD: Final = 0.3


class Packets:
    """Cuts a stream into packets."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the packets that are whole now."""
        self._rest += data
        while size := _size(self._rest):
            packet, self._rest = self._rest[:size], self._rest[size:]
            yield packet


class Pieces:
    """Passes a stream on as it comes, where no packets are known."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what there is."""
        if data:
            yield data


def _size(data: bytes) -> int:
    """Return the length of the first packet; 0 while it is not whole."""
    length = 0
    for place, byte in enumerate(data[1:5]):
        length |= (byte & 127) << 7 * place
        if byte < 128:
            whole = 2 + place + length
            return whole if len(data) >= whole else 0
    return 0


def batch(packet: bytes) -> dict[str, Any] | None:
    """Return the document of a QoS 0 publish that is a batch; None for anything else."""
    if packet[0] >> 4 != PUBLISH or packet[0] & 6:
        return None
    start = next(place for place in range(1, 5) if packet[place] < 128) + 1
    length = int.from_bytes(packet[start : start + 2], "big")
    if not packet[start + 2 : start + 2 + length].endswith(b"/up/batch"):
        return None
    payload = packet[start + 2 + length :]
    found: dict[str, Any] = json.loads(zlib.decompress(payload) if payload[:1] == b"\x78" else payload)
    return found


class Shuffler:
    """Sends some batches twice, and some after the ones behind them; everything else keeps its place."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._held: list[bytes] = []

    def pass_on(self, packet: bytes) -> list[bytes]:
        """Return what goes on now."""
        if batch(packet) is None:
            return [packet]
        if self._chance.random() < HOLD:
            self._held.append(packet)
            return []
        again = [packet] * (1 + (self._chance.random() < DUPLICATE))
        return [*again, *self.let_go()]

    def let_go(self) -> list[bytes]:
        """Return what was held back, the youngest first."""
        held, self._held = self._held[::-1], []
        return held
