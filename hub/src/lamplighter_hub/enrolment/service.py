"""Identities of agents: given out for a code or in bulk, checked from memory at every connect, revoked.

An identity is an id and a random secret of 256 bits; only its hashes are stored. An id that exists is given again only
for a code that is bound to it, and the secret before ends with that.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import threading
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from sqlalchemy.orm import Session

from lamplighter_hub.access.attempts import Attempts
from lamplighter_hub.enrolment import codes, repository
from lamplighter_hub.enrolment.refusals import Refusals
from lamplighter_hub.errors import Conflict, Invalid, NotFound, TooMany, invalid
from lamplighter_hub.registry import models
from lamplighter_hub.registry.database import Database
from lamplighter_hub.services import Clock
from lamplighter_protocols.configuration import FieldError
from lamplighter_protocols.ids import new_ulid

MAX_CODES: Final = 10_000
_NOBODY: Final = bytes(32)


class Identity(NamedTuple):
    """What an agent needs to connect; `password` is not kept."""

    agent: str
    password: str


class Broker(Protocol):
    """What enrolment needs of the broker's side."""

    def hash_password(self, password: str) -> str:
        """Return a secret as the broker's password file wants it; empty when it needs none."""

    def kick(self, agent: str) -> None:
        """End the agent's connection, if it has one."""

    def identities_changed(self) -> None:
        """Take up that agents came or went."""


class Watcher(Protocol):
    """Somebody who wants to know of new and ended identities."""

    def identity_given(self, agents: Sequence[str]) -> None:
        """These are (again) known; what was known of their sessions is void."""

    def identity_ended(self, agent: str) -> None:
        """This one is revoked."""


