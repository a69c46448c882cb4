"""A million readings out of a hub and into it again, as an operator does it: `lamplighter export` and `import`.

For each step the time that the program takes, and the most memory of the hub meanwhile.
"""

from __future__ import annotations

import random
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from bench.frame import BIN, Figure, Setting, resident_mb
from lamplighter_firmware_sim.swarm.preparation import PROFILE
from lamplighter_protocols.profile import load_profiles
from services.hub import Hub

READINGS = 1_000_000
DEVICES = 5
METRICS = 10
START = 1_795_392_000_000
HEAD = "device,metric,time,t,value,quality,type"
LOOK_EVERY_S = 0.1


def rows(devices: list[str], readings: int) -> Iterator[str]:
    """Yield the lines of a CSV in the order of an export: series by series, a reading each second."""
    numbers = random.Random(1)
    metrics = [name for name, metric in load_profiles()[PROFILE].metrics.items() if metric.type == "number"][:METRICS]
    each = readings // len(devices) // len(metrics)
    yield HEAD
    for device in devices:
        for metric in sorted(metrics):
            for second in range(each):
                yield f"{device},{metric},,{START + second * 1_000},{numbers.uniform(1, 90):.1f},good,number"


class Most:
    """The most memory of a process while a block runs, and before it, in MB."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._over = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self.before = self.most = 0.0

    def __enter__(self) -> Self:
        self.before = self.most = resident_mb(self._pid)
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._watcher.join()

    def _watch(self) -> None:
        while not self._over.wait(LOOK_EVERY_S):
            self.most = max(self.most, resident_mb(self._pid))


def moving(at: Setting) -> Iterator[Figure]:
    """Import a million new readings, export them both ways, and import what came out again."""
    hub = Hub(at.folder / "data", at.children).start()
    devices = _devices(hub)
    new, csv, parquet = (at.folder / name for name in ("new.csv", "out.csv", "out.parquet"))
    new.write_text("\n".join(rows(devices, READINGS)) + "\n", encoding="utf-8")
    yield from _step(hub, "CSV in, new", "import", new)
    stored = hub.get("status")["parts"]["series"]["points"]
    assert stored == READINGS, f"{stored} of {READINGS} readings are stored"
    period = ("--from", str(START), "--to", str(START + 86_400_000))
    yield from _step(hub, "CSV out", "export", *period, "-o", csv)
    yield from _step(hub, "Parquet out", "export", *period, "--format", "parquet", "-o", parquet)
    yield from _step(hub, "CSV in again", "import", csv)
    yield from _step(hub, "Parquet in again", "import", parquet)
    again = hub.get("status")["parts"]["series"]["points"]
    assert again == READINGS, f"{again - READINGS} readings are stored twice"
    hub.running.stop()


def _devices(hub: Hub) -> list[str]:
    """Let agents say their births; return their devices."""
    argv = [BIN / "lamplighter-sim", "swarm", "--agents", DEVICES, "--rate", 0, "--points", 1, "--seconds", 1]
    argv += ["--hub", hub.url, "--token", hub.token]
    subprocess.run([str(part) for part in argv], capture_output=True, timeout=120, check=True)
    return [f"swarm-{number:05d}-d1" for number in range(1, DEVICES + 1)]


def _step(hub: Hub, what: str, *arguments: str | Path) -> Iterator[Figure]:
    argv = [str(part) for part in (BIN / "lamplighter", *arguments, "--data", hub.data)]
    with Most(hub.running.pid) as memory:
        began = time.monotonic()
        done = subprocess.run(argv, capture_output=True, text=True, timeout=600, check=False)
        took = time.monotonic() - began
    assert done.returncode == 0, f"lamplighter {arguments[0]}: {done.stderr[-1000:]}"
    files = [part for part in arguments if isinstance(part, Path)]
    note = f"{READINGS:,} readings, {files[-1].stat().st_size / 1e6:,.1f} MB; {READINGS / took:,.0f} readings a second"
    yield Figure(what, took, "s", note=note)
    yield Figure(f"{what}: memory of the hub", memory.most, "MB", note=f"at most; {memory.before:,.0f} before")
