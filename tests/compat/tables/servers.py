"""The server itself."""

from __future__ import annotations

from sandlot import APIError, NotFoundError, TransportError, UnsupportedError
from tests.compat.rows import Fails, Row, Works
from tests.compat.tenants import Tenant


async def requested(tenant: Tenant) -> None:
    box = await tenant.box()
    found = await tenant.key.request("GET", f"/v1/sandboxes/{box.id}")
    assert found["id"] == box.id
    slash = await tenant.key.request("GET", "/v1/sandboxes/")
    assert [each["id"] for each in slash] == [box.id]
    assert await tenant.key.request("POST", f"/v1/sandboxes/{box.id}/ping") is None


ROWS: list[Row] = [
    Works("client.request", requested),
    Fails(
        "client.request",
        "the path is not there",
        lambda t: t.user.request("GET", "/v1/nope"),
        NotFoundError,
        "unknown",
    ),
    Fails(
        "client.request",
        "the method is not there",
        lambda t: t.key.request("PUT", "/v1/sandboxes"),
        APIError,
        "unknown",
    ),
    Fails(
        "client.request",
        "the server hangs up",
        lambda t: t.key.request("GET", "/v1/sandboxes/cl-" + "z" * 25),
        TransportError,
    ),
    Fails("client.health", "there is none", lambda t: t.key.health(), UnsupportedError),
    Fails(
        "client.capabilities", "there are none", lambda t: t.key.capabilities(), UnsupportedError
    ),
]
