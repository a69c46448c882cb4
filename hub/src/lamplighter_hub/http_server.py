"""The HTTP listener: one clear line when the port is taken, and an end that open streams cannot hold up."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Iterator
from typing import Final

import uvicorn
from fastapi import FastAPI

from lamplighter_protocols.errors import LamplighterError

GRACE_S: Final = 3
BACKLOG: Final = 2048


class CannotListen(LamplighterError):
    """An address or port that cannot be had; the text names the option that changes it."""


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises CannotListen. Port 0 lets the system choose."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
        # asyncio does this only for sockets that name their protocol; without it each small answer waits 40 ms.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise CannotListen(f"port {port} on {host} is in use; choose another with --port") from None
        raise CannotListen(f"cannot listen on {host}:{port} ({error.strerror}); see --host and --port") from None
    return listener


class HttpServer(uvicorn.Server):
    """uvicorn without its own signal handling: the hub decides when it ends."""

    def __init__(self, app: FastAPI) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=GRACE_S,
                timeout_keep_alive=30,
                limit_concurrency=1_000,
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the hub."""
        yield

    def stop(self) -> None:
        """End soon: no new requests, a few seconds for open ones."""
        self.should_exit = True
