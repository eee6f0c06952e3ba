"""What of a message is passed on, and what is said instead of the rest."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from email.utils import formatdate
from typing import Final

from sandlot.server.services.errors import BadGatewayError, InvalidRequestError

from .addresses import PortAddress

__all__ = ["MARK", "Headers", "Origin", "answer_headers", "request_headers", "wants_websocket"]

Headers = list[tuple[bytes, bytes]]

MARK: Final = "x-sandlot-proxy"
"""What answers of the server itself have, with their code, and those of programs never."""

_HOP_BY_HOP = frozenset(  # RFC 9110, 7.6.1, and what older programs send
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
_REPLACED = frozenset(
    {
        b"content-length",
        b"expect",
        b"host",
        b"x-api-key",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-proto",
    }
)
_LOCATIONS = (b"location", b"content-location")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request came from.

    Attributes:
        client: Address of the client, if it has one.
        scheme: What the client speaks: `http` or `https`.
    """

    client: str | None
    scheme: str


def wants_websocket(headers: Headers) -> bool:
    """Tell whether a request is the beginning of a WebSocket."""
    upgrades = [value.strip().lower() for name, value in headers if name == b"upgrade"]
    return upgrades == [b"websocket"] and b"upgrade" in _named(headers)


def request_headers(headers: Headers, address: PortAddress, origin: Origin) -> Headers:
    """Return the headers of a request as a program in a sandbox gets to see them.

    Raises:
        InvalidRequestError: Two readers could understand different things.
    """
    if sum(name == b"host" for name, _ in headers) > 1:
        raise InvalidRequestError("A request has one Host header.")
    dropped = _HOP_BY_HOP | _REPLACED | _named(headers)
    passed = [(name, value) for name, value in headers if name not in dropped]
    chain = [value for name, value in headers if name == b"x-forwarded-for"]
    if origin.client is not None:
        chain.append(origin.client.encode("latin-1", "replace"))
    if chain:
        passed.append((b"x-forwarded-for", b", ".join(chain)))
    return [
        (b"host", f"localhost:{address.number}".encode()),
        *passed,
        (b"x-forwarded-host", address.host),
        (b"x-forwarded-proto", origin.scheme.encode()),
        *_framing(headers),
    ]


def _framing(headers: Headers) -> Headers:
    """Return how long the body is said to be, and whether its sender waits to be asked for it."""
    codings = [value.strip().lower() for name, value in headers if name == b"transfer-encoding"]
    lengths = [value for name, value in headers if name == b"content-length"]
    upgrade = any(name == b"upgrade" for name, _ in headers)
    if upgrade and (codings or any(length.strip(b"0 ") for length in lengths)):
        # Where such a body ends is not agreed upon.
        raise InvalidRequestError("A request that asks for an upgrade cannot have a body.")
    if codings not in ([], [b"chunked"]):
        raise InvalidRequestError("The only Transfer-Encoding is chunked.")
    if codings:
        framing = [(b"transfer-encoding", b"chunked")]
    else:
        framing = [(b"content-length", length) for length in lengths[:1]]
    waits = any(name == b"expect" and value.lower() == b"100-continue" for name, value in headers)
    return [*framing, (b"expect", b"100-continue")] if framing and waits else framing


def answer_headers(
    status: int, headers: Iterable[tuple[bytes, bytes]], address: PortAddress, scheme: str
) -> Headers:
    """Return the headers of an answer as clients get to see them.

    Raises:
        BadGatewayError: No client should get to see them.
    """
    found = [(name.lower(), value) for name, value in headers]
    dropped = {*_HOP_BY_HOP, *_named(found), MARK.encode()}
    if status in (204, 304) or any(name == b"transfer-encoding" for name, _ in found):
        dropped.add(b"content-length")  # of nothing, or of something else
    passed: Headers = []
    for name, value in found:
        if name in dropped:
            continue
        if _CONTROL.search(value):
            raise BadGatewayError("The answer has control characters in its headers.")
        passed.append((name, address.make_public(scheme, value) if name in _LOCATIONS else value))
    if not any(name == b"date" for name, _ in passed):  # RFC 9110, 6.6.1
        passed.append((b"date", formatdate(usegmt=True).encode()))
    return passed


def _named(headers: Headers) -> set[bytes]:
    """Return the names that the Connection headers say are for one hop only."""
    return {
        name.strip().lower()
        for header, value in headers
        if header == b"connection"
        for name in value.split(b",")
    }
