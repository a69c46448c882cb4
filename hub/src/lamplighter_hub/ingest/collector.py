"""When Python's collector may look through what a group of messages makes: not while it is in hand."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Let the collector wait. A group makes some twenty objects a message, which all stay until its commit.

    Looking through them several times finds nothing, and what they count for is gone with them when it looks again.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
