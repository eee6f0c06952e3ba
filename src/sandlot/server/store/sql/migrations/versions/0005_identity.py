"""Users, memberships, the audit log, and what teams and API keys have more."""

from __future__ import annotations

import secrets

import sqlalchemy as sa
from alembic import op

from sandlot.server.store.sql.tables import UtcTime

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_EMAIL = sa.String(254).with_variant(sa.String(254, collation="C"), "postgresql")


def upgrade() -> None:
    """Add the tables and columns, and give teams that are there a slug."""
    op.add_column("teams", sa.Column("slug", sa.String(13), nullable=True))
    op.add_column(
        "teams", sa.Column("is_byoc", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    op.add_column("teams", sa.Column("deleted_at", UtcTime(), nullable=True))
    teams = sa.table("teams", sa.column("id", sa.String), sa.column("slug", sa.String))
    connection = op.get_bind()
    for team_id in connection.scalars(sa.select(teams.c.id)).all():
        slug = f"{secrets.token_hex(3)}-{secrets.token_hex(3)}"
        _ = connection.execute(sa.update(teams).where(teams.c.id == team_id).values(slug=slug))
    op.create_index("uq_teams_slug", "teams", ["slug"], unique=True)
    # Without a foreign key: SQLite cannot add one without making the table anew.
    op.add_column("api_keys", sa.Column("created_by", sa.String(29), nullable=True))
    op.add_column("api_keys", sa.Column("scopes", sa.JSON(), nullable=True))
    op.add_column("api_keys", sa.Column("expires_at", UtcTime(), nullable=True))
    _ = op.create_table(
        "users",
        sa.Column("id", sa.String(29), nullable=False),
        sa.Column("email", _EMAIL, nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("password_hash", sa.String(255), nullable=True),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("key_version", sa.Integer(), nullable=False),
        sa.Column("is_admin", sa.Boolean(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.UniqueConstraint("email", name="uq_users_email"),
    )
    _ = op.create_table(
        "memberships",
        sa.Column("team_id", sa.String(30), nullable=False),
        sa.Column("user_id", sa.String(29), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("joined_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("team_id", "user_id", name="pk_memberships"),
        sa.ForeignKeyConstraint(
            ["team_id"], ["teams.id"], name="fk_memberships_team_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name="fk_memberships_user_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_memberships_user", "memberships", ["user_id", "joined_at"])
    _ = op.create_table(
        "audit_log",
        sa.Column("id", sa.String(29), nullable=False),
        sa.Column("team_id", sa.String(30), nullable=False),
        sa.Column("actor_type", sa.String(16), nullable=False),
        sa.Column("actor_id", sa.String(40), nullable=True),
        sa.Column("actor_name", sa.String(254), nullable=True),
        sa.Column("resource_type", sa.String(16), nullable=False),
        sa.Column("resource_id", sa.String(255), nullable=True),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("scope", sa.String(16), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_log"),
        sa.ForeignKeyConstraint(
            ["team_id"], ["teams.id"], name="fk_audit_log_team_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_audit_log_newest", "audit_log", ["team_id", "created_at", "id"])
    op.create_index("ix_audit_log_created_at", "audit_log", ["created_at"])


def downgrade() -> None:
    """Remove them."""
    for table in ("audit_log", "memberships", "users"):
        op.drop_table(table)
    for column in ("expires_at", "scopes", "created_by"):
        op.drop_column("api_keys", column)
    op.drop_index("uq_teams_slug", "teams")
    for column in ("deleted_at", "is_byoc", "slug"):
        op.drop_column("teams", column)
