"""Column types as revisions write them; a revision of the past keeps its meaning whatever `models.py` says today."""

from __future__ import annotations

import sqlalchemy as sa


def words(length: int | None = None) -> sa.String:
    """Return a text type that sorts by code points; of any length when none is given."""
    if length is None:
        return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def serial() -> sa.BigInteger:
    """Return the type of a key that the database counts up."""
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")
