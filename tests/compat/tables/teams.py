"""Teams, and what they did."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sandlot import (
    AuthenticationError,
    HostHasSandboxesError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
)
from tests.compat.double import ids
from tests.compat.double.world import Entry, now
from tests.compat.rows import Fails, Row, Works
from tests.compat.tenants import Tenant


async def made(tenant: Tenant) -> None:
    team = await tenant.user.teams.create(" Two @ 'once' ")
    assert (team.name, team.role, team.is_byoc) == ("Two @ 'once'", "owner", False)
    assert [each.id for each in await tenant.user.teams.list()] == [tenant.team.id, team.id]
    detail = await tenant.user.teams.get(tenant.team.id)
    assert [each.role for each in detail.members] == ["owner"]
    await tenant.user.teams.rename(tenant.team.id, "Renamed")
    assert tenant.team.name == "Renamed"


async def deleted(tenant: Tenant) -> None:
    box = await tenant.box()
    await tenant.user.teams.delete(tenant.team.id, force=True)
    assert tenant.capsule(box).status == "stopped"


async def deleted_when_empty(tenant: Tenant) -> None:
    box = await tenant.box()
    await box.destroy()
    await tenant.user.teams.delete(tenant.team.id)
    assert tenant.team.deleted


async def deleted_when_not_empty(tenant: Tenant) -> None:
    box = await tenant.box()
    with pytest.raises(HostHasSandboxesError) as caught:
        await tenant.user.teams.delete(tenant.team.id)
    assert caught.value.sandbox_ids == (box.id,)
    assert not tenant.team.deleted


async def members(tenant: Tenant) -> None:
    other, teams, team_id = tenant.other(), tenant.user.teams, tenant.team.id
    member = await teams.add_member(team_id, other.email)
    assert (member.role, member.joined_at.year) == ("member", 1)  # original server: the zero time
    await teams.update_member_role(team_id, other.id, "admin")
    _, second = await teams.list_members(team_id)
    assert (second.user_id, second.role) == (other.id, "admin")
    await teams.remove_member(team_id, other.id)
    assert len(await teams.list_members(team_id)) == 1


async def left(tenant: Tenant) -> None:
    other = tenant.other()
    _ = await tenant.user.teams.add_member(tenant.team.id, other.email)
    async with tenant.client(token=tenant.world.token(other, tenant.team)) as client:
        await client.teams.leave(tenant.team.id)
    assert tenant.team.role_of(other) is None


async def audited(tenant: Tenant) -> None:
    box = await tenant.box()
    await box.destroy()
    await tenant.user.teams.rename(tenant.team.id, "Renamed")
    rows = [row async for row in await tenant.user.audit.list()]
    assert [row.action for row in rows] == ["rename", "destroy", "create"]
    assert [row.actor_type for row in rows] == ["user", "api_key", "api_key"]
    only = [
        row async for row in await tenant.user.audit.list(resource_type="sandbox", action="create")
    ]
    assert [row.resource_id for row in only] == [box.id]


async def audited_in_pages(tenant: Tenant) -> None:
    # original server: 2.11, cursors are cut to seconds and rows of that second would be skipped.
    second = now().replace(microsecond=0) - timedelta(seconds=20)
    moments = [second + timedelta(microseconds=50_000 * each) for each in range(19)]
    moments += [moments[3]] * 3 + [second - timedelta(seconds=3), second - timedelta(days=1)]
    entries = [Entry(tenant.team, "sandbox", "create", "success", created_at=t) for t in moments]
    tenant.world.audit += entries
    entries.sort(key=lambda entry: (entry.created_at, entry.id), reverse=True)
    seen = [row.id async for row in await tenant.user.audit.list(limit=6)]
    assert seen == [entry.id for entry in entries]
    before = [row.id async for row in await tenant.user.audit.list(before=second)]
    assert before == [entry.id for entry in entries[-2:]]


ROWS: list[Row] = [
    Works("teams.create teams.list teams.get teams.rename", made),
    Works("teams.delete", deleted),
    Works("teams.delete", deleted_when_empty),
    Works("teams.delete", deleted_when_not_empty),
    Works(
        "teams.add_member teams.update_member_role teams.list_members teams.remove_member", members
    ),
    Works("teams.leave", left),
    Works("audit.list", audited),
    Works("audit.list", audited_in_pages),
    Fails(
        "teams.create",
        "a bad name",
        lambda t: t.user.teams.create("A/B"),
        InvalidRequestError,
        "invalid_request",
    ),
    Fails(
        "teams.get",
        "another team",
        lambda t: t.user.teams.get(ids.new("team")),
        PermissionDeniedError,
        "forbidden",
    ),
    Fails(
        "teams.get",
        "a bad id",
        lambda t: t.user.teams.get("team-1"),
        InvalidRequestError,
        "invalid_request",
    ),
    Fails(
        "teams.list",
        "an API key",
        lambda t: t.key.teams.list(),
        AuthenticationError,
        "unauthorized",
    ),
    Fails(
        "teams.add_member",
        "nobody",
        lambda t: t.user.teams.add_member(t.team.id, "nobody@example.com"),
        NotFoundError,
        "not_found",
    ),
    Fails(
        "teams.add_member",
        "again",
        lambda t: t.user.teams.add_member(t.team.id, t.me.email),
        InvalidRequestError,
        "invalid_request",
    ),
    Fails(
        "teams.update_member_role",
        "another owner",
        lambda t: t.user.teams.update_member_role(t.team.id, ids.new("usr"), "owner"),
        InvalidRequestError,
        "invalid_request",
    ),
    Fails(
        "teams.remove_member",
        "the owner",
        lambda t: t.user.teams.remove_member(t.team.id, t.me.id),
        PermissionDeniedError,
        "forbidden",
    ),
    Fails(
        "teams.leave",
        "the owner",
        lambda t: t.user.teams.leave(t.team.id),
        PermissionDeniedError,
        "forbidden",
    ),
    Fails(
        "audit.list",
        "an API key",
        lambda t: t.key.audit.list(),
        AuthenticationError,
        "unauthorized",
    ),
]
