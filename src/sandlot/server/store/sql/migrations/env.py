"""How Alembic reaches the database: through the connection that it is given."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from sandlot.server.store.sql.tables import metadata

connection: Connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
