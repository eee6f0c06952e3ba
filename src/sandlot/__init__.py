"""Run code you did not write in isolated sandboxes.

Begin with `Client` or `AsyncClient`; `Client.local()` needs nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._retry import (
        Retry,
    )
    from .charts import (
        Chart,
    )
    from .client import (
        AsyncClient,
        Client,
    )
    from .code_events import (
        CodeClearEvent,
        CodeEndEvent,
        CodeErrorEvent,
        CodeEvent,
        CodeResultEvent,
        CodeStderrEvent,
        CodeStdoutEvent,
        CodeUpdateEvent,
    )
    from .config import (
        Config,
    )
    from .errors import (
        AgentError,
        APIError,
        AuthenticationError,
        BuildFailedError,
        BuildTimeoutError,
        CodeFailedError,
        CodeLostError,
        CodeRunError,
        CodeTimeoutError,
        CommandError,
        CommandFailedError,
        CommandTimeoutError,
        ConfigurationError,
        ConflictError,
        ConnectError,
        ContextNotFoundError,
        FileNotFoundInSandboxError,
        HostHasSandboxesError,
        InternalServerError,
        InvalidArgumentError,
        InvalidRequestError,
        KernelDiedError,
        LeaseLostError,
        LocalServerError,
        NoSpaceError,
        NotFoundError,
        Outcome,
        PermissionDeniedError,
        RateLimitError,
        RequestTimeoutError,
        SandboxDestroyedError,
        SandboxStateError,
        SandboxTimeoutError,
        SandlotError,
        StreamClosedError,
        TooLargeError,
        TransportError,
        UnavailableError,
        UnexpectedResponseError,
        UnsupportedByServerError,
        UnsupportedError,
    )
    from .events import (
        StreamErrorEvent,
        StreamEvent,
        StreamExitEvent,
        StreamGapEvent,
        StreamStartEvent,
        StreamStderrEvent,
        StreamStdoutEvent,
    )
    from .executions import (
        CodeError,
        CodeOutput,
        CodeText,
        Execution,
        Result,
        Variable,
    )
    from .models import (
        Capabilities,
        Health,
        Isolation,
        SandboxInfo,
        SandboxMetrics,
        SandboxStats,
    )
    from .resources.pages import (
        AsyncPage,
        Page,
    )
    from .results import (
        ExecResult,
    )
    from .sandbox import (
        AsyncExecStream,
        AsyncSandbox,
        ExecStream,
        Sandbox,
    )
    from .sandbox.cells import (
        AsyncCodeStream,
        CodeStream,
    )
    from .sandbox.contexts import (
        AsyncCodeContext,
        CodeContext,
    )
    from .sandbox.following import (
        AsyncProcessStream,
        ProcessStream,
    )
    from .sandbox.processes import (
        AsyncProcess,
        Process,
    )
    from .sandbox.terminals import (
        AsyncPtySession,
        PtySession,
    )
    from .tables import (
        Table,
    )

__all__ = [
    "APIError",
    "AgentError",
    "AsyncClient",
    "AsyncCodeContext",
    "AsyncCodeStream",
    "AsyncExecStream",
    "AsyncPage",
    "AsyncProcess",
    "AsyncProcessStream",
    "AsyncPtySession",
    "AsyncSandbox",
    "AuthenticationError",
    "BuildFailedError",
    "BuildTimeoutError",
    "Capabilities",
    "Chart",
    "Client",
    "CodeClearEvent",
    "CodeContext",
    "CodeEndEvent",
    "CodeError",
    "CodeErrorEvent",
    "CodeEvent",
    "CodeFailedError",
    "CodeLostError",
    "CodeOutput",
    "CodeResultEvent",
    "CodeRunError",
    "CodeStderrEvent",
    "CodeStdoutEvent",
    "CodeStream",
    "CodeText",
    "CodeTimeoutError",
    "CodeUpdateEvent",
    "CommandError",
    "CommandFailedError",
    "CommandTimeoutError",
    "Config",
    "ConfigurationError",
    "ConflictError",
    "ConnectError",
    "ContextNotFoundError",
    "ExecResult",
    "ExecStream",
    "Execution",
    "FileNotFoundInSandboxError",
    "Health",
    "HostHasSandboxesError",
    "InternalServerError",
    "InvalidArgumentError",
    "InvalidRequestError",
    "Isolation",
    "KernelDiedError",
    "LeaseLostError",
    "LocalServerError",
    "NoSpaceError",
    "NotFoundError",
    "Outcome",
    "Page",
    "PermissionDeniedError",
    "Process",
    "ProcessStream",
    "PtySession",
    "RateLimitError",
    "RequestTimeoutError",
    "Result",
    "Retry",
    "Sandbox",
    "SandboxDestroyedError",
    "SandboxInfo",
    "SandboxMetrics",
    "SandboxStateError",
    "SandboxStats",
    "SandboxTimeoutError",
    "SandlotError",
    "StreamClosedError",
    "StreamErrorEvent",
    "StreamEvent",
    "StreamExitEvent",
    "StreamGapEvent",
    "StreamStartEvent",
    "StreamStderrEvent",
    "StreamStdoutEvent",
    "Table",
    "TooLargeError",
    "TransportError",
    "UnavailableError",
    "UnexpectedResponseError",
    "UnsupportedByServerError",
    "UnsupportedError",
    "Variable",
    "__version__",
]

__version__: str

# Names are looked up when they are first used, so that whoever needs the models alone (the server
# does) imports no HTTP client.
_HOMES = {
    "._retry": ("Retry",),
    ".charts": ("Chart",),
    ".client": (
        "AsyncClient",
        "Client",
    ),
    ".code_events": (
        "CodeClearEvent",
        "CodeEndEvent",
        "CodeErrorEvent",
        "CodeEvent",
        "CodeResultEvent",
        "CodeStderrEvent",
        "CodeStdoutEvent",
        "CodeUpdateEvent",
    ),
    ".config": ("Config",),
    ".events": (
        "StreamErrorEvent",
        "StreamEvent",
        "StreamExitEvent",
        "StreamGapEvent",
        "StreamStartEvent",
        "StreamStderrEvent",
        "StreamStdoutEvent",
    ),
    ".executions": (
        "CodeError",
        "CodeOutput",
        "CodeText",
        "Execution",
        "Result",
        "Variable",
    ),
    ".models": (
        "Capabilities",
        "Health",
        "Isolation",
        "SandboxInfo",
        "SandboxMetrics",
        "SandboxStats",
    ),
    ".resources.pages": (
        "AsyncPage",
        "Page",
    ),
    ".results": ("ExecResult",),
    ".sandbox": (
        "AsyncExecStream",
        "AsyncSandbox",
        "ExecStream",
        "Sandbox",
    ),
    ".sandbox.cells": (
        "AsyncCodeStream",
        "CodeStream",
    ),
    ".sandbox.contexts": (
        "AsyncCodeContext",
        "CodeContext",
    ),
    ".sandbox.following": (
        "AsyncProcessStream",
        "ProcessStream",
    ),
    ".sandbox.processes": (
        "AsyncProcess",
        "Process",
    ),
    ".sandbox.terminals": (
        "AsyncPtySession",
        "PtySession",
    ),
    ".tables": ("Table",),
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("sandlot")
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    home = next((home for home, names in _HOMES.items() if name in names), ".errors")
    value: object = getattr(import_module(home, __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
