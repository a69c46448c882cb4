"""What cannot be sent any more, as ranges of numbers and as the `dropped` records that tell of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from lamplighter_agent.epochs import CERTAIN
from lamplighter_protocols.records import DroppedRecord, Stream

Ranges = list[tuple[int, int]]


class Run(NamedTuple):
    """Neighbouring records that are gone, and the span of their times (ms), of one epoch, where it is known."""

    first: int
    last: int
    from_t: int | None = None
    to_t: int | None = None
    epoch: int = CERTAIN


def lengthen(runs: list[Run], run: Run, apart_at: Collection[int] = ()) -> None:
    """Add a run behind the others; neighbours of one epoch become one, unless the first ends at one of `apart_at`."""
    if runs and runs[-1].last + 1 == run.first and runs[-1].last not in apart_at and runs[-1].epoch == run.epoch:
        runs[-1] = joined(runs[-1], run)
    else:
        runs.append(run)


def joined(left: Run, right: Run) -> Run:
    """Return two neighbouring runs as one."""
    starts = [t for t in (left.from_t, right.from_t) if t is not None]
    ends = [t for t in (left.to_t, right.to_t) if t is not None]
    first, last = min(left.first, right.first), max(left.last, right.last)
    return Run(first, last, min(starts, default=None), max(ends, default=None), left.epoch)


def told(outbox: str | None, stream: Stream, run: Run, reason: str, t: int) -> bytes:
    """Return the `dropped` record of a run as JSON; `outbox` is named when it is not the one that it travels in."""
    note = DroppedRecord(
        outbox=outbox,
        stream=stream,
        first=run.first,
        last=run.last,
        count=run.last - run.first + 1,
        from_t=run.from_t,
        to_t=run.to_t,
        reason=reason,
        t=t,
    )
    return note.model_dump_json(exclude_none=True).encode()


def without(ranges: Iterable[tuple[int, int]], taken: Iterable[tuple[int, int]]) -> Ranges:
    """Return what of some ranges lies outside of others.

    >>> without([(1, 9), (20, 29)], [(3, 4), (8, 22)])
    [(1, 2), (5, 7), (23, 29)]
    """
    left = sorted(ranges)
    for first, last in sorted(taken):
        left = [pair for old in left for pair in _cut(old, first, last)]
    return left


def _cut(old: tuple[int, int], first: int, last: int) -> Iterator[tuple[int, int]]:
    if old[0] < first:
        yield old[0], min(old[1], first - 1)
    if old[1] > last:
        yield max(old[0], last + 1), old[1]
