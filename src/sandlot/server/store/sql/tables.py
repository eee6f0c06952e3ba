"""The tables.

Whoever changes them adds a migration under `migrations/versions` and moves `HEAD`; a test compares
the two.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    false,
    text,
)

from ..records import LIVE_STATUSES
from .columns import UtcTime, metadata
from .host_tables import host_tags, host_tokens, hosts, usage_days

__all__ = [
    "UtcTime",
    "HEAD",
    "LIVE",
    "alembic_version",
    "api_keys",
    "channels",
    "deliveries",
    "audit_log",
    "build_logs",
    "builds",
    "host_tags",
    "host_tokens",
    "hosts",
    "idempotency_keys",
    "memberships",
    "metadata",
    "sandbox_labels",
    "sandboxes",
    "snapshots",
    "stats_samples",
    "teams",
    "usage_days",
    "users",
]

HEAD: Final = "0010"
"""Revision of the newest migration, which a new database is born with."""


teams = Table(
    "teams",
    metadata,
    Column("id", String(30), primary_key=True),
    Column("name", String(128), nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("slug", String(13)),
    Column("is_byoc", Boolean, nullable=False, server_default=false()),
    Column("deleted_at", UtcTime),
    Index("uq_teams_slug", "slug", unique=True),
)

# Prefixes are searched for, byte by byte; other collations of PostgreSQL cannot use an index then.
_Email = String(254).with_variant(String(254, collation="C"), "postgresql")

users = Table(
    "users",
    metadata,
    Column("id", String(29), primary_key=True),
    Column("email", _Email, nullable=False, unique=True),
    Column("name", String(100), nullable=False),
    Column("password_hash", String(255)),
    Column("status", String(16), nullable=False),
    Column("key_version", Integer, nullable=False),
    Column("is_admin", Boolean, nullable=False),
    Column("created_at", UtcTime, nullable=False),
)

memberships = Table(
    "memberships",
    metadata,
    Column("team_id", String(30), ForeignKey("teams.id", ondelete="CASCADE"), primary_key=True),
    Column("user_id", String(29), ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("role", String(16), nullable=False),
    Column("joined_at", UtcTime, nullable=False),
    Index("ix_memberships_user", "user_id", "joined_at"),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(29), primary_key=True),
    Column(
        "team_id",
        String(30),
        ForeignKey("teams.id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    Column("name", String(128), nullable=False),
    Column("hash", String(64), nullable=False, unique=True),
    Column("prefix", String(16), nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("last_used", UtcTime),
    Column("created_by", String(29)),
    Column("scopes", JSON(none_as_null=True)),
    Column("expires_at", UtcTime),
)

audit_log = Table(
    "audit_log",
    metadata,
    Column("id", String(29), primary_key=True),
    Column("team_id", String(30), ForeignKey("teams.id", ondelete="CASCADE"), nullable=False),
    Column("actor_type", String(16), nullable=False),
    Column("actor_id", String(40)),
    Column("actor_name", String(254)),
    Column("resource_type", String(16), nullable=False),
    Column("resource_id", String(255)),
    Column("action", String(32), nullable=False),
    Column("scope", String(16), nullable=False),
    Column("status", String(16), nullable=False),
    Column("metadata", JSON, nullable=False),
    Column("created_at", UtcTime, nullable=False, index=True),
    Index("ix_audit_log_newest", "team_id", "created_at", "id"),
)

LIVE = text(f"status IN ({', '.join(repr(status) for status in LIVE_STATUSES)})")
"""What partial indexes cover: queries that say it in the same words can use them."""

_ALONE = text("sandbox_id IS NULL")
_PLATFORM = text("platform")

sandboxes = Table(
    "sandboxes",
    metadata,
    Column("id", String(28), primary_key=True),
    Column("team_id", String(30), ForeignKey("teams.id", ondelete="CASCADE"), nullable=False),
    Column("status", String(16), nullable=False),
    Column("status_reason", String),
    Column("template", String(64), nullable=False),
    Column("vcpus", Integer, nullable=False),
    Column("memory_mb", Integer, nullable=False),
    Column("disk_mb", Integer, nullable=False),
    Column("timeout_sec", Integer, nullable=False),
    Column("name", String(63)),
    Column("metadata", JSON, nullable=False),
    Column("env", JSON, nullable=False),
    Column("cwd", String),
    Column("network", String(16), nullable=False),
    Column("on_timeout", String(16), nullable=False, server_default="pause"),
    Column("max_lifetime_sec", Integer, nullable=False, server_default="0"),
    Column("lease_sec", Integer, nullable=False, server_default="0"),
    Column("lease_expires_at", UtcTime),
    Column("snapshot", String(63)),
    Column("host_id", String(30)),  # not a foreign key: what has ended outlives its host
    Column("created_at", UtcTime, nullable=False),
    Column("started_at", UtcTime),
    Column("last_active_at", UtcTime),
    Column("last_updated", UtcTime, nullable=False),
    Column("setup", JSON(none_as_null=True)),
    Index("ix_sandboxes_newest", "team_id", "created_at", "id"),
    Index("ix_sandboxes_live_host", "host_id", sqlite_where=LIVE, postgresql_where=LIVE),
    Index(
        "ix_sandboxes_live_newest",
        "team_id",
        "created_at",
        "id",
        sqlite_where=LIVE,
        postgresql_where=LIVE,
    ),
    # A name may be taken again once its sandbox is gone.
    Index(
        "uq_sandboxes_live_name",
        "team_id",
        "name",
        unique=True,
        sqlite_where=LIVE,
        postgresql_where=LIVE,
    ),
)

sandbox_labels = Table(
    "sandbox_labels",
    metadata,
    Column(
        "sandbox_id", String(28), ForeignKey("sandboxes.id", ondelete="CASCADE"), primary_key=True
    ),
    Column("key", String, primary_key=True),
    Column("value", String, nullable=False),
    Index("ix_sandbox_labels_pair", "key", "value"),
)

snapshots = Table(
    "snapshots",
    metadata,
    Column("id", String(28), primary_key=True),
    Column("team_id", String(30), ForeignKey("teams.id", ondelete="CASCADE"), nullable=False),
    Column("sandbox_id", String(28), ForeignKey("sandboxes.id", ondelete="CASCADE"), index=True),
    Column("name", String(255)),
    Column("template", String(64), nullable=False),
    Column("vcpus", Integer, nullable=False),
    Column("memory_mb", Integer, nullable=False),
    Column("disk_mb", Integer, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("setup", JSON(none_as_null=True)),
    Column("platform", Boolean, nullable=False, server_default=false()),
    Column("host_id", String(30)),
    Index("ix_snapshots_newest", "team_id", "created_at", "id"),
    # The names of checkpoints are only for people to read.
    Index(
        "uq_snapshots_name",
        "team_id",
        "name",
        unique=True,
        sqlite_where=_ALONE,
        postgresql_where=_ALONE,
    ),
    Index("ix_snapshots_platform", "name", sqlite_where=_PLATFORM, postgresql_where=_PLATFORM),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("team_id", String(30), ForeignKey("teams.id", ondelete="CASCADE"), primary_key=True),
    Column("owner", String(40), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("resource_id", String(64), nullable=False),
    Column("salt", String(32), nullable=False),
    Column("is_done", Boolean, nullable=False),
    Column("created_at", UtcTime, nullable=False, index=True),
    Column("holder", String(30)),
    Column("held_until", UtcTime),
)

stats_samples = Table(
    "stats_samples",
    metadata,
    Column("team_id", String(30), ForeignKey("teams.id", ondelete="CASCADE"), primary_key=True),
    Column("sampled_at", BigInteger, primary_key=True),  # seconds since 1970: it is divided
    Column("running", Integer, nullable=False),
    Column("vcpus", Integer, nullable=False),
    Column("memory_mb", Integer, nullable=False),
)

channels = Table(
    "channels",
    metadata,
    Column("id", String(28), primary_key=True),
    Column("team_id", String(30), ForeignKey("teams.id", ondelete="CASCADE"), nullable=False),
    Column("name", String(64), nullable=False),
    Column("provider", String(16), nullable=False),
    Column("events", JSON, nullable=False),
    Column("config", JSON, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("updated_at", UtcTime, nullable=False),
    Index("uq_channels_name", "team_id", "name", unique=True),
)

_PENDING = text("next_attempt_at IS NOT NULL")

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("channel_id", String(28), ForeignKey("channels.id", ondelete="CASCADE"), nullable=False),
    Column("event", String(64), nullable=False),
    Column("payload", Text, nullable=False),
    Column("status", String(16), nullable=False),
    Column("created_at", UtcTime, nullable=False, index=True),
    Column("attempts", Integer, nullable=False),
    Column("next_attempt_at", UtcTime),
    Column("last_attempt_at", UtcTime),
    Column("response_status", Integer),
    Column("error", String),
    Index("ix_deliveries_newest", "channel_id", "created_at", "id"),
    # However many have been delivered, those that have not are found at once.
    Index(
        "ix_deliveries_due",
        "next_attempt_at",
        "id",
        sqlite_where=_PENDING,
        postgresql_where=_PENDING,
    ),
    Index(
        "ix_deliveries_waiting",
        "channel_id",
        sqlite_where=_PENDING,
        postgresql_where=_PENDING,
    ),
)

_UNFINISHED = text("status IN ('pending', 'running')")

builds = Table(
    "builds",
    metadata,
    Column("id", String(29), primary_key=True),
    Column("team_id", String(30), ForeignKey("teams.id", ondelete="CASCADE"), nullable=False),
    Column("name", String(64), nullable=False),
    Column("base_template", String(64), nullable=False),
    Column("recipe", JSON, nullable=False),
    Column("status", String(16), nullable=False),
    Column("vcpus", Integer, nullable=False),
    Column("memory_mb", Integer, nullable=False),
    Column("disk_mb", Integer, nullable=False),
    Column("network", String(16), nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("total_steps", Integer, nullable=False),
    Column("current_step", Integer, nullable=False),
    Column("healthcheck", Text),
    Column("archive", String(64)),
    Column("error", Text),
    Column("sandbox_id", String(28)),
    Column("default_user", String(64)),
    Column("default_cwd", Text),
    Column("default_env", JSON, nullable=False),
    Column("started_at", UtcTime),
    Column("completed_at", UtcTime),
    Column("host_id", String(30)),
    Index("ix_builds_newest", "created_at", "id"),
    Index(
        "ix_builds_unfinished",
        "created_at",
        "id",
        sqlite_where=_UNFINISHED,
        postgresql_where=_UNFINISHED,
    ),
)

# Beside the builds, so that lists need not read them.
build_logs = Table(
    "build_logs",
    metadata,
    Column("build_id", String(29), ForeignKey("builds.id", ondelete="CASCADE"), primary_key=True),
    Column("content", Text, nullable=False),
)

# Alembic's own table, made here so that a new database need not import Alembic.
alembic_version = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), primary_key=True),
)
