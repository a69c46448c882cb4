"""The marks of all streams in memory, neighbouring and overlapping ones joined as they come."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from operator import itemgetter

from lamplighter_hub.series.store import Mark

_FIRST = itemgetter(3)
_LAST = itemgetter(4)


class Islands:
    """Marks by stream, what was given up apart from what came. Written under a lock; iterating works on a copy.

    >>> marks = Islands()
    >>> for first, last in ((1, 2), (5, 6), (3, 4)):
    ...     marks.add(Mark("pole-1", "o", "live", first, last, last - first + 1, 0, 0, 0))
    >>> list(marks)
    [Mark(agent='pole-1', outbox='o', stream='live', first=1, last=6, stored=6, duplicate=0, quarantined=0, dropped=0)]
    """

    def __init__(self) -> None:
        self._streams: dict[tuple[str, str, str], dict[bool, tuple[Mark, ...]]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Mark]:
        for stream in sorted(self._streams.copy()):
            came, lost = (self._streams[stream].get(kind, ()) for kind in (False, True))
            yield from sorted((*came, *lost), key=lambda mark: (mark.first, mark.last, not mark.dropped))

    def add(self, mark: Mark) -> None:
        """Take up a mark."""
        stream = mark[:3]
        lost = mark.dropped > 0
        known = self._streams.get(stream, {}).get(lost, ())
        low = bisect_left(known, mark.first - 1, key=_LAST)
        high = bisect_right(known, mark.last + 1, key=_FIRST)
        for other in known[low:high]:
            counts = (mine + theirs for mine, theirs in zip(mark[5:], other[5:], strict=True))
            mark = Mark(*stream, min(mark.first, other.first), max(mark.last, other.last), *counts)
        # A new tuple, so that a reader in another thread never sees one that changes.
        self._streams[stream] = self._streams.get(stream, {}) | {lost: (*known[:low], mark, *known[high:])}
        self._count += 1 - max(0, high - low)
