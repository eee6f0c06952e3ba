"""Builds of templates."""

from __future__ import annotations

import io
import tarfile
import uuid

import pytest

from sandlot import (
    AuthenticationError,
    BuildFailedError,
    BuildTimeoutError,
    InvalidArgumentError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    UnsupportedError,
)
from tests.compat.double import ids
from tests.compat.double.admin import Build
from tests.compat.rows import Fails, Row, Works
from tests.compat.tenants import Tenant

RECIPE = "RUN one \\\n  two\n\n# three\nENV A=b\n"


def new_name() -> str:
    return f"built-{uuid.uuid4().hex[:8]}"


async def built(tenant: Tenant) -> None:
    builds, name = tenant.admin.builds, new_name()
    build = await builds.create(name, RECIPE, healthcheck="true", vcpus=2)
    assert (build.status, build.logs) == ("pending", [])
    # original server: 2.12, lines that are no instructions are not for it.
    assert build.recipe == ["RUN one   two", "ENV A=b"]
    told = []
    done = await builds.wait(build.id, progress=told.append)
    assert [(each.step, each.stream) for each in told] == [(1, "command"), (2, "command")]
    assert (done.status, done.total_steps) == ("success", 6)
    assert (await builds.get(build.id)).status == "success"
    page = await builds.list(limit=1)  # original server: 2.12, no pages
    assert (build.id in [each.id for each in page.items], page.next_cursor) == (True, None)
    assert (await tenant.box(name)).info.vcpus == 2


async def cancelled(tenant: Tenant) -> None:
    build = await tenant.admin.builds.create(new_name(), RECIPE)
    await tenant.admin.builds.cancel(build.id)
    with pytest.raises(BuildFailedError) as caught:
        await tenant.admin.builds.wait(build.id)
    assert caught.value.build.status == "cancelled"
    await tenant.admin.builds.cancel(build.id)


async def failed(tenant: Tenant) -> None:
    build = await tenant.admin.builds.create(new_name(), ["RUN false"])
    await tenant.admin.builds.wait(build.id)


async def too_slow(tenant: Tenant) -> None:
    build = await tenant.admin.builds.create(new_name(), RECIPE)
    found: Build = next(each for each in tenant.world.builds if each.id == build.id)
    found.is_slow = True
    await tenant.admin.builds.wait(build.id, timeout=0)


def archive() -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w"):
        pass
    return data.getvalue()


async def built_with_files(tenant: Tenant) -> None:
    build = await tenant.admin.builds.create(new_name(), "COPY . .", archive=archive())
    assert (build.status, build.recipe) == ("pending", ["COPY . ."])


ROWS: list[Row] = [
    Works("builds.create builds.list builds.get builds.wait", built),
    Fails("builds.cancel", "it has ended", cancelled, InvalidRequestError, "invalid_request"),
    Fails("builds.wait", "it fails", failed, BuildFailedError),
    Fails("builds.wait", "it takes too long", too_slow, BuildTimeoutError),
    # original server: 9, the first one reads nothing but JSON.
    Fails("builds.create", "an archive", built_with_files, InvalidRequestError, "invalid_request"),
    Fails(
        "builds.create",
        "a network",
        lambda t: t.admin.builds.create("x", RECIPE, network="none"),
        UnsupportedError,
        sends=False,
    ),
    Fails(
        "builds.create",
        "nothing to do",
        lambda t: t.admin.builds.create("x", "# nothing"),
        InvalidArgumentError,
        sends=False,
    ),
    Fails(
        "builds.get",
        "there is none",
        lambda t: t.admin.builds.get(ids.new("bld")),
        NotFoundError,
        "not_found",
    ),
    Fails(
        "builds.cancel",
        "there is none",
        lambda t: t.admin.builds.cancel(ids.new("bld")),
        InvalidRequestError,
        "invalid_request",
    ),
    Fails(
        "builds.list",
        "no administrator",
        lambda t: t.user.builds.list(),
        PermissionDeniedError,
        "forbidden",
    ),
    Fails(
        "builds.list",
        "an API key",
        lambda t: t.key.builds.list(),
        AuthenticationError,
        "unauthorized",
    ),
]
