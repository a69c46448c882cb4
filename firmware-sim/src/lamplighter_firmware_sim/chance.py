"""Randomness without state: the same seed, time and purpose give the same number, so that a world can be run again.

>>> draw(7, 1, "door") == draw(7, 1, "door")
True
>>> 0.0 <= draw(7, 2, "door") < 1.0
True
"""

from __future__ import annotations

import math
import zlib
from typing import Final

_MASK: Final = 2**64 - 1


def draw(seed: int, moment: int, purpose: str) -> float:
    """Return a uniform number in [0, 1) (the finaliser of splitmix64, Steele et al. 2014)."""
    mixed = (seed * 0x9E3779B97F4A7C15 + moment * 0xD1B54A32D192ED03 + zlib.crc32(purpose.encode())) & _MASK
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
    return ((mixed ^ (mixed >> 31)) >> 11) / 2**53


def wander(seed: int, t_ms: int, period_ms: int, purpose: str) -> float:
    """Return a smooth random curve between -1 and 1 at time `t_ms`; it turns about once in `period_ms`."""
    step, rest = divmod(t_ms, period_ms)
    before, after = (2 * draw(seed, at, purpose) - 1 for at in (step, step + 1))
    weight = (1 - math.cos(math.pi * rest / period_ms)) / 2
    return before + (after - before) * weight


def happens(seed: int, moment: int, purpose: str, per_s: float, dt_ms: int) -> bool:
    """Say whether something that happens `per_s` times a second on average does so within `dt_ms`."""
    return draw(seed, moment, purpose) < 1 - math.exp(-per_s * dt_ms / 1000)