class EnrolmentService:
    """Knows every agent's verifier in memory, so that a storm of connects never reaches the database."""

    def __init__(self, registry: Database, clock: Clock, refusals: Refusals, broker: Broker) -> None:
        self._registry = registry
        self._clock = clock
        self._refusals = refusals
        self._broker = broker
        self._lock = threading.Lock()
        self._verifiers: dict[str, bytes] = {}
        self._revoked: set[str] = set()
        self._watchers: list[Watcher] = []
        self.attempts = Attempts(clock)

    def load(self) -> None:
        """Read all identities."""
        with self._registry.read() as session:
            rows = repository.identities(session)
        with self._lock:
            self._verifiers = {agent: verifier for agent, verifier, revoked in rows if revoked is None}
            self._revoked = {agent for agent, _, revoked in rows if revoked is not None}

    def watch(self, watcher: Watcher) -> None:
        """Tell a watcher of every identity from now on."""
        self._watchers.append(watcher)

    # Who may connect

    def authenticate(self, username: str, password: str, client_id: str) -> str | None:
        """Return why a connect is refused, None when it is welcome. From memory, in constant time, any thread.

        The client id must be the agent's id, else one agent could take over another one's session. Whoever asks
        records the refusal, because only they know from where it came.
        """
        verifier = self._verifiers.get(username)
        right = hmac.compare_digest(_verifier(password), verifier or _NOBODY)
        if verifier is None:
            reason = "revoked" if username in self._revoked else "unknown_agent"
        elif not right:
            reason = "wrong_password"
        elif client_id != username:
            reason = "foreign_client_id"
        else:
            return None
        return reason

    def knows(self, agent: str) -> bool:
        """True when the agent has an identity that is not revoked."""
        return agent in self._verifiers

    def count(self) -> int:
        """Return how many agents have an identity."""
        return len(self._verifiers)

    def broker_entries(self) -> list[tuple[str, str]]:
        """Return (agent, hash of the secret as the broker wants it) of all that may connect, by id."""
        with self._registry.read() as session:
            return repository.mosquitto_entries(session)

    # Codes

    def new_code(
        self, by: str, *, agent: str | None = None, expires_in_s: int = 86_400, uses: int = 1, note: str = ""
    ) -> tuple[models.EnrolmentCode, str]:
        """Make a code; return its row and the code as it is shown, which is not kept."""
        if agent is not None and uses != 1:
            raise invalid("uses", "must be 1 for a code that is bound to one agent")
        now = self._clock()
        code = codes.new_code()
        row = models.EnrolmentCode(
            id=new_ulid(now, os.urandom(10)),
            hash=_hash(codes.normalise(code)),
            agent=agent,
            note=note,
            uses_left=uses,
            expires_at=now + expires_in_s * 1000,
            created_at=now,
            created_by=by,
        )
        with self._registry.write() as session:
            repository.delete_expired_codes(session, now)
            if repository.count_codes(session) >= MAX_CODES:
                raise TooMany(f"there are {MAX_CODES} open codes; delete some first", code="too_many_codes")
            session.add(row)
        return row, code

    def codes(self, after: str, limit: int) -> list[models.EnrolmentCode]:
        """Return open codes in the order they were made, those after an id."""
        with self._registry.read() as session:
            return repository.codes(session, after, limit, self._clock())

    def delete_code(self, code: str) -> None:
        """Take a code back. Raises NotFound."""
        with self._registry.write() as session:
            if not repository.delete_code(session, code):
                raise NotFound(f"enrolment code {code!r} is not known", code="code_unknown")

    # Identities

    def enrol(self, typed: str, proposed: str | None, client: str) -> Identity:
        """Give an identity for a code. Raises Invalid, Conflict or TooMany; failures of a client are counted."""
        self.attempts.check(client)
        code = codes.normalise(typed)
        if not codes.well_formed(code):
            raise self._wrong_code(client, "has a wrong character; compare it with the label")
        now = self._clock()
        secret = secrets.token_urlsafe(32)
        with self._registry.write() as session:
            row = repository.code_by_hash(session, _hash(code), now)
            if row is None:
                raise self._wrong_code(client, "was used before, has expired, or never existed; ask for a new one")
            agent = self._choose(session, row, proposed)
            row.uses_left -= 1
            if row.uses_left == 0:
                session.delete(row)
            session.merge(self._agent_row(agent, secret, now, f"code {row.id}"))
        self._take_up([(agent, secret)])
        self._broker.kick(agent)
        return Identity(agent, secret)

    def provision(self, ids: Sequence[str], by: str) -> list[Identity]:
        """Give identities to many new ids at once, all or none. Raises Invalid that names the taken ones."""
        now = self._clock()
        given = [Identity(agent, secrets.token_urlsafe(32)) for agent in ids]
        rows = [self._agent_row(agent, secret, now, by) for agent, secret in given]
        with self._registry.write() as session:
            taken = repository.existing(session, list(ids)) | _twice(ids)
            if taken:
                raise _taken(ids, taken)
            session.add_all(rows)
        self._take_up(given)
        return given

    def revoke(self, agent: str) -> None:
        """End an identity at once: no connect any more, and the present connection is cut. Raises NotFound."""
        with self._registry.write() as session:
            row = repository.agent(session, agent)
            if row is None:
                raise NotFound(f"agent {agent!r} is not known", code="agent_unknown")
            row.revoked_at = row.revoked_at or self._clock()
        with self._lock:
            self._verifiers.pop(agent, None)
            self._revoked.add(agent)
        for watcher in self._watchers:
            watcher.identity_ended(agent)
        self._broker.identities_changed()
        self._broker.kick(agent)

    def agent(self, agent: str) -> models.Agent:
        """Return an agent's row. Raises NotFound."""
        with self._registry.read() as session:
            row = repository.agent(session, agent)
        if row is None:
            raise NotFound(f"agent {agent!r} is not known", code="agent_unknown")
        return row

    def agents(self, after: str, limit: int) -> list[models.Agent]:
        """Return agents by id, those after an id."""
        with self._registry.read() as session:
            return repository.agents(session, after, limit)

    def _choose(self, session: Session, code: models.EnrolmentCode, proposed: str | None) -> str:
        if code.agent is not None:
            if proposed not in {None, code.agent}:
                raise Conflict(f"this code is for agent {code.agent!r}", code="code_for_another_agent")
            return code.agent
        agent = proposed or f"agent-{secrets.token_hex(4)}"
        if repository.agent(session, agent) is not None:
            raise Conflict(
                f"agent {agent!r} exists; enrolling it again needs a code that is bound to it", code="agent_exists"
            )
        return agent

    def _agent_row(self, agent: str, secret: str, now: int, by: str) -> models.Agent:
        """Word a new identity; merged over an old one it also voids what was known of its sessions."""
        return models.Agent(
            id=agent,
            verifier=_verifier(secret),
            mosquitto=self._broker.hash_password(secret),
            enrolled_at=now,
            enrolled_by=by,
            revoked_at=None,
            session=0,
            ended_session=0,
            state="unknown",
            reason="never_seen",
            since=now,
        )

    def _take_up(self, given: Sequence[tuple[str, str]]) -> None:
        with self._lock:
            for agent, secret in given:
                self._verifiers[agent] = _verifier(secret)
                self._revoked.discard(agent)
        for watcher in self._watchers:
            watcher.identity_given([agent for agent, _ in given])
        self._broker.identities_changed()

    def _wrong_code(self, client: str, detail: str) -> Invalid:
        self.attempts.failed(client)
        self._refusals.record(client or "unknown", "wrong_enrolment_code", "an enrolment with a code that is not valid")
        return Invalid(f"this code {detail}", code="wrong_code", errors=[FieldError(field="code", detail=detail)])


def _verifier(secret: str) -> bytes:
    return hashlib.sha256(secret.encode(errors="surrogatepass")).digest()


def _hash(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()


def _twice(ids: Sequence[str]) -> set[str]:
    seen: set[str] = set()
    return {agent for agent in ids if agent in seen or seen.add(agent)}  # type: ignore[func-returns-value]


def _taken(ids: Sequence[str], taken: set[str]) -> Invalid:
    errors = [
        FieldError(field=f"agents.{place}.id", detail=f"{agent!r} exists already")
        for place, agent in enumerate(ids)
        if agent in taken
    ]
    return Invalid(f"{errors[0].field}: {errors[0].detail}", code="agent_exists", errors=errors[:100])
