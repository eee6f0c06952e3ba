"""Builds belong to the server that accepted them; others of the database tell the truth of them."""

from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from harness import eventually
from several import PATIENT, Begin, Pair, begin, new_url
from test_builds import EMPTY_TAR, code, create, ended

__all__ = ["begin", "new_url"]

SLOW = "RUN echo on; sleep 600"


@pytest.fixture(scope="module")
def calm(begin: Begin) -> Pair:
    """Two servers, of which one is always there to the other."""
    return begin(PATIENT)


@pytest.fixture(scope="module")
def pair(begin: Begin) -> Pair:
    """Two servers that notice soon when one is gone; its sandboxes wait for it."""
    return begin(PATIENT, host_timeout_sec="2", orphan_timeout_sec="100")


def look(client: httpx.Client, build_id: str) -> dict[str, Any]:
    build: dict[str, Any] = client.get(f"/v1/admin/builds/{build_id}").json()
    return build


def cancel(client: httpx.Client, build_id: str) -> httpx.Response:
    return client.post(f"/v1/admin/builds/{build_id}/cancel")


def is_on(client: httpx.Client, build_id: str) -> bool:
    """Tell whether the first step of a build can be seen to run."""
    page = client.get(f"/v1/admin/builds/{build_id}/log", params={"wait_sec": 1}).json()
    return "on\n" in [piece["text"] for piece in page["pieces"]] and page["current_step"] == 1


def begin_builds(client: httpx.Client, name: str) -> list[str]:
    """Ask for two builds that run, and one that waits for them."""
    running = [create(client, f"{name}-{n}", SLOW).json()["id"] for n in (1, 2)]
    for build_id in running:
        eventually(lambda build_id=build_id: is_on(client, build_id))
    waiting = create(client, f"{name}-3", "COPY . .", "RUN true", archive=EMPTY_TAR)
    return [*running, waiting.json()["id"]]


def archives(pair: Pair, which: int) -> list[str]:
    return os.listdir(pair.servers[which].data_dir / "builds")


def test_a_build_belongs_to_the_server_that_accepted_it(calm: Pair) -> None:
    one, two = calm.clients
    *running, waiting = begin_builds(one, "owned")
    assert calm.servers[1].stop() == 0
    calm.again(1)
    assert archives(calm, 0) == [f"{waiting}.tar"]
    # What runs is told from the rows; how far it was at the time.
    for build_id in running:
        eventually(lambda build_id=build_id: is_on(two, build_id))
        assert (look(two, build_id)["status"], look(two, build_id)["current_step"]) == (
            "running",
            1,
        )
    host = one.get(f"/v1/sandboxes/{look(one, running[0])['sandbox_id']}").json()["host_id"]
    for build_id in (*running, waiting):
        refused = cancel(two, build_id)
        assert code(refused) == (503, "host_unavailable")
        assert host in refused.json()["error"]["message"]
    assert look(two, waiting)["status"] == "pending"
    for build_id in running:
        assert cancel(one, build_id).status_code == 204
        assert look(two, build_id)["status"] == "cancelled"
    assert ended(two, waiting)["status"] == "success"
    assert code(cancel(two, waiting)) == (400, "invalid_request")
    eventually(lambda: archives(calm, 0) == [])
    assert calm.there("/v1/sandboxes") == set()


def cancelled(client: httpx.Client, build_id: str) -> bool:
    """Cancel a build, if its server is not heard of any more."""
    answer = cancel(client, build_id)
    if answer.status_code != 204:
        assert code(answer) == (503, "host_unavailable")
    return answer.status_code == 204


def test_builds_of_a_server_that_was_killed(pair: Pair) -> None:
    one, two = pair.clients
    builds = begin_builds(one, "killed")
    pair.servers[0].kill()
    for build_id in builds:
        eventually(lambda build_id=build_id: cancelled(two, build_id))
    assert len(pair.homes(0)) == 2  # they wait for their server
    pair.again(0)
    assert [look(one, build_id)["status"] for build_id in builds] == ["cancelled"] * 3
    assert archives(pair, 0) == []
    eventually(lambda: pair.homes(0) == [])
    assert pair.there("/v1/sandboxes") == set()


def test_builds_of_a_host_that_was_deleted(pair: Pair) -> None:
    one, two = pair.clients
    builds = begin_builds(one, "deleted")
    sandbox = one.get(f"/v1/sandboxes/{look(one, builds[0])['sandbox_id']}").json()
    pair.servers[0].kill()
    path = f"/v1/hosts/{sandbox['host_id']}"
    eventually(lambda: two.delete(path, params={"force": "true"}).status_code == 204)
    for build_id in builds:
        build = look(two, build_id)
        assert (build["status"], build["error"]) == ("failed", "Its host was deleted.")
        assert code(cancel(two, build_id)) == (400, "invalid_request")
    pair.again(0)
    assert [look(one, build_id)["status"] for build_id in builds] == ["failed"] * 3
    assert archives(pair, 0) == []
    eventually(lambda: pair.homes(0) == [])


@pytest.mark.parametrize("moment", ["building", "made", "captured"])
def test_a_build_of_a_server_that_was_asleep(pair: Pair, moment: str) -> None:
    """Others have ended it meanwhile, and nothing comes of it."""
    one, two = pair.clients
    name, before = f"asleep-{moment}", two.get("/v1/snapshots").json()
    (pair.servers[0].data_dir / "moment").write_text(moment)
    with ThreadPoolExecutor(1) as pool, pair.asleep(0):
        answer: Future[httpx.Response] = pool.submit(create, one, name, "RUN echo on")
        pair.falls_asleep(0)
        (build,) = [each for each in two.get("/v1/admin/builds").json() if each["name"] == name]
        assert build["status"] == "running"
        eventually(lambda: cancelled(two, build["id"]))
    _ = answer.result()
    eventually(lambda: pair.homes(0) == [])
    assert look(two, build["id"])["status"] == "cancelled"
    eventually(lambda: look(one, build["id"])["status"] == "cancelled")
    assert two.get("/v1/snapshots").json() == before
    eventually(lambda: os.listdir(pair.servers[0].data_dir / "snapshots") == [])
