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
import traceback
from importlib.util import find_spec
from pathlib import Path

from bench.charts import draw_all
from bench.frame import Figure, Measure, Setting, Timeline, table
from bench.measures import MEASURES
from services.arguments import count, span
from services.need import REPOSITORY
from services.process import Children

COMMAND = "PYTHONPATH=tests .venv/bin/python -m bench"
FOLDER = REPOSITORY / "bench-results"
FAILED = "failed"
MEMBERS = ("protocols", "agent", "hub", "firmware-sim")


def take(measure: Measure, given: argparse.Namespace) -> tuple[list[Figure], list[Timeline]]:
    """Take one measurement in a folder and with programs of its own. One that fails says why and is no figure."""
    with tempfile.TemporaryDirectory(prefix="lamplighter-bench-") as folder:
        children = Children(Path(folder))
        setting = Setting(Path(folder), children, given.seconds or measure.seconds, given.runs)
        figures: list[Figure] = []
        try:
            figures += measure.take(setting)
        except Exception as error:  # noqa: BLE001 - supervision: what the others measured is kept and shown
            traceback.print_exc()
            why = (str(error).splitlines() or [type(error).__name__])[0]
            figures.append(Figure(measure.name, None, "", note=f"{FAILED}: {why}"))
        finally:
            children.end()
        return figures, setting.timelines


def main() -> int:
    """Run what was asked for. Returns 1 when a goal was missed or a measurement failed."""
    given = _arguments()
    chosen = [measure for measure in MEASURES if measure.name in given.measures]
    for member in MEMBERS:  # as at every start but the first: what is compiled while it starts stays in its memory
        compileall.compile_dir(REPOSITORY / member / "src", quiet=1)
    figures: list[Figure] = []
    timelines: list[Timeline] = []
    for measure in chosen:
        print(f"{measure.name}: {measure.about} ...", file=sys.stderr)
        found, seen = take(measure, given)
        figures += found
        timelines += seen
    where = machine()
    print(f"\n{where}\n\n{table(figures)}\n")
    for measure in chosen:
        runs = f" --runs {given.runs}" if measure.repeated else ""
        seconds = f" --seconds {given.seconds or measure.seconds:g}" if measure.seconds else ""
        print(f"{measure.name:12}{COMMAND} {measure.name}{seconds}{runs}")
    _keep(where, figures, timelines)
    return int(any(figure.verdict.startswith("MISSED") or figure.note.startswith(FAILED) for figure in figures))


def _arguments() -> argparse.Namespace:
    names = [measure.name for measure in MEASURES]
    parser = argparse.ArgumentParser(
        prog=COMMAND, description=__doc__, epilog=_told(), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("measures", nargs="*", metavar="MEASURE", help="the short ones when none is named")
    parser.add_argument("--seconds", type=span, help="how long each runs, in place of what is usual for it")
    parser.add_argument(
        "--runs", type=count, default=3, help="runs of throughput and store, of which the median counts"
    )
    given = parser.parse_args()
    if unknown := set(given.measures) - set(names):
        parser.error(f"no measure {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    given.measures = given.measures or [measure.name for measure in MEASURES if not measure.long]
    return given


def _told() -> str:
    lines = [
        f"  {measure.name:12}{measure.about}{f'; {measure.seconds:g} s' if measure.seconds else ''}"
        f"{'; only when named' if measure.long else ''}"
        for measure in MEASURES
    ]
    return "\n".join(["measures:", *lines])


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


def _keep(where: str, figures: list[Figure], timelines: list[Timeline]) -> None:
    """Keep what was measured, and draw it where the library for that is there."""
    FOLDER.mkdir(exist_ok=True)
    kept = {
        "machine": where,
        "figures": [{**figure._asdict(), "verdict": figure.verdict} for figure in figures],
        "timelines": [timeline._asdict() for timeline in timelines],
    }
    (FOLDER / "latest.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    if find_spec("matplotlib") is None:
        print("\nno charts: requirements/install bench brings what draws them, then python -m bench.charts")
        return
    for path in draw_all(FOLDER / "latest.json"):
        print(f"chart       {path.relative_to(REPOSITORY)}")


if __name__ == "__main__":
    sys.exit(main())
