"""Channels and deliveries."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from sandlot.server.store.sql.tables import UtcTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_PENDING = sa.text("next_attempt_at IS NOT NULL")


def upgrade() -> None:
    """Make the tables."""
    _ = op.create_table(
        "channels",
        sa.Column("id", sa.String(28), nullable=False),
        sa.Column("team_id", sa.String(30), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("provider", sa.String(16), nullable=False),
        sa.Column("events", sa.JSON(), nullable=False),
        sa.Column("config", sa.JSON(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("updated_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_channels"),
        sa.ForeignKeyConstraint(
            ["team_id"], ["teams.id"], name="fk_channels_team_id", ondelete="CASCADE"
        ),
    )
    op.create_index("uq_channels_name", "channels", ["team_id", "name"], unique=True)
    _ = op.create_table(
        "deliveries",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("channel_id", sa.String(28), nullable=False),
        sa.Column("event", sa.String(64), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", UtcTime(), nullable=True),
        sa.Column("last_attempt_at", UtcTime(), nullable=True),
        sa.Column("response_status", sa.Integer(), nullable=True),
        sa.Column("error", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_deliveries"),
        sa.ForeignKeyConstraint(
            ["channel_id"],
            ["channels.id"],
            name="fk_deliveries_channel_id",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_deliveries_created_at", "deliveries", ["created_at"])
    op.create_index("ix_deliveries_newest", "deliveries", ["channel_id", "created_at", "id"])
    op.create_index(
        "ix_deliveries_due",
        "deliveries",
        ["next_attempt_at", "id"],
        sqlite_where=_PENDING,
        postgresql_where=_PENDING,
    )
    op.create_index(
        "ix_deliveries_waiting",
        "deliveries",
        ["channel_id"],
        sqlite_where=_PENDING,
        postgresql_where=_PENDING,
    )


def downgrade() -> None:
    """Remove the tables."""
    op.drop_table("deliveries")
    op.drop_table("channels")
