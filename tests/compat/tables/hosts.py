"""Hosts, administration of the platform, and usage."""

from __future__ import annotations

import uuid
from datetime import date
from typing import Any

import pytest

from sandlot import (
    AuthenticationError,
    HostHasSandboxesError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    UnsupportedError,
)
from tests.compat.double import ids
from tests.compat.double.hosts import Host
from tests.compat.rows import Fails, Row, Works
from tests.compat.tenants import Tenant


def in_world(tenant: Tenant, host_id: str) -> Host:
    host: Host = next(each for each in tenant.world.hosts if each.id == host_id)
    return host


async def registered(tenant: Tenant) -> str:
    """Make a host for which an agent has registered."""
    client = tenant.admin
    made = await client.hosts.create(provider="us", availability_zone="zone-1")
    assert (made.host.type, made.host.status) == ("regular", "pending")
    assert (made.host.provider, made.host.availability_zone) == ("us", "zone-1")
    other = await client.hosts.regenerate_token(made.host.id)
    assert other.registration_token != made.registration_token
    body = {"token": other.registration_token, "address": "10.0.0.7:50051", "cpu_cores": 8}
    _ = await client.request("POST", "/v1/hosts/register", json=body)
    host_id: str = made.host.id
    return host_id


async def made_and_removed(tenant: Tenant) -> None:
    host_id, hosts = await registered(tenant), tenant.admin.hosts
    host = await hosts.get(host_id)
    assert (host.status, host.cpu_cores, host.address) == ("online", 8, "10.0.0.7:50051")
    assert host_id in [each.id for each in await hosts.list()]
    preview = await hosts.delete_preview(host_id)
    assert (preview.host.id, preview.sandbox_ids) == (host_id, [])
    await hosts.delete(host_id)
    assert host_id not in [each.id for each in await hosts.list()]


async def tagged(tenant: Tenant) -> None:
    host_id, hosts = await registered(tenant), tenant.admin.hosts
    assert await hosts.list_tags(host_id) == []  # original server: 1.3, null
    for tag in ("gpu", "eu", "gpu"):
        await hosts.add_tag(host_id, tag)
    assert await hosts.list_tags(host_id) == ["eu", "gpu"]
    for _ in range(2):
        await hosts.remove_tag(host_id, "gpu")
    assert await hosts.list_tags(host_id) == ["eu"]


async def with_a_sandbox(tenant: Tenant) -> tuple[str, Any]:
    host_id, box = await registered(tenant), await tenant.box()
    capsule = next(each for each in tenant.world.capsules if each.id == box.id)
    in_world(tenant, host_id).capsules.append(capsule)
    return host_id, box


async def in_the_way(tenant: Tenant) -> None:
    host_id, box = await with_a_sandbox(tenant)
    assert (await tenant.admin.hosts.delete_preview(host_id)).sandbox_ids == [box.id]
    with pytest.raises(HostHasSandboxesError) as caught:
        await tenant.admin.hosts.delete(host_id)
    assert caught.value.sandbox_ids == (box.id,)
    raise caught.value


async def given_up(tenant: Tenant) -> None:
    host_id, box = await with_a_sandbox(tenant)
    paused = await tenant.box()
    _ = await paused.pause()
    in_world(tenant, host_id).capsules.append(tenant.capsule(paused))
    assert (await tenant.admin.hosts.delete_preview(host_id)).sandbox_ids == [box.id]
    await tenant.admin.hosts.delete(host_id, force=True)
    assert (await tenant.key.sandboxes.get(box.id)).status == "stopped"
    # original server: 8, what was paused there can be neither resumed nor destroyed; gone is gone.
    with pytest.raises(NotFoundError):
        _ = await paused.resume()
    await paused.destroy()


async def registered_already(tenant: Tenant) -> None:
    await tenant.admin.hosts.regenerate_token(await registered(tenant))


async def brought(tenant: Tenant) -> None:
    await tenant.admin.admin.set_team_byoc(tenant.team.id)
    made = await tenant.user.hosts.create("byoc", team_id=tenant.team.id)
    assert (made.host.type, made.host.team_id) == ("byoc", tenant.team.id)
    assert [each.id for each in await tenant.user.hosts.list()] == [made.host.id]


async def templates(tenant: Tenant) -> None:
    admin, name = tenant.admin.admin, f"built-{uuid.uuid4().hex[:8]}"
    build = await tenant.admin.builds.create(name, "RUN true")
    await tenant.admin.builds.wait(build.id)
    found = {each.name: each for each in await admin.list_templates()}
    assert found[name].type == "base"
    await admin.delete_template(name)
    assert name not in [each.name for each in await admin.list_templates()]


METHODS = "hosts.create hosts.regenerate_token hosts.get hosts.list hosts.delete_preview"

ROWS: list[Row] = [
    Works(f"{METHODS} hosts.delete", made_and_removed),
    Works("hosts.add_tag hosts.list_tags hosts.remove_tag", tagged),
    Works("hosts.delete", given_up),
    Works("admin.set_team_byoc hosts.create", brought),
    Works("admin.list_templates admin.delete_template", templates),
    *(
        Fails(f"admin.{name}", "it is not there", play, NotFoundError, "unknown")
        for name, play in {
            "list_teams": lambda t: t.admin.admin.list_teams(),
            "delete_team": lambda t: t.admin.admin.delete_team(t.team.id),
            "list_users": lambda t: t.admin.admin.list_users(),
            "set_user_active": lambda t: t.admin.admin.set_user_active(t.me.id, False),
        }.items()
    ),
    Fails("hosts.delete", "it has some", in_the_way, HostHasSandboxesError, "has_active_sandboxes"),
    # original server: 2.13, its specification says 409.
    Fails(
        "hosts.regenerate_token",
        "it is registered",
        registered_already,
        InvalidRequestError,
        "invalid_request",
    ),
    Fails(
        "hosts.get",
        "there is none",
        lambda t: t.user.hosts.get(ids.new("host")),
        NotFoundError,
        "not_found",
    ),
    Fails(
        "hosts.create",
        "no administrator",
        lambda t: t.user.hosts.create(),
        PermissionDeniedError,
        "forbidden",
    ),
    Fails(
        "hosts.list",
        "an API key",
        lambda t: t.key.hosts.list(),
        AuthenticationError,
        "unauthorized",
    ),
    Fails(
        "admin.set_team_byoc",
        "taken back",
        lambda t: t.admin.admin.set_team_byoc(t.team.id, False),
        InvalidRequestError,
        "invalid_request",
    ),
    Fails(
        "admin.delete_template",
        "of the platform itself",
        lambda t: t.admin.admin.delete_template("minimal"),
        PermissionDeniedError,
        "forbidden",
    ),
    Fails(
        "admin.list_templates",
        "no administrator",
        lambda t: t.user.admin.list_templates(),
        PermissionDeniedError,
        "forbidden",
    ),
    Fails(
        "sandboxes.usage",
        "there is none",
        lambda t: t.key.sandboxes.usage(date(2026, 10, 1)),
        UnsupportedError,
        sends=False,
    ),
    Fails(
        "sandboxes.create",
        "by tags",
        lambda t: t.key.sandboxes.create(host_tags=["gpu"]),
        UnsupportedError,
        sends=False,
    ),
]
