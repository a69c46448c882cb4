"""The configuration slice's rows. Every function works in the session that it is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from lamplighter_hub.registry.models import ConfigurationChange, ConfigurationLayer, Desired, Reported

CHUNK = 500


def layer(session: Session, name: str, subject: str) -> dict[str, Any]:
    """Return what people set at a level; empty when nothing."""
    row = session.get(ConfigurationLayer, (name, subject))
    return row.document if row else {}


def put_layer(session: Session, row: ConfigurationLayer) -> None:
    """Store what people set at a level."""
    session.merge(row)


def desired(session: Session, devices: Sequence[str]) -> dict[str, Desired]:
    """Return the desired documents of some devices, by device."""
    return {
        row.device: row
        for start in range(0, len(devices), CHUNK)
        for row in session.scalars(select(Desired).where(Desired.device.in_(devices[start : start + CHUNK])))
    }


def reported(session: Session, devices: Sequence[str]) -> dict[str, Reported]:
    """Return the last reports of some devices, by device."""
    return {
        row.device: row
        for start in range(0, len(devices), CHUNK)
        for row in session.scalars(select(Reported).where(Reported.device.in_(devices[start : start + CHUNK])))
    }


def everything_desired(session: Session) -> list[tuple[Desired, Reported | None]]:
    """Return every desired document with the last report of the same device."""
    joined = select(Desired, Reported).outerjoin(Reported, Reported.device == Desired.device)
    return [(row.Desired, row.Reported) for row in session.execute(joined)]


def history(session: Session, device: str, before: int, limit: int) -> list[ConfigurationChange]:
    """Return a device's history, the newest first, entries older than `before`."""
    chosen = (ConfigurationChange.device == device, ConfigurationChange.id < before)
    ordered = select(ConfigurationChange).where(*chosen).order_by(ConfigurationChange.id.desc())
    return list(session.scalars(ordered.limit(limit)))


def noted(session: Session, device: str, version: int, state: str, at: int) -> bool:
    """Return whether a report is in the history already."""
    same = (
        ConfigurationChange.device == device,
        ConfigurationChange.kind == "reported",
        ConfigurationChange.version == version,
        ConfigurationChange.state == state,
        ConfigurationChange.at == at,
    )
    return session.scalars(select(ConfigurationChange.id).where(*same).limit(1)).first() is not None


def note(session: Session, change: ConfigurationChange, keep: int) -> None:
    """Add to a device's history, and forget its oldest entries beyond `keep`."""
    session.add(change)
    session.flush()
    mine = select(ConfigurationChange.id).where(ConfigurationChange.device == change.device)
    last_kept = session.scalars(mine.order_by(ConfigurationChange.id.desc()).offset(keep).limit(1)).first()
    if last_kept is not None:
        old = (ConfigurationChange.device == change.device, ConfigurationChange.id <= last_kept)
        session.execute(delete(ConfigurationChange).where(*old))
