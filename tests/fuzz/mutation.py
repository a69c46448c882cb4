"""New inputs out of good ones: bytes that are cut, turned, doubled and joined, and JSON whose parts are exchanged."""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Sequence
from typing import Any, Final

NASTY_BYTES: Final = (
    b"",
    b"\0",
    b"\xff",
    b"\xed\xa0\x80",
    b"NaN",
    b"-Infinity",
    b"1e999",
    b"9" * 400,
    b"[" * 600,
    b"x\x9c",
)
NASTY: Final[tuple[Any, ...]] = (
    None, True, False, 0, -1, 0.5, 1e308, 2**53, 2**64, -(2**63), 10**30, "", " ", "\0", "\ud800", "\U0001f6b2",
    "x" * 5_000, "..", "a/b", "+", "#", "1.5", [], {}, [[]], {"": None}, [0] * 3_000, {"$ref": "#"},
)  # fmt: skip
MOST: Final = 64 * 1024


class Mutator:
    """Draws from `corpus` for ever; the same `seed` draws the same."""

    def __init__(self, corpus: Sequence[bytes], seed: int) -> None:
        self._corpus = list(corpus)
        self._chance = random.Random(seed)

    def draw(self) -> bytes:
        """Return the next input, of at most 64 KiB."""
        good = self._chance.choice(self._corpus)
        found = self._within_json(good) if self._chance.random() < 0.5 else good
        if found == good or self._chance.random() < 0.2:
            for _ in range(self._chance.choice((1, 1, 2, 8))):
                found = self._within_bytes(found)
        return self._packed(found)[:MOST]

    def _packed(self, raw: bytes) -> bytes:
        """Return it as it is, or compressed; seldom with blanks that make a small payload large."""
        chance = self._chance.random()
        if chance > 0.06:
            return raw
        return zlib.compress(raw + b" " * self._chance.choice((10**6, 10**7)) if chance < 0.003 else raw, 1)

    def _within_json(self, raw: bytes) -> bytes:
        try:
            document = json.loads(raw)
        except ValueError:
            return raw
        for _ in range(self._chance.randint(1, 3)):
            document = self._exchange(document)
        return json.dumps(document).encode("utf-8", "surrogatepass")

    def _exchange(self, value: Any) -> Any:
        """Exchange one part, somewhere below."""
        if isinstance(value, dict) and value and self._chance.random() < 0.9:
            key = self._chance.choice(list(value))
            if self._chance.random() < 0.15:
                rest = {name: item for name, item in value.items() if name != key}
                return rest if self._chance.random() < 0.5 else {**rest, self._word(): value[key]}
            return {**value, key: self._exchange(value[key])}
        if isinstance(value, list) and value and self._chance.random() < 0.9:
            place = self._chance.randrange(len(value))
            return [*value[:place], self._exchange(value[place]), *value[place + self._chance.choice((0, 1)) :]][:4_000]
        return self._other(value)

    def _other(self, value: Any) -> Any:
        if isinstance(value, int | float) and not isinstance(value, bool) and self._chance.random() < 0.5:
            return value + self._chance.choice((-1, 1, 2**31, -(2**31), 2**40, 0.1))
        if isinstance(value, str) and self._chance.random() < 0.5:
            place = self._chance.randrange(len(value) + 1)
            return value[:place] + self._word() + value[place:]
        return self._chance.choice(NASTY)

    def _word(self) -> str:
        return self._chance.choice(("", "t", "kind", "\n", "é", "\0", "A" * 70, "-", "0", "\u202e", "first"))

    def _within_bytes(self, raw: bytes) -> bytes:
        place = self._chance.randrange(len(raw) + 1)
        length = self._chance.choice((1, 1, 2, 8, 64))
        match self._chance.randrange(6):
            case 0:
                return raw[:place]
            case 1:
                return raw[:place] + raw[place + length :]
            case 2:
                return raw[:place] + self._chance.choice(NASTY_BYTES) + raw[place:]
            case 3:
                return raw[:place] + raw[place : place + length] * self._chance.choice((2, 30)) + raw[place:]
            case 4:
                return raw[:place] + self._chance.randbytes(length) + raw[place + length :]
            case _:
                return raw[:place] + self._chance.choice(self._corpus)[place:]
