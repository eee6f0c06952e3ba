"""Users, teams, members and keys, over HTTP."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from contract import Contract
from harness import ServerProcess
from people import PASSWORD, People, Person

UNKNOWN_TEAM, UNKNOWN_USER = "team-" + "1" * 25, "usr-" + "1" * 25


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that is open to all; its sandboxes are of no interest here."""
    server = ServerProcess(tmp_path_factory.mktemp("identity"), signup="open", engine="process")
    yield server
    assert server.stop() == 0
    for secret in (PASSWORD, "Traceback"):
        assert not any(secret in str(line) for line in server.lines)


@pytest.fixture(scope="module")
def people(server: ServerProcess, contract: Contract) -> Iterator[People]:
    people = People(server, contract)
    yield people
    people.close()


@pytest.fixture(scope="module")
def admin(people: People) -> Person:
    """The first user."""
    return people.sign_up("First")


@pytest.fixture
def owner(people: People, admin: Person) -> Person:
    return people.sign_up("Zoë O'Neill")


def error(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


def test_the_first_user_inherits_the_team_of_the_server(admin: Person) -> None:
    teams = admin.client.get("/v1/teams").json()
    assert {team["name"]: team["role"] for team in teams} == {
        "Default": "owner",
        "First's Team": "owner",
    }


def test_signing_up_and_logging_in(people: People, owner: Person) -> None:
    team = owner.client.get("/v1/teams").json()
    assert [(each["name"], each["role"]) for each in team] == [("Zoë O'Neill's Team", "owner")]
    again = {"email": f" {owner.email.upper()} ", "password": PASSWORD}
    answer = people.anybody.post("/v1/auth/login", json=again)
    assert answer.status_code == 200
    assert answer.json()["user_id"] == owner.id
    assert answer.json()["role"] == "owner"
    taken = people.anybody.post("/v1/auth/signup", json={**again, "name": "Other"})
    assert error(taken) == (409, "email_taken")


def test_wrong_logins_are_told_nothing(people: People, owner: Person) -> None:
    wrong = {"email": owner.email, "password": "wrong horse battery"}
    unknown = {"email": "nobody@example.org", "password": PASSWORD}
    answers = [people.anybody.post("/v1/auth/login", json=body) for body in (wrong, unknown)]
    assert [error(answer) for answer in answers] == [(401, "unauthorized")] * 2
    messages = {answer.json()["error"]["message"] for answer in answers}
    assert len(messages) == 1
    assert PASSWORD not in str(messages)


def test_attempts_to_log_in_are_limited(people: People, owner: Person) -> None:
    wrong = {"email": owner.email, "password": "wrong horse battery"}
    answers = [people.anybody.post("/v1/auth/login", json=wrong) for _ in range(11)]
    assert [answer.status_code for answer in answers] == [401] * 10 + [429]
    assert error(answers[-1]) == (429, "rate_limited")
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
    right = {**wrong, "password": PASSWORD}
    assert people.anybody.post("/v1/auth/login", json=right).status_code == 429


@pytest.mark.parametrize(
    "change",
    [
        {"email": "no-at-sign"},
        {"email": "@example.org"},
        {"email": "two words@example.org"},
        {"email": "a\0b@example.org"},
        {"email": "x" * 10_000 + "@example.org"},
        {"email": None},
        {"email": 7},
        {"password": "short"},
        {"password": "x" * 10_000},
        {"name": ""},
        {"name": "   "},
        {"name": "x" * 10_000},
        {"name": "tab\there"},
        {"name": "\u2028"},
    ],
)
def test_nonsense_is_refused(people: People, change: dict[str, Any]) -> None:
    body = {"email": "fine@example.org", "password": PASSWORD, "name": "Fine"} | change
    answer = people.anybody.post("/v1/auth/signup", json=body)
    assert error(answer) == (400, "invalid_request")
    assert PASSWORD not in answer.text
    assert len(answer.content) < 500


def test_pages_of_other_sites_cannot_sign_up(people: People) -> None:
    body = {"email": "evil@example.org", "password": PASSWORD, "name": "Evil"}
    headers = {"Origin": "https://evil.example"}
    for path in ("/v1/auth/signup", "/v1/auth/login"):
        answer = people.anybody.post(path, json=body, headers=headers)
        assert error(answer) == (403, "forbidden")


def test_searching_users(people: People, owner: Person) -> None:
    found = owner.client.get("/v1/users/search", params={"email": owner.email.upper()}).json()
    assert {"user_id": owner.id, "email": owner.email} in found
    for text in ("", "ab", "no-at-sign", "a\0@", "x" * 1000 + "@"):
        answer = owner.client.get("/v1/users/search", params={"email": text})
        assert error(answer) == (400, "invalid_request")
    for text in ("%@%", "_ser0@", "user0@example.org\U0010ffff"):
        assert owner.client.get("/v1/users/search", params={"email": text}).json() == []


def test_a_team_from_its_beginning_to_its_end(people: People, owner: Person) -> None:
    made = owner.client.post("/v1/teams", json={"name": "  Analysts  "})
    assert made.status_code == 201
    assert made.json()["name"] == "Analysts"
    team = owner.enter(made.json()["id"])
    assert team.client.patch(team.url(), json={"name": "Researchers"}).status_code == 204
    member = people.join(team)
    detail = member.client.get(member.url()).json()
    assert detail["team"]["name"] == "Researchers"
    assert detail["team"]["role"] == "member"
    assert [each["role"] for each in detail["members"]] == ["owner", "member"]
    assert member.client.get(member.url("/members")).json() == detail["members"]
    key = member.make_key()["key"]
    with_key = people.with_headers(**{"X-API-Key": key})
    assert with_key.get("/v1/sandboxes").status_code == 200
    assert team.client.delete(team.url()).status_code == 204
    # At once, for tokens and keys alike.
    for client in (team.client, member.client, with_key):
        assert error(client.get("/v1/sandboxes")) == (401, "unauthorized")
    assert team.team not in [each["id"] for each in owner.client.get("/v1/teams").json()]
    answer = owner.client.post("/v1/auth/switch-team", json={"team_id": team.team})
    assert error(answer) == (404, "not_found")


def test_a_team_with_sandboxes_is_only_deleted_with_force(people: People, owner: Person) -> None:
    box = owner.client.post("/v1/sandboxes", json={}).json()["id"]
    refused = owner.client.delete(owner.url())
    assert error(refused) == (409, "has_active_sandboxes")
    assert refused.json()["error"]["sandbox_ids"] == [box]
    assert owner.client.get(f"/v1/sandboxes/{box}").status_code == 200
    assert owner.client.delete(owner.url(), params={"force": "true"}).status_code == 204
    answer = people.anybody.post(
        "/v1/auth/login", json={"email": owner.email, "password": PASSWORD}
    )
    assert error(answer) == (403, "no_team")


def test_the_team_of_the_server_cannot_be_deleted(admin: Person) -> None:
    default = admin.enter("team-" + "0" * 25)
    answer = default.client.delete(default.url(), params={"force": "true"})
    assert error(answer) == (403, "forbidden")


@pytest.mark.parametrize("name", ["", " ", "x" * 129, "x" * 10_000, "Zoë", "a/b", "a\nb", 7, None])
def test_names_of_teams(owner: Person, name: object) -> None:
    assert error(owner.client.post("/v1/teams", json={"name": name})) == (400, "invalid_request")
    answer = owner.client.patch(owner.url(), json={"name": name})
    assert error(answer) == (400, "invalid_request")


def test_members_come_and_go(people: People, owner: Person) -> None:
    member = people.join(owner)
    again = owner.client.post(owner.url("/members"), json={"email": member.email.upper()})
    assert error(again) == (400, "invalid_request")
    nobody = owner.client.post(owner.url("/members"), json={"email": "nobody@example.org"})
    assert error(nobody) == (404, "not_found")
    local = owner.client.post(owner.url("/members"), json={"email": "local@localhost"})
    assert error(local) == (404, "not_found")
    assert owner.client.delete(owner.url(f"/members/{member.id}")).status_code == 204
    assert error(member.client.get("/v1/sandboxes")) == (401, "unauthorized")
    assert error(owner.client.delete(owner.url(f"/members/{member.id}"))) == (404, "not_found")
    assert error(owner.client.delete(owner.url("/members/usr-x"))) == (400, "invalid_request")


def test_roles_count_from_the_next_request_on(people: People, owner: Person) -> None:
    other = people.join(owner, "admin")
    path = owner.url(f"/members/{other.id}")
    assert other.client.patch(owner.url(), json={"name": "Mine"}).status_code == 204
    assert owner.client.patch(path, json={"role": "member"}).status_code == 204
    answer = other.client.patch(owner.url(), json={"name": "Mine again"})
    assert error(answer) == (403, "forbidden")
    for role in ("owner", "boss", "", None):
        expected = (403, "forbidden") if role == "owner" else (400, "invalid_request")
        assert owner.client.patch(path, json={"role": "admin"}).status_code == 204
        answer = other.client.patch(path, json={"role": role})
        assert error(answer) == expected


def test_the_last_owner_stays(people: People, owner: Person) -> None:
    path = owner.url(f"/members/{owner.id}")
    for answer in (
        owner.client.post(owner.url("/leave")),
        owner.client.delete(path),
        owner.client.patch(path, json={"role": "member"}),
    ):
        assert error(answer) == (403, "forbidden")
    admin = people.join(owner, "admin")
    assert error(admin.client.patch(path, json={"role": "member"})) == (403, "forbidden")
    assert error(admin.client.delete(path)) == (403, "forbidden")
    second = owner.url(f"/members/{admin.id}")
    assert owner.client.patch(second, json={"role": "owner"}).status_code == 204
    assert owner.client.post(owner.url("/leave")).status_code == 204
    assert error(admin.client.post(owner.url("/leave"))) == (403, "forbidden")
    assert error(owner.client.get("/v1/sandboxes")) == (401, "unauthorized")


def test_keys(people: People, owner: Person) -> None:
    made = owner.make_key()
    assert made["name"] == "Unnamed API Key"
    assert made["scopes"] == ["sandboxes"]
    assert made["key"].startswith(made["key_prefix"])
    listed = owner.client.get("/v1/api-keys").json()
    assert listed == [
        {name: value for name, value in made.items() if name != "key"}
        | {"creator_email": owner.email}
    ]
    with_key = people.with_headers(**{"X-API-Key": made["key"]})
    assert with_key.get("/v1/sandboxes").status_code == 200
    assert "last_used" in owner.client.get("/v1/api-keys").json()[0]
    for path in ("/v1/api-keys", "/v1/teams", "/v1/audit-logs", "/v1/users/search?email=a@"):
        answer = with_key.get(path)
        assert error(answer) == (401, "unauthorized")
        assert made["key"] not in answer.text
    other = people.sign_up()
    assert other.client.delete(f"/v1/api-keys/{made['id']}").status_code == 204
    assert with_key.get("/v1/sandboxes").status_code == 200  # it was not theirs to revoke
    assert owner.client.delete(f"/v1/api-keys/{made['id']}").status_code == 204
    assert error(with_key.get("/v1/sandboxes")) == (401, "unauthorized")
    assert owner.client.delete(f"/v1/api-keys/{made['id']}").status_code == 204


def test_a_wider_key_is_as_good_as_its_maker_and_no_better(people: People, owner: Person) -> None:
    admin = people.join(owner, "admin")
    key = admin.make_key(scopes=["teams", "audit", "api_keys", "sandboxes"])
    with_key = people.with_headers(**{"X-API-Key": key["key"]})
    assert with_key.patch(owner.url(), json={"name": "By key"}).status_code == 204
    assert with_key.get("/v1/audit-logs").status_code == 200
    assert error(with_key.get("/v1/users/search?email=a@b")) == (401, "unauthorized")
    wider = with_key.post("/v1/api-keys", json={"scopes": ["users"]})
    assert error(wider) == (403, "forbidden")
    member = owner.url(f"/members/{admin.id}")
    assert owner.client.patch(member, json={"role": "member"}).status_code == 204
    answer = with_key.patch(owner.url(), json={"name": "Again"})
    assert error(answer) == (403, "forbidden")
    assert owner.client.delete(member).status_code == 204
    assert error(with_key.get("/v1/teams")) == (401, "unauthorized")
    assert with_key.get("/v1/sandboxes").status_code == 200  # for that it acts for the team


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "x" * 129},
        {"name": "a\0b"},
        {"scopes": []},
        {"scopes": ["everything"]},
        {"scopes": "sandboxes"},
        {"expires_at": "2020-01-01T00:00:00Z"},
        {"expires_at": "2099-01-01T00:00:00"},
        {"expires_at": "tomorrow"},
    ],
)
def test_nonsense_about_keys(owner: Person, fields: dict[str, Any]) -> None:
    assert error(owner.client.post("/v1/api-keys", json=fields)) == (400, "invalid_request")


def test_the_secret_of_tokens_is_private(server: ServerProcess) -> None:
    path = server.data_dir / "token-secret"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(path.read_text().strip()) >= 32


def test_only_the_first_may_sign_up(
    tmp_path_factory: pytest.TempPathFactory, contract: Contract
) -> None:
    server = ServerProcess(tmp_path_factory.mktemp("first"), engine="process")
    people = People(server, contract)
    try:
        first = people.sign_up()
        body = {"email": "second@example.org", "password": PASSWORD, "name": "Second"}
        assert error(people.anybody.post("/v1/auth/signup", json=body)) == (403, "forbidden")
        # An administrator always may.
        answer = first.client.post("/v1/auth/signup", json=body)
        assert answer.status_code == 201
        user = people.with_token(answer.json()["token"])
        third = {**body, "email": "third@example.org"}
        assert error(user.post("/v1/auth/signup", json=third)) == (403, "forbidden")
    finally:
        people.close()
        assert server.stop() == 0
