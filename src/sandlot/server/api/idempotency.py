"""Keys that name requests."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Coroutine
from typing import TypeVar

from starlette.requests import Request

from sandlot.models import Model
from sandlot.server.plane import ControlPlane
from sandlot.server.services.errors import InvalidRequestError
from sandlot.server.services.idempotency import Claim, Keyed
from sandlot.server.services.principals import Principal

from .disconnects import while_connected

__all__ = ["fingerprint", "once"]

_KEY = re.compile(r"[A-Za-z0-9_:.-]{1,255}")
_T = TypeVar("_T")


async def once(
    request: Request,
    plane: ControlPlane,
    caller: Principal,
    prefix: str,
    same: str,
    make: Callable[[Claim], Coroutine[object, object, _T]],
    find: Callable[[Claim], Coroutine[object, object, _T | None]],
    *,
    clear: Callable[[Claim], Coroutine[object, object, bool]] | None = None,
    lasting: bool = False,
    undone: bool = False,
) -> _T:
    """Make what a request asks for; with an idempotency key once, however often it is sent.

    Args:
        request: The request.
        plane: The control plane.
        caller: Who sent it.
        prefix: With what ids of such things begin.
        same: Its fingerprint.
        make: Makes the thing that is called like this.
        find: Returns it; None if there is none, or nothing that is good for anything.
        clear: Makes sure that nothing comes of an attempt that broke off; returns whether its name
            can be used again.
        lasting: Whether things of this kind can be found for ever, even when they are gone.
        undone: Whether, without a key, it is cancelled when the requester hangs up.
    """
    key = _key(request)
    if key is not None:
        owner = caller.key_id or caller.user_id or ""
        keyed = Keyed(caller.team_id, owner, key, same)
        service = plane.idempotency
        return await service.once(keyed, prefix, make, find, clear=clear, lasting=lasting)
    work = make(plane.idempotency.unclaimed(prefix))
    return await (while_connected(request, work) if undone else work)


def fingerprint(body: Model, *about: str) -> str:
    """Return what only requests have in common that ask for the same.

    Args:
        body: What is asked for.
        about: What else makes a difference.
    """
    text = json.dumps([body.to_dict(), *about] if about else body.to_dict(), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _key(request: Request) -> str | None:
    key = request.headers.get("idempotency-key")
    if key is not None and not _KEY.fullmatch(key):
        raise InvalidRequestError(
            "Idempotency-Key: must be 1-255 characters of A-Z a-z 0-9 _ : . -"
        )
    return key
