"""Snapshots and checkpoints."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from sandlot.server.store.sql.tables import UtcTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_ALONE = sa.text("sandbox_id IS NULL")


def upgrade() -> None:
    """Make the table."""
    _ = op.create_table(
        "snapshots",
        sa.Column("id", sa.String(28), nullable=False),
        sa.Column("team_id", sa.String(30), nullable=False),
        sa.Column("sandbox_id", sa.String(28), nullable=True),
        sa.Column("name", sa.String(255), nullable=True),
        sa.Column("template", sa.String(64), nullable=False),
        sa.Column("vcpus", sa.Integer(), nullable=False),
        sa.Column("memory_mb", sa.Integer(), nullable=False),
        sa.Column("disk_mb", sa.Integer(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_snapshots"),
        sa.ForeignKeyConstraint(
            ["team_id"], ["teams.id"], name="fk_snapshots_team_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["sandbox_id"],
            ["sandboxes.id"],
            name="fk_snapshots_sandbox_id",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_snapshots_sandbox_id", "snapshots", ["sandbox_id"])
    op.create_index("ix_snapshots_newest", "snapshots", ["team_id", "created_at", "id"])
    op.create_index(
        "uq_snapshots_name",
        "snapshots",
        ["team_id", "name"],
        unique=True,
        sqlite_where=_ALONE,
        postgresql_where=_ALONE,
    )


def downgrade() -> None:
    """Remove the table."""
    op.drop_table("snapshots")
