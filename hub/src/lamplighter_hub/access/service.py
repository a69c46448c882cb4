"""Tokens, sign-in links and console sessions. Secrets are random, shown once, and stored as hashes only.

A secret of 256 random bits needs no slow hash: it cannot be guessed, and looking it up by its SHA-256 tells a listener
with a clock nothing about it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from pathlib import Path
from typing import Final, NamedTuple

from lamplighter_hub.access import repository
from lamplighter_hub.access.attempts import Attempts
from lamplighter_hub.access.roles import Principal, Role
from lamplighter_hub.enrolment.refusals import Refusals
from lamplighter_hub.errors import Forbidden, NotFound, TooMany, Unauthenticated
from lamplighter_hub.keys import write_private
from lamplighter_hub.registry import models
from lamplighter_hub.registry.database import Database
from lamplighter_hub.services import Clock
from lamplighter_protocols.ids import new_ulid

TOKEN_PREFIX: Final = "lamp_"  # noqa: S105 - it opens nothing
LINK_MS: Final = 3_600_000
IDLE_MS: Final = 12 * 3_600_000
ABSOLUTE_MS: Final = 7 * 86_400_000
TOUCH_MS: Final = 60_000
"""How exact "last used" is: a write for each request would cost more than it tells."""
MAX_TOKENS: Final = 1_000
MAX_LINKS: Final = 1_000
MAX_SESSIONS: Final = 5_000
LOCAL_NAME: Final = "command line on the hub's machine"


class SignedIn(NamedTuple):
    """A new console session: the cookie's value, who it is, and when it ends at the latest (ms)."""

    cookie: str
    who: Principal
    expires_at: int


class Link(NamedTuple):
    """A sign-in link and when it expires (ms)."""

    url: str
    expires_at: int


