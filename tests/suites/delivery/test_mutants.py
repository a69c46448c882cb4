"""Proof that the state machine can fail. `make model OPTIONS=--mutants` looks for all the defects."""

from __future__ import annotations

import logging

import pytest

from suites.delivery.mutants import finds, mutants

EXAMPLES = 30
HANDFUL = (
    "receipt before the commit",
    "forgets a mark",
    "points and marks apart",
    "confirms past a hole",
    "quarantine is not booked",
    "drops silently",
    "forgets its numbers",
)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("defect", HANDFUL)
def test_a_defect_is_found(defect: str) -> None:
    logging.disable(logging.CRITICAL)
    try:
        assert finds(mutants()[defect], EXAMPLES) is not None
    finally:
        logging.disable(logging.NOTSET)
