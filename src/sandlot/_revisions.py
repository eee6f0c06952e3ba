"""Where sandboxes are: a flow around a flow.

Later Wrenn servers call them capsules, at `/v1/capsules`, and are otherwise asked the same (wrenn:
9). Which of the two a server knows is found out by the first request about sandboxes.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TypeVar

from ._flow import Flow, Request, Response, Server, exchange
from ._retry import around

T = TypeVar("T")

_HERE = "/v1/sandboxes"
_THERE = "/v1/capsules"


def located(flow: Flow[T], server: Server) -> Flow[T]:
    """Perform a flow, with its requests about sandboxes sent where this server has them."""
    return around(flow, lambda request: _send(request, server))


def _send(request: Request, server: Server) -> Flow[Response]:
    rest = request.path.removeprefix(_HERE)
    if request.port is not None or rest == request.path or server.says_capsules is False:
        return (yield from exchange(request))
    there = replace(request, path=_THERE + rest)
    if server.says_capsules:
        return (yield from exchange(there))
    response = yield from exchange(request)
    if not _is_unknown(response):
        if response.status < 400 or (response.status < 500 and _is_json(response)):
            server.says_capsules = False
        return response
    if server.capabilities is not None or not _is_whole(request):
        return response
    other = yield from exchange(there)
    if _is_unknown(other):
        return response
    server.says_capsules = True
    return other


def _is_unknown(response: Response) -> bool:
    """Tell whether there is no such path: routers say so in plain text (wrenn: 1.1)."""
    return response.status == 404 and not _is_json(response)


def _is_json(response: Response) -> bool:
    """Tell whether the server itself has answered a failure: proxies on the way send pages."""
    try:
        _ = json.loads(response.content)
    except ValueError:
        return False
    return True


def _is_whole(request: Request) -> bool:
    """Tell whether a request can be sent again: pieces of a stream are used up."""
    return request.upload is None or isinstance(request.upload.content, bytes)
