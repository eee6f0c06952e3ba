"""What handlers ask for: the control plane, who is asking, which sandbox is meant."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Annotated

from fastapi import Depends
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

from sandlot.server.grants import Grant
from sandlot.server.ids import is_id
from sandlot.server.plane import ControlPlane
from sandlot.server.services.audit import Draft, begin
from sandlot.server.services.errors import (
    ForbiddenError,
    HostUnavailableError,
    InvalidRequestError,
)
from sandlot.server.services.live import LiveSandbox
from sandlot.server.services.principals import NOBODY, Principal, act_as

from .permissions import Rule, check, methods_of, route_of, rule_of

__all__ = [
    "Caller",
    "OwnTeam",
    "Plane",
    "RunningSandbox",
    "SandboxId",
    "authorize",
    "check_id",
    "check_sandbox_id",
    "held",
]

_log = logging.getLogger("sandlot.server")


# All of these are coroutines: others would be run in a thread each, which takes far longer.


async def _plane(connection: HTTPConnection) -> ControlPlane:
    plane: ControlPlane = connection.app.state.plane
    return plane


Plane = Annotated[ControlPlane, Depends(_plane)]


async def authorize(connection: HTTPConnection, plane: Plane) -> Principal:
    """Find out who is asking, and whether they may: the first thing that every route does."""
    rule = rule_of(connection.scope)
    if rule is None:
        if methods_of(connection.scope):
            raise HTTPException(405)
        _log.error("a route has no rule", extra={"route": route_of(connection.scope)})
        raise ForbiddenError("Nobody may do that.")
    if rule.scope is None and not rule.host:
        _refuse_other_sites(connection)
        caller = NOBODY
    elif rule.late and _comes_without(connection) and plane.auth.required:
        return NOBODY  # what it asks for is checked when it has said who it is
    else:
        since = plane.auth.changes
        caller = await _identify(connection, plane, rule)
        connection.state.grant = plane.grants.grant(caller, since, partial(check, rule))
    act_as(caller.actor)
    if rule.audited is not None:
        resource: str | None = connection.path_params.get(rule.audited.resource)
        draft = Draft(plane.audit, rule.audited, caller.team_id, caller.actor, resource)
        connection.state.draft = draft
        begin(draft)
    check(rule, caller)
    if b"%00" in connection.scope["query_string"]:
        # PostgreSQL has no NUL in texts, so that nothing can be found by one.
        raise InvalidRequestError("The query must not contain NUL characters.")
    return caller


def held(connection: HTTPConnection, *, begun: bool = True) -> AbstractContextManager[None]:
    """Go on for as long as whoever asks may.

    Args:
        connection: What they ask with.
        begun: Whether something may have happened when they may no more.

    Raises:
        ServiceError: They may no more; what was going on in the block was cancelled.
    """
    grant: Grant | None = getattr(connection.state, "grant", None)
    return nullcontext() if grant is None else grant.held(begun=begun)


def _comes_without(connection: HTTPConnection) -> bool:
    headers = connection.headers
    return "x-api-key" not in headers and "authorization" not in headers


async def _identify(connection: HTTPConnection, plane: ControlPlane, rule: Rule) -> Principal:
    if plane.stopping.is_set():
        raise HostUnavailableError("The server is shutting down.")
    headers = connection.headers
    if rule.host:
        return plane.auth.identify_host(headers.get("x-host-token"))
    caller = await plane.auth.identify(headers.get("x-api-key"), headers.get("authorization"))
    if caller.kind == "open" and "origin" in headers:
        # Any page that somebody on this machine looks at could send this without their knowledge.
        raise ForbiddenError("Web pages may only use a server that asks for a key.")
    return caller


def _refuse_other_sites(connection: HTTPConnection) -> None:
    """Refuse pages that came from elsewhere: they could make the first user of a server."""
    origin = connection.headers.get("origin")
    if origin is not None and origin.partition("://")[2] != connection.headers.get("host"):
        raise ForbiddenError("Web pages of other sites may not do that.")


Caller = Annotated[Principal, Depends(authorize)]


async def _sandbox_id(connection: HTTPConnection, _caller: Caller) -> str:
    # After `Caller`: who may not ask is not told what is wrong with the question.
    sandbox_id: str = connection.path_params["id"]
    check_sandbox_id(sandbox_id, "id")
    return sandbox_id


def check_sandbox_id(text: str, field: str) -> None:
    """Check that a text looks like the id of a sandbox.

    Raises:
        InvalidRequestError: It does not.
    """
    if not is_id("cl", text):
        raise InvalidRequestError(f"{field}: is not the id of a sandbox (cl- and 25 characters).")


SandboxId = Annotated[str, Depends(_sandbox_id)]


def check_id(prefix: str, text: str, field: str) -> str:
    """Return a text that looks like an id with this prefix.

    Raises:
        InvalidRequestError: It does not.
    """
    if not is_id(prefix, text):
        raise InvalidRequestError(f"{field}: must be {prefix}- and 25 characters.")
    return text


async def _own_team(connection: HTTPConnection, caller: Caller) -> str:
    team_id = check_id("team", connection.path_params["id"], "id")
    if team_id != caller.team_id:
        raise ForbiddenError("Your credential is for another team: switch to this one first.")
    return team_id


OwnTeam = Annotated[str, Depends(_own_team)]
"""The team of the path, which is the caller's."""


async def _running(plane: Plane, caller: Caller, sandbox_id: SandboxId) -> LiveSandbox:
    return await plane.sandboxes.running(caller.team_id, sandbox_id)


RunningSandbox = Annotated[LiveSandbox, Depends(_running)]
