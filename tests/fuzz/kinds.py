"""What is fed: a corpus of good inputs, and a function that raises only what is documented."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Feed = Callable[[bytes], object]


@dataclass(frozen=True, slots=True)
class Target:
    """One decoder. `feed` raises one of the documented errors, or nothing. `slow`: it gets so many times less."""

    name: str
    corpus: tuple[bytes, ...]
    feed: Feed
    slow: int = 1
