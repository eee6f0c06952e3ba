"""What is different where the server is a later Wrenn server, which says `/v1/capsules`."""

from __future__ import annotations

from sandlot import AuthenticationError, CommandError, ConflictError, UnsupportedError
from tests.compat.double.proxy import MIRROR
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


ROWS: list[Row] = [
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
