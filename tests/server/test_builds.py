"""Builds on a server of their own: what its options bound, and what outlives it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from contract import Contract
from doubles import Double
from harness import ServerProcess, client_of, eventually

from sandlot.server.ids import new_id
from sandlot.server.services.builds import Builds
from sandlot.server.services.errors import HostUnavailableError, NotFoundError
from sandlot.server.services.events import Events
from sandlot.server.services.machines import Machines
from sandlot.server.store.builds import BuildRecord
from sandlot.server.store.memory import MemoryStore
from sandlot.server.store.memory_builds import MemoryBuilds

NO_BUILD = "bld-" + "0" * 25
START = {"api_key_scopes": "all", "max_build_archive_bytes": "20000"}
EMPTY_TAR = bytes(10240)


def create(client: httpx.Client, name: str, *recipe: str, **more: Any) -> httpx.Response:
    archive, headers = more.pop("archive", None), more.pop("headers", {})
    body = {"name": name, "recipe": list(recipe), **more}
    if archive is None:
        return client.post("/v1/admin/builds", json=body, headers=headers)
    data, files = {"config": json.dumps(body)}, {"archive": archive}
    return client.post("/v1/admin/builds", data=data, files=files, headers=headers)


def code(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


def ended(client: httpx.Client, build_id: str) -> dict[str, Any]:
    def is_over() -> bool:
        page = client.get(f"/v1/admin/builds/{build_id}/log", params={"wait_sec": 5}).json()
        return page["status"] not in ("pending", "running")

    eventually(is_over)
    build: dict[str, Any] = client.get(f"/v1/admin/builds/{build_id}").json()
    return build


def test_bounds(start: Callable[..., ServerProcess], contract: Contract) -> None:
    server = start(**START, builds_timeout_sec="1.5")
    with client_of(server, contract) as client:
        slow = create(client, "slow", "RUN sleep 600").json()["id"]
        assert code(create(client, "x", "RUN x", archive=bytes(30_000))) == (413, "too_large")
        assert code(create(client, "x", "RUN x", archive=bytes(30 << 20)))[0] == 413
        assert code(create(client, "x", "RUN x", archive=b"x")) == (400, "invalid_request")
        assert code(create(client, "x", "RUN x", network="full")) == (501, "unsupported")
        assert code(create(client, "x y", "RUN x")) == (400, "invalid_request")
        assert code(create(client, "x")) == (400, "invalid_request")
        form = {"archive": EMPTY_TAR}
        assert code(client.post("/v1/admin/builds", files=form)) == (400, "invalid_request")
        twice = [("config", (None, "{}")), ("config", (None, "{}"))]
        assert code(client.post("/v1/admin/builds", files=twice)) == (400, "invalid_request")
        for query in ("offset=-1", "offset=x", "limit=262145", "wait_sec=31", "offset=" + "9" * 40):
            answer = client.get(f"/v1/admin/builds/{slow}/log?{query}")
            assert code(answer) == (400, "invalid_request")
        assert code(client.get(f"/v1/admin/builds/{NO_BUILD}/log")) == (404, "not_found")
        assert code(client.get("/v1/admin/builds/nonsense")) == (400, "invalid_request")

        key = {"Idempotency-Key": "once"}
        first = create(client, "once", "RUN true", archive=EMPTY_TAR, headers=key)
        assert first.status_code == 201
        again = create(client, "once", "RUN true", archive=EMPTY_TAR, headers=key)
        assert again.json()["id"] == first.json()["id"]
        other = create(client, "once", "RUN true", headers=key)
        assert code(other) == (409, "idempotency_key_conflict")
        assert ended(client, first.json()["id"])["status"] == "success"

        build = ended(client, slow)
        assert (build["status"], build["error"]) == ("failed", "It took longer than 1.5 seconds.")
        assert build["logs"][0]["ok"] is False
        assert code(client.post(f"/v1/admin/builds/{slow}/cancel")) == (400, "invalid_request")
        page = client.get(f"/v1/admin/builds/{slow}/log", params={"offset": 4, "limit": 5}).json()
        assert (page["pieces"][0]["text"], page["next_offset"]) == ("sleep", 9)
        listed = client.get("/v1/admin/builds", params={"limit": 1})
        assert [each["name"] for each in listed.json()] == ["once"]
        cursor = listed.headers["X-Next-Cursor"]
        rest = client.get("/v1/admin/builds", params={"limit": 5, "cursor": cursor})
        assert [each["name"] for each in rest.json()] == ["slow"]
        assert not client.get("/v1/sandboxes").json()
    assert list((server.data_dir / "builds").iterdir()) == []


def test_what_waits_outlives_the_server(
    start: Callable[..., ServerProcess], contract: Contract
) -> None:
    server = start(**START)
    with client_of(server, contract) as client:
        running = [create(client, f"r{n}", "RUN echo on; sleep 600").json()["id"] for n in (1, 2)]
        for build_id in running:
            url = f"/v1/admin/builds/{build_id}/log"
            eventually(lambda url=url: "on\n" in client.get(url).text.replace("\\n", "\n"))
        waiting = create(
            client, "later", "ENV A=1", "COPY . .", "START sleep 600", archive=EMPTY_TAR
        ).json()["id"]
        assert client.get(f"/v1/admin/builds/{waiting}").json()["status"] == "pending"
        (server.data_dir / "builds" / "incoming-left").mkdir()
        (server.data_dir / "builds" / "left.tar").touch()
        server.kill()
    server = start(**START)
    with client_of(server, contract) as client:
        for build_id in running:
            build = client.get(f"/v1/admin/builds/{build_id}").json()
            assert build["status"] == "failed"
            assert "server was stopped" in build["error"]
        assert ended(client, waiting)["status"] == "success"
        box = client.post("/v1/sandboxes", json={"template": "later"}).json()
        command = {"cmd": "/bin/sh", "args": ["-c", "echo $A; cat /proc/*/cmdline | tr '\\0' ' '"]}
        result = client.post(f"/v1/sandboxes/{box['id']}/exec", json=command).json()
        assert result["stdout"].startswith("1\n")
        assert "sleep 600" in result["stdout"]
        assert [each["id"] for each in client.get("/v1/sandboxes").json()] == [box["id"]]

        stopped = create(client, "s", "RUN sleep 600").json()["id"]
        eventually(lambda: client.get(f"/v1/admin/builds/{stopped}").json()["status"] == "running")
    assert list((server.data_dir / "builds").iterdir()) == []
    assert server.stop() == 0
    server = start(**START)
    with client_of(server, contract) as client:
        build = client.get(f"/v1/admin/builds/{stopped}").json()
        assert build["status"] == "failed"
        assert "server was stopped" in build["error"]
        names = [each["name"] for each in client.get("/v1/snapshots?type=base").json()]
        assert "later" in names
        rows = client.get("/v1/admin/builds").json()
        assert [each["id"] for each in rows] == [stopped, waiting, *reversed(running)]


def test_what_programs_say_fits_into_every_database(
    start: Callable[..., ServerProcess], contract: Contract
) -> None:
    line = r"printf 'a\0b'; exit 1"
    with client_of(start(**START), contract) as client:
        for build in (
            create(client, "said", f"RUN {line}"),
            create(client, "checked", "RUN true", healthcheck=f"--retries=1 {line}"),
        ):
            assert "a\N{REPLACEMENT CHARACTER}b" in ended(client, build.json()["id"])["error"]
            assert "\0" not in ended(client, build.json()["id"])["error"]


class _Elsewhere:
    """Sandboxes and snapshots of a server that never gets so far."""

    live = ()

    async def starting_point(self, *_what: object) -> None:
        _ = await asyncio.Event().wait()

    async def destroy(self, _team_id: str, sandbox_id: str) -> None:
        if sandbox_id == "theirs":
            raise HostUnavailableError("It is on another host.")
        raise NotFoundError("There is none.")


async def recovered(place: Path, **fields: Any) -> tuple[Builds, str]:
    """Return the builds of a server that begins with one that there was."""
    rows, elsewhere = MemoryBuilds(), _Elsewhere()
    machines = Machines(MemoryStore(), Double(), Events(), new_id("host"), 90)
    await machines.start()
    record = BuildRecord(
        id=new_id("bld"),
        team_id="team",
        name="x",
        base_template="minimal",
        recipe=["RUN true"],
        vcpus=1,
        memory_mb=1,
        disk_mb=1,
        network="none",
        created_at=datetime.now(UTC),
        total_steps=1,
        **fields,
    )
    await rows.add(record)
    make: Any = Builds
    builds: Builds = make(rows, machines, elsewhere, elsewhere, None, place, 60.0)
    await builds.recover()
    return builds, record.id


def test_a_build_is_cancelled_before_it_has_begun(tmp_path: Path) -> None:
    async def scenario() -> None:
        builds, build_id = await recovered(tmp_path, status="pending")
        await builds.cancel(build_id)
        assert (await builds.get(build_id)).status == "cancelled"

    asyncio.run(scenario())


def test_what_another_server_of_the_database_builds_is_left_alone(tmp_path: Path) -> None:
    async def scenario() -> None:
        for sandbox_id, status in (("theirs", "running"), ("ours", "failed")):
            builds, build_id = await recovered(tmp_path, status="running", sandbox_id=sandbox_id)
            assert (await builds.get(build_id)).status == status

    asyncio.run(scenario())
