"""Ports that are free now, and that no outgoing connection takes before somebody listens there."""

from __future__ import annotations

import random
import socket
from contextlib import suppress
from typing import Final

LOWEST: Final = 10_000
OUTGOING: Final = 32_768
"""Linux takes ports from here on for connections that programs open (net.ipv4.ip_local_port_range)."""
TRIES: Final = 1_000


def free_port() -> int:
    """Return a TCP port on loopback that nobody listens on."""
    dice = random.SystemRandom()
    for _ in range(TRIES):
        port = dice.randrange(LOWEST, OUTGOING)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError(f"none of {TRIES} ports between {LOWEST} and {OUTGOING} was free")


def listens(port: int) -> bool:
    """True when something accepts connections on that loopback port."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0
