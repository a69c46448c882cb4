"""By how much times are moved, as people write it: `8h`, `-1d2h30m`, `20782d4h250ms`."""

from __future__ import annotations

import re
from typing import Final

SPAN: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)", re.ASCII)
_SHIFT: Final = re.compile(rf"\s*([+-]?)\s*((?:{SPAN.pattern}\s*)+)", re.ASCII)
UNITS_MS: Final = {"w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
LONGEST: Final = 64
"""Characters in a shift."""


def read_shift(text: str) -> int:
    """Return a shift in milliseconds: spans in a row, `-` in front for earlier. Raises ValueError.

    >>> read_shift("2h"), read_shift("-1d2h30m"), read_shift("20782d 4h 0.25s")
    (7200000, -95400000, 1795579200250)
    """
    found = _SHIFT.fullmatch(text[: LONGEST + 1])
    if found is None or len(text) > LONGEST:
        raise ValueError(f"{text[:LONGEST]!r} is no shift: write 2h, -35d, 20782d4h30m")
    total = sum(float(count) * UNITS_MS[unit] for count, unit in SPAN.findall(found[2]))
    return round(-total if found[1] == "-" else total)


def write_shift(ms: int) -> str:
    """Return a shift as `read_shift` reads it.

    >>> write_shift(-95400000), write_shift(1795579200250), write_shift(0)
    ('-1d2h30m', '20782d4h250ms', '0ms')
    """
    rest, parts = abs(ms), []
    for unit in ("d", "h", "m", "s", "ms"):
        count, rest = divmod(rest, UNITS_MS[unit])
        parts += [f"{count}{unit}"] if count else []
    return ("-" if ms < 0 else "") + ("".join(parts) or "0ms")
