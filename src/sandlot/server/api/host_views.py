"""Hosts, templates of all teams and usage, as the contract shows them."""

from __future__ import annotations

from datetime import datetime

from sandlot.models import (
    AdminTemplate,
    Host,
    HostCredentials,
    HostInvitation,
    UsagePoint,
    UsageReport,
)
from sandlot.server.services import usage
from sandlot.server.services.enrollment import Credentials
from sandlot.server.services.hosts import Invitation, SeenHost
from sandlot.server.services.new_sandboxes import NewSandbox
from sandlot.server.services.principals import DEFAULT_TEAM
from sandlot.server.store.hosts import HostRecord
from sandlot.server.store.records import SnapshotRecord

__all__ = [
    "base_template_view",
    "credentials_view",
    "host_view",
    "invitation_view",
    "team_template_view",
    "usage_view",
]


def host_view(seen: SeenHost) -> Host:
    """Show a host."""
    return _host(seen.record, seen.team_name)


def invitation_view(invitation: Invitation) -> HostInvitation:
    """Show a host that waits to be registered, with the token for that."""
    return HostInvitation(
        host=_host(invitation.host), registration_token=invitation.registration_token
    )


def credentials_view(credentials: Credentials) -> HostCredentials:
    """Show what an agent is given."""
    return HostCredentials(
        host=_host(credentials.host),
        token=credentials.token,
        refresh_token=credentials.refresh_token,
    )


def team_template_view(record: SnapshotRecord) -> AdminTemplate:
    """Show a snapshot to administrators."""
    return AdminTemplate(
        name=record.name or record.id,
        type="base" if record.platform else "snapshot",
        vcpus=record.vcpus,
        memory_mb=record.memory_mb,
        size_bytes=record.size_bytes,
        team_id=record.team_id,
        created_at=record.created_at,
    )


def base_template_view(name: str, since: datetime) -> AdminTemplate:
    """Show a template of the engine to administrators."""
    usual = NewSandbox()
    return AdminTemplate(
        name=name,
        type="base",
        vcpus=usual.vcpus,
        memory_mb=usual.memory_mb,
        size_bytes=0,
        team_id=DEFAULT_TEAM,
        created_at=since,
    )


def usage_view(report: usage.UsageReport) -> UsageReport:
    """Show what a team used."""
    points = [
        UsagePoint(
            date=used.day,
            cpu_minutes=used.cpu_seconds / 60,
            ram_mb_minutes=used.memory_mb_seconds / 60,
        )
        for used in report.days
    ]
    return UsageReport(from_=report.first, to=report.last, points=points)


def _host(record: HostRecord, team_name: str | None = None) -> Host:
    return Host(
        id=record.id,
        type=record.type,
        team_id=record.team_id,
        team_name=team_name,
        provider=record.provider,
        availability_zone=record.availability_zone,
        arch=record.arch,
        cpu_cores=record.cpu_cores,
        memory_mb=record.memory_mb,
        disk_gb=record.disk_gb,
        address=record.address,
        engine=record.engine,
        status=record.status,
        last_heartbeat_at=record.last_heartbeat_at,
        created_by=record.created_by,
        created_at=record.created_at,
        updated_at=record.updated_at,
    )
