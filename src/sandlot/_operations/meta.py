"""Operations on the server itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote
from uuid import uuid4

from .. import models
from .._flow import KEY_HEADER, Flow, Method, Request, Response, Server, fetch, send
from ..errors import (
    APIError,
    AuthenticationError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    TransportError,
    UnexpectedResponseError,
    UnsupportedError,
)
from . import arguments

_METHODS: dict[str, Method] = {
    "GET": "GET",
    "HEAD": "HEAD",
    "POST": "POST",
    "PUT": "PUT",
    "PATCH": "PATCH",
    "DELETE": "DELETE",
}


def health() -> Flow[models.Health]:
    """Ask whether the server is up."""
    try:
        return (yield from fetch(models.Health, Request("GET", "/health")))
    except NotFoundError as exc:
        # wrenn: 1.1 and 9, only later servers have it; routers answer without a code.
        if exc.code != "unknown":
            raise
        raise UnsupportedError(
            "This server has no /health: it is an original Wrenn server, or base_url is wrong."
            " Something answers there"
        ) from exc


def capabilities(server: Server) -> Flow[models.Capabilities]:
    """Ask what the server can do."""
    yield from _learn(server)
    if server.capabilities is None:
        raise UnsupportedError(
            "This server cannot say what it can do: it is an original Wrenn server, which has no"
            " /v1/capabilities and none of the additions"
        )
    return server.capabilities


def known(server: Server) -> Flow[models.Capabilities | None]:
    """Return what the server can do, asking it only the first time; None for an original one."""
    if not server.asked:
        yield from _learn(server)
    return server.capabilities


def require(server: Server, what: str, *features: str) -> Flow[None]:
    """Refuse to send what a server without these features would silently ignore."""
    capabilities = yield from known(server)
    if capabilities is None:
        raise UnsupportedError(
            f"This server does not support {what}: it is an original Wrenn server, which would"
            " ignore it. Nothing was sent"
        )
    if not set(features) <= set(capabilities.features):
        raise UnsupportedError(
            f"This server does not support {what}: version {capabilities.version} would ignore it."
            " Nothing was sent"
        )


def keeps_keys(server: Server, *, timeout: float | None = None) -> Flow[bool]:
    """Tell whether a request with a key may be sent again: an original server ignores keys.

    Args:
        server: What is known of it.
        timeout: Seconds to wait for its answer, if it has not been asked yet.

    Raises:
        TransportError: It does not say now.
    """
    if not server.asked:
        try:
            yield from _learn(server, timeout)
        except APIError as exc:
            if exc.is_retryable:
                raise TransportError(str(exc), outcome="unknown", is_retryable=True) from exc
            return False  # it is not for this credential to ask
    return server.capabilities is not None


def creation_key(server: Server) -> Flow[dict[str, str]]:
    """Return the header that lets a creation be sent again; original servers would ignore it."""
    try:
        its_own = (yield from known(server)) is not None
    except (AuthenticationError, PermissionDeniedError):  # it is not for this credential to ask
        its_own = False
    return {KEY_HEADER: uuid4().hex} if its_own else {}


def request(
    method: str,
    path: str,
    *,
    params: Mapping[str, str] | None,
    json: Any,
    idempotency_key: str | None,
    timeout: float | None,
) -> Flow[Any]:
    """Send a request that this version has no method for."""
    verb = _METHODS.get(method.upper())
    if verb is None:
        raise InvalidArgumentError(f"method must be one of {', '.join(_METHODS)}")
    address = arguments.text(path, "path")
    segments = [unquote(segment) for segment in address.split("/")]
    # Two slashes at the beginning would name another host, which would get the credential.
    whole = len(segments) > 1 and not segments[0] and segments[1]
    if not whole or {".", ".."} & set(segments) or set("?#\\") & set(address):
        raise InvalidArgumentError(
            "path must start with one / and have no dot segments, query or fragment (use params)"
        )
    headers: dict[str, str] = {}
    if idempotency_key is not None:
        headers[KEY_HEADER] = arguments.idempotency_key(idempotency_key)
    limit = arguments.seconds(timeout, "timeout")
    response = yield from send(
        Request(verb, address, json, params or {}, headers=headers, timeout=limit)
    )
    return _content(response)


def _content(response: Response) -> Any:
    import json

    if not response.content:
        return None
    if "json" not in response.headers.get("content-type", ""):
        return response.content
    try:
        return json.loads(response.content)
    except ValueError as exc:
        raise UnexpectedResponseError(
            f"the answer is not the JSON it claims to be: {exc}",
            outcome="finished",
            request_id=response.headers.get("x-request-id"),
        ) from exc


def _learn(server: Server, timeout: float | None = None) -> Flow[None]:
    request = Request("GET", "/v1/capabilities", timeout=timeout)
    try:
        server.capabilities = yield from fetch(models.Capabilities, request)
    except NotFoundError:
        server.capabilities = None
    server.asked = True
