"""The tables of hosts and of usage."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Date, Float, ForeignKey, Integer, String, Table

from .columns import UtcTime, metadata

__all__ = ["host_tags", "host_tokens", "hosts", "usage_days"]

usage_days = Table(
    "usage_days",
    metadata,
    Column("team_id", String(30), ForeignKey("teams.id", ondelete="CASCADE"), primary_key=True),
    Column("day", Date, primary_key=True),
    Column("cpu_seconds", Float, nullable=False),
    Column("memory_mb_seconds", Float, nullable=False),
)

hosts = Table(
    "hosts",
    metadata,
    Column("id", String(30), primary_key=True),
    Column("type", String(16), nullable=False),
    Column("team_id", String(30), ForeignKey("teams.id", ondelete="CASCADE"), index=True),
    Column("status", String(16), nullable=False),
    Column("provider", String(128)),
    Column("availability_zone", String(128)),
    Column("arch", String(64)),
    Column("cpu_cores", Integer),
    Column("memory_mb", BigInteger),
    Column("disk_gb", BigInteger),
    Column("address", String(255)),
    Column("engine", String(16)),
    Column("created_by", String(29), nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("updated_at", UtcTime, nullable=False),
    Column("last_heartbeat_at", UtcTime),
)

host_tags = Table(
    "host_tags",
    metadata,
    Column("host_id", String(30), ForeignKey("hosts.id", ondelete="CASCADE"), primary_key=True),
    Column("tag", String(64), primary_key=True),
)

host_tokens = Table(
    "host_tokens",
    metadata,
    Column("hash", String(64), primary_key=True),
    Column(
        "host_id",
        String(30),
        ForeignKey("hosts.id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    Column("kind", String(16), nullable=False),
    Column("expires_at", UtcTime, nullable=False),
)
