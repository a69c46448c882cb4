"""The registry's tables. Times are milliseconds since the epoch; secrets are stored as hashes only."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, Dialect, ForeignKey, Index, Integer, LargeBinary, MetaData
from sqlalchemy import String as PlainString
from sqlalchemy import Text as PlainText
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator, TypeEngine

BYTEWISE = "C"
"""The collation under which PostgreSQL sorts as SQLite does, so that lists and cursors agree everywhere."""


class String(TypeDecorator[str]):
    """Text of at most so many characters, sorted by code points. PostgreSQL keeps no NUL, so nobody does."""

    impl = PlainString
    cache_ok = True

    def __init__(self, length: int | None = None) -> None:
        super().__init__(length)
        self.length = length

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[str]:
        """Return the database's own type."""
        collation = BYTEWISE if dialect.name == "postgresql" else None
        return PlainString(self.length, collation) if self.length else PlainText(None, collation)

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - a given name
        """Return a text that every database can hold."""
        return value.replace("\x00", "\ufffd") if value and "\x00" in value else value


Id = String(64)
Hash = String(71)
Who = String(200)
_Serial = BigInteger().with_variant(Integer, "sqlite")


class Base(DeclarativeBase):
    """Base of all tables; constraints have names, so that migrations can speak of them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {int: BigInteger, dict[str, Any]: JSON, list[dict[str, Any]]: JSON}


class Agent(Base):
    """An identity that was given out, and what is known of who bears it.

    `verifier` is the SHA-256 of the secret, `mosquitto` the same secret as Mosquitto's password file wants it.
    Columns from `session` on belong to presence.
    """

    __tablename__ = "agents"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    verifier: Mapped[bytes] = mapped_column(LargeBinary(32))
    mosquitto: Mapped[str] = mapped_column(String(300), default="")
    enrolled_at: Mapped[int]
    enrolled_by: Mapped[str] = mapped_column(Who, default="")
    revoked_at: Mapped[int | None]
    session: Mapped[int] = mapped_column(default=0)
    ended_session: Mapped[int] = mapped_column(default=0)
    boot: Mapped[str] = mapped_column(String(26), default="")
    agent_version: Mapped[str] = mapped_column(Id, default="")
    clock: Mapped[str] = mapped_column(String(16), default="")
    heard_within_s: Mapped[int] = mapped_column(default=30)
    outbox: Mapped[str] = mapped_column(String(26), default="")
    last_heard: Mapped[int | None]
    state: Mapped[str] = mapped_column(String(16), default="unknown")
    reason: Mapped[str] = mapped_column(String(500), default="never_seen")
    since: Mapped[int | None]


class MetLife(Base):
    """From one start of an agent to the next: one that the hub has met, the last few of each agent."""

    __tablename__ = "met_lives"

    agent: Mapped[str] = mapped_column(ForeignKey("agents.id"), primary_key=True)
    outbox: Mapped[str] = mapped_column(String(26), primary_key=True)
    life: Mapped[str] = mapped_column(String(26), primary_key=True)
    met_at: Mapped[int]


class Device(Base):
    """A device that an agent has named in a birth. `carried` is false once the agent no longer names it.

    `interval_s` is how often its agent reads it, where that is not as its profile has it.
    """

    __tablename__ = "devices"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    agent: Mapped[str] = mapped_column(ForeignKey("agents.id"), index=True)
    profile: Mapped[str] = mapped_column(Id, index=True)
    first_seen: Mapped[int]
    carried: Mapped[bool] = mapped_column(default=True)
    interval_s: Mapped[float | None]


class EnrolmentCode(Base):
    """A code that lets agents enrol, as its hash. `agent` binds it to one id."""

    __tablename__ = "enrolment_codes"

    id: Mapped[str] = mapped_column(String(26), primary_key=True)
    hash: Mapped[str] = mapped_column(Hash, unique=True)
    agent: Mapped[str | None] = mapped_column(Id)
    note: Mapped[str] = mapped_column(String(200), default="")
    uses_left: Mapped[int]
    expires_at: Mapped[int] = mapped_column(index=True)
    created_at: Mapped[int]
    created_by: Mapped[str] = mapped_column(Who)


class Refusal(Base):
    """Somebody who was refused, and why; repetitions are counted, not listed."""

    __tablename__ = "refusals"

    who: Mapped[str] = mapped_column(String(100), primary_key=True)
    why: Mapped[str] = mapped_column(Id, primary_key=True)
    detail: Mapped[str] = mapped_column(String(300), default="")
    count: Mapped[int]
    first_at: Mapped[int]
    last_at: Mapped[int]


class Token(Base):
    """An API token, as its hash."""

    __tablename__ = "tokens"

    id: Mapped[str] = mapped_column(String(26), primary_key=True)
    hash: Mapped[str] = mapped_column(Hash, unique=True)
    name: Mapped[str] = mapped_column(String(100))
    role: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[int]
    created_by: Mapped[str] = mapped_column(Who)
    expires_at: Mapped[int | None]
    last_used_at: Mapped[int | None]


class SignInLink(Base):
    """A link that opens the console once, as the hash of its code."""

    __tablename__ = "sign_in_links"

    hash: Mapped[str] = mapped_column(Hash, primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    role: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[int]
    created_by: Mapped[str] = mapped_column(Who)
    expires_at: Mapped[int] = mapped_column(index=True)
    used_at: Mapped[int | None]


class ConsoleSession(Base):
    """A signed-in browser, as the hash of its cookie."""

    __tablename__ = "console_sessions"

    hash: Mapped[str] = mapped_column(Hash, primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    role: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[int]
    expires_at: Mapped[int] = mapped_column(index=True)
    last_used_at: Mapped[int]


class ConfigurationLayer(Base):
    """What people set at one level (`layer` is `device`, later also `unit` and `group`) for one subject."""

    __tablename__ = "configuration_layers"

    layer: Mapped[str] = mapped_column(String(16), primary_key=True)
    subject: Mapped[str] = mapped_column(Id, primary_key=True)
    document: Mapped[dict[str, Any]]
    changed_at: Mapped[int]
    changed_by: Mapped[str] = mapped_column(Who)


class Desired(Base):
    """The merged document that a device shall have. `answered` once the device said what became of this version.

    Without word of the hub for `rollback_after_s` after it the device goes back to the one before.
    """

    __tablename__ = "configuration_desired"

    device: Mapped[str] = mapped_column(Id, primary_key=True)
    version: Mapped[int]
    hash: Mapped[str] = mapped_column(Hash)
    document: Mapped[dict[str, Any]]
    issued_at: Mapped[int]
    issued_by: Mapped[str] = mapped_column(Who)
    answered: Mapped[bool] = mapped_column(default=False, index=True)
    rollback_after_s: Mapped[int] = mapped_column(default=300, server_default="300")


class Reported(Base):
    """What a device last said of its configuration. `document` is what it runs."""

    __tablename__ = "configuration_reported"

    device: Mapped[str] = mapped_column(Id, primary_key=True)
    version: Mapped[int]
    hash: Mapped[str] = mapped_column(Hash)
    state: Mapped[str] = mapped_column(String(16))
    t: Mapped[int]
    document: Mapped[dict[str, Any]]
    errors: Mapped[list[dict[str, Any]]]
    reason: Mapped[str] = mapped_column(String(500))


class ConfigurationChange(Base):
    """One entry of a device's configuration history: a document that was set, or what became of one."""

    __tablename__ = "configuration_changes"
    __table_args__ = (Index("ix_configuration_changes_device_id", "device", "id"),)

    id: Mapped[int] = mapped_column(_Serial, primary_key=True)
    device: Mapped[str] = mapped_column(Id)
    at: Mapped[int]
    kind: Mapped[str] = mapped_column(String(16))
    version: Mapped[int]
    hash: Mapped[str] = mapped_column(Hash)
    state: Mapped[str] = mapped_column(String(16), default="")
    document: Mapped[dict[str, Any]]
    errors: Mapped[list[dict[str, Any]]]
    reason: Mapped[str] = mapped_column(String(500), default="")
    who: Mapped[str] = mapped_column(Who, default="")


