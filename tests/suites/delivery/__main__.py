"""`make model`: as many runs of the state machine as one likes, and on request the defects that it must find."""

from __future__ import annotations

import argparse
import logging
import random
import sys
from typing import Final

import hypothesis
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from services.arguments import count
from suites.delivery.machine import DeliveryMachine
from suites.delivery.mutants import finds, mutants

COMMAND: Final = "PYTHONPATH=tests .venv/bin/python -m suites.delivery"


def main() -> int:
    """Raise what the machine found; return 1 when a defect was not found."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--examples", type=count, default=200, help="runs of up to STEPS steps (default 200)")
    parser.add_argument("--steps", type=count, default=40, help="steps of a run at most (default 40)")
    parser.add_argument("--seed", type=int, default=None, help="repeats it; random when not given")
    parser.add_argument("--mutants", action="store_true", help="look for every seeded defect instead")
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)  # a busy hub says so, thousands of times
    if given.mutants:
        return _mutants(given.examples)
    seed = random.SystemRandom().randrange(1_000_000) if given.seed is None else given.seed
    print(f"to repeat: {COMMAND} --examples {given.examples} --steps {given.steps} --seed {seed}", flush=True)
    wanted = settings(
        max_examples=given.examples,
        stateful_step_count=given.steps,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(hypothesis.seed(seed)(DeliveryMachine), settings=wanted)
    print(f"{given.examples} runs, nothing was lost, doubled or unknown")
    return 0


def _mutants(examples: int) -> int:
    missed = 0
    for defect, machine in mutants().items():
        found = finds(machine, examples)
        missed += found is None
        print(f"{defect:28} {'NOT FOUND' if found is None else f'found in run {found}'}", flush=True)
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
