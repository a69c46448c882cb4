"""What the world gave against what the hub exported: lost, twice, invented, and what was declared.

Nothing here knows how records travel: the world's counters on one side, the hub's export on the other.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

LATE_MS: Final = 500
"""How long after the expiry the peer may still see a command that was begun in time: its way over the socket."""
CALM: Final = "calm"
EXAMPLES: Final = 10


class Item(NamedTuple):
    """One thing that the world gave: the device's time in ms and its number."""

    t: int
    n: int


class Given(NamedTuple):
    """What one source gave. `at` is when, on the harness's clock in s. `owed`: each must be stored, else only once."""

    source: str
    device: str
    items: Mapping[Item, float]
    owed: bool = True


class Span(NamedTuple):
    """Device times in ms that a `dropped` record declared for an agent, both ends included."""

    first: int
    last: int


class Timeline:
    """Which fault was the last to strike at any moment."""

    def __init__(self) -> None:
        self._times: list[float] = []
        self._names: list[str] = []

    def mark(self, at: float, name: str) -> None:
        """From now on it is this one's."""
        self._times.append(at)
        self._names.append(name)

    def at(self, moment: float) -> str:
        """Return whose moment it is."""
        place = bisect_right(self._times, moment)
        return self._names[place - 1] if place else CALM


@dataclass
class Tally:
    """Counts by fault, and examples of what must not be."""

    by_fault: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    wrong: list[str] = field(default_factory=list)

    def add(self, fault: str, column: str, number: int = 1) -> None:
        """Count."""
        self.by_fault[fault][column] += number

    def blame(self, fault: str, column: str, what: str) -> None:
        """Count something that must not be, and keep examples of it."""
        self.add(fault, column)
        if self.total(column) <= EXAMPLES:
            self.wrong.append(f"{column}: {what} ({fault})")

    def total(self, column: str) -> int:
        """Return the sum over all faults."""
        return sum(counts[column] for counts in self.by_fault.values())


FORBIDDEN: Final = ("lost", "twice", "invented", "late", "done_twice", "false", "open")
"""Columns that must be 0."""


def clean(tally: Tally) -> bool:
    """True when nothing was lost or doubled, and no command was late, doubled, untrue or left open."""
    return not tally.wrong and not any(tally.total(column) for column in FORBIDDEN)


def compare(
    tally: Tally, timeline: Timeline, given: Given, stored: Iterable[Item], declared: Sequence[Span], gone: set[Item]
) -> None:
    """Hold what a source gave against what is stored. `gone` are items whose loss nobody could prevent."""
    found = Counter(stored)
    for item, at in given.items.items():
        fault = timeline.at(at)
        number = found.pop(item, 0)
        tally.add(fault, "sent")
        tally.add(fault, "stored", min(number, 1))
        if number > 1:
            tally.blame(fault, "twice", f"{given.source} {item} is stored {number} times")
        elif not number:
            _missing(tally, fault, given, item, _declared(declared, item.t), item in gone)
    for item, number in found.items():
        tally.blame(timeline.at(float("inf")), "invented", f"{given.source} {item} was never given, stored {number}")


def _missing(tally: Tally, fault: str, given: Given, item: Item, declared: bool, gone: bool) -> None:  # noqa: FBT001
    if declared:
        tally.add(fault, "declared")
    elif gone:
        tally.add(fault, "gone")
    elif given.owed:
        tally.blame(fault, "lost", f"{given.source} {item}")
    else:
        tally.add(fault, "unkept")


def _declared(spans: Sequence[Span], t: int) -> bool:
    return any(span.first <= t <= span.last for span in spans)


class Asked(NamedTuple):
    """One command: when it was issued (harness clock, s), and what the hub says of it: expiry (ms) and state."""

    n: int
    at: float
    expires_ms: int
    state: str
    known: bool = True


NOT_DONE: Final = frozenset({"expired", "cancelled", "rejected"})
FINAL: Final = NOT_DONE | {"succeeded", "failed"}


def compare_commands(
    tally: Tally, timeline: Timeline, asked: Iterable[Asked], executed: Mapping[int, Sequence[int]]
) -> None:
    """Hold commands against the peer's own count of what it did: number -> times in ms."""
    numbers = set()
    for one in asked:
        numbers.add(one.n)
        fault = timeline.at(one.at)
        times = executed.get(one.n, ())
        tally.add(fault, "issued" if one.known else "unreached")
        tally.add(fault, "executed", min(len(times), 1))
        for column, check in _CHECKS.items():
            if detail := check(one, times):
                tally.blame(fault, column, f"command {one.n} ({one.state}) {detail}")
    for n in executed.keys() - numbers:
        tally.blame(CALM, "false", f"command {n} was executed and never issued")


def _late(one: Asked, times: Sequence[int]) -> str:
    over = max((at - one.expires_ms for at in times), default=0)
    return f"executed {over} ms after its expiry" if over > LATE_MS else ""


def _twice(_: Asked, times: Sequence[int]) -> str:
    return f"executed {len(times)} times" if len(times) > 1 else ""


def _false(one: Asked, times: Sequence[int]) -> str:
    if not one.known:
        return "was executed and the hub does not know it" if times else ""
    if one.state in NOT_DONE and times:
        return "was executed all the same"
    return "was not executed" if one.state == "succeeded" and not times else ""


def _open(one: Asked, _: Sequence[int]) -> str:
    return "has no end" if one.known and one.state not in FINAL else ""


_CHECKS: Final[Mapping[str, Callable[[Asked, Sequence[int]], str]]] = {
    "late": _late,
    "done_twice": _twice,
    "false": _false,
    "open": _open,
}
