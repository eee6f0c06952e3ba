from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from contract import Contract
from harness import KEY, ServerProcess, client_of, eventually
from people import People, Person


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


@pytest.fixture(scope="module")
def open_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    server = ServerProcess(tmp_path_factory.mktemp("keys"), engine="process", signup="open")
    yield server
    assert server.stop() == 0


@pytest.fixture(scope="module")
def people(open_server: ServerProcess, contract: Contract) -> Iterator[People]:
    people = People(open_server, contract)
    yield people
    people.close()


HOOK = {
    "name": "ops",
    "provider": "webhook",
    "events": ["host.up"],
    "config": {"url": "https://example.com/hook"},
}


def sent(person: Person, path: str, body: dict[str, Any], key: str = "k") -> httpx.Response:
    return person.client.post(path, json=body, headers={"Idempotency-Key": key})


@pytest.mark.parametrize(
    ("path", "body", "other"),
    [
        ("/v1/teams", {"name": "Analysts"}, {"name": "Others"}),
        ("/v1/api-keys", {"name": "ci"}, {"name": "ci", "scopes": ["sandboxes"]}),
        ("/v1/channels", HOOK, {**HOOK, "events": ["host.down"]}),
        ("MEMBERS", {"email": "FRIEND"}, {"email": "nobody@example.org"}),
    ],
)
def test_every_creation_is_done_once(
    people: People, path: str, body: dict[str, Any], other: dict[str, Any]
) -> None:
    person, friend = people.sign_up(), people.sign_up()
    if path == "MEMBERS":
        path, body = person.url("/members"), {"email": friend.email}
    first = sent(person, path, body)
    assert first.status_code == 201, first.text
    with ThreadPoolExecutor(4) as pool:
        again = list(pool.map(lambda _: sent(person, path, body), range(4)))
    assert [each.status_code for each in again] == [201] * 4
    # What is shown only once is shown again to whoever asked for it.
    changing = {"creator_email", "last_used"}
    for answer in again:
        same = {name: value for name, value in answer.json().items() if name not in changing}
        assert same == {name: first.json()[name] for name in same}
        assert answer.json().keys() >= {"key", "secret"} & first.json().keys()
    clash = sent(person, path, other)
    assert (clash.status_code, clash.json()["error"]["code"]) == (409, "idempotency_key_conflict")
    rows = person.client.get("/v1/audit-logs", params={"action": "create,add"}).json()["items"]
    repeated = [row for row in rows if row.get("metadata", {}).get("repeated")]
    assert len(repeated) == 4


def test_the_key_of_somebody_else_is_another_one(people: People) -> None:
    owner = people.sign_up()
    admin = people.join(owner, "admin")
    made = [sent(person, "/v1/api-keys", {"name": "ci"}).json() for person in (owner, admin)]
    assert made[0]["id"] != made[1]["id"]
    assert made[0]["key"] != made[1]["key"]
    assert [each["created_by"] for each in made] == [owner.id, admin.id]
    by_key = [people.with_headers(**{"X-API-Key": each["key"]}) for each in made]
    boxes = [create(client, "box").json()["id"] for client in by_key]
    assert len(set(boxes)) == 2
    for box in boxes:
        assert by_key[0].delete(f"/v1/sandboxes/{box}").status_code == 204


def test_what_was_removed_is_not_made_again(people: People) -> None:
    person, friend = people.sign_up(), people.sign_up()
    members = person.url("/members")
    for name, path, body, thing in (
        ("key", "/v1/api-keys", {"name": "ci"}, "/v1/api-keys/{id}"),
        ("channel", "/v1/channels", HOOK, "/v1/channels/{id}"),
        ("member", members, {"email": friend.email}, members + "/{user_id}"),
    ):
        made = sent(person, path, body, name).json()
        assert person.client.delete(thing.format(**made)).status_code == 204
        gone = sent(person, path, body, name)
        assert (gone.status_code, gone.json()["error"]["code"]) == (409, "idempotency_key_used")
        assert "new idempotency key" in gone.json()["error"]["message"]
        assert sent(person, path, body, "new-" + name).status_code == 201


def test_a_secret_that_was_replaced_is_not_shown(people: People) -> None:
    person = people.sign_up()
    made = sent(person, "/v1/channels", HOOK).json()
    path = f"/v1/channels/{made['id']}/config"
    rotated = person.client.put(path, json={"config": HOOK["config"]}).json()
    assert rotated["secret"] != made["secret"]
    again = sent(person, "/v1/channels", HOOK).json()
    assert (again["id"], "secret" in again) == (made["id"], False)


def test_secrets_are_not_in_the_database(people: People, open_server: ServerProcess) -> None:
    person = people.sign_up()
    key = sent(person, "/v1/api-keys", {"name": "ci"}).json()["key"]
    for file in open_server.data_dir.glob("sandlot.db*"):
        assert key.encode() not in file.read_bytes()


def test_another_secret_of_the_server(
    start: Callable[..., ServerProcess], contract: Contract
) -> None:
    """What was derived from the one before cannot be shown any more."""
    server = start(engine="process", signup="open", jwt_secret="a" * 32)
    people = People(server, contract)
    person = people.sign_up()
    made = sent(person, "/v1/api-keys", {"name": "ci", "scopes": ["api_keys"]}).json()
    with client_of(server, contract, made["key"]) as client:
        headers = {"Idempotency-Key": "k"}
        first = client.post("/v1/api-keys", json={}, headers=headers).json()
        assert server.stop() == 0
        second = start(engine="process", port=str(server.port), jwt_secret="b" * 32)
        again = client.post("/v1/api-keys", json={}, headers=headers)
        assert again.json()["error"]["code"] == "idempotency_key_used"
        assert first["id"] in again.json()["error"]["message"]
        assert second.stop() == 0
    people.close()
