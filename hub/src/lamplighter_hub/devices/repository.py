"""The device slice's rows. Every function works in the session that it is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from lamplighter_hub.registry.models import Device


def everything(session: Session) -> list[Device]:
    """Return all devices."""
    return list(session.scalars(select(Device)))


def add(session: Session, rows: Sequence[dict[str, Any]]) -> None:
    """Insert devices."""
    if rows:
        session.execute(insert(Device), list(rows))


def change(session: Session, rows: Sequence[dict[str, Any]]) -> None:
    """Update devices by `id`, all rows with the same keys."""
    if rows:
        session.execute(update(Device), list(rows))
