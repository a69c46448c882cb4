"""The presence slice's columns of the agents table. Every function works in the session that it is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import bindparam, select, update
from sqlalchemy.orm import Session

from lamplighter_hub.registry.models import Agent


def agents(session: Session) -> list[Agent]:
    """Return all agents."""
    return list(session.scalars(select(Agent)))


def save(session: Session, rows: Sequence[dict[str, Any]]) -> None:
    """Update agents by `id`, all rows with the same keys. A storm brings thousands: one statement, many values."""
    if rows:
        values: dict[str, Any] = {name: bindparam(f"new_{name}") for name in rows[0] if name != "id"}
        statement = update(Agent).where(Agent.id == bindparam("of_id")).values(values)
        given = [{"of_id" if name == "id" else f"new_{name}": value for name, value in row.items()} for row in rows]
        session.connection().execute(statement, given)
