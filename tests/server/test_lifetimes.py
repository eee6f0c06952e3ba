"""How sandboxes end by themselves, and what keeps them from it, over HTTP."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import httpx
import pytest
from harness import UNKNOWN_ID, Box, eventually

SHORT = 2


def test_what_was_asked_for_is_shown(client: httpx.Client, make: Callable[..., Box]) -> None:
    plain = make().get()
    assert (plain["on_timeout"], plain["max_lifetime_sec"], plain["lease_sec"]) == ("pause", 0, 0)
    assert "expires_at" not in plain
    fields = {"on_timeout": "destroy", "max_lifetime_sec": 100, "lease_sec": 200}
    box = make(**fields)
    info = box.get()
    assert {name: info[name] for name in fields} == fields
    lifetime = datetime.fromisoformat(info["created_at"]) + timedelta(seconds=100)
    assert datetime.fromisoformat(info["expires_at"]) == lifetime, "the earlier of the two"
    (listed,) = (each for each in client.get("/v1/sandboxes").json() if each["id"] == box.id)
    assert listed["expires_at"] == info["expires_at"]
    assert client.delete(box.url()).status_code == 204
    assert "expires_at" not in box.get()


@pytest.mark.parametrize(
    "fields",
    [
        {"on_timeout": "hibernate"},
        {"max_lifetime_sec": -1},
        {"lease_sec": 1.5},
        {"lease_sec": 1 << 31},
        {"if_exists": "maybe", "name": "n"},
        {"if_exists": "get"},
    ],
)
def test_nonsense_is_refused(client: httpx.Client, fields: dict[str, object]) -> None:
    response = client.post("/v1/sandboxes", json=fields)
    assert response.status_code == 400
    assert next(iter(fields)) in response.json()["error"]["message"]


def test_very_long_lives_are_fine(make: Callable[..., Box]) -> None:
    longest = (1 << 31) - 1
    box = make(max_lifetime_sec=longest, lease_sec=longest, timeout_sec=longest)
    assert box.post("/lease").status_code == 200
    assert box.sh("echo on")["stdout"] == "on\n"


def test_a_lifetime_ends_even_while_paused(make: Callable[..., Box]) -> None:
    box = make(max_lifetime_sec=SHORT)
    assert box.post("/pause").status_code == 200
    eventually(lambda: box.get()["status"] == "stopped")
    info = box.get()
    assert info["status_reason"] == f"It was to live for {SHORT} seconds at most."
    life = datetime.fromisoformat(info["last_updated"]) - datetime.fromisoformat(info["created_at"])
    assert SHORT <= life.total_seconds() < SHORT + 3


def test_a_lease_is_renewed(make: Callable[..., Box]) -> None:
    box = make(lease_sec=SHORT, timeout_sec=SHORT)
    response = box.post("/lease")
    assert response.status_code == 200
    first = datetime.fromisoformat(response.json()["expires_at"])
    eventually(
        lambda: box.post("/lease").status_code == 200 and box.get()["status"] == "paused",
    )  # a renewal is no activity
    assert datetime.fromisoformat(box.post("/lease").json()["expires_at"]) > first
    eventually(lambda: box.get()["status"] == "stopped")
    assert box.get()["status_reason"] == f"Its lease was not renewed for {SHORT} seconds."
    response = box.post("/lease")
    assert (response.status_code, response.json()["error"]["code"]) == (409, "invalid_state")


def test_leases_that_are_not_there(client: httpx.Client, common: Box) -> None:
    assert common.post("/lease").json()["error"]["code"] == "invalid_request"
    assert client.post(f"/v1/sandboxes/{UNKNOWN_ID}/lease").status_code == 404


def test_an_idle_sandbox_may_be_destroyed(make: Callable[..., Box]) -> None:
    box = make(timeout_sec=1, on_timeout="destroy")
    assert box.sh("sleep 2")["exit_code"] == 0, "what runs is not idle"
    eventually(lambda: box.get()["status"] == "stopped")
    assert box.get()["status_reason"] == "Nothing happened for 1 seconds."


def test_create_or_get(client: httpx.Client, make: Callable[..., Box]) -> None:
    box = make(name="mine", if_exists="get")
    body = {"name": "mine", "if_exists": "get", "memory_mb": 64}
    found = client.post("/v1/sandboxes", json=body)
    assert (found.status_code, found.json()["id"]) == (200, box.id)
    assert found.json()["memory_mb"] == 512, "it is given as it is"
    for _ in range(2):
        again = client.post("/v1/sandboxes", json=body, headers={"Idempotency-Key": "found"})
        assert (again.status_code, again.json()["id"]) == (200, box.id)
    assert client.post("/v1/sandboxes", json={"name": "mine"}).status_code == 409
    assert client.delete(box.url()).status_code == 204
    made = client.post("/v1/sandboxes", json=body, headers={"Idempotency-Key": "made"})
    assert made.status_code == 201
    again = client.post("/v1/sandboxes", json=body, headers={"Idempotency-Key": "made"})
    assert (again.status_code, again.json()["id"]) == (201, made.json()["id"])
    assert client.delete(f"/v1/sandboxes/{made.json()['id']}").status_code == 204


def test_many_are_stopped(client: httpx.Client, make: Callable[..., Box]) -> None:
    first, second = make(), make()
    wanted = [first.id, UNKNOWN_ID, second.id]
    paused = client.post("/v1/sandboxes/stop", json={"sandbox_ids": wanted, "save_state": True})
    assert paused.json()["stopped"] == [first.id, second.id]
    assert first.get()["status"] == second.get()["status"] == "paused"
    (failure,) = paused.json()["failed"]
    assert (failure["id"], failure["code"]) == (UNKNOWN_ID, "not_found")
    stopped = client.post("/v1/sandboxes/stop", json={"sandbox_ids": wanted})
    assert stopped.json()["stopped"] == [first.id, second.id]
    assert first.get()["status"] == second.get()["status"] == "stopped"
    assert client.post("/v1/capsules/stop", json={"sandbox_ids": []}).json()["stopped"] == []


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"sandbox_ids": "cl"},
        {"sandbox_ids": ["cl-1"]},
        {"sandbox_ids": [UNKNOWN_ID] * 1001},
    ],
)
def test_what_is_no_list_of_ids(client: httpx.Client, body: dict[str, object]) -> None:
    response = client.post("/v1/sandboxes/stop", json=body)
    assert (response.status_code, response.json()["error"]["code"]) == (400, "invalid_request")
    assert "sandbox_ids" in response.json()["error"]["message"]


# activity, as long as it lasts


def slowly(pieces: int) -> Iterator[bytes]:
    """Yield something now and then, for longer than the idle timer."""
    for _ in range(pieces):
        time.sleep(0.5)  # less than the timer's second
        yield b"x" * 100


def upload(box: Box) -> None:
    boundary = b"--border\r\nContent-Disposition: form-data; name="
    body = itertools.chain(
        [boundary + b'"path"\r\n\r\nslow\r\n', boundary + b'"file"; filename="f"\r\n\r\n'],
        slowly(5),
        [b"\r\n--border--\r\n"],
    )
    headers = {"Content-Type": "multipart/form-data; boundary=border"}
    url = box.url("/files/stream/write")
    response = box.client.post(url, content=body, headers=headers)
    assert response.status_code == 204, response.text


def download(box: Box) -> None:
    _ = box.sh("head -c 60000000 /dev/zero > large")
    url = box.url("/files/stream/read")
    with box.client.stream("POST", url, json={"path": "large"}) as response:
        for number, _ in enumerate(response.iter_bytes(5_000_000)):
            time.sleep(0.4)  # eight times that is far more than the timer's second
            if number == 8:
                break  # the rest may be on its way already


@pytest.mark.parametrize("transfer", [upload, download])
def test_a_transfer_is_activity_for_as_long_as_it_takes(
    make: Callable[..., Box], transfer: Callable[[Box], None]
) -> None:
    box = make(timeout_sec=1)
    transfer(box)
    assert box.get()["status"] == "running"
    eventually(lambda: box.get()["status"] == "paused")
