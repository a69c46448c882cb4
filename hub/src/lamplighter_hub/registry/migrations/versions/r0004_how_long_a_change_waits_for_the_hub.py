"""For how long a device waits for word of the hub before it goes back to the configuration before."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Bring the tables to this revision."""
    column = sa.Column("rollback_after_s", sa.BigInteger, nullable=False, server_default="300")
    op.add_column("configuration_desired", column)
