"""The presence slice's columns of the agents table. Every function works in the session that it is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from lamplighter_hub.registry.models import Agent


def agents(session: Session) -> list[Agent]:
    """Return all agents."""
    return list(session.scalars(select(Agent)))


def save(session: Session, rows: Sequence[dict[str, Any]]) -> None:
    """Update agents by `id`, all rows with the same keys."""
    if rows:
        session.execute(update(Agent), list(rows))
