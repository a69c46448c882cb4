"""The enrolment slice's rows. Every function works in the session that it is given."""

from __future__ import annotations

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from lamplighter_hub.registry.models import Agent, EnrolmentCode


def identities(session: Session) -> list[tuple[str, bytes, int | None]]:
    """Return (id, verifier, revoked_at) of all agents."""
    rows = session.execute(select(Agent.id, Agent.verifier, Agent.revoked_at))
    return [(row.id, row.verifier, row.revoked_at) for row in rows]


def mosquitto_entries(session: Session) -> list[tuple[str, str]]:
    """Return (id, Mosquitto hash) of all agents that may connect, by id."""
    chosen = select(Agent.id, Agent.mosquitto).where(Agent.revoked_at.is_(None)).order_by(Agent.id)
    return [(row.id, row.mosquitto) for row in session.execute(chosen)]


def agent(session: Session, agent_id: str) -> Agent | None:
    """Return an agent."""
    return session.get(Agent, agent_id)


def agents(session: Session, after: str, limit: int) -> list[Agent]:
    """Return agents by id, those after `after`."""
    return list(session.scalars(select(Agent).where(Agent.id > after).order_by(Agent.id).limit(limit)))


def existing(session: Session, ids: list[str]) -> set[str]:
    """Return which of these ids are taken."""
    return set(session.scalars(select(Agent.id).where(Agent.id.in_(ids))))


def code_by_hash(session: Session, digest: str, now: int) -> EnrolmentCode | None:
    """Return a code that is still valid."""
    valid = (EnrolmentCode.hash == digest, EnrolmentCode.expires_at > now, EnrolmentCode.uses_left > 0)
    return session.scalars(select(EnrolmentCode).where(*valid).with_for_update()).one_or_none()


def codes(session: Session, after: str, limit: int, now: int) -> list[EnrolmentCode]:
    """Return codes that are still valid by id, those after `after`."""
    valid = (EnrolmentCode.id > after, EnrolmentCode.expires_at > now)
    return list(session.scalars(select(EnrolmentCode).where(*valid).order_by(EnrolmentCode.id).limit(limit)))


def count_codes(session: Session) -> int:
    """Return how many codes there are."""
    return session.scalar(select(func.count()).select_from(EnrolmentCode)) or 0


def delete_code(session: Session, code: str) -> bool:
    """Delete a code; False when there is none."""
    gone = delete(EnrolmentCode).where(EnrolmentCode.id == code).returning(EnrolmentCode.id)
    return session.execute(gone).first() is not None


def delete_expired_codes(session: Session, now: int) -> None:
    """Delete codes that open nothing any more."""
    session.execute(delete(EnrolmentCode).where(EnrolmentCode.expires_at <= now))
