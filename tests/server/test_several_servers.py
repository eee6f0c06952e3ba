"""Several servers on one database: what is asked of two at once is made once."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from harness import eventually
from several import HASTY, PATIENT, Begin, Pair, Request, begin, new_url

__all__ = ["begin", "new_url"]

TIMES = 12
"""How often a key is sent to both servers at once, of each kind."""
HOOK = {"provider": "webhook", "events": ["host.up"], "config": {"url": "https://example.com/h"}}


@pytest.fixture(scope="module")
def pair(begin: Begin) -> Pair:
    """Two servers that take claims over soon."""
    return begin(HASTY)


@pytest.fixture(scope="module")
def calm(begin: Begin) -> Pair:
    """Two servers that are given all the time that they need."""
    return begin(PATIENT)


def box(name: str) -> Request:
    return "/v1/sandboxes", {"metadata": {"for": name}}


def kinds(name: str) -> list[Request]:
    return [
        box(name),
        ("/v1/teams", {"name": name}),
        ("/v1/api-keys", {"name": name}),
        ("/v1/channels", {"name": name, **HOOK}),
    ]


@pytest.mark.parametrize("kind", range(4), ids=["sandbox", "team", "key", "channel"])
def test_a_key_that_reaches_both_at_once(calm: Pair, kind: int) -> None:
    path, _ = kinds("")[kind]
    before, made = calm.there(path), set[str]()
    for number in range(TIMES):
        request = kinds(f"n{kind}-{number}")[kind]
        answers = calm.ask_both(request, f"both-{kind}-{number}")
        assert [answer.status_code for answer in answers] == [201, 201]
        first, second = (answer.json() for answer in answers)
        assert first["id"] == second["id"]
        assert first.get("key") == second.get("key")
        assert first.get("secret") == second.get("secret")
        made.add(first["id"])
    assert len(made) == TIMES
    assert not calm.has_lost_claims()
    assert calm.there(path) - before == made
    if path == "/v1/sandboxes":
        assert {name for which in range(2) for name in calm.homes(which)} >= made
        for sandbox_id in made:
            codes = {client.delete(f"{path}/{sandbox_id}").status_code for client in calm.clients}
            assert codes <= {204, 503}


def test_a_snapshot_that_is_asked_of_both_at_once(calm: Pair) -> None:
    """Only the server that has the sandbox can make it."""
    sandbox = calm.ask(0, box("origin"), "origin").json()["id"]
    before = calm.there("/v1/snapshots")
    for number in range(TIMES):
        request = ("/v1/snapshots", {"sandbox_id": sandbox, "name": f"s{number}"})
        answers = calm.ask_both(request, f"snapshot-{number}")
        refused = answers[1].status_code == 503
        if refused:
            assert answers[1].json()["error"]["code"] == "host_unavailable"
        for answer in answers[: 1 if refused else 2]:
            assert answer.status_code == 201, answer.text
        again = [calm.ask(which, request, f"snapshot-{number}") for which in range(2)]
        assert [answer.json()["name"] for answer in again] == [f"s{number}"] * 2
    made = {f"s{number}" for number in range(TIMES)}
    assert calm.there("/v1/snapshots") - before == made
    assert len(os.listdir(calm.servers[0].data_dir / "snapshots")) == TIMES
    for name in made:
        assert calm.clients[0].delete(f"/v1/snapshots/{name}").status_code == 204
    assert calm.clients[0].delete(f"/v1/sandboxes/{sandbox}").status_code == 204


def test_another_request_with_the_key_of_one_that_is_carried_out(calm: Pair) -> None:
    with calm.suspended(0, "claimed", box("a"), "clash") as first:
        clash = calm.ask(1, box("b"), "clash")
        assert clash.json()["error"]["code"] == "idempotency_key_conflict"
    made = first.result().json()["id"]
    assert calm.ask(1, box("a"), "clash").json()["id"] == made
    assert calm.clients[0].delete(f"/v1/sandboxes/{made}").status_code == 204


def test_who_waits_for_the_other_is_given_what_that_makes(calm: Pair) -> None:
    with ThreadPoolExecutor(1) as pool:
        with calm.suspended(0, "noted", box("waits"), "waits") as first:
            second = pool.submit(calm.ask, 1, box("waits"), "waits")
        assert first.result().json()["id"] == second.result().json()["id"]
    made = first.result().json()["id"]
    assert not calm.has_lost_claims()
    assert calm.clients[0].delete(f"/v1/sandboxes/{made}").status_code == 204


@pytest.mark.parametrize("moment", ["claimed", "noted", "made"])
def test_a_sandbox_of_a_server_that_was_asleep(pair: Pair, moment: str) -> None:
    """Whenever it wakes, there is one, which both name."""
    request = box(f"asleep-{moment}")
    with pair.suspended(0, moment, request, moment) as first:
        second = pair.ask(1, request, moment)
        assert second.status_code == 201, second.text
        assert pair.homes(1) == [second.json()["id"]]
    assert first.result().status_code == 201, first.result().text
    made = second.json()["id"]
    assert first.result().json()["id"] == made
    assert {pair.ask(which, request, moment).json()["id"] for which in range(2)} == {made}
    assert pair.has_lost_claims()
    assert pair.there("/v1/sandboxes") == {made}
    assert (pair.homes(0), pair.homes(1)) == ([], [made])
    assert pair.clients[1].delete(f"/v1/sandboxes/{made}").status_code == 204


@pytest.mark.parametrize("moment", ["claimed", "done"])
@pytest.mark.parametrize("kind", range(1, 4), ids=["team", "key", "channel"])
def test_a_row_of_a_server_that_was_asleep(pair: Pair, kind: int, moment: str) -> None:
    request = kinds(f"{moment}-{kind}")[kind]
    before = pair.there(request[0])
    with pair.suspended(0, moment, request, f"{moment}-{kind}") as first:
        second = pair.ask(1, request, f"{moment}-{kind}")
    assert (first.result().status_code, second.status_code) == (201, 201)
    names = ("id", "name", "key", "secret")
    one, two = (
        {name: answer.json().get(name) for name in names} for answer in (first.result(), second)
    )
    assert one == two
    assert pair.there(request[0]) - before == {one["id"]}


def test_a_snapshot_of_a_server_that_was_asleep(pair: Pair) -> None:
    """The other server cannot make it, and says so; it is not made twice for that."""
    sandbox = pair.ask(0, box("origin"), "origin").json()["id"]
    request = ("/v1/snapshots", {"sandbox_id": sandbox})
    with pair.suspended(0, "captured", request, "asleep") as first:
        second = pair.ask(1, request, "asleep")
        assert second.status_code == 503, second.text
        assert second.json()["error"]["code"] == "host_unavailable"
    name = first.result().json()["name"]
    assert [pair.ask(which, request, "asleep").json()["name"] for which in range(2)] == [name] * 2
    assert len(os.listdir(pair.servers[0].data_dir / "snapshots")) == 1
    assert pair.clients[0].delete(f"/v1/snapshots/{name}").status_code == 204
    assert pair.clients[0].delete(f"/v1/sandboxes/{sandbox}").status_code == 204


@pytest.mark.parametrize("moment", ["claimed", "noted", "made"])
def test_a_sandbox_of_a_server_that_was_killed(pair: Pair, moment: str) -> None:
    request = box(f"killed-{moment}")
    with pair.suspended(0, moment, request, f"killed-{moment}") as first:
        pair.servers[0].kill()
    with pytest.raises(httpx.TransportError):
        _ = first.result()
    second = pair.ask(1, request, f"killed-{moment}")
    assert second.status_code == 201, second.text
    made = second.json()["id"]
    pair.again(0)
    assert pair.ask(0, request, f"killed-{moment}").json()["id"] == made
    assert pair.there("/v1/sandboxes") == {made}
    eventually(lambda: pair.homes(0) == [])
    assert pair.clients[1].delete(f"/v1/sandboxes/{made}").status_code == 204


def test_a_server_takes_over_its_own_claims_at_once(calm: Pair) -> None:
    """However long the lease of its last life would last."""
    with calm.suspended(0, "noted", box("own"), "own") as first:
        calm.servers[0].kill()
    with pytest.raises(httpx.TransportError):
        _ = first.result()
    calm.again(0)
    made = calm.ask(0, box("own"), "own")
    assert made.status_code == 201, made.text
    assert not [line for line in calm.servers[0].lines if line.get("status") == 503]
    assert calm.ask(1, box("own"), "own").json()["id"] == made.json()["id"]
    assert calm.clients[0].delete(f"/v1/sandboxes/{made.json()['id']}").status_code == 204


def test_a_request_does_not_wait_for_ever(begin: Begin) -> None:
    pair = begin("60 5 0.2")
    with pair.suspended(0, "claimed", box("long"), "long") as first:
        refused = pair.ask(1, box("long"), "long")
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "host_unavailable")
        assert refused.headers["retry-after"] == "1"
    assert first.result().status_code == 201
    again = pair.ask(1, box("long"), "long")
    assert again.json()["id"] == first.result().json()["id"]
