"""Builds, and what templates bring besides files."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from sandlot.server.store.sql.tables import UtcTime

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_PLATFORM = sa.text("platform")
_UNFINISHED = sa.text("status IN ('pending', 'running')")


def upgrade() -> None:
    """Make the tables and add the columns."""
    op.add_column("sandboxes", sa.Column("setup", sa.JSON(), nullable=True))
    op.add_column("snapshots", sa.Column("setup", sa.JSON(), nullable=True))
    op.add_column(
        "snapshots", sa.Column("platform", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    op.create_index(
        "ix_snapshots_platform",
        "snapshots",
        ["name"],
        sqlite_where=_PLATFORM,
        postgresql_where=_PLATFORM,
    )
    _ = op.create_table(
        "builds",
        sa.Column("id", sa.String(29), nullable=False),
        sa.Column("team_id", sa.String(30), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("base_template", sa.String(64), nullable=False),
        sa.Column("recipe", sa.JSON(), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("vcpus", sa.Integer(), nullable=False),
        sa.Column("memory_mb", sa.Integer(), nullable=False),
        sa.Column("disk_mb", sa.Integer(), nullable=False),
        sa.Column("network", sa.String(16), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("total_steps", sa.Integer(), nullable=False),
        sa.Column("current_step", sa.Integer(), nullable=False),
        sa.Column("healthcheck", sa.Text(), nullable=True),
        sa.Column("archive", sa.String(64), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("sandbox_id", sa.String(28), nullable=True),
        sa.Column("default_user", sa.String(64), nullable=True),
        sa.Column("default_cwd", sa.Text(), nullable=True),
        sa.Column("default_env", sa.JSON(), nullable=False),
        sa.Column("started_at", UtcTime(), nullable=True),
        sa.Column("completed_at", UtcTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_builds"),
        sa.ForeignKeyConstraint(
            ["team_id"], ["teams.id"], name="fk_builds_team_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_builds_newest", "builds", ["created_at", "id"])
    op.create_index(
        "ix_builds_unfinished",
        "builds",
        ["created_at", "id"],
        sqlite_where=_UNFINISHED,
        postgresql_where=_UNFINISHED,
    )
    _ = op.create_table(
        "build_logs",
        sa.Column("build_id", sa.String(29), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("build_id", name="pk_build_logs"),
        sa.ForeignKeyConstraint(
            ["build_id"], ["builds.id"], name="fk_build_logs_build_id", ondelete="CASCADE"
        ),
    )


def downgrade() -> None:
    """Remove the tables and columns."""
    op.drop_table("build_logs")
    op.drop_table("builds")
    op.drop_index("ix_snapshots_platform", "snapshots")
    for column in ("platform", "setup"):
        op.drop_column("snapshots", column)
    op.drop_column("sandboxes", "setup")
