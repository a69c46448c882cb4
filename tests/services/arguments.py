"""Numbers that the programs of the tests are given: a run of nothing would look like one that found nothing."""

from __future__ import annotations

from argparse import ArgumentTypeError


def count(text: str) -> int:
    """Return a number of times. Raises ArgumentTypeError for less than one."""
    if not text.isdecimal() or not int(text):
        raise ArgumentTypeError(f"{text!r} is no number from 1 on")
    return int(text)


def span(text: str) -> float:
    """Return a length of time. Raises ArgumentTypeError for none."""
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0 < found < float("inf"):
        raise ArgumentTypeError(f"{text!r} is no number above 0")
    return found