class AccessService:
    """Says who is asking. Any thread may call."""

    def __init__(self, registry: Database, clock: Clock, refusals: Refusals) -> None:
        self._registry = registry
        self._clock = clock
        self._refusals = refusals
        self.attempts = Attempts(clock)

    # Tokens

    def new_token(self, name: str, role: Role, by: str, expires_in_s: int | None = None) -> tuple[models.Token, str]:
        """Make a token; return its row and the secret, which is not kept. Raises TooMany beyond MAX_TOKENS."""
        secret = TOKEN_PREFIX + secrets.token_urlsafe(32)
        now = self._clock()
        row = models.Token(
            id=new_ulid(now, os.urandom(10)),
            hash=digest(secret),
            name=name,
            role=role.value,
            created_at=now,
            created_by=by,
            expires_at=None if expires_in_s is None else now + expires_in_s * 1000,
        )
        with self._registry.write() as session:
            repository.delete_expired(session, now)
            if repository.count_tokens(session) >= MAX_TOKENS:
                raise TooMany(f"there are {MAX_TOKENS} tokens; delete some first", code="too_many_tokens")
            session.add(row)
        return row, secret

    def tokens(self, after: str, limit: int) -> list[models.Token]:
        """Return tokens in the order they were made, those after an id."""
        with self._registry.read() as session:
            return repository.tokens(session, after, limit)

    def revoke_token(self, token: str) -> None:
        """End a token at once. Raises NotFound."""
        with self._registry.write() as session:
            if not repository.delete_token(session, token):
                raise NotFound(f"token {token!r} is not known", code="token_unknown")

    def by_token(self, secret: str, client: str) -> Principal:
        """Return whose token this is. Raises Unauthenticated, and records who tried."""
        now = self._clock()
        with self._registry.read() as session:
            row = repository.token_by_hash(session, digest(secret))
        if row is None or (row.expires_at is not None and row.expires_at <= now):
            self._refusals.record(client or "unknown", "wrong_token", "an API request with a token that is not valid")
            raise Unauthenticated("this token is not valid (any more)", code="wrong_token")
        if row.last_used_at is None or now - row.last_used_at >= TOUCH_MS:
            with self._registry.write() as session:
                repository.touch_token(session, row.id, now)
        return Principal("token", row.id, row.name, Role(row.role))

    def local_access(self, data: Path, url: str) -> None:
        """Let the command line on this machine in: write `DIR/cli.json` (0600) with the address and a token.

        A token that is there and still valid is kept.
        """
        path = data / "cli.json"
        secret = _stored_token(path)
        with self._registry.read() as session:
            valid = bool(secret) and repository.token_by_hash(session, digest(secret)) is not None
        if not valid:
            self._forget_local_tokens()
            secret = self.new_token(LOCAL_NAME, Role.ADMINISTRATOR, "hub")[1]
        write_private(path, json.dumps({"url": url, "token": secret}).encode())

    def _forget_local_tokens(self) -> None:
        with self._registry.write() as session:
            for row in repository.tokens(session, "", MAX_TOKENS):
                if row.name == LOCAL_NAME and row.created_by == "hub":
                    session.delete(row)

    # Sign-in links

    def first_link(self, base_url: str) -> str | None:
        """Return a link for the first administrator, None once a link has ever been used."""
        with self._registry.read() as session:
            if repository.ever_signed_in(session):
                return None
        return self.new_link("administrator", Role.ADMINISTRATOR, "hub", base_url).url

    def new_link(self, name: str, role: Role, by: str, base_url: str) -> Link:
        """Make a link that opens the console once, within an hour."""
        code = secrets.token_urlsafe(24)
        now = self._clock()
        row = models.SignInLink(
            hash=digest(code),
            name=name,
            role=role.value,
            created_at=now,
            created_by=by,
            expires_at=now + LINK_MS,
        )
        with self._registry.write() as session:
            repository.delete_expired(session, now)
            session.add(row)
            session.flush()
            repository.delete_old_links(session, MAX_LINKS)
        return Link(f"{base_url.rstrip('/')}/sign-in?code={code}", row.expires_at)

    def sign_in(self, code: str, client: str) -> SignedIn:
        """Use a link's code up and open a console session. Raises Unauthenticated or TooMany."""
        self.attempts.check(client)
        now = self._clock()
        cookie = secrets.token_urlsafe(32)
        with self._registry.write() as session:
            link = repository.use_link(session, digest(code), now)
            if link is not None:
                opened = models.ConsoleSession(
                    hash=digest(cookie),
                    name=link.name,
                    role=link.role,
                    created_at=now,
                    expires_at=now + ABSOLUTE_MS,
                    last_used_at=now,
                )
                session.add(opened)
                session.flush()
                repository.delete_idle_sessions(session, now - IDLE_MS, MAX_SESSIONS)
        if link is None:
            self.attempts.failed(client)
            self._refusals.record(client or "unknown", "wrong_sign_in_link", "a sign-in link that is not valid")
            raise Unauthenticated(
                "this link was used before or has expired; `lamplighter sign-in-link` makes a new one",
                code="wrong_sign_in_link",
            )
        return SignedIn(cookie, _session_principal(opened, cookie), opened.expires_at)

    # Console sessions

    def by_session(self, cookie: str) -> Principal | None:
        """Return whose session this is; None when it is unknown, idle for 12 h, or a week old."""
        now = self._clock()
        with self._registry.read() as session:
            row = repository.session_by_hash(session, digest(cookie))
        if row is None or row.expires_at <= now or now - row.last_used_at >= IDLE_MS:
            return None
        if now - row.last_used_at >= TOUCH_MS:
            with self._registry.write() as session:
                repository.touch_session(session, row.hash, now)
        return _session_principal(row, cookie)

    def check_csrf(self, who: Principal, said: str, site: str) -> None:
        """Raise Forbidden when an unsafe request of a session does not come from our own pages."""
        if site not in {"", "same-origin", "none"}:
            raise Forbidden("requests of a console session must come from the console itself", code="cross_site")
        if not hmac.compare_digest(said.encode(), who.csrf.encode()):
            raise Forbidden("send the session's CSRF token in the header X-CSRF-Token", code="wrong_csrf_token")

    def sign_out(self, cookie: str) -> None:
        """End a session; nothing happens when there is none."""
        with self._registry.write() as session:
            repository.delete_session(session, digest(cookie))


def digest(secret: str) -> str:
    """Return what is stored of a secret."""
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()


def _session_principal(row: models.ConsoleSession, cookie: str) -> Principal:
    csrf = digest("csrf " + cookie)[:43]
    return Principal("session", row.hash[:16], row.name, Role(row.role), csrf)


def _stored_token(path: Path) -> str:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return str(stored["token"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
