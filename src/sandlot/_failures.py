"""Which exception a failed response stands for."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeGuard

from .errors import (
    AgentError,
    APIError,
    AuthenticationError,
    ConflictError,
    HostHasSandboxesError,
    InternalServerError,
    InvalidRequestError,
    NoSpaceError,
    NotFoundError,
    Outcome,
    PermissionDeniedError,
    RateLimitError,
    SandlotError,
    TooLargeError,
    UnavailableError,
    UnsupportedByServerError,
)

if TYPE_CHECKING:
    from .executions import Execution

_OUTCOME = "x-sandlot-outcome"
"""Header of refusals that came when something was going on already."""

_BY_CODE: dict[str, type[APIError]] = {
    "unauthorized": AuthenticationError,
    "forbidden": PermissionDeniedError,
    "account_deactivated": PermissionDeniedError,
    "not_found": NotFoundError,
    "invalid_state": ConflictError,
    "conflict": ConflictError,
    "already_exists": ConflictError,
    "idempotency_key_conflict": ConflictError,
    "idempotency_key_used": ConflictError,
    "host_has_sandboxes": HostHasSandboxesError,
    "has_active_sandboxes": HostHasSandboxesError,
    "too_large": TooLargeError,
    "unsupported": UnsupportedByServerError,
    "host_unavailable": UnavailableError,
    "no_hosts_available": UnavailableError,
    "no_space": NoSpaceError,
}

_BY_STATUS: dict[int, type[APIError]] = {
    400: InvalidRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    413: TooLargeError,
    422: InvalidRequestError,
    429: RateLimitError,
    501: UnsupportedByServerError,
    502: AgentError,
    503: UnavailableError,
    504: AgentError,
    507: NoSpaceError,
}


_DENIALS = frozenset({"unauthorized", "account_deactivated"})
"""What a conversation ends with when the credential that began it is not valid any more."""


def from_code(code: str, message: str) -> APIError:
    """Make the exception that a code stands for, told over a WebSocket before anything happened."""
    kind = _BY_CODE.get(code) or (InvalidRequestError if code == "invalid_request" else APIError)
    status = next((status for status, each in _BY_STATUS.items() if each is kind), 0)
    return kind(message, code=code, status_code=status)


def denied(
    error: SandlotError,
    *,
    stdout: str = "",
    stderr: str = "",
    execution: Execution | None = None,
) -> APIError | None:
    """Return a refusal for want of rights as one of what was going on; None if it is another one.

    Until then it may have had its effect.
    """
    if not isinstance(error, AuthenticationError | PermissionDeniedError):
        return None
    if error.code not in _DENIALS:
        return None
    late = type(error)(
        error.message,
        code=error.code,
        status_code=error.status_code,
        outcome="unknown",
        request_id=error.request_id,
    )
    late.stdout, late.stderr, late.execution = stdout, stderr, execution
    return late


def from_response(
    status: int, content: bytes, headers: Mapping[str, str], *, idempotent: bool = False
) -> APIError:
    """Make the exception that a failed response stands for.

    Args:
        status: HTTP status.
        content: Body; anything at all.
        headers: Headers.
        idempotent: Sending the same request again does no harm even if it had an effect.
    """
    body = _json(content)
    detail = _object(body.get("error"))
    code = detail.get("code")
    message = detail.get("message")
    if not isinstance(code, str):
        # Proxies and routers answer in plain text (wrenn: 404 page not found, empty 405).
        code = "unknown"
    if not isinstance(message, str) or not message:
        message = content[:200].decode(errors="replace").strip() or f"HTTP status {status}"
    fallback = InternalServerError if status >= 500 else APIError
    kind = _BY_CODE.get(code) or _BY_STATUS.get(status, fallback)
    if (status >= 500 and status not in (501, 503, 507)) or headers.get(_OUTCOME) == "unknown":
        outcome: Outcome = "unknown"
    else:
        outcome = "not_started"
    transient = status in (429, 503)
    uncertain = status in (500, 502, 504)
    request_id = detail.get("request_id")
    error = kind(
        message,
        code=code,
        status_code=status,
        retry_after=retry_after(headers.get("retry-after")),
        outcome=outcome,
        is_retryable=transient or (uncertain and idempotent),
        request_id=request_id if isinstance(request_id, str) else headers.get("x-request-id"),
    )
    if isinstance(error, HostHasSandboxesError):
        error.sandbox_ids = _texts(detail.get("sandbox_ids", body.get("sandbox_ids")))
    return error


def retry_after(value: str | None) -> float | None:
    """Read a `Retry-After` header: seconds, or a date (RFC 9110, section 10.2.3)."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        from email.utils import parsedate_to_datetime  # slow to import, rarely needed

        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except ValueError:
            return None
    return max(0.0, seconds) if seconds < float("inf") else None


def _json(content: bytes) -> dict[str, Any]:
    try:
        return _object(json.loads(content))
    except ValueError:
        return {}


def _object(value: Any) -> dict[str, Any]:
    return value if _is_object(value) else {}


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(str(item) for item in value) if _is_list(value) else ()


def _is_object(value: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def _is_list(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, list)
