"""Run code you did not write in isolated sandboxes.

Begin with `Client` or `AsyncClient`; `Client.local()` needs nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._retry import (
        Retry,
    )
    from .client import (
        AsyncClient,
        Client,
    )
    from .config import (
        Config,
    )
    from .errors import (
        AgentError,
        APIError,
        AuthenticationError,
        CommandError,
        CommandFailedError,
        CommandTimeoutError,
        ConfigurationError,
        ConflictError,
        ConnectError,
        FileNotFoundInSandboxError,
        HostHasSandboxesError,
        InternalServerError,
        InvalidArgumentError,
        InvalidRequestError,
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
        StreamStartEvent,
        StreamStderrEvent,
        StreamStdoutEvent,
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

__all__ = [
    "APIError",
    "AgentError",
    "AsyncClient",
    "AsyncExecStream",
    "AsyncPage",
    "AsyncSandbox",
    "AuthenticationError",
    "Capabilities",
    "Client",
    "CommandError",
    "CommandFailedError",
    "CommandTimeoutError",
    "Config",
    "ConfigurationError",
    "ConflictError",
    "ConnectError",
    "ExecResult",
    "ExecStream",
    "FileNotFoundInSandboxError",
    "Health",
    "HostHasSandboxesError",
    "InternalServerError",
    "InvalidArgumentError",
    "InvalidRequestError",
    "Isolation",
    "LocalServerError",
    "NoSpaceError",
    "NotFoundError",
    "Outcome",
    "Page",
    "PermissionDeniedError",
    "RateLimitError",
    "RequestTimeoutError",
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
    "StreamStartEvent",
    "StreamStderrEvent",
    "StreamStdoutEvent",
    "TooLargeError",
    "TransportError",
    "UnavailableError",
    "UnexpectedResponseError",
    "UnsupportedByServerError",
    "UnsupportedError",
    "__version__",
]

__version__: str

# Names are looked up when they are first used, so that whoever needs the models alone (the server
# does) imports no HTTP client.
_HOMES = {
    "._retry": ("Retry",),
    ".client": (
        "AsyncClient",
        "Client",
    ),
    ".config": ("Config",),
    ".events": (
        "StreamErrorEvent",
        "StreamEvent",
        "StreamExitEvent",
        "StreamStartEvent",
        "StreamStderrEvent",
        "StreamStdoutEvent",
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
