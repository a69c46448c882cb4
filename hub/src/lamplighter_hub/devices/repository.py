"""The device slice's rows. Every function works in the session that it is given."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from lamplighter_hub.registry.models import Device


def everything(session: Session) -> Iterator[tuple[str, str, str, int, bool, float | None]]:
    """Yield (id, agent, profile, first_seen, carried, interval_s) of all devices."""
    # Plain columns: a city's 102,000 devices as mapped objects take three times as long.
    columns = (Device.id, Device.agent, Device.profile, Device.first_seen, Device.carried, Device.interval_s)
    for row in session.execute(select(*columns)):
        yield row.id, row.agent, row.profile, row.first_seen, row.carried, row.interval_s


def add(session: Session, rows: Sequence[dict[str, Any]]) -> None:
    """Insert devices."""
    if rows:
        session.execute(insert(Device), list(rows))


def change(session: Session, rows: Sequence[dict[str, Any]]) -> None:
    """Update devices by `id`, all rows with the same keys."""
    if rows:
        session.execute(update(Device), list(rows))
