"""`make bench`: takes the measurements and prints them with the command that repeats each."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from pathlib import Path

from bench.frame import Figure, Measure, Setting, table
from bench.measures import MEASURES
from services.need import REPOSITORY
from services.process import Children

COMMAND = "PYTHONPATH=tests .venv/bin/python -m bench"


def take(measure: Measure, seconds: float) -> list[Figure]:
    """Take one measurement in a folder and with programs of its own."""
    with tempfile.TemporaryDirectory(prefix="lamplighter-bench-") as folder:
        children = Children(Path(folder))
        try:
            return list(measure.take(Setting(Path(folder), children, seconds)))
        finally:
            children.end()


def main() -> int:
    """Run what was asked for. Returns 1 when a goal was missed or a measurement failed."""
    names = [measure.name for measure in MEASURES]
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("measures", nargs="*", metavar="MEASURE", help=f"of {', '.join(names)}; all when none is named")
    parser.add_argument("--seconds", type=float, default=30, help="how long each runs (default 30)")
    given = parser.parse_args()
    if unknown := set(given.measures) - set(names):
        parser.error(f"no measure {', '.join(unknown)}; there are {', '.join(names)}")
    rows: list[tuple[str, Figure]] = []
    for measure in MEASURES:
        if not given.measures or measure.name in given.measures:
            print(
                f"{measure.name}: {measure.about}\n  {COMMAND} {measure.name} --seconds {given.seconds:g}",
                file=sys.stderr,
            )
            rows += [(measure.name, figure) for figure in take(measure, given.seconds)]
    print(
        f"\nPython {platform.python_version()}, {os.cpu_count()} processors, {platform.machine()}, {platform.system()}"
    )
    print(table(rows))
    _keep(rows)
    return int(any("MISSED" in figure.verdict for _, figure in rows))


def _keep(rows: list[tuple[str, Figure]]) -> None:
    folder = REPOSITORY / "bench-results"
    folder.mkdir(exist_ok=True)
    figures = [{"measure": name, **figure._asdict(), "verdict": figure.verdict} for name, figure in rows]
    (folder / "latest.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
