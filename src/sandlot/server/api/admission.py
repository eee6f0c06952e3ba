"""WebSockets of clients that cannot send headers: they say who they are in their first message."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Annotated, Final

from fastapi import Depends
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.types import Message
from starlette.websockets import WebSocket, WebSocketDisconnect

from sandlot.server.plane import ControlPlane
from sandlot.server.services.audit import Draft
from sandlot.server.services.errors import UnauthorizedError
from sandlot.server.services.live import LiveSandbox
from sandlot.server.services.principals import NOBODY, act_as

from .context import Caller, Plane, SandboxId
from .permissions import check, rule_of

__all__ = ["Admission", "admit"]

_TIMEOUT: Final = 5.0
"""Seconds for the message."""


class _Auth(BaseModel):
    model_config = ConfigDict(strict=True)

    type: str
    token: str


async def _admission(
    websocket: WebSocket, plane: Plane, caller: Caller, sandbox_id: SandboxId
) -> LiveSandbox | None:
    if caller is NOBODY:
        return None
    return await plane.sandboxes.running(caller.team_id, sandbox_id)


Admission = Annotated[LiveSandbox | None, Depends(_admission)]
"""The running sandbox of the path; None if it is not known yet who asks for it."""


async def admit(
    websocket: WebSocket, plane: ControlPlane, admission: LiveSandbox | None
) -> LiveSandbox:
    """Return the running sandbox, after hearing who asks for it if that is not known yet.

    Raises:
        ServiceError: They may not, or there is none.
        WebSocketDisconnect: The client left.
    """
    if admission is not None:
        return admission
    try:
        async with asyncio.timeout(_TIMEOUT):
            token = _token(await websocket.receive())
    except TimeoutError as error:
        raise UnauthorizedError("No auth message came in time.") from error
    since = plane.auth.changes
    caller = await plane.auth.identify(None, f"Bearer {token}")
    act_as(caller.actor)
    rule = rule_of(websocket.scope)
    assert rule is not None
    check(rule, caller)
    websocket.state.grant = plane.grants.grant(caller, since, partial(check, rule))
    sandbox_id: str = websocket.path_params["id"]
    live = await plane.sandboxes.running(caller.team_id, sandbox_id)
    if rule.audited is not None:
        Draft(plane.audit, rule.audited, caller.team_id, caller.actor, sandbox_id).finish(101, None)
    return live


def _token(message: Message) -> str:
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1006))
    try:
        auth = _Auth.model_validate_json(message.get("text") or message.get("bytes") or "")
    except ValidationError as error:
        raise UnauthorizedError("The first message must be an auth message.") from error
    if auth.type != "auth":
        raise UnauthorizedError("The first message must be an auth message.")
    return auth.token
