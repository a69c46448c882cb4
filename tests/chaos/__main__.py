"""`make chaos`: break everything by a seeded plan, mend it, and show that nothing was lost or done twice."""

from __future__ import annotations

import argparse
import os
import platform
import random
import sys
import tempfile
from pathlib import Path

from chaos.drive import Drive, verdict
from chaos.report import EXPLAINED, table
from chaos.schedule import Fault, plan
from chaos.world import Ground, world
from services.arguments import span

COMMAND = "PYTHONPATH=tests .venv/bin/python -m chaos"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="repeats a run; random when not given")
    parser.add_argument("--minutes", type=span, default=5, help="how long faults are injected, about (default 5)")
    grounds = "nats and mosquitto with DuckDB and SQLite, grown with nats, InfluxDB and PostgreSQL (default nats)"
    parser.add_argument("--on", choices=[str(one) for one in Ground], default="nats", help=grounds)
    parser.add_argument(
        "--fault",
        action="append",
        choices=[str(one) for one in Fault],
        metavar="FAULT",
        help=f"only this one; may be repeated: {', '.join(Fault)}",
    )
    parser.add_argument("--plan", action="store_true", help="show what would be done, and do nothing")
    parser.add_argument("--keep", type=Path, default=None, help="folder for logs and data, kept; it must not exist")
    return parser.parse_args()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _run(given: argparse.Namespace, seed: int, folder: Path) -> int:
    with world(folder, Ground(given.on), seed) as made:
        victims = made.victims()
        for fault in [fault for fault, some in victims.items() if not some]:
            _say(f"left out, this ground or this machine cannot do it: {fault}")
        wanted = {fault: some for fault, some in victims.items() if not given.fault or fault in given.fault}
        strikes = plan(seed, given.minutes * 60, wanted)
        if given.plan:
            print("\n".join(f"{one.gap_s:5.2f} {one.lasts_s:5.2f} {one.fault} {one.victim}" for one in strikes))
            return 0
        outcome = Drive(made, strikes, seed, _say).run()
    print(f"\n{table(outcome.tally, outcome.struck)}\n\n{EXPLAINED}\n")
    print("\n".join(outcome.notes))
    print("\n".join(outcome.tally.wrong))
    print(f"\nPython {platform.python_version()}, {os.cpu_count()} processors, {platform.machine()}, {given.on}")
    only = "".join(f" --fault {fault}" for fault in given.fault or ())
    print(f"to repeat: {COMMAND} --seed {seed} --minutes {given.minutes:g} --on {given.on}{only}")
    print(verdict(outcome))
    return 0 if outcome.clean else 1


def main() -> int:
    """Return 1 when anything was lost, doubled, late or untrue."""
    given = _arguments()
    seed = random.SystemRandom().randrange(1_000_000) if given.seed is None else given.seed
    _say(f"seed {seed}")
    if given.keep:
        return _run(given, seed, given.keep.resolve())
    with tempfile.TemporaryDirectory(prefix="lamplighter-chaos-") as folder:
        return _run(given, seed, Path(folder))


if __name__ == "__main__":
    sys.exit(main())
