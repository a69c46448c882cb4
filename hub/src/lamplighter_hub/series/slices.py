"""Exports in slices: short queries of a bounded size one after the other, so that nobody waits for a slow reader.

A snapshot of everything would hold memory, and the store's old versions, for as long as the slowest client reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

SLICE: Final = 100_000
"""About how many rows a query of an export sorts at once."""


class Slice(NamedTuple):
    """Which keys (by their rank) a query of an export covers, and which times: start <= t < end."""

    ranks: Sequence[int]
    start: int
    end: int


def together(plan: Iterable[tuple[int, int]], size: int = SLICE) -> Iterator[list[tuple[int, int]]]:
    """Join neighbouring keys of a plan (rank, rows) until they make a slice.

    >>> list(together([(0, 40), (1, 50), (2, 30), (3, 900)], 100))
    [[(0, 40), (1, 50)], [(2, 30)], [(3, 900)]]
    """
    group: list[tuple[int, int]] = []
    held = 0
    for rank, rows in plan:
        if group and held + rows > size:
            yield group
            group, held = [], 0
        group.append((rank, rows))
        held += rows
    if group:
        yield group


def fractions(rows: int, size: int = SLICE) -> list[float]:
    """Return at which parts of its rows a large key is cut.

    >>> fractions(90, 100), fractions(400, 100)
    ([], [0.25, 0.5, 0.75])
    """
    pieces = -(-rows // size)
    return [piece / pieces for piece in range(1, pieces)]


def cut(rank: int, start: int, end: int, cuts: Iterable[int]) -> Iterator[Slice]:
    """Return the slices of one key between the cuts."""
    inner = sorted({place for place in cuts if start < place < end})
    for first, last in pairwise([start, *inner, end]):
        yield Slice([rank], first, last)
