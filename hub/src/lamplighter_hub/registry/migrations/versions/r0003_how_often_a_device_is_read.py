"""How often an agent reads a device, where that is not as the profile has it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Bring the tables to this revision."""
    op.add_column("devices", sa.Column("interval_s", sa.Double, nullable=True))
