"""Models of the contract, by name.

They are generated from `internal/api/openapi.yaml`; this module says which of them there are.
"""

from __future__ import annotations

from ._base import Model
from ._generated import (
    Capabilities,
    CreateSandboxRequest,
    Error,
    ErrorDetail,
    ExecRequest,
    ExecResponse,
    ExecStreamEvent,
    ExecStreamStart,
    Health,
    Isolation,
    IsolationLimits,
    MetricPoint,
    ReadFileRequest,
    SandboxInfo,
    SandboxMetrics,
    SandboxStats,
    ServerLimits,
    StatsCurrent,
    StatsPeaks,
    StatsSeries,
    WriteFileRequest,
)

__all__ = [
    "Capabilities",
    "CreateSandboxRequest",
    "Error",
    "ErrorDetail",
    "ExecRequest",
    "ExecResponse",
    "ExecStreamEvent",
    "ExecStreamStart",
    "Health",
    "Isolation",
    "IsolationLimits",
    "MetricPoint",
    "Model",
    "ReadFileRequest",
    "SandboxInfo",
    "SandboxMetrics",
    "SandboxStats",
    "ServerLimits",
    "StatsCurrent",
    "StatsPeaks",
    "StatsSeries",
    "WriteFileRequest",
]
