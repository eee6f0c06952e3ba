"""How sandboxes end, and what they begin with."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from alembic import op

from sandlot.server.store.sql.tables import UtcTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
    for column in _columns():
        op.add_column("sandboxes", column)


def downgrade() -> None:
    """Remove the columns."""
    for column in reversed(_columns()):
        op.drop_column("sandboxes", column.name)


def _columns() -> list[sa.Column[str] | sa.Column[int] | sa.Column[datetime]]:
    return [
        sa.Column("on_timeout", sa.String(16), nullable=False, server_default="pause"),
        sa.Column("max_lifetime_sec", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("lease_sec", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("lease_expires_at", UtcTime(), nullable=True),
        sa.Column("snapshot", sa.String(63), nullable=True),
    ]
