from __future__ import annotations

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from harness import KEY, ServerProcess, eventually


def create(client: httpx.Client, key: str, **fields: Any) -> httpx.Response:
    return client.post("/v1/sandboxes", json=fields, headers={"Idempotency-Key": key})


def test_the_same_request_gives_the_same_sandbox(client: httpx.Client) -> None:
    first = create(client, "same", metadata={"a": "1", "b": "2"})
    # The order of fields, and nulls, make no difference.
    again = create(client, "same", name=None, metadata={"b": "2", "a": "1"})
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json()["id"] == again.json()["id"]
    other = create(client, "other", metadata={"a": "1", "b": "2"})
    assert other.json()["id"] != first.json()["id"]
    for response in (first, other):
        assert client.delete(f"/v1/sandboxes/{response.json()['id']}").status_code == 204


def test_another_request_with_the_same_key_is_refused(client: httpx.Client) -> None:
    first = create(client, "clash", vcpus=1)
    response = create(client, "clash", vcpus=2)
    assert response.status_code == 409
    assert response.json()["error"]["code"] == "idempotency_key_conflict"
    assert client.delete(f"/v1/sandboxes/{first.json()['id']}").status_code == 204


def test_parallel_requests_make_one_sandbox(client: httpx.Client) -> None:
    with ThreadPoolExecutor(16) as pool:
        responses = list(pool.map(lambda _: create(client, "parallel"), range(16)))
    assert {response.status_code for response in responses} == {201}
    ids = {response.json()["id"] for response in responses}
    assert len(ids) == 1
    assert client.delete(f"/v1/sandboxes/{ids.pop()}").status_code == 204


def test_parallel_clashes_are_refused(client: httpx.Client) -> None:
    with ThreadPoolExecutor(8) as pool:
        responses = list(pool.map(lambda n: create(client, "clashes", vcpus=n), range(1, 9)))
    made = [response for response in responses if response.status_code == 201]
    assert len(made) == 1
    assert {response.status_code for response in responses} == {201, 409}
    assert client.delete(f"/v1/sandboxes/{made[0].json()['id']}").status_code == 204


def test_a_destroyed_sandbox_is_remembered(client: httpx.Client) -> None:
    sandbox_id = create(client, "gone").json()["id"]
    assert client.delete(f"/v1/sandboxes/{sandbox_id}").status_code == 204
    again = create(client, "gone")
    assert again.status_code == 201
    assert (again.json()["id"], again.json()["status"]) == (sandbox_id, "stopped")


def test_a_failure_is_not_remembered(client: httpx.Client) -> None:
    holder = create(client, "holder", name="held")
    assert create(client, "retry", name="held").status_code == 409
    assert client.delete(f"/v1/sandboxes/{holder.json()['id']}").status_code == 204
    retried = create(client, "retry", name="held")
    assert retried.status_code == 201
    assert client.delete(f"/v1/sandboxes/{retried.json()['id']}").status_code == 204


def test_a_create_with_a_key_is_finished_without_its_requester(
    server: ServerProcess, client: httpx.Client
) -> None:
    body = json.dumps({"metadata": {"left": "alone"}}).encode()
    head = (
        f"POST /v1/sandboxes HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\n"
        f"Idempotency-Key: alone\r\nContent-Length: {len(body)}\r\n\r\n"
    )

    def living() -> list[dict[str, Any]]:
        living: list[dict[str, Any]] = client.get("/v1/sandboxes?metadata.left=alone").json()
        return living

    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(head.encode() + body)
        eventually(lambda: len(living()) == 1)
    eventually(lambda: living()[0]["status"] == "running")
    again = create(client, "alone", metadata={"left": "alone"})
    assert again.json()["id"] == living()[0]["id"]
    assert client.delete(f"/v1/sandboxes/{again.json()['id']}").status_code == 204


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "\u00e9"])
def test_malformed_keys(client: httpx.Client, key: str) -> None:
    headers = {"Idempotency-Key": key.encode("latin-1")}
    response = client.post("/v1/sandboxes", json={}, headers=headers)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "invalid_request"
