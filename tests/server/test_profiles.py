"""What users do with their own account, over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from contract import Contract
from harness import ServerProcess
from people import PASSWORD, People, Person

from sandlot.server.services.principals import Principal
from sandlot.server.services.profiles import Profiles
from sandlot.server.store.identity_records import UserRecord

NEW = "battery staple horse"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    server = ServerProcess(tmp_path_factory.mktemp("profiles"), signup="open", engine="process")
    yield server
    assert server.stop() == 0
    for secret in (PASSWORD, NEW, "Traceback"):
        assert not any(secret in str(line) for line in server.lines)


@pytest.fixture(scope="module")
def people(server: ServerProcess, contract: Contract) -> Iterator[People]:
    people = People(server, contract)
    _ = people.sign_up("First")
    yield people
    people.close()


@pytest.fixture
def user(people: People) -> Person:
    return people.sign_up("Ada")


def error(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


def log_in(people: People, email: str, password: str) -> httpx.Response:
    return people.anybody.post("/v1/auth/login", json={"email": email, "password": password})


def test_one_sees_oneself(user: Person) -> None:
    account = user.client.get("/v1/me").json()
    assert account.pop("created_at")
    assert account == {
        "user_id": user.id,
        "name": "Ada",
        "email": user.email,
        "has_password": True,
        "providers": [],
        "is_admin": False,
    }


def test_another_name(user: Person) -> None:
    answer = user.client.patch("/v1/me", json={"name": " Ada Lovelace "})
    assert (answer.status_code, answer.json()["name"]) == (200, "Ada Lovelace")
    assert answer.json()["team_id"] == user.team
    assert user.people.with_token(answer.json()["token"]).get("/v1/me").status_code == 200
    assert user.client.get("/v1/me").json()["name"] == "Ada Lovelace"
    members = user.client.get(user.url("/members")).json()
    assert [member["name"] for member in members] == ["Ada Lovelace"]
    assert error(user.client.patch("/v1/me", json={"name": "x" * 10_000}))[0] == 400


def test_another_password_ends_all_sessions(people: People, user: Person) -> None:
    other = people.with_token(log_in(people, user.email, PASSWORD).json()["token"])
    body = {"current_password": "wrong horse", "new_password": NEW}
    assert error(user.client.post("/v1/me/password", json=body)) == (401, "wrong_password")
    body = {"current_password": PASSWORD, "new_password": "short"}
    assert error(user.client.post("/v1/me/password", json=body)) == (400, "invalid_request")
    body = {"current_password": PASSWORD, "new_password": NEW}
    assert user.client.post("/v1/me/password", json=body).status_code == 204
    for client in (user.client, other):
        assert error(client.get("/v1/me")) == (401, "unauthorized")
    assert error(log_in(people, user.email, PASSWORD)) == (401, "unauthorized")
    assert log_in(people, user.email, NEW).status_code == 200


def test_who_is_kept_out_while_their_password_is_changed_stays_out() -> None:
    class Users:
        row = UserRecord("usr", "a@b", "Ada", datetime.now(UTC), password_hash="old")

        async def get(self, _id: str) -> UserRecord:
            return self.row

        async def save(self, user: UserRecord) -> None:
            self.row = user

    class Passwords:
        async def verify(self, *_what: object) -> bool:
            return True

        async def hash(self, _password: str) -> str:
            users.row = replace(users.row, status="disabled", key_version=2)
            return "new"

    users = Users()
    store: Any = SimpleNamespace(users=users, teams=None)
    stub: Any = Passwords()
    teams: Any = None
    profiles = Profiles(store, teams, stub, lambda: None)
    caller = Principal("user", user_id="usr")
    asyncio.run(profiles.set_password(caller, PASSWORD, NEW))
    assert (users.row.status, users.row.password_hash) == ("disabled", "new")
    assert users.row.key_version == 3


def test_guesses_are_limited(user: Person) -> None:
    body = {"current_password": "wrong horse", "new_password": NEW}
    answers = [user.client.post("/v1/me/password", json=body) for _ in range(11)]
    assert {error(answer) for answer in answers[:10]} == {(401, "wrong_password")}
    assert error(answers[10]) == (429, "rate_limited")
    assert int(answers[10].headers["Retry-After"]) > 0


def test_deleting_an_account(people: People, user: Person) -> None:
    friend = people.sign_up("Friend")
    add = friend.client.post(friend.url("/members"), json={"email": user.email})
    assert add.status_code == 201
    key = user.enter(friend.team).make_key()
    box = user.client.post("/v1/sandboxes", json={}).json()["id"]
    body = {"confirmation": user.email.upper()}
    assert user.client.request("DELETE", "/v1/me", json=body).status_code == 204
    assert error(user.client.get("/v1/me")) == (401, "unauthorized")
    assert error(log_in(people, user.email, PASSWORD)) == (401, "unauthorized")
    members = friend.client.get(friend.url("/members")).json()
    assert [member["user_id"] for member in members] == [friend.id]
    with_key = people.with_headers(**{"X-API-Key": key["key"]})
    assert error(with_key.get("/v1/sandboxes")) == (401, "unauthorized")
    assert error(friend.client.get(f"/v1/sandboxes/{box}")) == (404, "not_found")
    again = {"email": user.email, "password": PASSWORD, "name": "Ada again"}
    assert people.anybody.post("/v1/auth/signup", json=again).status_code == 201


def test_a_team_with_others_in_it_keeps_its_owner(people: People, user: Person) -> None:
    friend = people.join(user)
    body = {"confirmation": user.email}
    answer = user.client.request("DELETE", "/v1/me", json=body)
    assert error(answer) == (409, "owns_team_with_members")
    assert user.client.get("/v1/me").status_code == 200
    promote = user.client.patch(user.url(f"/members/{friend.id}"), json={"role": "owner"})
    assert promote.status_code == 204
    assert user.client.request("DELETE", "/v1/me", json=body).status_code == 204
    assert friend.client.get(user.url()).status_code == 200


def test_keys_do_not_change_accounts(user: Person) -> None:
    key = user.make_key(scopes=["users", "sandboxes"])
    with_key = user.people.with_headers(**{"X-API-Key": key["key"]})
    assert with_key.get("/v1/me").json()["email"] == user.email
    delete = with_key.request("DELETE", "/v1/me", json={"confirmation": user.email})
    assert error(delete) == (401, "unauthorized")
