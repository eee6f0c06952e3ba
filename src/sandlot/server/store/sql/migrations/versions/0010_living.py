"""An index of sandboxes that live: those that have ended become more with every day."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_LIVE = sa.text("status IN ('pending', 'starting', 'running', 'paused', 'missing', 'hibernated')")


def upgrade() -> None:
    """Make the index."""
    op.create_index(
        "ix_sandboxes_live_newest",
        "sandboxes",
        ["team_id", "created_at", "id"],
        sqlite_where=_LIVE,
        postgresql_where=_LIVE,
    )


def downgrade() -> None:
    """Remove it."""
    op.drop_index("ix_sandboxes_live_newest", "sandboxes")
