"""What is different where the server is a later Wrenn server, which says `/v1/capsules`."""

from __future__ import annotations

from sandlot import AuthenticationError, CommandError, ConflictError, UnsupportedError
from tests.compat.double.proxy import MIRROR
from tests.compat.double.world import Team
from tests.compat.rows import Fails, Row, Works
from tests.compat.tables import builds, code, commands, files, sandboxes, snapshots
from tests.compat.tenants import Tenant


async def asked(tenant: Tenant) -> None:
    health = await tenant.key.health()
    assert (health.status, health.message) == ("ok", None)


async def made(tenant: Tenant) -> None:
    async with tenant.key.sandboxes.create() as box:
        assert box.metadata["agent_version"] == "0.1.5"
        assert (await box.exec("echo hi", cwd="/", env={"A": "b"})).stdout == "hi\n"


async def streamed_nowhere(tenant: Tenant) -> None:
    box = await tenant.box()
    _ = await box.pause()
    async with box.exec_stream("true") as stream:
        _ = await stream.wait()


async def overwritten(tenant: Tenant) -> None:
    box = await tenant.box()
    _ = await box.snapshot("mine")
    _ = await box.snapshot("mine", overwrite=True)


async def reached(tenant: Tenant) -> None:
    box = await tenant.box()
    answer = await sandboxes.got(box.proxy(MIRROR).get("/a//b/"))
    assert answer.json()["path"] == "/a//b/"


async def account(tenant: Tenant) -> None:
    auth = tenant.user.auth
    me = await auth.me()
    assert (me.email, me.name, me.user_id) == (tenant.me.email, tenant.me.name, None)
    assert (await auth.rename("Renamed")).name == "Renamed"
    await auth.change_password("password", "another one")
    assert (await auth.login(me.email, "another one")).user_id == tenant.me.id
    await auth.delete_account(me.email)
    assert tenant.me not in tenant.world.users


async def owned(tenant: Tenant) -> None:
    _ = await tenant.user.teams.add_member(tenant.team.id, tenant.other().email)
    await tenant.user.auth.delete_account(tenant.me.email)


async def administered(tenant: Tenant) -> None:
    admin = tenant.admin.admin
    tenant.world.teams += [Team(f"Team {number}") for number in range(100)]
    _ = await tenant.box()
    page = await admin.list_teams()
    assert (len(page.items), page.next_cursor) == (100, "2")
    teams = {team.id: team async for team in page}
    assert len(teams) == len(tenant.world.teams)
    mine = teams[tenant.team.id]
    assert (mine.owner_email, mine.active_sandbox_count) == (tenant.me.email, 1)
    assert mine.deleted_at is None
    await admin.set_user_active(tenant.me.id, False)
    users = {user.id: user async for user in await admin.list_users()}
    assert (users[tenant.me.id].status, users[tenant.me.id].teams_owned) == ("disabled", 1)
    await admin.delete_team(tenant.team.id)
    teams = {team.id: team async for team in await admin.list_teams()}
    assert teams[tenant.team.id].deleted_at is not None


ROWS: list[Row] = [
    Works(
        "admin.list_teams admin.list_users admin.set_user_active admin.delete_team", administered
    ),
    Works("auth.me auth.rename auth.change_password auth.delete_account", account),
    Fails("auth.delete_account", "others", owned, ConflictError, "owns_team_with_members"),
    Fails(
        "auth.change_password",
        "it is wrong",
        lambda t: t.user.auth.change_password("wrong", "another one"),
        AuthenticationError,
        "wrong_password",
    ),
    Works("client.health", asked),
    Works("builds.create", builds.built_with_files),
    Works("sandboxes.create", made),
    Works("sandbox.proxy", reached),
    Works("sandboxes.list", sandboxes.listed),
    Works("sandbox.pause", sandboxes.paused),
    Works("sandboxes.reap", sandboxes.reaped),
    Works("sandboxes.stop_many", sandboxes.stopped_many),
    Works("sandboxes.create", sandboxes.lost),
    Works("sandbox.exec", commands.run),
    Works("sandbox.exec_stream", commands.streamed),
    Works("sandbox.upload", files.small),
    Works("sandbox.stream_upload", files.large),
    Works("snapshots.create", snapshots.kept),
    Works("sandbox.run_code", code.run),
    Fails("sandbox.exec_stream", "paused", streamed_nowhere, CommandError),
    Fails("snapshots.create", "it is there", overwritten, ConflictError, "template_name_taken"),
    Fails(
        "auth.signup",
        "a link is mailed",
        lambda t: t.user.auth.signup(f"new-{t.me.email}", "password", "New"),
        UnsupportedError,
    ),
]
