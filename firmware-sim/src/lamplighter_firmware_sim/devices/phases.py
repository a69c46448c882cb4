"""A signal's program: which phases run together, for how long at least, and the plans. Data, checked at the door.

Phases are numbered as NTCIP does: 2 and 6 along the main road, 4 and 8 across, with pedestrians beside 4 and 8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from lamplighter_firmware_sim.errors import UsageError

STAGES: Final = ((2, 6), (4, 8))
PHASES: Final = (2, 4, 6, 8)
CROSSINGS: Final = (4, 8)
YELLOW_MS: Final = 4_000
RED_CLEAR_MS: Final = 1_500
MIN_GREEN_MS: Final = {2: 10_000, 6: 10_000, 4: 8_000, 8: 8_000}
MAX_GREEN_MS: Final = {2: 45_000, 6: 45_000, 4: 30_000, 8: 30_000}
WALK_MS: Final = 7_000
PED_CLEAR_MS: Final = 8_000
START_FLASH_MS: Final = 10_000
"""Flash before the first green, also after any other flash has been ended by its own rules (GB 25280)."""
START_RED_MS: Final = 5_000
FREE: Final = 254
FLASH: Final = 255


@dataclass(frozen=True)
class Plan:
    """How long each stage has, its yellow and red clearance included; the cycle is their sum."""

    splits_ms: tuple[int, ...]

    @property
    def cycle_ms(self) -> int:
        """The length of a cycle."""
        return sum(self.splits_ms)

    def check(self) -> None:
        """Raise UsageError when a split cannot serve minimum green, crossing and clearance of its stage."""
        if len(self.splits_ms) != len(STAGES):
            raise UsageError(f"a plan has {len(STAGES)} splits, not {len(self.splits_ms)}")
        for stage, split in enumerate(self.splits_ms):
            least = shortest_green_ms(stage, crossing=True) + YELLOW_MS + RED_CLEAR_MS
            if split < least:
                raise UsageError(f"the split of stage {stage} is {split} ms; at least {least} are needed")


PLANS: Final = {
    1: Plan((34_000, 26_000)),
    2: Plan((54_000, 36_000)),
    3: Plan((66_000, 44_000)),
    4: Plan((28_000, 22_000)),
}


def shortest_green_ms(stage: int, *, crossing: bool) -> int:
    """Return the green that a stage must have: the longest minimum of its phases, and a crossing to its end."""
    green = max(MIN_GREEN_MS[phase] for phase in STAGES[stage])
    walks = crossing and any(phase in CROSSINGS for phase in STAGES[stage])
    return max(green, WALK_MS + PED_CLEAR_MS) if walks else green


def longest_green_ms(stage: int) -> int:
    """Return the green after which a stage ends when it follows demand."""
    return min(MAX_GREEN_MS[phase] for phase in STAGES[stage])


def local_plan(hour: float) -> int:
    """Return the plan of the controller's own day: by demand at night, long cycles in the peaks."""
    if hour < 5.5 or hour >= 22.5:
        return FREE
    if 7 <= hour < 9.5 or 16.5 <= hour < 19:
        return 2
    return 1
