"""Which server holds a claim on an idempotency key and until when, and which one has a build."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from sandlot.server.store.sql.tables import UtcTime

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; what is there belongs to nobody."""
    op.add_column("idempotency_keys", sa.Column("holder", sa.String(30), nullable=True))
    op.add_column("idempotency_keys", sa.Column("held_until", UtcTime(), nullable=True))
    op.add_column("builds", sa.Column("host_id", sa.String(30), nullable=True))


def downgrade() -> None:
    """Remove them."""
    op.drop_column("builds", "host_id")
    op.drop_column("idempotency_keys", "held_until")
    op.drop_column("idempotency_keys", "holder")
