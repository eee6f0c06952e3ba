"""What is different where the server is a later Wrenn server, which says `/v1/capsules`."""

from __future__ import annotations

from sandlot import CommandError, ConflictError, UnsupportedError
from tests.compat.double.proxy import MIRROR
from tests.compat.rows import Fails, Row, Works
from tests.compat.tables import code, commands, files, sandboxes, snapshots
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


ROWS: list[Row] = [
    Works("client.health", asked),
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
