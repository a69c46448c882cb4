"""The lives of agents that the hub has met (decision 0024)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from lamplighter_hub.registry.migrations.columns import words

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Bring the tables to this revision."""
    op.create_table(
        "met_lives",
        sa.Column("agent", words(64), nullable=False),
        sa.Column("outbox", words(26), nullable=False),
        sa.Column("life", words(26), nullable=False),
        sa.Column("met_at", sa.BigInteger, nullable=False),
        sa.ForeignKeyConstraint(["agent"], ["agents.id"], name="fk_met_lives_agent"),
        sa.PrimaryKeyConstraint("agent", "outbox", "life", name="pk_met_lives"),
    )
