"""Records as the contract shows them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from sandlot.models import (
    Capabilities,
    Isolation,
    IsolationLimits,
    MetricPoint,
    SandboxInfo,
    SandboxMetrics,
    SandboxStats,
    ServerLimits,
    StatsCurrent,
    StatsPeaks,
    StatsSeries,
    StopFailure,
    StopReport,
)
from sandlot.server.engine.base import EngineCapabilities
from sandlot.server.options import Options
from sandlot.server.services import sandboxes
from sandlot.server.services.lifecycle import expires_at
from sandlot.server.services.metrics import Point
from sandlot.server.services.stats import StatsReport
from sandlot.server.store.records import SandboxRecord

__all__ = ["capabilities_view", "metrics_view", "sandbox_view", "stats_view", "stop_view"]

_FEATURES: Final = [
    "capabilities",
    "create.cwd",
    "create.disk",
    "create.env",
    "create.if_exists",
    "create.lease",
    "create.lifetime",
    "create.metadata",
    "create.name",
    "create.network",
    "create.on_timeout",
    "exec.cwd",
    "exec.env",
    "exec.max_output_bytes",
    "exec.stdin",
    "exec.stream.v1",
    "exec.user",
    "idempotency",
    "list.filters",
    "list.paging",
    "ports.errors",
    "sandboxes.stop",
]
"""The additions to the original protocol."""


def sandbox_view(record: SandboxRecord) -> SandboxInfo:
    """Show a sandbox."""
    return SandboxInfo(
        id=record.id,
        status=record.status,
        status_reason=record.status_reason,
        template=record.template,
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
    limits = engine.limits
    return Capabilities(
        server="sandlot",
        version=version,
        features=_FEATURES,
        templates=list(engine.templates),
        isolation=Isolation(
            level=engine.level,
            engine=engine.engine,
            namespaces=list(engine.namespaces),
            seccomp=engine.seccomp,
            no_new_privileges=engine.no_new_privileges,
            capabilities_dropped=engine.capabilities_dropped,
            private_uid=engine.private_uid,
            network=list(engine.network),
            pause=engine.pause,
            limits=IsolationLimits(
                memory=limits.memory, pids=limits.pids, cpu=limits.cpu, disk=limits.disk
            ),
            reason=engine.reason,
        ),
        limits=ServerLimits(
            max_output_bytes=options.max_output_bytes,
            max_buffered_upload_bytes=options.max_buffered_upload_bytes,
        ),
    )
