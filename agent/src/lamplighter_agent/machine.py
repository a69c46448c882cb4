"""What the machine itself says of its start and of its clock."""

from __future__ import annotations

import ctypes
import uuid
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
_CLOCKS: Final = Path("/sys/class/rtc")
_NOT_SYNCHRONISED: Final = 5
"""TIME_ERROR of adjtimex(2): nobody disciplines the clock."""
_TIMEX_BYTES: Final = 512
"""More than any `struct timex` needs; all zero, it only asks."""


class Machine(NamedTuple):
    """`boot` is new with each start of the machine; `keeps_time` when a battery or NTP keeps its clock right."""

    boot: str
    keeps_time: bool


def read_machine() -> Machine:
    """Ask the operating system; what it cannot say is taken for a machine that has just started with a wrong clock."""
    return Machine(_boot(), _set_at_start() or _synchronised())


def _boot() -> str:
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return _boot_of_this_process()


@cache
def _boot_of_this_process() -> str:
    return str(uuid.uuid4())


def _set_at_start() -> bool:
    """True when Linux took the time from a clock with a battery (Documentation/ABI/testing/rtc-cdev, `hctosys`)."""
    return any(_reads_one(clock / "hctosys") for clock in _CLOCKS.glob("rtc*"))


def _reads_one(file: Path) -> bool:
    try:
        return file.read_text().strip() == "1"
    except OSError:
        return False


def _synchronised() -> bool:
    try:
        ask = ctypes.CDLL(None).adjtimex
    except (OSError, AttributeError):
        return False  # not Linux
    return ask(ctypes.create_string_buffer(_TIMEX_BYTES)) in range(_NOT_SYNCHRONISED)
