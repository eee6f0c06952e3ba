"""Hosts with their tags and tokens, what is on which of them, and the usage of teams."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from sandlot.server.store.sql.tables import UtcTime

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_LIVE = sa.text("status IN ('pending', 'starting', 'running', 'paused', 'missing', 'hibernated')")


def upgrade() -> None:
    """Make the tables and add the columns."""
    _ = op.create_table(
        "hosts",
        sa.Column("id", sa.String(30), nullable=False),
        sa.Column("type", sa.String(16), nullable=False),
        sa.Column("team_id", sa.String(30), nullable=True),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("provider", sa.String(128), nullable=True),
        sa.Column("availability_zone", sa.String(128), nullable=True),
        sa.Column("arch", sa.String(64), nullable=True),
        sa.Column("cpu_cores", sa.Integer(), nullable=True),
        sa.Column("memory_mb", sa.BigInteger(), nullable=True),
        sa.Column("disk_gb", sa.BigInteger(), nullable=True),
        sa.Column("address", sa.String(255), nullable=True),
        sa.Column("engine", sa.String(16), nullable=True),
        sa.Column("created_by", sa.String(29), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("updated_at", UtcTime(), nullable=False),
        sa.Column("last_heartbeat_at", UtcTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_hosts"),
        sa.ForeignKeyConstraint(
            ["team_id"], ["teams.id"], name="fk_hosts_team_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_hosts_team_id", "hosts", ["team_id"])
    _ = op.create_table(
        "host_tags",
        sa.Column("host_id", sa.String(30), nullable=False),
        sa.Column("tag", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("host_id", "tag", name="pk_host_tags"),
        sa.ForeignKeyConstraint(
            ["host_id"], ["hosts.id"], name="fk_host_tags_host_id", ondelete="CASCADE"
        ),
    )
    _ = op.create_table(
        "host_tokens",
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("host_id", sa.String(30), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("expires_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("hash", name="pk_host_tokens"),
        sa.ForeignKeyConstraint(
            ["host_id"], ["hosts.id"], name="fk_host_tokens_host_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_host_tokens_host_id", "host_tokens", ["host_id"])
    _ = op.create_table(
        "usage_days",
        sa.Column("team_id", sa.String(30), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("cpu_seconds", sa.Float(), nullable=False),
        sa.Column("memory_mb_seconds", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("team_id", "day", name="pk_usage_days"),
        sa.ForeignKeyConstraint(
            ["team_id"], ["teams.id"], name="fk_usage_days_team_id", ondelete="CASCADE"
        ),
    )
    op.add_column("sandboxes", sa.Column("host_id", sa.String(30), nullable=True))
    op.create_index(
        "ix_sandboxes_live_host",
        "sandboxes",
        ["host_id"],
        sqlite_where=_LIVE,
        postgresql_where=_LIVE,
    )
    op.add_column("snapshots", sa.Column("host_id", sa.String(30), nullable=True))


def downgrade() -> None:
    """Remove them."""
    op.drop_column("snapshots", "host_id")
    op.drop_index("ix_sandboxes_live_host", "sandboxes")
    op.drop_column("sandboxes", "host_id")
    for table in ("usage_days", "host_tokens", "host_tags", "hosts"):
        op.drop_table(table)
