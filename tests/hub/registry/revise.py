"""Drafts a revision from what `models.py` says: `python -m hub.registry.revise ID "What changes"` in tests/."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

from lamplighter_hub.registry.database import Database, sqlite_url
from lamplighter_hub.registry.migrations import FOLDER


def draft(revision: str, message: str) -> None:
    """Write `versions/ID_WHAT_CHANGES.py`, to be read and corrected."""
    with tempfile.TemporaryDirectory() as folder:
        url = sqlite_url(Path(folder))
        database = Database(url)
        database.upgrade()
        database.close()
        config = Config()
        config.set_main_option("script_location", str(FOLDER))
        config.set_main_option("file_template", "r%%(rev)s_%%(slug)s")
        engine = create_engine(url)
        with engine.connect() as connection:
            config.attributes["connection"] = connection
            command.revision(config, message, autogenerate=True, rev_id=revision)
        engine.dispose()


if __name__ == "__main__":
    draft(*sys.argv[1:3])
