"""How failures are told: one body for all, and nothing of the inside in it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import Response

from sandlot.models import Error, ErrorDetail

from .api.permissions import methods_of
from .services.errors import (
    HasActiveSandboxesError,
    HostUnavailableError,
    RateLimitedError,
    ServiceError,
)

__all__ = ["OUTCOME", "STATUS_OF", "error_response", "install_handlers"]

OUTCOME: Final = "X-Sandlot-Outcome"
"""Header of failures that look as if nothing had happened, although something may have."""

STATUS_OF: Final[dict[str, int]] = {
    "invalid_request": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "no_team": 403,
    "account_disabled": 403,
    "account_deactivated": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "invalid_state": 409,
    "conflict": 409,
    "already_exists": 409,
    "email_taken": 409,
    "owns_team_with_members": 409,
    "wrong_password": 401,
    "name_reserved": 409,
    "has_active_sandboxes": 409,
    "idempotency_key_conflict": 409,
    "idempotency_key_used": 409,
    "too_large": 413,
    "rate_limited": 429,
    "internal_error": 500,
    "unsupported": 501,
    "agent_error": 502,
    "bad_gateway": 502,
    "port_closed": 502,
    "host_unavailable": 503,
    "no_hosts_available": 503,
    "gateway_timeout": 504,
    "no_space": 507,
}
"""HTTP status of each code of the contract."""

_CODE_OF: Final[dict[int, str]] = {404: "not_found", 405: "method_not_allowed", 413: "too_large"}
_MESSAGE_OF: Final[dict[int, str]] = {
    404: "There is nothing at this path.",
    405: "This path does not take this method.",
}


def error_response(
    code: str,
    message: str,
    request_id: str | None,
    headers: dict[str, str] | None = None,
    sandbox_ids: Sequence[str] | None = None,
) -> Response:
    """Return the contract's answer for a failure."""
    detail = ErrorDetail(code=code, message=message, request_id=request_id)
    if sandbox_ids is not None:
        detail.sandbox_ids = list(sandbox_ids)
    body = Error(error=detail)
    return Response(
        body.model_dump_json(exclude_none=True),
        status_code=STATUS_OF[code],
        headers=headers,
        media_type="application/json",
    )


def install_handlers(app: FastAPI) -> None:
    """Answer what is raised with the contract's body; to a WebSocket that is a refused upgrade."""
    app.add_exception_handler(ServiceError, _on_service_error)
    app.add_exception_handler(HTTPException, _on_http_error)


async def _on_service_error(connection: HTTPConnection, error: Exception) -> Response:
    assert isinstance(error, ServiceError)
    connection.state.failure = error.code
    headers = dict[str, str]()
    if isinstance(error, RateLimitedError | HostUnavailableError) and error.retry_after is not None:
        headers["Retry-After"] = str(math.ceil(error.retry_after))
    if error.midway:
        headers[OUTCOME] = "unknown"
    ids = error.sandbox_ids if isinstance(error, HasActiveSandboxesError) else None
    return error_response(error.code, str(error), _request_id(connection), headers, ids)


async def _on_http_error(connection: HTTPConnection, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status = error.status_code
    code = _CODE_OF.get(status, "invalid_request" if status < 500 else "internal_error")
    message = _MESSAGE_OF.get(status) or HTTPStatus(status).phrase
    headers = dict(error.headers or {})
    if status == 405:
        headers["Allow"] = ", ".join(methods_of(connection.scope))
    return error_response(code, message, _request_id(connection), headers)


def _request_id(connection: HTTPConnection) -> str | None:
    request_id: str | None = getattr(connection.state, "request_id", None)
    return request_id
