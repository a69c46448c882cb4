"""The tables as they were when revisions began to be written down."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from lamplighter_hub.registry.migrations.columns import serial, words

revision = "0001"
down_revision = None

_tables = sa.MetaData()
sa.Table(
    "agents",
    _tables,
    sa.Column("id", words(64), nullable=False),
    sa.Column("verifier", sa.LargeBinary(32), nullable=False),
    sa.Column("mosquitto", words(300), nullable=False),
    sa.Column("enrolled_at", sa.BigInteger, nullable=False),
    sa.Column("enrolled_by", words(200), nullable=False),
    sa.Column("revoked_at", sa.BigInteger, nullable=True),
    sa.Column("session", sa.BigInteger, nullable=False),
    sa.Column("ended_session", sa.BigInteger, nullable=False),
    sa.Column("boot", words(26), nullable=False),
    sa.Column("agent_version", words(64), nullable=False),
    sa.Column("clock", words(16), nullable=False),
    sa.Column("heard_within_s", sa.BigInteger, nullable=False),
    sa.Column("outbox", words(26), nullable=False),
    sa.Column("last_heard", sa.BigInteger, nullable=True),
    sa.Column("state", words(16), nullable=False),
    sa.Column("reason", words(500), nullable=False),
    sa.Column("since", sa.BigInteger, nullable=True),
    sa.PrimaryKeyConstraint("id", name="pk_agents"),
)
sa.Table(
    "commands",
    _tables,
    sa.Column("id", words(26), nullable=False),
    sa.Column("key", words(71), nullable=True),
    sa.Column("body_hash", words(71), nullable=False),
    sa.Column("agent", words(64), nullable=False),
    sa.Column("device", words(64), nullable=False),
    sa.Column("name", words(64), nullable=False),
    sa.Column("args", sa.JSON, nullable=False),
    sa.Column("hazard", words(16), nullable=False),
    sa.Column("issuer", words(200), nullable=False),
    sa.Column("purpose", words(500), nullable=False),
    sa.Column("lease_s", sa.BigInteger, nullable=True),
    sa.Column("configuration_version", sa.BigInteger, nullable=True),
    sa.Column("timeout_s", sa.Double, nullable=False),
    sa.Column("state", words(16), nullable=False),
    sa.Column("issued_at", sa.BigInteger, nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=False),
    sa.Column("accepted_at", sa.BigInteger, nullable=False),
    sa.Column("sent_at", sa.BigInteger, nullable=True),
    sa.Column("received_at", sa.BigInteger, nullable=True),
    sa.Column("started_at", sa.BigInteger, nullable=True),
    sa.Column("finished_at", sa.BigInteger, nullable=True),
    sa.Column("cancel_at", sa.BigInteger, nullable=True),
    sa.Column("told_at", sa.BigInteger, nullable=True),
    sa.Column("data", sa.JSON, nullable=False),
    sa.Column("reason", words(), nullable=False),
    sa.PrimaryKeyConstraint("id", name="pk_commands"),
    sa.UniqueConstraint("key", name="uq_commands_key"),
    sa.Index("ix_commands_agent_id", "agent", "id"),
    sa.Index("ix_commands_device_id", "device", "id"),
    sa.Index("ix_commands_finished_at", "finished_at"),
    sa.Index("ix_commands_state_id", "state", "id"),
)
sa.Table(
    "configuration_changes",
    _tables,
    sa.Column("id", serial(), nullable=False),
    sa.Column("device", words(64), nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("kind", words(16), nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("hash", words(71), nullable=False),
    sa.Column("state", words(16), nullable=False),
    sa.Column("document", sa.JSON, nullable=False),
    sa.Column("errors", sa.JSON, nullable=False),
    sa.Column("reason", words(500), nullable=False),
    sa.Column("who", words(200), nullable=False),
    sa.PrimaryKeyConstraint("id", name="pk_configuration_changes"),
    sa.Index("ix_configuration_changes_device_id", "device", "id"),
)
sa.Table(
    "configuration_desired",
    _tables,
    sa.Column("device", words(64), nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("hash", words(71), nullable=False),
    sa.Column("document", sa.JSON, nullable=False),
    sa.Column("issued_at", sa.BigInteger, nullable=False),
    sa.Column("issued_by", words(200), nullable=False),
    sa.Column("answered", sa.Boolean, nullable=False),
    sa.PrimaryKeyConstraint("device", name="pk_configuration_desired"),
    sa.Index("ix_configuration_desired_answered", "answered"),
)
sa.Table(
    "configuration_layers",
    _tables,
    sa.Column("layer", words(16), nullable=False),
    sa.Column("subject", words(64), nullable=False),
    sa.Column("document", sa.JSON, nullable=False),
    sa.Column("changed_at", sa.BigInteger, nullable=False),
    sa.Column("changed_by", words(200), nullable=False),
    sa.PrimaryKeyConstraint("layer", "subject", name="pk_configuration_layers"),
)
sa.Table(
    "configuration_reported",
    _tables,
    sa.Column("device", words(64), nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("hash", words(71), nullable=False),
    sa.Column("state", words(16), nullable=False),
    sa.Column("t", sa.BigInteger, nullable=False),
    sa.Column("document", sa.JSON, nullable=False),
    sa.Column("errors", sa.JSON, nullable=False),
    sa.Column("reason", words(500), nullable=False),
    sa.PrimaryKeyConstraint("device", name="pk_configuration_reported"),
)
sa.Table(
    "console_sessions",
    _tables,
    sa.Column("hash", words(71), nullable=False),
    sa.Column("name", words(100), nullable=False),
    sa.Column("role", words(16), nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=False),
    sa.Column("last_used_at", sa.BigInteger, nullable=False),
    sa.PrimaryKeyConstraint("hash", name="pk_console_sessions"),
    sa.Index("ix_console_sessions_expires_at", "expires_at"),
)
sa.Table(
    "enrolment_codes",
    _tables,
    sa.Column("id", words(26), nullable=False),
    sa.Column("hash", words(71), nullable=False),
    sa.Column("agent", words(64), nullable=True),
    sa.Column("note", words(200), nullable=False),
    sa.Column("uses_left", sa.BigInteger, nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("created_by", words(200), nullable=False),
    sa.PrimaryKeyConstraint("id", name="pk_enrolment_codes"),
    sa.UniqueConstraint("hash", name="uq_enrolment_codes_hash"),
    sa.Index("ix_enrolment_codes_expires_at", "expires_at"),
)
sa.Table(
    "refusals",
    _tables,
    sa.Column("who", words(100), nullable=False),
    sa.Column("why", words(64), nullable=False),
    sa.Column("detail", words(300), nullable=False),
    sa.Column("count", sa.BigInteger, nullable=False),
    sa.Column("first_at", sa.BigInteger, nullable=False),
    sa.Column("last_at", sa.BigInteger, nullable=False),
    sa.PrimaryKeyConstraint("who", "why", name="pk_refusals"),
)
sa.Table(
    "sign_in_links",
    _tables,
    sa.Column("hash", words(71), nullable=False),
    sa.Column("name", words(100), nullable=False),
    sa.Column("role", words(16), nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("created_by", words(200), nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=False),
    sa.Column("used_at", sa.BigInteger, nullable=True),
    sa.PrimaryKeyConstraint("hash", name="pk_sign_in_links"),
    sa.Index("ix_sign_in_links_expires_at", "expires_at"),
)
sa.Table(
    "tokens",
    _tables,
    sa.Column("id", words(26), nullable=False),
    sa.Column("hash", words(71), nullable=False),
    sa.Column("name", words(100), nullable=False),
    sa.Column("role", words(16), nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("created_by", words(200), nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=True),
    sa.Column("last_used_at", sa.BigInteger, nullable=True),
    sa.PrimaryKeyConstraint("id", name="pk_tokens"),
    sa.UniqueConstraint("hash", name="uq_tokens_hash"),
)
sa.Table(
    "devices",
    _tables,
    sa.Column("id", words(64), nullable=False),
    sa.Column("agent", words(64), nullable=False),
    sa.Column("profile", words(64), nullable=False),
    sa.Column("first_seen", sa.BigInteger, nullable=False),
    sa.Column("carried", sa.Boolean, nullable=False),
    sa.ForeignKeyConstraint(["agent"], ["agents.id"], name="fk_devices_agent"),
    sa.PrimaryKeyConstraint("id", name="pk_devices"),
    sa.Index("ix_devices_agent", "agent"),
    sa.Index("ix_devices_profile", "profile"),
)


def upgrade() -> None:
    """Make all tables."""
    _tables.create_all(op.get_bind(), checkfirst=False)
