"""Sandboxes: how they live and die."""

from __future__ import annotations

import inspect
import time
from datetime import timedelta
from typing import Any

import httpx
import pytest

from sandlot import (
    AgentError,
    AuthenticationError,
    ConflictError,
    InvalidArgumentError,
    InvalidRequestError,
    NotFoundError,
    SandboxDestroyedError,
    SandboxStateError,
    TransportError,
    UnavailableError,
    UnsupportedError,
)
from tests.compat.double import ids
from tests.compat.double.proxy import MIRROR
from tests.compat.rows import Fails, Row, Works
from tests.compat.tenants import Tenant


async def made(tenant: Tenant) -> None:
    async with tenant.key.sandboxes.create("minimal", vcpus=2, timeout_sec=60) as box:
        assert (box.status, box.info.vcpus, box.info.timeout_sec) == ("running", 2, 60)
        assert (box.name, box.metadata, box.isolation) == (None, {}, None)
        assert box.info.created_at.utcoffset().total_seconds() == 6 * 3600
        assert await box.wait_ready() is box.info
    assert tenant.capsule(box).status == "stopped"
    await tenant.key.sandboxes.destroy(box.id)  # original server: 2.7, may be repeated
    assert (await tenant.key.sandboxes.get(box.id)).status == "stopped"


async def made_with_a_token(tenant: Tenant) -> None:
    async with tenant.user.sandboxes.create() as box:
        assert (await box.exec("echo hi")).stdout == "hi\n"


async def lost(tenant: Tenant) -> None:
    # original server: 1.1, it knows no keys: what is asked again is made again.
    create = "POST /v1/sandboxes"
    tenant.world.lost.add(create)
    before = tenant.world.requests.count(create)
    with pytest.raises(TransportError) as caught:
        _ = await tenant.box()
    tenant.world.lost.clear()
    assert (caught.value.outcome, caught.value.is_retryable) == ("unknown", False)
    assert "Look for it" in caught.value.__notes__[0]
    assert tenant.world.requests.count(create) == before + 1
    assert len((await tenant.key.sandboxes.list()).items) == 1


async def listed(tenant: Tenant) -> None:
    older, newer, gone = [await tenant.box() for _ in range(3)]
    await gone.destroy()
    # original server: 2.7, no pages: whatever is asked for, all are on one.
    page = await tenant.key.sandboxes.list(limit=1)
    assert [each.id for each in page.items] == [newer.id, older.id]
    assert page.next_cursor is None


async def looked_at(tenant: Tenant) -> None:
    box = await tenant.box()
    assert (await tenant.key.sandboxes.get(box.id)).id == box.id
    tenant.capsule(box).status = "hibernated"
    assert (await box.refresh()).status == box.status == "hibernated"
    tenant.capsule(box).status = "of-a-later-version"
    assert (await box.refresh()).status == "of-a-later-version"


async def paused(tenant: Tenant) -> None:
    box = await tenant.box()
    assert (await box.pause()).status == "paused"
    assert (await tenant.key.sandboxes.connect(box.id)).status == "running"
    assert (await box.pause()).status == "paused"
    assert (await box.resume()).status == box.status == "running"
    await box.ping()
    assert (await box.refresh()).last_active_at is not None


async def measured(tenant: Tenant) -> None:
    box = await tenant.box()
    first, second = (await box.metrics("1h")).points
    assert (first.cpu_pct, first.timestamp_unix) == (1.5, second.timestamp_unix)
    assert (await tenant.key.sandboxes.get_stats("5m")).current.running_count == 1


async def stopped_many(tenant: Tenant) -> None:
    one, two = await tenant.box(), await tenant.box()
    await two.pause()
    report = await tenant.key.sandboxes.stop_many([one.id, two.id], save_state=True)
    assert report.stopped == [one.id]
    assert [(each.id, each.code) for each in report.failed] == [(two.id, "invalid_state")]
    report = await tenant.key.sandboxes.stop_many([one.id, two.id])
    assert (report.stopped, report.failed) == ([one.id, two.id], [])


