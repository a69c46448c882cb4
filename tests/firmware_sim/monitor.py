"""An independent conflict monitor: watches a signal's lamps from outside and knows only what it may never see.

Written apart from the controller: its tables and times are its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field

TOGETHER = ({2, 6}, {4, 8})
MINIMUM_MS = {2: 10_000, 6: 10_000, 4: 8_000, 8: 8_000}
NEXT = {
    "red": {"green", "flashing_yellow"},
    "green": {"yellow"},
    "yellow": {"red"},
    "flashing_yellow": {"red"},
}


def conflict(one: int, other: int) -> bool:
    return one != other and not any({one, other} <= pair for pair in TOGETHER)


@dataclass
class Monitor:
    """Takes changes of lamps in the order of their times; `faults` says in words what was wrong."""

    colour: dict[int, str] = field(default_factory=lambda: dict.fromkeys((2, 4, 6, 8), "flashing_yellow"))
    since: dict[int, int] = field(default_factory=lambda: dict.fromkeys((2, 4, 6, 8), 0))
    came_from: dict[int, str] = field(default_factory=lambda: dict.fromkeys((2, 4, 6, 8), ""))
    faults: list[str] = field(default_factory=list)
    greens: int = 0

    def change(self, t: int, phase: int, to: str) -> None:
        before, lasted = self.colour[phase], t - self.since[phase]
        if to not in NEXT[before]:
            self.faults.append(f"{t}: phase {phase} went from {before} to {to}")
        if before == "green" and lasted < MINIMUM_MS[phase]:
            self.faults.append(f"{t}: phase {phase} was green for {lasted} ms only")
        if before == "yellow" and lasted != 4_000:
            self.faults.append(f"{t}: phase {phase} was yellow for {lasted} ms")
        if before == "flashing_yellow" and lasted < 10_000:
            self.faults.append(f"{t}: phase {phase} flashed for {lasted} ms only")
        if to == "green":
            self._may_turn_green(t, phase)
        self.came_from[phase], self.colour[phase], self.since[phase] = before, to, t

    def settle(self, t: int) -> None:
        """Look at all lamps, when every change of one moment has been told."""
        lit = [phase for phase, colour in self.colour.items() if colour in ("green", "yellow")]
        for one in lit:
            for other in lit:
                if conflict(one, other):
                    self.faults.append(f"{t}: phases {one} {self.colour[one]} and {other} {self.colour[other]}")
        flashing = sum(colour == "flashing_yellow" for colour in self.colour.values())
        if flashing not in (0, 4):
            self.faults.append(f"{t}: {flashing} of 4 phases flash")

    def pedestrians(self, t: int, walks: dict[int, str]) -> None:
        for crossing, shown in walks.items():
            if shown in ("walk", "ped_clear") and self.colour[crossing] != "green":
                self.faults.append(f"{t}: crossing {crossing} shows {shown} while its phase is {self.colour[crossing]}")

    def _may_turn_green(self, t: int, phase: int) -> None:
        self.greens += 1
        for other, colour in self.colour.items():
            if not conflict(phase, other):
                continue
            red_for = t - self.since[other]
            least = 5_000 if self.came_from[other] == "flashing_yellow" else 1_500
            if colour != "red" or red_for < least:
                self.faults.append(f"{t}: phase {phase} green, but {other} is {colour} for {red_for} ms")
