"""Alembic's entry: runs the changes on the connection that `workers.database.upgrade` opened."""

from __future__ import annotations

from alembic import context

from workers.tables import Base

context.configure(
    connection=context.config.attributes["connection"], target_metadata=Base.metadata, transactional_ddl=True
)
with context.begin_transaction():
    context.run_migrations()
