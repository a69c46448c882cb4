"""Alembic runs this file; the connection comes from `upgrade`, inside its transaction."""

from alembic import context

from lamplighter_hub.registry.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
    transaction_per_migration=False,
    transactional_ddl=True,  # on SQLite too: the engine begins transactions by itself
)
with context.begin_transaction():
    context.run_migrations()
