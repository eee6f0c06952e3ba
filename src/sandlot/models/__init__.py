"""Models of the contract, by name.

They are generated from `internal/api/openapi.yaml`; this module says which of them there are. They
are loaded when one is first asked for: making their classes takes longer than the rest of the SDK.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._base import Model
    from ._generated import (
        AddMemberRequest,
        ApiKey,
        AuditEntry,
        AuditPage,
        AuthSession,
        Capabilities,
        Changes,
        Channel,
        ChannelTestResult,
        Checkpoint,
        CheckpointRequest,
        CreateApiKeyRequest,
        CreateChannelRequest,
        CreateSandboxRequest,
        CreateSnapshotRequest,
        Delivery,
        Error,
        ErrorDetail,
        ExecRequest,
        ExecResponse,
        ExecStreamEvent,
        ExecStreamStart,
        FileChange,
        ForkRequest,
        Health,
        Isolation,
        IsolationLimits,
        Lease,
        LoginRequest,
        Member,
        MetricPoint,
        ReadFileRequest,
        RollbackRequest,
        RotateChannelConfigRequest,
        SandboxInfo,
        SandboxMetrics,
        SandboxStats,
        ServerLimits,
        SignupRequest,
        SnapshotInfo,
        StatsCurrent,
        StatsPeaks,
        StatsSeries,
        StopFailure,
        StopReport,
        StopRequest,
        SwitchTeamRequest,
        Team,
        TeamDetail,
        TeamNameRequest,
        TestChannelRequest,
        UpdateChannelRequest,
        UpdateMemberRequest,
        UserMatch,
        WebhookActor,
        WebhookEvent,
        WebhookResource,
        WriteFileRequest,
    )

__all__ = [
    "AddMemberRequest",
    "ApiKey",
    "AuditEntry",
    "AuditPage",
    "AuthSession",
    "Capabilities",
    "Changes",
    "Channel",
    "ChannelTestResult",
    "Checkpoint",
    "CheckpointRequest",
    "CreateApiKeyRequest",
    "CreateChannelRequest",
    "CreateSandboxRequest",
    "CreateSnapshotRequest",
    "Delivery",
    "Error",
    "ErrorDetail",
    "ExecRequest",
    "ExecResponse",
    "ExecStreamEvent",
    "ExecStreamStart",
    "FileChange",
    "ForkRequest",
    "Health",
    "Isolation",
    "IsolationLimits",
    "Lease",
    "LoginRequest",
    "Member",
    "MetricPoint",
    "Model",
    "ReadFileRequest",
    "RollbackRequest",
    "RotateChannelConfigRequest",
    "SandboxInfo",
    "SandboxMetrics",
    "SandboxStats",
    "ServerLimits",
    "SignupRequest",
    "SnapshotInfo",
    "StatsCurrent",
    "StatsPeaks",
    "StatsSeries",
    "StopFailure",
    "StopReport",
    "StopRequest",
    "SwitchTeamRequest",
    "Team",
    "TeamDetail",
    "TeamNameRequest",
    "TestChannelRequest",
    "UpdateChannelRequest",
    "UpdateMemberRequest",
    "UserMatch",
    "WebhookActor",
    "WebhookEvent",
    "WebhookResource",
    "WriteFileRequest",
]


def __getattr__(name: str) -> Any:
    """Load the models when one of them is asked for (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    generated = import_module("._generated", __name__)
    globals().update({each: getattr(generated, each) for each in __all__})
    return globals()[name]


def __dir__() -> list[str]:
    return __all__
