"""What handlers ask for: the control plane, who is asking, which sandbox is meant."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from sandlot.server.ids import is_id
from sandlot.server.plane import ControlPlane
from sandlot.server.services.errors import (
    ForbiddenError,
    HostUnavailableError,
    InvalidRequestError,
)
from sandlot.server.services.live import LiveSandbox
from sandlot.server.services.principals import Principal, act_as

__all__ = ["Caller", "Plane", "RunningSandbox", "SandboxId", "check_sandbox_id"]


# All of these are coroutines: others would be run in a thread each, which takes far longer.


async def _plane(connection: HTTPConnection) -> ControlPlane:
    plane: ControlPlane = connection.app.state.plane
    return plane


Plane = Annotated[ControlPlane, Depends(_plane)]


async def _caller(connection: HTTPConnection, plane: Plane) -> Principal:
    if plane.stopping.is_set():
        raise HostUnavailableError("The server is shutting down.")
    caller = await plane.auth.identify(connection.headers.get("x-api-key"))
    if caller.kind == "open" and "origin" in connection.headers:
        # Any page that somebody on this machine looks at could send this without their knowledge.
        raise ForbiddenError("Web pages may only use a server that asks for a key.")
    act_as(caller.actor)
    return caller


Caller = Annotated[Principal, Depends(_caller)]


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


async def _running(plane: Plane, caller: Caller, sandbox_id: SandboxId) -> LiveSandbox:
    return await plane.sandboxes.running(caller.team_id, sandbox_id)


RunningSandbox = Annotated[LiveSandbox, Depends(_running)]
