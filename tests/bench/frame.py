"""What a measurement is, and how its figures are shown beside their goals."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import linear_regression
from typing import NamedTuple

from services.process import Children
from services.wait import eventually

BIN = Path(sys.executable).parent
TICKS = os.sysconf("SC_CLK_TCK")


class Figure(NamedTuple):
    """One number, None where it could not be taken. `goal` is what it should be at most (or at least, where `more` is
    better); 0 for none."""

    what: str
    value: float | None
    unit: str
    goal: float = 0
    more: bool = False
    note: str = ""

    @property
    def aim(self) -> str:
        """Return the goal for people; empty without one."""
        return f"{'>=' if self.more else '<='} {self.goal:g}" if self.goal else ""

    @property
    def verdict(self) -> str:
        """Return `met`, or `MISSED` and by how much; empty without a goal."""
        if not self.goal:
            return ""
        if self.value is None:
            return "not taken"
        met = self.value >= self.goal if self.more else self.value <= self.goal
        return "met" if met else f"MISSED by {abs(self.value / self.goal - 1):.0%}"


class Timeline(NamedTuple):
    """What was seen second by second, for a chart: `rows` hold `s` (seconds from the start) and what was looked at."""

    name: str
    title: str
    rows: list[dict[str, float]]


@dataclass
class Setting:
    """Where a measurement works, for how long, how often where it takes a median, and where it leaves timelines."""

    folder: Path
    children: Children
    seconds: float
    runs: int
    timelines: list[Timeline] = field(default_factory=list)

    def spend(self) -> None:
        """Let the measured programs run for the time of a measurement."""
        let_pass(self.seconds)


def let_pass(seconds: float) -> None:
    """Let a time go by, in which others work."""
    end = time.monotonic() + seconds
    eventually(lambda: time.monotonic() >= end, within_s=seconds + 5)


class Measure(NamedTuple):
    """A measurement: its name on the command line, the function that takes it, and how long it runs unless told.

    One with no `seconds` runs until it is done. A `long` one is taken only when it is named; of a `repeated` one the
    median of several runs counts.
    """

    name: str
    about: str
    take: Callable[[Setting], Iterator[Figure]]
    seconds: float
    long: bool = False
    repeated: bool = False


def resident_mb(pid: int, part: str = "VmRSS") -> float:
    """Return the resident memory of a process in MB (10^6 bytes), or a part of it such as `RssFile`."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{part}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise AssertionError(f"process {pid} has ended")


def cpu_s(pid: int) -> float:
    """Return the processor time that a process has used so far, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def children_of(pid: int) -> dict[str, int]:
    """Return the running children of a process: names of their programs, and their process ids."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text(encoding="ascii").split():
            found[Path(f"/proc/{child}/comm").read_text(encoding="utf-8").strip()] = int(child)
    return found


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Return the slope of the line through points (x, y) with the least squares of distances in y."""
    return linear_regression(*zip(*points, strict=True)).slope


HEAD = ("what", "value", "unit", "goal", "verdict", "note")


def table(figures: list[Figure]) -> str:
    """Return figures as a table for people, the numbers to the right."""
    lines = [HEAD, *map(_line, figures)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if name == "value" else cell.ljust(width)
            for cell, width, name in zip(line, widths, HEAD, strict=True)
        ).rstrip()
        for line in lines
    )


def _line(one: Figure) -> tuple[str, ...]:
    return one.what, _number(one.value), one.unit, one.aim, one.verdict, one.note


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.3g}" if abs(value) < 100 else f"{value:,.0f}"
