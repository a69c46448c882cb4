"""What a measurement is, and how its figures are shown beside their goals."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from services.process import Children
from services.wait import eventually

BIN = Path(sys.executable).parent
TICKS = os.sysconf("SC_CLK_TCK")


class Figure(NamedTuple):
    """One number. `goal` is what it should be at most (or at least, where `more` is better); 0 for none."""

    what: str
    value: float
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
        met = self.value >= self.goal if self.more else self.value <= self.goal
        return "met" if met else f"MISSED by {abs(self.value / self.goal - 1):.0%}"


@dataclass
class Setting:
    """Where a measurement works, for how long, and how often where it takes a median."""

    folder: Path
    children: Children
    seconds: float
    runs: int

    def spend(self) -> None:
        """Let the measured programs run for the time of a measurement."""
        end = time.monotonic() + self.seconds
        eventually(lambda: time.monotonic() >= end, within_s=self.seconds + 5)


class Measure(NamedTuple):
    """A measurement: its name on the command line, the function that takes it, and how long it runs unless told."""

    name: str
    about: str
    take: Callable[[Setting], Iterator[Figure]]
    seconds: float


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
    value = f"{one.value:,.3g}" if one.value < 100 else f"{one.value:,.0f}"
    return one.what, value, one.unit, one.aim, one.verdict, one.note