async def reaped(tenant: Tenant) -> None:
    one, two = await tenant.box(), await tenant.box()
    await two.pause()
    assert await tenant.key.sandboxes.reap(older_than=3600) == []
    found = await tenant.key.sandboxes.reap(status="paused", dry_run=True)
    assert [each.id for each in found] == [two.id]
    tenant.capsule(one).created_at -= timedelta(hours=2)
    found = await tenant.key.sandboxes.reap(older_than=3600, inactive_for=3600)
    assert [each.id for each in found] == [one.id]
    assert tenant.capsule(one).status == "stopped"


async def got(answer: Any) -> httpx.Response:
    """Return what a client of either colour got."""
    return await answer if inspect.isawaitable(answer) else answer


async def reached(tenant: Tenant) -> None:
    box = await tenant.box()
    host = httpx.URL(tenant.base_url).netloc.decode()
    assert box.get_url(MIRROR) == f"http://{MIRROR}-{box.id}.{host}"
    answer = await got(box.proxy(MIRROR).get("/a//b/"))
    # original server: 6, it cleans the path, and what listens inside gets the key.
    assert answer.json()["path"] == "/a/b"
    assert answer.json()["headers"]["x-api-key"].startswith("wrn_")
    assert (await got(box.http_client.get("/"))).text.startswith("proxy error:")


async def with_a_token(tenant: Tenant) -> None:
    box = await tenant.user.sandboxes.create()
    box.get_url(MIRROR)


async def when_stopped(tenant: Tenant) -> None:
    box = await tenant.box()
    tenant.capsule(box).status = "stopped"
    began = time.monotonic()
    try:
        await box.wait_ready(30)
    finally:
        assert time.monotonic() - began < 10


async def when_in(tenant: Tenant, status: str) -> None:
    box = await tenant.box()
    tenant.capsule(box).status = status
    await box.wait_ready()


async def pinged_while_paused(tenant: Tenant) -> None:
    box = await tenant.box()
    await box.pause()
    await box.ping()


async def resumed_while_running(tenant: Tenant) -> None:
    await (await tenant.box()).resume()


async def frozen(tenant: Tenant, method: str) -> None:
    box = await tenant.box()
    tenant.capsule(box).is_frozen_by_agent = True
    await getattr(box, method)()


async def without_a_host(tenant: Tenant) -> None:
    box = await tenant.box()
    tenant.capsule(box).has_host = False
    await box.exec("true")


async def measured_when_gone(tenant: Tenant) -> None:
    box = await tenant.box()
    tenant.capsule(box).status = "stopped"
    await box.metrics()


async def used_after_its_end(tenant: Tenant) -> None:
    box = await tenant.box()
    await box.destroy()
    await box.ping()


async def renewed(tenant: Tenant) -> None:
    await (await tenant.box()).renew_lease()


async def kept_alive(tenant: Tenant) -> None:
    async with (await tenant.box()).keep_alive():
        raise AssertionError


MALFORMED = "cl-short"
OVERLONG = "cl-" + "z" * 25  # more than 128 bits
ADDITIONS = {
    "disk_mb": 1024,
    "name": "mine",
    "metadata": {"a": "b"},
    "env": {"A": "b"},
    "cwd": "/tmp",
    "network": "none",
    "snapshot": "s",
    "require_isolation": ["seccomp"],
    "on_timeout": "destroy",
    "max_lifetime_sec": 60,
    "lease_sec": 60,
    "host_tags": ["gpu"],
    "idempotency_key": "mine",
}


def _with(name: str) -> Fails:
    async def create(tenant: Tenant) -> None:
        await tenant.key.sandboxes.create(**{name: ADDITIONS[name]})

    return Fails("sandboxes.create", name, create, UnsupportedError, sends=False)


