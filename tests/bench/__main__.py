"""`make bench`: takes the measurements and prints them with the command that repeats each."""

from __future__ import annotations

import argparse
import compileall
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.frame import Figure, Measure, Setting, table
from bench.measures import MEASURES
from services.need import REPOSITORY
from services.process import Children

COMMAND = "PYTHONPATH=tests .venv/bin/python -m bench"
MEMBERS = ("protocols", "agent", "hub", "firmware-sim")


def take(measure: Measure, seconds: float, runs: int) -> list[Figure]:
    """Take one measurement in a folder and with programs of its own."""
    with tempfile.TemporaryDirectory(prefix="lamplighter-bench-") as folder:
        children = Children(Path(folder))
        try:
            return list(measure.take(Setting(Path(folder), children, seconds, runs)))
        finally:
            children.end()


def main() -> int:
    """Run what was asked for. Returns 1 when a goal was missed or a measurement failed."""
    given = _arguments()
    chosen = [measure for measure in MEASURES if not given.measures or measure.name in given.measures]
    for member in MEMBERS:  # as at every start but the first: what is compiled while it starts stays in its memory
        compileall.compile_dir(REPOSITORY / member / "src", quiet=1)
    figures: list[Figure] = []
    for measure in chosen:
        print(f"{measure.name}: {measure.about} ...", file=sys.stderr)
        figures += take(measure, given.seconds or measure.seconds, given.runs)
    print(f"\n{machine()}\n\n{table(figures)}\n")
    for measure in chosen:
        seconds = given.seconds or measure.seconds
        runs = f" --runs {given.runs}" if measure.name == "throughput" else ""
        print(f"{measure.name:12}{COMMAND} {measure.name} --seconds {seconds:g}{runs}")
    _keep(figures)
    return int(any(figure.verdict.startswith("MISSED") for figure in figures))


def _arguments() -> argparse.Namespace:
    names = [measure.name for measure in MEASURES]
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("measures", nargs="*", metavar="MEASURE", help=f"of {', '.join(names)}; all when none is named")
    usual = ", ".join(f"{measure.name} {measure.seconds:g}" for measure in MEASURES)
    parser.add_argument("--seconds", type=float, help=f"how long each runs (default: {usual})")
    parser.add_argument("--runs", type=int, default=3, help="runs of throughput, of which the median counts")
    given = parser.parse_args()
    if unknown := set(given.measures) - set(names):
        parser.error(f"no measure {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    return given


def machine() -> str:
    """Return what was measured, on what, and how busy that was with other things."""
    commit = subprocess.run(
        ["git", "-C", REPOSITORY, "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    ).stdout.strip()
    found = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    processor = found[0] if found else platform.machine()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return (
        f"Lamplighter {commit or 'without git'}, Python {platform.python_version()}, {os.cpu_count()} x {processor}, "
        f"{memory:.0f} GB, {platform.system()} {platform.release()}; load over 15 minutes {os.getloadavg()[2]:.1f}"
    )


def _lines(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8", errors="replace").splitlines()


def _keep(figures: list[Figure]) -> None:
    folder = REPOSITORY / "bench-results"
    folder.mkdir(exist_ok=True)
    kept = [{**figure._asdict(), "verdict": figure.verdict} for figure in figures]
    (folder / "latest.json").write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
