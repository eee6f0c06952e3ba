"""Idempotency keys: whose they are, and what secrets are derived from."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from sandlot.server.store.sql.tables import UtcTime

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_TABLE = "idempotency_keys"


def upgrade() -> None:
    """Make the table anew, as the owner belongs to its primary key; what is in it is kept."""
    old = sa.table(
        _TABLE,
        *(sa.column(name, sa.String) for name in ("team_id", "key", "fingerprint", "resource_id")),
        sa.column("created_at", UtcTime),
    )
    connection = op.get_bind()
    rows = [dict(row) for row in connection.execute(sa.select(old)).mappings()]
    new = _make_anew(
        sa.Column("owner", sa.String(40), nullable=False),
        sa.Column("salt", sa.String(32), nullable=False),
        sa.Column("is_done", sa.Boolean(), nullable=False),
        unique=("team_id", "owner", "key"),
    )
    if rows:
        added = {"owner": "", "salt": "", "is_done": False}
        _ = connection.execute(sa.insert(new), [row | added for row in rows])


def downgrade() -> None:
    """Make the table as it was; what is in it is forgotten."""
    _ = _make_anew(unique=("team_id", "key"))


def _make_anew(*columns: sa.Column[object], unique: tuple[str, ...]) -> sa.Table:
    op.drop_table(_TABLE)
    made = op.create_table(
        _TABLE,
        sa.Column("team_id", sa.String(30), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("resource_id", sa.String(64), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        *columns,
        sa.PrimaryKeyConstraint(*unique, name="pk_idempotency_keys"),
        sa.ForeignKeyConstraint(
            ["team_id"], ["teams.id"], name="fk_idempotency_keys_team_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_idempotency_keys_created_at", _TABLE, ["created_at"])
    return made
