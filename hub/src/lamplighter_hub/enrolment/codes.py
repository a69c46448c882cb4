"""Enrolment codes: three groups of four characters that are hard to confuse; the last one checks the others.

>>> normalise(" k7qf-2m9d 4hxa ")
'K7QF2M9D4HXA'
>>> shown("K7QF2M9D4HXA")
'K7QF-2M9D-4HXA'

31 characters (no 0 O 1 I L): a prime, so that the weighted sum finds every wrong character and every swapped pair.
Eleven of them are random, 54 bits.
"""

from __future__ import annotations

import secrets
from typing import Final

ALPHABET: Final = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"
LENGTH: Final = 12


def new_code() -> str:
    """Return a random code as it is shown."""
    body = "".join(secrets.choice(ALPHABET) for _ in range(LENGTH - 1))
    return shown(body + check_character(body))


def normalise(typed: str) -> str:
    """Return a code as people type or paste it - any case, blanks, dashes, a whole address - as it is stored."""
    last = typed.strip().rstrip("/").rsplit("/", 1)[-1].rsplit("=", 1)[-1]
    return "".join(character for character in last.upper() if character.isalnum())


def well_formed(code: str) -> bool:
    """True when a normalised code has the right length, characters and check character."""
    return len(code) == LENGTH and set(code) <= set(ALPHABET) and check_character(code[:-1]) == code[-1]


def shown(code: str) -> str:
    """Return a normalised code in groups of four."""
    return "-".join(code[start : start + 4] for start in range(0, len(code), 4))


def check_character(body: str) -> str:
    """Return the character that makes a body a code."""
    total = sum(weight * ALPHABET.index(character) for weight, character in enumerate(body, start=2))
    return ALPHABET[total % len(ALPHABET)]
