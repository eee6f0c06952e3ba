"""Snapshots."""

from __future__ import annotations

from sandlot import (
    ConflictError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
)
from tests.compat.double import ids
from tests.compat.rows import Fails, Row, Works
from tests.compat.tenants import Tenant


async def kept(tenant: Tenant) -> None:
    box = await tenant.box(vcpus=3)
    made = await tenant.key.snapshots.create(box.id)
    assert (made.type, made.vcpus, made.name[:9]) == ("snapshot", 3, "template-")
    assert (await box.refresh()).status == "paused"  # original server: 2.10
    found = await tenant.key.snapshots.list()
    assert [each.name for each in found if not each.platform] == [made.name]
    assert await tenant.key.snapshots.get(made.name) == found[0]
    base = await tenant.key.snapshots.list("base")
    assert ("minimal", True) in [(each.name, each.platform) for each in base]
    assert await tenant.key.snapshots.list("other") == []
    copy = await tenant.box(made.name, vcpus=1)
    assert copy.info.vcpus == 3  # original server: 1.10, the snapshot's own
    await tenant.key.snapshots.delete(made.name)


async def kept_by_the_sandbox(tenant: Tenant) -> None:
    box = await tenant.box()
    assert (await box.snapshot("s")).name == "s"
    assert (await box.snapshot("s", overwrite=True)).name == "s"
    _ = await box.resume()


async def kept_twice(tenant: Tenant) -> None:
    box = await tenant.box()
    _ = await box.snapshot("twice")
    _ = await box.snapshot("twice")


async def reserved(tenant: Tenant) -> None:
    await (await tenant.box()).snapshot("minimal")


ROWS: list[Row] = [
    Works("snapshots.create snapshots.list snapshots.get snapshots.delete", kept),
    Works("sandbox.snapshot", kept_by_the_sandbox),
    Fails("sandbox.snapshot", "a name that is taken", kept_twice, ConflictError, "already_exists"),
    Fails("sandbox.snapshot", "a reserved name", reserved, ConflictError, "name_reserved"),
    Fails(
        "snapshots.create",
        "no such sandbox",
        lambda t: t.key.snapshots.create(ids.new("cl")),
        NotFoundError,
        "not_found",
    ),
    Fails(
        "snapshots.create",
        "a bad name",
        lambda t: t.key.snapshots.create(ids.new("cl"), "/"),
        InvalidArgumentError,
        sends=False,
    ),
    Fails(
        "snapshots.get",
        "there is none",
        lambda t: t.key.snapshots.get("nope"),
        NotFoundError,
        "not_found",
    ),
    Fails(
        "snapshots.delete",
        "of the platform",
        lambda t: t.key.snapshots.delete("minimal"),
        PermissionDeniedError,
        "forbidden",
    ),
    Fails(
        "snapshots.delete",
        "there is none",
        lambda t: t.key.snapshots.delete("nope"),
        NotFoundError,
        "not_found",
    ),
]
