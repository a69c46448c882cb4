"""Python runs this at the start of a program that has its folder on PYTHONPATH: from then on its clock is as wrong as
the file WRONG_CLOCK says, in seconds. Monotonic clocks stay right, as they do on a machine whose clock is set."""

from __future__ import annotations

import os
import time
from pathlib import Path


def _wrong_by_ns(file: Path) -> int:
    try:
        return int(file.read_text()) * 1_000_000_000
    except (OSError, ValueError):
        return 0


def _install(file: Path) -> None:
    right = time.time_ns
    time.time_ns = lambda: right() + _wrong_by_ns(file)
    time.time = lambda: time.time_ns() / 1e9


if "WRONG_CLOCK" in os.environ:
    _install(Path(os.environ["WRONG_CLOCK"]))
