"""`make fuzz`: feeds mutated input to whatever takes bytes from outside, and says what that did with it."""

from __future__ import annotations

import argparse
import base64
import logging
import math
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from fuzz.kinds import Target
from fuzz.mutation import Mutator
from fuzz.targets import DOCUMENTED, targets
from services.arguments import count

COMMAND: Final = "PYTHONPATH=tests .venv/bin/python -m fuzz"
SLOW_S: Final = 0.5
"""Longer than this no single input of at most 64 KiB may take."""
MOST_KEPT: Final = 5
MOST_GROWN_KB: Final = 32 * 1024
"""Memory that a target may take over the last three quarters of its inputs; the hashes of inputs are in it."""


@dataclass
class Found:
    """What one target did with its inputs."""

    name: str
    distinct: int = 0
    taken: int = 0
    refused: int = 0
    slowest_s: float = 0.0
    seconds: float = 0.0
    grown_kb: int = 0
    wrong: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)


def feed(target: Target, inputs: int, seed: int) -> Found:
    """Give a target so many inputs. What it must not do is in `wrong`."""
    found = Found(target.name)
    mutator = Mutator(target.corpus, seed)
    seen = set(map(hash, target.corpus))
    known = len(seen)
    target.open()
    began, memory = time.monotonic(), _resident_kb()
    try:
        for number in range(inputs):
            if number == inputs // 4:
                memory = _resident_kb()  # what caches and imports take is there by now
            payload = mutator.draw()
            seen.add(hash(payload))
            _feed_one(target, payload, found)
    finally:
        target.close()
    found.seconds = time.monotonic() - began
    found.distinct = len(seen) - known
    found.grown_kb = _resident_kb() - memory
    if found.grown_kb > MOST_GROWN_KB:
        _blame(found, f"memory grew by {found.grown_kb} kB", b"")
    return found


def _feed_one(target: Target, payload: bytes, found: Found) -> None:
    began = time.perf_counter()
    try:
        target.feed(payload)
        found.taken += 1
    except DOCUMENTED as error:
        found.refused += 1
        if not str(error).strip() or "\n" in str(error):
            _blame(found, f"no clear word: {type(error).__name__}", payload)
    except Exception as error:  # noqa: BLE001 - the very thing that is looked for
        last = traceback.extract_tb(error.__traceback__)[-1]
        _blame(found, f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}: {str(error)[:80]}", payload)
    took = time.perf_counter() - began
    found.slowest_s = max(found.slowest_s, took)
    if took > SLOW_S:
        _blame(found, f"took {took:.1f} s", payload)


def _blame(found: Found, what: str, payload: bytes) -> None:
    if what not in found.wrong and len(found.examples) < MOST_KEPT:
        found.examples.append(f"{what}\n    {base64.b64encode(payload[:600]).decode()}")
    found.wrong[what] += 1


def _resident_kb() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def table(all_found: list[Found]) -> str:
    """Return a line for each target."""
    what = f"{'target':18}{'inputs':>9}{'distinct':>10}{'taken':>9}{'refused':>9}{'wrong':>7}"
    lines = [f"{what}{'inputs/s':>10}{'slowest ms':>12}{'grown kB':>10}"]
    for found in all_found:
        inputs = found.taken + found.refused + sum(found.wrong.values())
        lines.append(
            f"{found.name:18}{inputs:>9}{found.distinct:>10}{found.taken:>9}{found.refused:>9}{sum(found.wrong.values()):>7}"
            f"{inputs / max(found.seconds, 1e-9):>10.0f}{found.slowest_s * 1000:>12.1f}{found.grown_kb:>10}"
        )
    return "\n".join(lines)


def share(target: Target, chosen: list[Target], inputs: int) -> int:
    """Return how many of all inputs one target gets."""
    whole = sum(1 / one.slow for one in chosen)
    return math.ceil(inputs / (whole * target.slow))


def run(inputs: int, seed: int, names: list[str]) -> list[Found]:
    """Share the inputs among the targets."""
    with tempfile.TemporaryDirectory(prefix="lamplighter-fuzz-") as folder:
        chosen = [target for target in targets(Path(folder)) if not names or target.name in names]
        found = []
        for number, target in enumerate(chosen):
            print(f"{target.name} ...", file=sys.stderr)
            found.append(feed(target, share(target, chosen, inputs), seed + number))
    return found


def main() -> int:
    """Return 1 when anything but a documented error came, or one input took too long."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="only these; all when none is named")
    parser.add_argument("--inputs", type=count, default=100_000, help="how many in all (default 100000)")
    parser.add_argument("--seed", type=int, default=None, help="repeats a run; random when not given")
    given = parser.parse_args()
    seed = random.SystemRandom().randrange(1_000_000) if given.seed is None else given.seed
    logging.disable(logging.CRITICAL)  # what is refused is logged, thousands of times
    found = run(given.inputs, seed, given.targets)
    print(table(found))
    for one in found:
        for example in one.examples:
            print(f"\n{one.name}: {example}")
    print(
        f"\nto repeat: {COMMAND} --inputs {given.inputs} --seed {seed}{''.join(f' {name}' for name in given.targets)}"
    )
    return int(any(one.wrong for one in found))


if __name__ == "__main__":
    sys.exit(main())
