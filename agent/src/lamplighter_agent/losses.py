"""What cannot be sent any more, as ranges of numbers and as the `dropped` records that tell of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from lamplighter_agent.epochs import CERTAIN
from lamplighter_protocols.records import OUTBOX_FULL, DroppedRecord, Stream

Ranges = list[tuple[int, int]]
Apart = Callable[[int, int], bool]
"""True when what lies between the last number of one run and the first of the next forbids to tell of both as one."""


class Run(NamedTuple):
    """Records that are gone, and the span of their times (ms), of one epoch, where it is known.

    Of the numbers `first` to `last`, `arrived` were received by the hub; nothing in between is held.
    """

    first: int
    last: int
    from_t: int | None = None
    to_t: int | None = None
    epoch: int = CERTAIN
    arrived: int = 0


class Note(NamedTuple):
    """One `dropped` record: its number, what it tells of, when it was written."""

    number: int
    outbox: str | None
    stream: Stream
    run: Run
    reason: str
    t: int


def lengthen(runs: list[Run], run: Run) -> None:
    """Add a run behind the others; neighbours of one epoch become one."""
    widen(runs, run, lambda last, first: last + 1 != first)


def widen(runs: list[Run], run: Run, apart: Apart) -> None:
    """Add a run behind the others; one with the last where their epoch is the same and nothing forbids it."""
    if runs and runs[-1].epoch == run.epoch and not apart(runs[-1].last, run.first):
        runs[-1] = joined(runs[-1], run)
    else:
        runs.append(run)


def joined(left: Run, right: Run) -> Run:
    """Return two runs as one, the second behind the first; numbers in between have arrived."""
    starts = [t for t in (left.from_t, right.from_t) if t is not None]
    ends = [t for t in (left.to_t, right.to_t) if t is not None]
    arrived = left.arrived + right.arrived + max(0, right.first - left.last - 1)
    last = max(left.last, right.last)
    return Run(left.first, last, min(starts, default=None), max(ends, default=None), left.epoch, arrived)


def told(outbox: str | None, stream: Stream, run: Run, reason: str, t: int) -> bytes:
    """Return the `dropped` record of a run as JSON; `outbox` is named when it is not the one that it travels in."""
    note = DroppedRecord(
        outbox=outbox,
        stream=stream,
        first=run.first,
        last=run.last,
        count=run.last - run.first + 1 - run.arrived,
        from_t=run.from_t,
        to_t=run.to_t,
        reason=reason,
        t=t,
    )
    return note.model_dump_json(exclude_none=True).encode()


def read_note(number: int, epoch: int, body: bytes) -> Note:
    """Return what a `dropped` record with this number says; `epoch` is that of its times."""
    found = DroppedRecord.model_validate_json(body)
    arrived = found.last - found.first + 1 - found.count
    run = Run(found.first, found.last, found.from_t, found.to_t, epoch, arrived)
    return Note(number, found.outbox, found.stream, run, found.reason, found.t)


def gathered(notes: Sequence[Note], apart: Callable[[str | None, Stream], Apart]) -> list[Note]:
    """Return fewer notes that say what these said, and that these are gone; their numbers are not given yet (0).

    `apart` is asked for the stream of an outbox; it must take these notes for gone.
    """
    own = [Note(0, None, Stream.ALARM, Run(n.number, n.number, n.t, n.t, n.run.epoch), OUTBOX_FULL, n.t) for n in notes]
    by_kind: dict[tuple[str | None, Stream, str, int], list[Note]] = {}
    for note in (*notes, *own):
        by_kind.setdefault((note.outbox, note.stream, note.reason, note.run.epoch), []).append(note)
    found = []
    for (outbox, stream, reason, _), alike in by_kind.items():
        runs: list[Run] = []
        for note in sorted(alike, key=lambda item: item.run.first):
            widen(runs, note.run, apart(outbox, stream))
        found += [Note(0, outbox, stream, run, reason, max(note.t for note in alike)) for run in runs]
    return found


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
