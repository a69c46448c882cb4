"""What a measurement is, and how its figures are shown beside their goals."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from services.process import Children
from services.wait import eventually

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
    def verdict(self) -> str:
        """Return whether the goal is met; empty without one."""
        if not self.goal:
            return ""
        met = self.value >= self.goal if self.more else self.value <= self.goal
        return f"{'met' if met else 'MISSED'} ({'>=' if self.more else '<='} {self.goal:g})"


@dataclass
class Setting:
    """Where a measurement works, and for how long."""

    folder: Path
    children: Children
    seconds: float

    def spend(self) -> None:
        """Let the measured programs run for the time of a measurement."""
        end = time.monotonic() + self.seconds
        eventually(lambda: time.monotonic() >= end, within_s=self.seconds + 5)


class Measure(NamedTuple):
    """A measurement: its name on the command line, and the function that takes it."""

    name: str
    about: str
    take: Callable[[Setting], Iterator[Figure]]


def resident_mb(pid: int) -> float:
    """Return the resident memory of a process in MB (10^6 bytes)."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise AssertionError(f"process {pid} has ended")


def cpu_s(pid: int) -> float:
    """Return the processor time that a process has used so far, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def table(rows: list[tuple[str, Figure]]) -> str:
    """Return figures as a table for people."""
    lines = [("measure", "what", "value", "unit", "goal", "note"), *(_line(name, one) for name, one in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(6)]
    padded = (zip(line, widths, strict=True) for line in lines)
    return "\n".join("  ".join(cell.ljust(width) for cell, width in line).rstrip() for line in padded)


def _line(name: str, one: Figure) -> tuple[str, ...]:
    value = f"{one.value:,.4g}" if one.value < 1000 else f"{one.value:,.0f}"
    return name, one.what, value, one.unit, one.verdict, one.note