class Command(Base):
    """A request to act. `issuer` sent it, `purpose` is why they said they did.

    `told_at` is when an agent was told of a command that had expired before it could be sent.
    """

    __tablename__ = "commands"
    __table_args__ = (
        Index("ix_commands_device_id", "device", "id"),
        Index("ix_commands_state_id", "state", "id"),
        Index("ix_commands_agent_id", "agent", "id"),
    )

    id: Mapped[str] = mapped_column(String(26), primary_key=True)
    key: Mapped[str | None] = mapped_column(Hash, unique=True)
    body_hash: Mapped[str] = mapped_column(Hash)
    agent: Mapped[str] = mapped_column(Id)
    device: Mapped[str] = mapped_column(Id)
    name: Mapped[str] = mapped_column(Id)
    args: Mapped[dict[str, Any]]
    hazard: Mapped[str] = mapped_column(String(16))
    issuer: Mapped[str] = mapped_column(Who)
    purpose: Mapped[str] = mapped_column(String(500), default="")
    lease_s: Mapped[int | None]
    configuration_version: Mapped[int | None]
    timeout_s: Mapped[float]
    state: Mapped[str] = mapped_column(String(16))
    issued_at: Mapped[int]
    expires_at: Mapped[int]
    accepted_at: Mapped[int]
    sent_at: Mapped[int | None]
    received_at: Mapped[int | None]
    started_at: Mapped[int | None]
    finished_at: Mapped[int | None] = mapped_column(index=True)
    cancel_at: Mapped[int | None]
    told_at: Mapped[int | None]
    data: Mapped[dict[str, Any]] = mapped_column(default=dict)
    reason: Mapped[str] = mapped_column(String(), default="")
