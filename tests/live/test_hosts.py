"""Hosts, administration and usage, with either client of an embedded server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sandlot import (
    ConflictError,
    HostHasSandboxesError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    UnavailableError,
)
from tests.live.world import Live


async def test_this_machine_is_a_host(live: Live) -> None:
    async with live.client() as client:
        (host,) = [host for host in await client.hosts.list() if host.engine == "local"]
        assert (host.type, host.status) == ("regular", "online")
        assert min(host.cpu_cores, host.memory_mb, host.disk_gb) > 0
        assert datetime.now(UTC) - host.last_heartbeat_at < timedelta(minutes=2)
        assert await client.hosts.get(host.id) == host


async def test_sandboxes_are_placed_by_tags(live: Live) -> None:
    async with live.client() as client:
        (host,) = [host for host in await client.hosts.list() if host.engine]
        mine = f"colour {live.colour}"
        with pytest.raises(UnavailableError, match=mine) as caught:
            _ = await client.sandboxes.create(host_tags=[mine])
        assert caught.value.code == "no_hosts_available"
        for _ in range(2):
            await client.hosts.add_tag(host.id, mine)
        assert mine in await client.hosts.list_tags(host.id)
        async with client.sandboxes.create(host_tags=[mine]) as box:
            assert box.info.host_id == host.id
            fork = (await box.fork())[0]
            assert fork.info.host_id == host.id
            await fork.destroy()
            preview = await client.hosts.delete_preview(host.id)
            assert preview.host.id == host.id
            assert box.id in preview.sandbox_ids
            with pytest.raises(HostHasSandboxesError) as refused:
                await client.hosts.delete(host.id)
            assert box.id in refused.value.sandbox_ids
            with pytest.raises(ConflictError, match="stop it first"):
                await client.hosts.delete(host.id, force=True)
        for _ in range(2):
            await client.hosts.remove_tag(host.id, mine)
        assert mine not in await client.hosts.list_tags(host.id)


async def test_a_host_for_an_agent(live: Live) -> None:
    async with live.client() as client:
        made = await client.hosts.create(provider="us", availability_zone="zone-1")
        assert (made.host.status, made.host.provider) == ("pending", "us")
        assert made.registration_token not in repr(made)
        other = await client.hosts.regenerate_token(made.host.id)
        assert other.registration_token != made.registration_token
        body = {"token": other.registration_token, "address": "10.0.0.7:50051", "cpu_cores": 8}
        agent = await client.request("POST", "/v1/hosts/register", json=body)
        assert agent["host"]["cpu_cores"] == 8
        assert (await client.hosts.get(made.host.id)).status == "online"
        with pytest.raises(ConflictError):
            _ = await client.hosts.regenerate_token(made.host.id)
        await client.hosts.delete(made.host.id)
        for call in (client.hosts.get, client.hosts.delete, client.hosts.list_tags):
            with pytest.raises(NotFoundError):
                _ = await call(made.host.id)


async def test_teams_that_bring_their_hosts(live: Live) -> None:
    async with live.client() as client:
        team = await client.teams.create("Bringers")
        with pytest.raises(PermissionDeniedError):
            _ = await client.hosts.create("byoc", team_id=team.id)
        await client.admin.set_team_byoc(team.id)
        made = await client.hosts.create("byoc", team_id=team.id)
        assert (made.host.type, made.host.team_id) == ("byoc", team.id)
        seen = await client.hosts.get(made.host.id)
        assert seen.team_name == "Bringers"
        await client.hosts.delete(made.host.id)
        with pytest.raises(InvalidRequestError):
            await client.admin.set_team_byoc(team.id, False)
        with pytest.raises(NotFoundError):
            await client.admin.set_team_byoc("team-" + "1" * 25)


async def test_templates_of_all_teams(live: Live) -> None:
    async with live.client() as client:
        name = f"admin-{live.colour}"
        async with client.sandboxes.create() as box:
            _ = await box.snapshot(name)
        found = {each.name: each for each in await client.admin.list_templates()}
        assert found[name].type == "snapshot"
        assert found["minimal"].type == "base"
        with pytest.raises(PermissionDeniedError):
            await client.admin.delete_template("minimal")
        with pytest.raises(NotFoundError):
            await client.admin.delete_template(name)  # a team's, not the platform's
        await client.snapshots.delete(name)


async def test_usage_is_counted_in_days(live: Live) -> None:
    async with live.client() as client:
        before = sum(point.cpu_minutes for point in (await client.sandboxes.usage()).points)
        async with client.sandboxes.create():
            pass
        today = datetime.now(UTC).date()
        report = await client.sandboxes.usage(today - timedelta(days=1), end=today)
        assert (report.from_, report.to) == (today - timedelta(days=1), today)
        assert sum(point.cpu_minutes for point in report.points) > before
        assert all(point.ram_mb_minutes > point.cpu_minutes for point in report.points)
        with pytest.raises(InvalidRequestError):
            _ = await client.sandboxes.usage(today, today - timedelta(days=1))
