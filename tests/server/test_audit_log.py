"""The audit log of a live server."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest
from contract import Contract
from harness import PATIENCE, UNKNOWN_ID, ServerProcess
from people import People, Person


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    server = ServerProcess(tmp_path_factory.mktemp("audit"), signup="open", engine="process")
    yield server
    assert server.stop() == 0


@pytest.fixture(scope="module")
def people(server: ServerProcess, contract: Contract) -> Iterator[People]:
    people = People(server, contract)
    yield people
    people.close()


@pytest.fixture
def owner(people: People) -> Person:
    return people.sign_up()


def log(person: Person, **params: Any) -> list[dict[str, Any]]:
    answer = person.client.get("/v1/audit-logs", params=params)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def brief(rows: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [(row["resource_type"], row["action"], row["status"]) for row in rows]


def test_every_change_is_told_at_once_with_its_actor(people: People, owner: Person) -> None:
    key = owner.make_key(name="ci")
    by_key = people.with_headers(**{"X-API-Key": key["key"]})
    box = by_key.post("/v1/sandboxes", json={"template": "minimal"}).json()["id"]
    run = {"cmd": "/bin/echo", "args": ["very secret"]}
    assert by_key.post(f"/v1/sandboxes/{box}/exec", json=run).status_code == 200
    assert owner.client.delete(f"/v1/sandboxes/{box}").status_code == 204
    member = people.join(owner)
    assert owner.client.patch(owner.url(), json={"name": "New"}).status_code == 204
    rows = log(owner)
    assert brief(rows) == [
        ("team", "rename", "info"),
        ("member", "add", "success"),
        ("sandbox", "destroy", "warning"),
        ("sandbox", "exec", "success"),
        ("sandbox", "create", "success"),
        ("api_key", "create", "success"),
        ("user", "signup", "info"),
    ]
    rename, add, destroy, _, create, made, _ = rows
    assert rename["metadata"]["new_name"] == "New"
    assert rename["resource_id"] == owner.team
    assert add["metadata"] == {"email": member.email, "role": "member"}
    assert (add["resource_id"], add["scope"]) == (member.id, "admin")
    assert (destroy["actor_type"], destroy["actor_id"]) == ("user", owner.id)
    assert (create["actor_type"], create["actor_name"]) == ("api_key", "ci")
    assert (create["resource_id"], create["metadata"]) == (box, {"template": "minimal"})
    assert made["resource_id"] == key["id"]
    times = [datetime.fromisoformat(row["created_at"]) for row in rows]
    assert times == sorted(times, reverse=True)
    assert any(time.microsecond for time in times)
    assert (datetime.now(UTC) - times[0]).total_seconds() < PATIENCE
    assert not any(secret in str(rows) for secret in (key["key"], "very secret", owner.token))


def test_failures_are_told_too(people: People, owner: Person) -> None:
    member = people.join(owner)
    assert member.client.patch(owner.url(), json={"name": "Mine"}).status_code == 403
    assert owner.client.delete(f"/v1/sandboxes/{UNKNOWN_ID}").status_code == 404
    assert owner.client.post("/v1/teams", json={"name": "/"}).status_code == 400
    assert [(row["action"], row["metadata"]["error"]) for row in log(owner)[:3]] == [
        ("create", "invalid_request"),
        ("destroy", "not_found"),
        ("rename", "forbidden"),
    ]
    assert log(owner)[2]["actor_id"] == member.id


def test_reading_is_not_told(owner: Person) -> None:
    for path in ("/v1/sandboxes", "/v1/teams", owner.url(), "/v1/audit-logs", "/v1/snapshots"):
        assert owner.client.get(path).status_code == 200
    assert brief(log(owner)) == [("user", "signup", "info")]


def test_filters_and_pages(owner: Person) -> None:
    for number in range(12):
        made = owner.make_key(name=f"k{number}")
        if number % 3 == 0:
            assert owner.client.delete(f"/v1/api-keys/{made['id']}").status_code == 204
    assert len(log(owner, resource_type="api_key")) == 16
    assert len(log(owner, action="revoke")) == 4
    assert len(log(owner, resource_type="api_key,user", action=["revoke", "signup"])) == 5
    assert log(owner, resource_type="host") == []
    seen: list[str] = []
    params: dict[str, str] = {"limit": "5"}
    while True:
        page = owner.client.get("/v1/audit-logs", params=params).json()
        seen += [row["id"] for row in page["items"]]
        if "next_before" not in page:
            break
        params |= {"before": page["next_before"], "before_id": page["next_before_id"]}
    assert seen == [row["id"] for row in log(owner)]
    assert len(seen) == len(set(seen)) == 17


def test_what_only_admins_see(people: People, owner: Person) -> None:
    member, admin = people.join(owner), people.join(owner, "admin")
    assert brief(log(member)) == []
    assert len(log(admin)) == len(log(owner)) == 4
    assert log(people.sign_up("Other"), resource_type="member") == []


@pytest.mark.parametrize(
    "params",
    [
        {"limit": "0"},
        {"limit": "-1"},
        {"limit": "many"},
        {"before": "yesterday"},
        {"before": "2026-11-01"},
        {"before": "2026-11-01T09:30:00"},
        {"before": "9999-12-31T23:59:59-23:59"},
        {"before": "2026-13-01T00:00:00Z"},
        {"before_id": "log-1"},
        {"before": "2026-11-01T09:30:00Z", "before_id": "cl-" + "0" * 25},
    ],
)
def test_nonsense(owner: Person, params: dict[str, str]) -> None:
    answer = owner.client.get("/v1/audit-logs", params=params)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["code"] == "invalid_request"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_nothing_is_lost_when_the_server_stops(
    start: Callable[..., ServerProcess], contract: Contract, number: signal.Signals
) -> None:
    server = start(signup="open", engine="process")
    people = People(server, contract)
    owner = people.sign_up()
    for _ in range(20):
        _ = owner.make_key()
    server.process.send_signal(number)
    assert server.wait() == 0
    people.close()
    with closing(sqlite3.connect(server.data_dir / "sandlot.db")) as database:
        query = "SELECT count(*) FROM audit_log WHERE resource_type = 'api_key'"
        assert database.execute(query).fetchone() == (20,)
