"""The access slice's rows. Every function works in the session that it is given."""

from __future__ import annotations

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.orm import Session

from lamplighter_hub.registry.models import ConsoleSession, SignInLink, Token


def token_by_hash(session: Session, digest: str) -> Token | None:
    """Return the token with this hash."""
    return session.scalars(select(Token).where(Token.hash == digest)).one_or_none()


def tokens(session: Session, after: str, limit: int) -> list[Token]:
    """Return tokens by id, those after `after`."""
    return list(session.scalars(select(Token).where(Token.id > after).order_by(Token.id).limit(limit)))


def count_tokens(session: Session) -> int:
    """Return how many tokens there are."""
    return session.scalar(select(func.count()).select_from(Token)) or 0


def touch_token(session: Session, token: str, now: int) -> None:
    """Note that a token was used."""
    session.execute(update(Token).where(Token.id == token).values(last_used_at=now))


def delete_token(session: Session, token: str) -> bool:
    """Delete a token; False when there is none."""
    return session.execute(delete(Token).where(Token.id == token).returning(Token.id)).first() is not None


def delete_expired(session: Session, now: int) -> None:
    """Delete what no longer opens anything. Used links stay: they tell that this hub was opened before."""
    session.execute(delete(Token).where(Token.expires_at <= now))
    session.execute(delete(SignInLink).where(SignInLink.expires_at <= now, SignInLink.used_at.is_(None)))
    session.execute(delete(ConsoleSession).where(ConsoleSession.expires_at <= now))


def ever_signed_in(session: Session) -> bool:
    """Return whether a sign-in link was ever used."""
    return session.scalars(select(SignInLink.hash).where(SignInLink.used_at.is_not(None)).limit(1)).first() is not None


def use_link(session: Session, digest: str, now: int) -> SignInLink | None:
    """Use up a link and return it; None when it is unknown, used or expired."""
    valid = (SignInLink.hash == digest, SignInLink.used_at.is_(None), SignInLink.expires_at > now)
    return session.scalars(update(SignInLink).where(*valid).values(used_at=now).returning(SignInLink)).one_or_none()


def delete_old_links(session: Session, keep: int) -> None:
    """Keep the newest links only."""
    newest = select(SignInLink.hash).order_by(SignInLink.created_at.desc()).limit(keep)
    session.execute(delete(SignInLink).where(SignInLink.hash.not_in(newest)))


def session_by_hash(session: Session, digest: str) -> ConsoleSession | None:
    """Return the console session with this hash."""
    return session.get(ConsoleSession, digest)


def touch_session(session: Session, digest: str, now: int) -> None:
    """Note that a console session was used."""
    session.execute(update(ConsoleSession).where(ConsoleSession.hash == digest).values(last_used_at=now))


def delete_session(session: Session, digest: str) -> None:
    """Sign out."""
    session.execute(delete(ConsoleSession).where(ConsoleSession.hash == digest))


def delete_idle_sessions(session: Session, idle_before: int, keep: int) -> None:
    """Delete sessions that were idle for too long, and the longest idle ones beyond `keep`."""
    newest = select(ConsoleSession.hash).order_by(ConsoleSession.last_used_at.desc()).limit(keep)
    session.execute(
        delete(ConsoleSession).where(or_(ConsoleSession.last_used_at < idle_before, ConsoleSession.hash.not_in(newest)))
    )
