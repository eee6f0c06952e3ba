"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from sandlot.server.store.sql.tables import UtcTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_LIVE = sa.text("status IN ('pending', 'starting', 'running', 'paused', 'missing', 'hibernated')")


def upgrade() -> None:
    """Make all tables."""
    _ = op.create_table(
        "teams",
        sa.Column("id", sa.String(30), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_teams"),
    )
    _ = op.create_table(
        "api_keys",
        sa.Column("id", sa.String(29), nullable=False),
        sa.Column("team_id", sa.String(30), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("prefix", sa.String(16), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("last_used", UtcTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.UniqueConstraint("hash", name="uq_api_keys_hash"),
        sa.ForeignKeyConstraint(
            ["team_id"], ["teams.id"], name="fk_api_keys_team_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_api_keys_team_id", "api_keys", ["team_id"])
    _ = op.create_table(
        "sandboxes",
        sa.Column("id", sa.String(28), nullable=False),
        sa.Column("team_id", sa.String(30), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("status_reason", sa.String(), nullable=True),
        sa.Column("template", sa.String(64), nullable=False),
        sa.Column("vcpus", sa.Integer(), nullable=False),
        sa.Column("memory_mb", sa.Integer(), nullable=False),
        sa.Column("disk_mb", sa.Integer(), nullable=False),
        sa.Column("timeout_sec", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(63), nullable=True),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.Column("env", sa.JSON(), nullable=False),
        sa.Column("cwd", sa.String(), nullable=True),
        sa.Column("network", sa.String(16), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("started_at", UtcTime(), nullable=True),
        sa.Column("last_active_at", UtcTime(), nullable=True),
        sa.Column("last_updated", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_sandboxes"),
        sa.ForeignKeyConstraint(
            ["team_id"], ["teams.id"], name="fk_sandboxes_team_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_sandboxes_newest", "sandboxes", ["team_id", "created_at", "id"])
    op.create_index(
        "uq_sandboxes_live_name",
        "sandboxes",
        ["team_id", "name"],
        unique=True,
        sqlite_where=_LIVE,
        postgresql_where=_LIVE,
    )
    _ = op.create_table(
        "sandbox_labels",
        sa.Column("sandbox_id", sa.String(28), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("value", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("sandbox_id", "key", name="pk_sandbox_labels"),
        sa.ForeignKeyConstraint(
            ["sandbox_id"],
            ["sandboxes.id"],
            name="fk_sandbox_labels_sandbox_id",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_sandbox_labels_pair", "sandbox_labels", ["key", "value"])
    _ = op.create_table(
        "idempotency_keys",
        sa.Column("team_id", sa.String(30), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("resource_id", sa.String(64), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("team_id", "key", name="pk_idempotency_keys"),
        sa.ForeignKeyConstraint(
            ["team_id"], ["teams.id"], name="fk_idempotency_keys_team_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"])
    _ = op.create_table(
        "stats_samples",
        sa.Column("team_id", sa.String(30), nullable=False),
        sa.Column("sampled_at", sa.BigInteger(), nullable=False),
        sa.Column("running", sa.Integer(), nullable=False),
        sa.Column("vcpus", sa.Integer(), nullable=False),
        sa.Column("memory_mb", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("team_id", "sampled_at", name="pk_stats_samples"),
        sa.ForeignKeyConstraint(
            ["team_id"], ["teams.id"], name="fk_stats_samples_team_id", ondelete="CASCADE"
        ),
    )


def downgrade() -> None:
    """Remove all tables."""
    for table in (
        "stats_samples",
        "idempotency_keys",
        "sandbox_labels",
        "sandboxes",
        "api_keys",
        "teams",
    ):
        op.drop_table(table)
