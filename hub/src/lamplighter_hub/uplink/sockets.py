"""A socket that reads and writes in large pieces.

paho reads a message with three system calls and writes one for every acknowledgement. Between it and the real socket
stands this buffer, so that a burst costs one call each way (figures: docs/decisions/0032).
"""

from __future__ import annotations

import socket
import ssl
from typing import Final

READ_SIZE: Final = 256 * 1024
MAX_UNSENT: Final = 1024 * 1024
_WOULD_BLOCK: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class BufferedSocket:
    """Looks like a non-blocking socket to paho. `flush` sends what was written; nothing is sent before."""

    def __init__(self, inner: socket.socket) -> None:
        self._inner = inner
        self._received = b""
        self._position = 0
        self._unsent = bytearray()

    def recv(self, size: int) -> bytes:
        """Return up to `size` bytes; empty at the end of the connection. Raises BlockingIOError when none are here."""
        if self._position >= len(self._received):
            self._received = self._inner.recv(READ_SIZE)
            self._position = 0
        start = self._position
        self._position = min(start + size, len(self._received))
        return self._received[start : self._position]

    def pending(self) -> int:
        """Bytes that are here already and that `select` cannot see."""
        here = len(self._received) - self._position
        if not here and isinstance(self._inner, ssl.SSLSocket):
            here = self._inner.pending()
        return here

    def send(self, data: bytes | bytearray) -> int:
        """Take the bytes for the next flush. Raises BlockingIOError when the peer has not taken the last ones."""
        if len(self._unsent) > MAX_UNSENT:
            raise BlockingIOError
        self._unsent += data
        return len(data)

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
