"""How many decimals a scale has, so that a product can be rounded to them and carries no float dust."""

from __future__ import annotations

from decimal import Decimal
from functools import cache


@cache
def decimals(number: float) -> int:
    """Return the decimals of a number as it is written.

    >>> decimals(0.1), decimals(0.005), decimals(2.0), decimals(1e-05)
    (1, 3, 0, 5)
    """
    exponent = Decimal(repr(number)).normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0
