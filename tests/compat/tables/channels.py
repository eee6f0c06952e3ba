"""Channels."""

from __future__ import annotations

from sandlot import (
    ConflictError,
    InternalServerError,
    InvalidRequestError,
    NotFoundError,
    UnsupportedError,
)
from tests.compat.double import ids
from tests.compat.rows import Fails, Row, Works
from tests.compat.tenants import Tenant

HOOK = {"url": "https://example.com/hook"}
EVENTS = ["capsule.created"]


async def made(tenant: Tenant) -> None:
    channels = tenant.user.channels
    channel = await channels.create("My Hook", "webhook", HOOK, EVENTS)
    assert (channel.name, len(channel.secret)) == ("my-hook", 64)
    assert [each.id for each in await channels.list()] == [channel.id]
    found = await channels.get(channel.id)
    assert (found.secret, found.events) == (None, EVENTS)
    renamed = await channels.update(channel.id, name="renamed")
    assert (renamed.name, renamed.events) == ("renamed", EVENTS)
    changed = await channels.update(channel.id, events=["host.up"])
    assert (changed.name, changed.events) == ("renamed", ["host.up"])
    # original server: 2.14, a new secret is not told: give one.
    assert (await channels.rotate_config(channel.id, {**HOOK, "secret": "s"})).secret is None
    await channels.delete(channel.id)
    await channels.delete(channel.id)
    assert await channels.list() == []


async def tried(tenant: Tenant) -> None:
    assert await tenant.user.channels.test("webhook", HOOK) is None


async def made_twice(tenant: Tenant) -> None:
    for _ in range(2):
        _ = await tenant.user.channels.create("twice", "webhook", HOOK, EVENTS)


ROWS: list[Row] = [
    Works(
        "channels.create channels.list channels.get channels.update channels.rotate_config"
        " channels.delete",
        made,
    ),
    Works("channels.test", tried),
    Fails("channels.create", "a name that is taken", made_twice, ConflictError, "conflict"),
    Fails(
        "channels.create",
        "an unknown provider",
        lambda t: t.user.channels.create("x", "pigeon", HOOK, EVENTS),
        InvalidRequestError,
        "invalid_request",
    ),
    Fails(
        "channels.get",
        "there is none",
        lambda t: t.user.channels.get(ids.new("ch")),
        NotFoundError,
        "not_found",
    ),
    Fails(
        "channels.test",
        "nobody answers",
        lambda t: t.user.channels.test("webhook", {"url": "https://unreachable"}),
        InternalServerError,
        "internal_error",
    ),
    Fails(
        "channels.deliveries",
        "nobody counts",
        lambda t: t.user.channels.deliveries(ids.new("ch")),
        UnsupportedError,
        sends=False,
    ),
]
