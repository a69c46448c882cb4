"""A set of whole numbers as sorted, disjoint, closed ranges.

>>> seen = Intervals()
>>> seen.add(1, 3); seen.add(7, 9); seen.add(4, 5)
>>> seen.ranges()
[(1, 5), (7, 9)]
>>> seen.through, seen.missing()
(5, [(6, 6)])
>>> seen.remove(2, 8); seen.ranges(), seen.gaps(1, 12)
([(1, 1), (9, 9)], [(2, 8), (10, 12)])
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right


class Intervals:
    """Numbers from 1. Adding is idempotent; ranges that touch become one."""

    __slots__ = ("_first", "_last")

    def __init__(self) -> None:
        self._first: list[int] = []
        self._last: list[int] = []

    def copy(self) -> Intervals:
        """Return an independent copy."""
        twin = Intervals()
        twin._first, twin._last = self._first.copy(), self._last.copy()
        return twin

    def add(self, first: int, last: int) -> None:
        """Put `first` to `last` in."""
        if self._last and first == self._last[-1] + 1:  # what nearly always comes: the next ones
            self._last[-1] = last
            return
        low = bisect_left(self._last, first - 1)
        high = bisect_right(self._first, last + 1)
        if low < high:
            first, last = min(first, self._first[low]), max(last, self._last[high - 1])
        self._first[low:high] = [first]
        self._last[low:high] = [last]

    def remove(self, first: int, last: int) -> None:
        """Take `first` to `last` out, as far as they are in."""
        low = bisect_left(self._last, first)
        high = bisect_right(self._first, last)
        if low >= high:
            return
        before, after = self._first[low], self._last[high - 1]
        kept = [pair for pair in ((before, first - 1), (last + 1, after)) if pair[0] <= pair[1]]
        self._first[low:high] = [pair[0] for pair in kept]
        self._last[low:high] = [pair[1] for pair in kept]

    def __contains__(self, number: int) -> bool:
        at = bisect_left(self._last, number)
        return at < len(self._first) and self._first[at] <= number

    def __len__(self) -> int:
        """How many ranges there are."""
        return len(self._first)

    def count(self) -> int:
        """How many numbers there are."""
        return sum(self._last) - sum(self._first) + len(self._first)

    @property
    def highest(self) -> int:
        """The largest number; 0 when there is none."""
        return self._last[-1] if self._last else 0

    @property
    def through(self) -> int:
        """The largest number up to which nothing is missing, from 1."""
        return self._last[0] if self._first and self._first[0] == 1 else 0

    def ranges(self) -> list[tuple[int, int]]:
        """All ranges, in order."""
        return list(zip(self._first, self._last, strict=True))

    def beyond(self) -> list[tuple[int, int]]:
        """The ranges after the first gap."""
        return [pair for pair in zip(self._first, self._last, strict=True) if pair[0] > 1]

    def missing(self) -> list[tuple[int, int]]:
        """The gaps from 1 to the highest number."""
        return self.gaps(1, self.highest)

    def gaps(self, first: int, last: int) -> list[tuple[int, int]]:
        """The ranges between `first` and `last` that are not in."""
        low, high = bisect_left(self._last, first), bisect_right(self._first, last)
        starts = [first, *(end + 1 for end in self._last[low:high])]
        ends = [*(start - 1 for start in self._first[low:high]), last]
        return [(start, end) for start, end in zip(starts, ends, strict=True) if start <= end]
