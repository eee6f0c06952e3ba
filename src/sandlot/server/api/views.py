"""Records as the contract shows them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from sandlot.models import (
    Capabilities,
    Changes,
    Checkpoint,
    FileChange,
    Isolation,
    IsolationLimits,
    MetricPoint,
    SandboxInfo,
    SandboxMetrics,
    SandboxStats,
    ServerLimits,
    SnapshotInfo,
    StatsCurrent,
    StatsPeaks,
    StatsSeries,
    StopFailure,
    StopReport,
)
from sandlot.server.engine.base import EngineCapabilities
from sandlot.server.options import Options
from sandlot.server.services import isolation, sandboxes
from sandlot.server.services.changes import ChangeReport
from sandlot.server.services.lifecycle import expires_at
from sandlot.server.services.metrics import Point
from sandlot.server.services.stats import StatsReport
from sandlot.server.store.records import LIVE_STATUSES, SandboxRecord, SnapshotRecord

__all__ = [
    "capabilities_view",
    "changes_view",
    "checkpoint_view",
    "metrics_view",
    "sandbox_view",
    "snapshot_view",
    "stats_view",
    "stop_view",
    "template_view",
]

_FEATURES: Final = [
    "api_keys.scopes",
    "builds.log",
    "builds.network",
    "capabilities",
    "channels.deliveries",
    "create.cwd",
    "create.disk",
    "create.env",
    "create.host_tags",
    "create.if_exists",
    "create.lease",
    "create.lifetime",
    "create.metadata",
    "create.name",
    "create.network",
    "create.on_timeout",
    "create.require_isolation",
    "create.snapshot",
    "exec.cwd",
    "exec.env",
    "exec.max_output_bytes",
    "exec.resume",
    "exec.stdin",
    "exec.stream.v1",
    "exec.user",
    "files.archive",
    "files.tree",
    "hosts",
    "idempotency",
    "list.filters",
    "list.paging",
    "ports.errors",
    "processes",
    "sandboxes.stop",
    "snapshots",
    "terminals",
    "usage",
]
"""The additions to the original protocol."""


def sandbox_view(record: SandboxRecord, engine: EngineCapabilities) -> SandboxInfo:
    """Show a sandbox, and while it lives what is enforced for it."""
    return SandboxInfo(
        id=record.id,
        status=record.status,
        status_reason=record.status_reason,
        template=record.snapshot or record.template,
        vcpus=record.vcpus,
        memory_mb=record.memory_mb,
        disk_mb=record.disk_mb,
        timeout_sec=record.timeout_sec,
        on_timeout=record.on_timeout,
        max_lifetime_sec=record.max_lifetime_sec,
        lease_sec=record.lease_sec,
        expires_at=expires_at(record),
        name=record.name,
        metadata=dict(record.metadata) or None,
        cwd=record.cwd,
        network=record.network,
        snapshot=record.snapshot,
        host_id=record.host_id,
        isolation=_isolation_of(engine, record.network) if record.status in LIVE_STATUSES else None,
        created_at=record.created_at,
        started_at=record.started_at,
        last_active_at=record.last_active_at,
        last_updated=record.last_updated,
    )


def stop_view(report: sandboxes.StopReport) -> StopReport:
    """Show what became of sandboxes that were to be stopped."""
    return StopReport(
        stopped=list(report.stopped),
        failed=[
            StopFailure(id=sandbox_id, code=error.code, message=str(error))
            for sandbox_id, error in report.failed.items()
        ],
    )


def isolation_view(engine: EngineCapabilities) -> Isolation:
    """Show what is enforced."""
    limits = engine.limits
    return Isolation(
        level=engine.level,
        engine=engine.engine,
        namespaces=list(engine.namespaces),
        seccomp=engine.seccomp,
        no_new_privileges=engine.no_new_privileges,
        capabilities_dropped=engine.capabilities_dropped,
        private_uid=engine.private_uid,
        network=list(engine.network),
        pause=engine.pause,
        snapshot=engine.snapshot,
        reattach=engine.reattach,
        limits=IsolationLimits(
            memory=limits.memory, pids=limits.pids, cpu=limits.cpu, disk=limits.disk
        ),
        enforced=isolation.enforced(engine),
        reason=engine.reason,
    )


@lru_cache(maxsize=8)
def _isolation_of(engine: EngineCapabilities, network: str) -> Isolation:
    """Show what is enforced for sandboxes with this network mode; lists show it over and over."""
    return isolation_view(isolation.for_network(engine, network))


def snapshot_view(record: SnapshotRecord) -> SnapshotInfo:
    """Show a snapshot."""
    return SnapshotInfo(
        name=record.name or record.id,
        type="base" if record.platform else "snapshot",
        vcpus=record.vcpus,
        memory_mb=record.memory_mb,
        size_bytes=record.size_bytes,
        created_at=record.created_at,
        platform=record.platform,
        template=record.template,
    )


def template_view(name: str, since: datetime) -> SnapshotInfo:
    """Show a template of the engine."""
    return SnapshotInfo(name=name, type="base", size_bytes=0, created_at=since, platform=True)


def checkpoint_view(record: SnapshotRecord) -> Checkpoint:
    """Show a checkpoint."""
    return Checkpoint(
        id=record.id,
        sandbox_id=record.sandbox_id or "",
        name=record.name,
        size_bytes=record.size_bytes,
        created_at=record.created_at,
    )


def changes_view(sandbox_id: str, since: str | None, report: ChangeReport) -> Changes:
    """Show what has changed."""
    return Changes(
        sandbox_id=sandbox_id,
        since=since,
        changes=[
            FileChange(
                path=file.change.path.encode(errors="surrogateescape").decode(errors="replace"),
                kind=file.change.kind,
                type=file.change.type,
                size=file.change.size,
                diff=file.diff,
            )
            for file in report.files
        ],
        truncated=report.truncated or None,
    )


def metrics_view(sandbox_id: str, range: str, points: Sequence[Point]) -> SandboxMetrics:
    """Show what a sandbox used."""
    return SandboxMetrics(
        sandbox_id=sandbox_id,
        range=range,
        points=[
            MetricPoint(
                timestamp_unix=point.time,
                cpu_pct=point.cpu_pct,
                mem_bytes=point.memory_bytes,
                disk_bytes=point.disk_bytes,
            )
            for point in points
        ],
    )


def stats_view(report: StatsReport) -> SandboxStats:
    """Show how much a team runs."""
    current, peaks, series = report.current, report.peaks, report.series
    return SandboxStats(
        range=report.range,
        current=StatsCurrent(
            running_count=current.running,
            vcpus_reserved=current.vcpus,
            memory_mb_reserved=current.memory_mb,
        ),
        peaks=StatsPeaks(running_count=peaks.running, vcpus=peaks.vcpus, memory_mb=peaks.memory_mb),
        series=StatsSeries(
            labels=[datetime.fromtimestamp(sample.sampled_at, UTC) for sample in series],
            running=[sample.running for sample in series],
            vcpus=[sample.vcpus for sample in series],
            memory_mb=[sample.memory_mb for sample in series],
        ),
    )


def capabilities_view(version: str, engine: EngineCapabilities, options: Options) -> Capabilities:
    """Show what this server can do and what it enforces."""
    return Capabilities(
        server="sandlot",
        version=version,
        features=_FEATURES,
        templates=list(engine.templates),
        isolation=isolation_view(engine),
        limits=ServerLimits(
            max_output_bytes=options.max_output_bytes,
            max_buffered_upload_bytes=options.max_buffered_upload_bytes,
        ),
    )