ROWS: list[Row] = [
    Works("sandboxes.create sandbox.wait_ready sandbox.destroy sandboxes.destroy", made),
    Works("sandboxes.create", made_with_a_token),
    Works("sandboxes.create", lost),
    Works("sandboxes.list", listed),
    Works("sandboxes.get sandbox.refresh", looked_at),
    Works("sandbox.pause sandbox.resume sandbox.ping sandboxes.connect", paused),
    Works("sandbox.metrics sandboxes.get_stats", measured),
    Works("sandboxes.stop_many", stopped_many),
    Works("sandboxes.reap", reaped),
    Works("sandbox.get_url sandbox.proxy sandbox.http_client", reached),
    *map(_with, ADDITIONS),
    Fails(
        "sandboxes.create",
        "get or create",
        lambda t: t.key.sandboxes.create(name="n", if_exists="get"),
        UnsupportedError,
        sends=False,
    ),
    Fails(
        "sandboxes.create",
        "an unknown template",
        lambda t: t.key.sandboxes.create("nope"),
        NotFoundError,
        "not_found",
    ),
    Fails(
        "sandboxes.create",
        "a bad template",
        lambda t: t.key.sandboxes.create("/"),
        InvalidRequestError,
        "invalid_request",
    ),
    Fails(
        "sandboxes.list",
        "a filter",
        lambda t: t.key.sandboxes.list(status="paused"),
        UnsupportedError,
        sends=False,
    ),
    Fails(
        "sandboxes.reap",
        "by labels",
        lambda t: t.key.sandboxes.reap(metadata={"a": "b"}),
        UnsupportedError,
        sends=False,
    ),
    Fails(
        "sandboxes.get",
        "there is none",
        lambda t: t.key.sandboxes.get(ids.new("cl")),
        NotFoundError,
        "not_found",
    ),
    Fails(
        "sandboxes.get",
        "a malformed id",
        lambda t: t.key.sandboxes.get(MALFORMED),
        InvalidRequestError,
        "invalid_request",
    ),
    Fails(
        "sandboxes.get",
        "an overlong id",
        lambda t: t.key.sandboxes.get(OVERLONG),
        InvalidArgumentError,
        sends=False,
    ),
    Fails(
        "sandboxes.connect",
        "a name",
        lambda t: t.key.sandboxes.connect("mine"),
        InvalidRequestError,
        "invalid_request",
    ),
    Fails(
        "sandboxes.get_stats",
        "a bad range",
        lambda t: t.key.sandboxes.get_stats("1y"),
        InvalidRequestError,
        "invalid_request",
    ),
    Fails(
        "sandboxes.list",
        "a wrong key",
        lambda t: t.client("wrn_no").sandboxes.list(),
        AuthenticationError,
        "unauthorized",
    ),
    Fails("sandbox.get_url", "a token", with_a_token, AuthenticationError, "unauthorized"),
    Fails("sandbox.wait_ready", "it is gone", when_stopped, SandboxDestroyedError),
    Fails("sandbox.wait_ready", "paused", lambda t: when_in(t, "paused"), SandboxStateError),
    Fails("sandbox.wait_ready", "failed", lambda t: when_in(t, "error"), SandboxStateError),
    Fails("sandbox.wait_ready", "missing", lambda t: when_in(t, "missing"), SandboxStateError),
    Fails("sandbox.ping", "paused", pinged_while_paused, ConflictError, "invalid_state"),
    Fails("sandbox.resume", "running", resumed_while_running, ConflictError, "invalid_state"),
    Fails("sandbox.ping", "frozen", lambda t: frozen(t, "ping"), NotFoundError, "not_found"),
    Fails("sandbox.pause", "frozen", lambda t: frozen(t, "pause"), AgentError, "agent_error"),
    Fails("sandbox.resume", "frozen", lambda t: frozen(t, "resume"), ConflictError),
    Fails("sandbox.exec", "no host", without_a_host, UnavailableError, "host_unavailable"),
    Fails("sandbox.metrics", "it is gone", measured_when_gone, NotFoundError, "not_found"),
    Fails("sandbox.ping", "it was destroyed", used_after_its_end, SandboxDestroyedError),
    Fails("sandbox.renew_lease", "there are none", renewed, UnsupportedError),
    Fails("sandbox.keep_alive", "there are none", kept_alive, UnsupportedError),
]
