"""What happens around every request: its id, its line in the log, and the last resort for crashes.

Plain ASGI: a layer that wrapped requests in objects or queues would touch every piece of every
transfer.
"""

from __future__ import annotations

import logging
import re
import secrets
import time

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .api.permissions import route_of
from .errors import error_response
from .grants import Grant
from .proxy import MARK, CutError, is_for_port
from .services.audit import Draft

__all__ = ["RequestMiddleware"]

_HEADER = b"x-request-id"
_VALID = re.compile(rb"[A-Za-z0-9_.:-]{1,128}")
_log = logging.getLogger("sandlot.server.request")


class RequestMiddleware:
    """Gives every request an id and a line in the log, and answers crashes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        await _Exchange(scope, send).run(self._app, receive)


class _Exchange:
    """One request and its response."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope = scope
        self._send = send
        self._began = time.perf_counter()
        self._status: int | None = None
        self._complete = False
        self._request_id = _request_id(scope)
        scope["state"]["request_id"] = self._request_id
        # Original servers take a slash at the end of some paths; here it means nothing anywhere.
        if len(scope["path"]) > 1:
            scope["path"] = scope["path"].removesuffix("/")

    async def run(self, app: ASGIApp, receive: Receive) -> None:
        """Pass the request on, whatever comes of it."""
        outcome = "done"
        try:
            await app(self._scope, receive, self.send)
        except ClientDisconnect:
            outcome = "disconnected"
        except CutError:
            outcome = "cut"
        except Exception as error:
            if self._was_ended(error):
                outcome = "ended"
                return
            outcome = "failed"
            _log.exception("request failed", extra={"request_id": self._request_id})
            if self._status is None:
                await self._answer_crash(receive)
        finally:
            if self._status is None:
                self._finish_draft()
            self._write_line(outcome)

    async def send(self, message: Message) -> None:
        """Pass a message on, adding the id to the head of the response."""
        kind = message["type"]
        if kind in ("http.response.start", "websocket.accept", "websocket.http.response.start"):
            self._status = message.get("status", 101)
            self._finish_draft()
            message.setdefault("headers", [])
            _ = MutableHeaders(scope=message).setdefault("x-request-id", self._request_id)
        await self._send(message)

    def _was_ended(self, error: Exception) -> bool:
        """Tell whether the client lost its rights in the middle of an answer: it breaks off."""
        grant: Grant | None = self._scope["state"].get("grant")
        return grant is not None and grant.lost and self._status is not None

    def _finish_draft(self) -> None:
        """Write the outcome into the audit log, before the client learns it."""
        state = self._scope["state"]
        draft: Draft | None = state.pop("draft", None)
        if draft is not None:
            draft.finish(self._status, state.get("failure"))

    async def _answer_crash(self, receive: Receive) -> None:
        message = "The server failed; its log has the details under this request id."
        headers = {MARK: "internal_error"} if is_for_port(self._scope) else None
        response = error_response("internal_error", message, self._request_id, headers)
        await response(self._scope, receive, self.send)

    def _write_line(self, outcome: str) -> None:
        if not _log.isEnabledFor(logging.INFO):
            return
        fields = {
            "request_id": self._request_id,
            "method": self._scope.get("method", "WEBSOCKET"),
            "route": route_of(self._scope),
            "status": self._status,
            "ms": round((time.perf_counter() - self._began) * 1000, 1),
            "outcome": outcome,
        }
        fields |= self._scope["state"].get("log", {})
        _log.info("request", extra=fields)


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == _HEADER and _VALID.fullmatch(value):
            return str(value, "ascii")
    return f"req-{secrets.token_hex(12)}"
