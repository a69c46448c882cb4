"""The command slice's rows. Every function works in the session that it is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import delete, func, or_, select
from sqlalchemy.orm import Session

from lamplighter_hub.registry.models import Command
from lamplighter_protocols.commands import CommandState

CHUNK: Final = 500
FINAL: Final = tuple(state.value for state in CommandState if state.final)
OPEN: Final = tuple(state.value for state in CommandState if not state.final)


def get(session: Session, command: str) -> Command | None:
    """Return a command."""
    return session.get(Command, command)


def many(session: Session, commands: Sequence[str]) -> dict[str, Command]:
    """Return some commands, by id, locked until the transaction ends where the database can."""
    return {
        row.id: row
        for start in range(0, len(commands), CHUNK)
        for row in session.scalars(
            select(Command).where(Command.id.in_(commands[start : start + CHUNK])).with_for_update()
        )
    }


def by_key(session: Session, key: str) -> Command | None:
    """Return the command that an Idempotency-Key stands for."""
    return session.scalars(select(Command).where(Command.key == key)).one_or_none()


def count_open(session: Session, device: str) -> int:
    """Return how many commands of a device are not finished."""
    chosen = (Command.device == device, Command.state.in_(OPEN))
    return session.scalar(select(func.count()).select_from(Command).where(*chosen)) or 0


def counts(session: Session) -> dict[str, int]:
    """Return how many commands there are, by state."""
    rows = session.execute(select(Command.state, func.count()).group_by(Command.state))
    return {row[0]: row[1] for row in rows}


def unfinished(session: Session, expired_after: int) -> list[Command]:
    """Return open commands, and those that expired unsent after a time and of which the agent was not told."""
    untold = (
        (Command.state == CommandState.EXPIRED.value)
        & Command.sent_at.is_(None)
        & Command.told_at.is_(None)
        & (Command.finished_at > expired_after)
    )
    return list(session.scalars(select(Command).where(or_(Command.state.in_(OPEN), untold))))


def page(
    session: Session, device: str | None, agent: str | None, state: str | None, before: str, limit: int
) -> list[Command]:
    """Return commands, the newest first, those with ids before `before`."""
    chosen = select(Command).order_by(Command.id.desc()).limit(limit)
    if before:
        chosen = chosen.where(Command.id < before)
    if device:
        chosen = chosen.where(Command.device == device)
    if agent:
        chosen = chosen.where(Command.agent == agent)
    if state:
        chosen = chosen.where(Command.state == state)
    return list(session.scalars(chosen))


def forget_oldest(session: Session, keep: int, at_most: int) -> None:
    """Delete the oldest finished commands beyond `keep`, not more than `at_most` at once."""
    total = session.scalar(select(func.count()).select_from(Command)) or 0
    if total <= keep:
        return
    oldest = select(Command.id).where(Command.state.in_(FINAL)).order_by(Command.id).limit(min(total - keep, at_most))
    session.execute(delete(Command).where(Command.id.in_(oldest)))
