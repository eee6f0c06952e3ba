"""What those do who administer the platform, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from contract import Contract
from harness import ServerProcess
from people import PASSWORD, People, Person

NO_TEAM, NO_USER = "team-" + "1" * 25, "usr-" + "1" * 25


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory, contract: Contract) -> Iterator[People]:
    server = ServerProcess(tmp_path_factory.mktemp("platform"), signup="open", engine="process")
    people = People(server, contract)
    yield people
    people.close()
    assert server.stop() == 0
    assert not any("Traceback" in str(line) for line in server.lines)


@pytest.fixture(scope="module")
def admin(people: People) -> Person:
    return people.sign_up("First")


@pytest.fixture
def owner(people: People, admin: Person) -> Person:
    assert admin.id  # who signs up first administers the platform
    return people.sign_up("Owner")


def error(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


def every(admin: Person, what: str) -> dict[str, dict[str, Any]]:
    """Return all teams or users, by id, over all pages."""
    found: dict[str, dict[str, Any]] = {}
    for number in range(1, 100):
        page = admin.client.get(f"/v1/admin/{what}", params={"page": number}).json()
        assert page["page"] == number
        assert len(page[what]) <= page["per_page"]
        found |= {each["id"]: each for each in page[what]}
        if number >= page["total_pages"]:
            assert len(found) == page["total"]
            return found
    raise AssertionError("there is no end of pages")


def test_teams_with_what_they_have(people: People, admin: Person, owner: Person) -> None:
    _ = people.join(owner)
    for _ in range(2):
        assert owner.client.post("/v1/sandboxes", json={}).status_code == 201
    team = every(admin, "teams")[owner.team]
    assert team.pop("created_at")
    assert team.pop("slug")
    assert team == {
        "id": owner.team,
        "name": "Owner's Team",
        "is_byoc": False,
        "member_count": 2,
        "owner_name": "Owner",
        "owner_email": owner.email,
        "active_sandbox_count": 2,
        "channel_count": 0,
    }


def test_users_with_their_teams(people: People, admin: Person, owner: Person) -> None:
    member = people.join(owner)
    users = every(admin, "users")
    assert users[admin.id]["is_admin"] is True
    user = users[member.id]
    assert (user["teams_joined"], user["teams_owned"], user["status"]) == (2, 1, "active")


@pytest.mark.parametrize("page", ["0", "-1", "x", "", "1e3"])
def test_pages_that_are_none_are_the_first(admin: Person, page: str) -> None:
    answer = admin.client.get("/v1/admin/users", params={"page": page})
    assert (answer.status_code, answer.json()["page"]) == (200, 1)


def test_pages_beyond_the_last_are_empty(admin: Person) -> None:
    page = admin.client.get("/v1/admin/teams", params={"page": "999999999"}).json()
    assert (page["teams"], page["page"]) == ([], 999_999_999)


def test_a_user_who_is_kept_out(people: People, admin: Person, owner: Person) -> None:
    key = people.with_headers(**{"X-API-Key": owner.make_key()["key"]})
    box = key.post("/v1/sandboxes", json={}).json()["id"]
    friend = people.join(owner)
    path = f"/v1/admin/users/{owner.id}/active"
    assert admin.client.put(path, json={"active": False}).status_code == 204
    assert error(owner.client.get("/v1/sandboxes"))[0] in (401, 403)
    assert error(key.get("/v1/sandboxes")) == (401, "unauthorized")
    login = {"email": owner.email, "password": PASSWORD}
    assert error(people.anybody.post("/v1/auth/login", json=login)) == (403, "account_disabled")
    assert friend.client.get(f"/v1/sandboxes/{box}").json()["status"] == "stopped"
    assert every(admin, "users")[owner.id]["status"] == "disabled"
    assert admin.client.put(path, json={"active": True}).status_code == 204
    assert people.anybody.post("/v1/auth/login", json=login).status_code == 200
    rows = admin.client.get("/v1/admin/audit-logs", params={"action": "set_active"}).json()["items"]
    told = [(row["resource_id"], row["metadata"]["active"]) for row in rows[:2]]
    assert told == [(owner.id, "true"), (owner.id, "false")]


def test_nobody_keeps_out_themselves_or_nobody(admin: Person) -> None:
    answers = [
        admin.client.put(f"/v1/admin/users/{user}/active", json={"active": False})
        for user in (admin.id, NO_USER, "usr-x")
    ]
    assert [error(answer)[0] for answer in answers] == [400, 404, 400]


def test_deleting_a_team(admin: Person, owner: Person) -> None:
    box = owner.client.post("/v1/sandboxes", json={})
    assert box.status_code == 201
    assert admin.client.delete(f"/v1/admin/teams/{owner.team}").status_code == 204
    assert every(admin, "teams")[owner.team]["deleted_at"]
    assert error(owner.client.get("/v1/sandboxes"))[0] in (401, 403)
    again = admin.client.delete(f"/v1/admin/teams/{owner.team}")
    assert error(again) == (404, "not_found")
    assert error(admin.client.delete(f"/v1/admin/teams/{NO_TEAM}")) == (404, "not_found")
