"""A logger that numbers every line it writes, and knows when it wrote which."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from chaos.compare import Given, Item

PAUSE_S: Final = 0.1
HEADER: Final = "time,count\n"
POISON: Final = ("not a time,at all\n", "\x00\x01\x02\n", "2026-13-99T99:99:99.000,1\n", "x" * 500 + "\n")
PROFILE: Final = """
id = "chaos-log"
device_class = "test"
title = { en = "Numbered log", zh = "编号日志" }
[metrics.count]
title = { en = "Count", zh = "计数" }
[tail]
time = ["time"]
header = true
time_format = "iso"
[tail.columns.count]
column = "count"
"""


class LogWriter(threading.Thread):
    """Writes `rate` lines a second; line n has the time `first_ms + n * step`. Rotates its file now and then."""

    def __init__(
        self, device: str, path: Path, rate: int, first_ms: int, poisoned: Callable[[], bool], rotate_lines: int = 0
    ) -> None:
        super().__init__(daemon=True, name=device)
        self.device = device
        self.path = path
        self.lines = 0
        self.bad_lines = 0
        self._rate = rate
        self._first_ms = first_ms
        self._poisoned = poisoned
        self._rotate_lines = rotate_lines
        self._written: dict[Item, float] = {}
        self._enough = threading.Event()
        path.write_text(HEADER)

    def run(self) -> None:
        began = time.monotonic()
        while not self._enough.wait(PAUSE_S):
            wanted = int((time.monotonic() - began) * self._rate)
            self._write(max(0, min(wanted - self.lines, self._rate)))
            if self._rotate_lines and self.lines % self._rotate_lines < self._rate * PAUSE_S:
                self._rotate()

    def stop(self) -> None:
        """Write no more."""
        self._enough.set()
        self.join()

    def given(self) -> Given:
        """Return every line."""
        return Given(f"log {self.device}", self.device, dict(self._written))

    def _write(self, count: int) -> None:
        poisoned = self._poisoned()
        now = time.monotonic()
        with self.path.open("a") as log:
            for n in range(self.lines, self.lines + count):
                item = Item(self._first_ms + n * 1000 // self._rate, n)
                log.write(f"{datetime.fromtimestamp(item.t / 1000, UTC):%Y-%m-%dT%H:%M:%S.%f},{n}\n")
                self._written[item] = now
                if poisoned:
                    log.write(POISON[n % len(POISON)])
                    self.bad_lines += 1
        self.lines += count

    def _rotate(self) -> None:
        self.path.rename(self.path.with_suffix(".1"))
        self.path.write_text(HEADER)
