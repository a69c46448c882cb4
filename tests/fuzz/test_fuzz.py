"""A short part of `make fuzz`, and proof that it would find something."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuzz.__main__ import feed
from fuzz.kinds import Target
from fuzz.mutation import MOST, Mutator
from fuzz.targets import targets
from lamplighter_protocols.errors import BadField

NAMES = [target.name for target in targets(Path())]
TAKES_ALL = {"modbus-registers", "quarantined"}
"""Any words are a device's registers, and whatever was set aside can be shown."""
INPUTS = 1_500
SEED = 20_261_125


@pytest.mark.parametrize("name", NAMES)
def test_nothing_but_documented_errors(name: str, tmp_path: Path) -> None:
    (target,) = (target for target in targets(tmp_path) if target.name == name)
    inputs = INPUTS // target.slow
    found = feed(target, inputs, SEED)
    assert not found.wrong, "\n".join(found.examples)
    assert found.distinct > inputs * 0.7, "too many inputs are known already"
    assert found.taken, "no input was good: the corpus is not what this decoder reads"
    assert found.refused or name in TAKES_ALL


def test_what_is_wrong_is_found() -> None:
    def feed_badly(payload: bytes) -> None:
        if b"x" * 100 in payload:
            raise ZeroDivisionError
        raise BadField("")

    found = feed(Target("bad", (b'{"a": "b"}',), feed_badly), 2_000, SEED)
    assert {what.split(" ")[0] for what in found.wrong} == {"ZeroDivisionError", "no"}


def test_the_same_seed_draws_the_same_and_nothing_is_too_long() -> None:
    corpus = [b'{"a": [1, 2, "x"]}', b"text"]
    one, other = Mutator(corpus, 5), Mutator(corpus, 5)
    drawn = [one.draw() for _ in range(500)]
    assert drawn == [other.draw() for _ in range(500)]
    assert len(set(drawn)) > 200
    assert max(map(len, drawn)) <= MOST
