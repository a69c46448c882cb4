"""A socket that reads and writes in large pieces.

paho reads a message with three system calls and writes one for every acknowledgement. Between it and the real socket
stands this buffer, so that a burst costs one call each way (figures: docs/decisions/0032). QoS 0 messages are taken
out of it before paho sees them (docs/decisions/0034): paho is given whole packets, one after the other.
"""

from __future__ import annotations

import socket
import ssl
from typing import Final

from lamplighter_hub.uplink.packets import PUBLISH_0, Publish, frame, read_publishes

READ_SIZE: Final = 256 * 1024
MAX_UNSENT: Final = 1024 * 1024
MAX_HELD: Final = 1024 * 1024
"""A packet longer than this is not gathered here; paho reads it piece by piece."""
_WOULD_BLOCK: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class BufferedSocket:
    """Looks like a non-blocking socket to paho. `flush` sends what was written; nothing is sent before."""

    def __init__(self, inner: socket.socket) -> None:
        self._inner = inner
        self._received = b""
        self._position = 0
        self._granted = 0
        self._ended = False
        self._unsent = bytearray()

    def fetch(self) -> None:
        """Read what has arrived, in one piece, behind what is here. A connection that broke has ended."""
        try:
            data = self._inner.recv(READ_SIZE)
        except _WOULD_BLOCK:
            return
        except OSError:
            data = b""
        self._ended = not data
        self._received = self._received[self._position :] + data
        self._position = 0

    def publishes(self) -> list[Publish]:
        """Take off the QoS 0 messages that are next and complete, unless paho is amid a packet."""
        if self._granted:
            return []
        found, self._position = read_publishes(self._received, self._position)
        return found

    def recv(self, size: int) -> bytes:
        """Return up to `size` bytes of one packet of paho's; empty at the end of the connection.

        Raises BlockingIOError when the next bytes are not here, or belong to a message that is still arriving.
        """
        if not self._granted:
            self._granted = self._next_packet()
        start = self._position
        data = self._received[start : start + min(size, self._granted)]
        if not data and not self._ended:
            raise BlockingIOError
        self._position += len(data)
        self._granted -= len(data)
        return data

    def _next_packet(self) -> int:
        """How many bytes the next packet has, if it is for paho; 0 while that is not known."""
        start = self._position
        place = frame(self._received, start) if start < len(self._received) else None
        if self._ended:
            return len(self._received) - start
        if place is None:
            return 0
        _, end = place
        size = end - start
        ours = self._received[start] in PUBLISH_0 and size <= MAX_HELD and end > len(self._received)
        return 0 if ours else size

    def pending(self) -> int:
        """Bytes of paho's that are here already and that `select` cannot see."""
        return min(self._granted or self._next_packet(), len(self._received) - self._position)

    @property
    def hidden(self) -> bool:
        """Whether TLS holds bytes that `select` cannot see."""
        return isinstance(self._inner, ssl.SSLSocket) and self._inner.pending() > 0

    def send(self, data: bytes | bytearray) -> int:
        """Take the bytes for the next flush. Raises BlockingIOError when the peer has not taken the last ones."""
        if not self.takes:
            raise BlockingIOError
        self._unsent += data
        return len(data)

    @property
    def takes(self) -> bool:
        """Whether there is room for what shall be sent."""
        return len(self._unsent) <= MAX_UNSENT

    @property
    def unsent(self) -> int:
        """Bytes that wait for a flush."""
        return len(self._unsent)

    def flush(self) -> None:
        """Send what the peer takes now. Raises OSError when the connection is gone."""
        while self._unsent:
            try:
                sent = self._inner.send(self._unsent)
            except _WOULD_BLOCK:
                return
            del self._unsent[:sent]

    def fileno(self) -> int:
        """The real socket's descriptor, for select."""
        return self._inner.fileno()

    def setblocking(self, flag: bool) -> None:  # noqa: FBT001 - the signature of socket.socket
        """Pass on to the real socket."""
        self._inner.setblocking(flag)

    def close(self) -> None:
        """Close the real socket."""
        self._inner.close()
