"""What goes on ends when whoever began it may no more."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from contract import Contract
from harness import PATIENCE, Box, ServerProcess, eventually
from lasting import CUT, Scene, answer, begin, expected, listen
from people import PASSWORD, People, Person

from sandlot.server.store.opening import open_store

Loss = Callable[["Cast"], Any]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    server = ServerProcess(tmp_path_factory.mktemp("grants"), signup="open")
    yield server
    assert server.stop() == 0
    assert not any("Traceback" in str(line) for line in server.lines)


@pytest.fixture(scope="module")
def people(server: ServerProcess, contract: Contract) -> Iterator[People]:
    people = People(server, contract)
    yield people
    people.close()


@pytest.fixture(scope="module")
def admin(people: People) -> Person:
    """The first user, who administers the platform."""
    return people.sign_up("First")


class Cast:
    """The owner of a team with a sandbox, and a member of it who begins things."""

    def __init__(self, server: ServerProcess, contract: Contract, people: People) -> None:
        self.server = server
        self.contract = contract
        self.owner = people.sign_up("Owner")
        self.member = people.join(self.owner)
        made = self.owner.client.post("/v1/sandboxes", json={"template": "base-python"})
        assert made.status_code == 201, made.text
        self.box = Box(self.owner.client, made.json()["id"])
        self.key = self.member.make_key(scopes=["sandboxes"])
        self.port = listen(self.box)

    def with_token(self) -> Scene:
        headers = {"Authorization": f"Bearer {self.member.token}"}
        return Scene(self.server, self.contract, headers, self.box, self.port)

    def with_key(self) -> Scene:
        headers = {"X-API-Key": self.key["key"]}
        return Scene(self.server, self.contract, headers, self.box, self.port)


@pytest.fixture
def cast(
    server: ServerProcess, contract: Contract, people: People, admin: Person
) -> Iterator[Cast]:
    cast = Cast(server, contract, people)
    yield cast
    _ = admin.client.delete(f"/v1/admin/teams/{cast.owner.team}")


def change_password(cast: Cast) -> None:
    body = {"current_password": PASSWORD, "new_password": f"{PASSWORD} 2"}
    assert cast.member.client.post("/v1/me/password", json=body).status_code == 204


def delete_account(cast: Cast) -> None:
    body = {"confirmation": cast.member.email}
    assert cast.member.client.request("DELETE", "/v1/me", json=body).status_code == 204


def remove_member(cast: Cast) -> None:
    path = cast.owner.url(f"/members/{cast.member.id}")
    assert cast.owner.client.delete(path).status_code == 204


def leave_team(cast: Cast) -> None:
    assert cast.member.client.post(cast.member.url("/leave")).status_code == 204


def delete_key(cast: Cast) -> None:
    assert cast.owner.client.delete(f"/v1/api-keys/{cast.key['id']}").status_code == 204


def deactivate(admin: Person, cast: Cast) -> None:
    path = f"/v1/admin/users/{cast.member.id}/active"
    assert admin.client.put(path, json={"active": False}).status_code == 204


def assert_ended(cast: Cast, scene: Scene, lose: Callable[[], object], code: str) -> None:
    """Begin everything; what others have begun with the same rights goes on."""
    headers = {"Authorization": f"Bearer {cast.owner.token}"}
    with contextlib.ExitStack() as stack:
        bystander = stack.enter_context(replace(scene, headers=headers).websocket("/exec/stream"))
        bystander.send(json.dumps({"type": "start", "cmd": "sleep", "args": ["1009"]}))
        assert json.loads(bystander.recv(PATIENCE))["type"] == "start"
        begun = begin(scene, stack)
        lose()
        ended = {name: end() for name, end in begun.items()}
        assert ended == expected(begun, code)
        bystander.send(json.dumps({"type": "stop"}))
        assert json.loads(bystander.recv(PATIENCE))["type"] == "exit"
    # Commands end with those who watched them; what needs nobody runs on.
    eventually(lambda: not cast.box.running("sleep 1001") and not cast.box.running("sleep 1004"))
    eventually(lambda: not cast.box.running("yes"))
    assert cast.box.running("sleep 1002") == cast.box.running("sleep 1003") == 1


@pytest.mark.parametrize("lose", [change_password, delete_account, remove_member, leave_team])
def test_with_a_token(cast: Cast, lose: Loss) -> None:
    assert_ended(cast, cast.with_token(), lambda: lose(cast), "unauthorized")


@pytest.mark.parametrize("lose", [delete_key, delete_account])
def test_with_a_key(cast: Cast, lose: Loss) -> None:
    assert_ended(cast, cast.with_key(), lambda: lose(cast), "unauthorized")


def test_users_who_are_deactivated(cast: Cast, admin: Person) -> None:
    scene = cast.with_token()
    assert_ended(cast, scene, lambda: deactivate(admin, cast), "account_deactivated")


def test_teams_that_are_deleted(cast: Cast, admin: Person) -> None:
    """Their sandboxes end too; what there is to be said may be of the one or of the other."""
    with contextlib.ExitStack() as stack:
        begun = begin(cast.with_key(), stack, "tunnel", "long answer")
        assert admin.client.delete(f"/v1/admin/teams/{cast.owner.team}").status_code == 204
        assert {end() for end in begun.values()} == {CUT}


def test_sandboxes_that_are_paused(cast: Cast) -> None:
    """Nothing can be ended in them, but whoever watches is told at once."""
    with contextlib.ExitStack() as stack:
        begun = begin(cast.with_key(), stack, "stream", "terminal", "process")
        assert cast.box.post("/pause").status_code == 200
        delete_key(cast)
        assert {name: end() for name, end in begun.items()} == expected(begun, "unauthorized")
        assert cast.box.post("/resume").status_code == 200
    eventually(lambda: not cast.box.running("sleep 1001"))


def test_requests_that_are_slow_to_say_what_they_want(cast: Cast, people: People) -> None:
    """What they were allowed to when they began they may not do when they are complete."""
    deputy = people.join(cast.owner, "admin")
    head = f"PATCH {cast.owner.url()} HTTP/1.1"
    scene = replace(cast.with_token(), headers={"Authorization": f"Bearer {deputy.token}"})
    body = b'{"name": "Taken over"}'
    with scene.raw(head, body[:-1], **{"Content-Length": str(len(body))}) as sock:
        path = cast.owner.url(f"/members/{deputy.id}")
        assert cast.owner.client.patch(path, json={"role": "member"}).status_code == 204
        assert answer(sock) == "forbidden"
    assert "Taken over" not in cast.owner.client.get(cast.owner.url()).text


def test_what_time_and_other_servers_end(cast: Cast, tmp_path: Path) -> None:
    """Nobody tells the server; it looks by itself."""
    database = f"sqlite+aiosqlite:///{cast.server.data_dir}/sandlot.db"
    other = ServerProcess(tmp_path / "other", engine="process", database_url=database)
    try:
        with contextlib.ExitStack() as stack:
            streams = dict[str, dict[str, Callable[[], str]]]()
            soon = datetime.now(UTC) + timedelta(seconds=25)  # long enough to begin
            credentials = {
                "token": {"Authorization": f"Bearer {lasting_until(soon, cast)}"},
                "key": {"X-API-Key": cast.owner.make_key(expires_at=soon.isoformat())["key"]},
                "elsewhere": {"X-API-Key": cast.key["key"]},
            }
            for name, headers in credentials.items():
                scene = replace(cast.with_key(), headers=headers)
                streams[name] = begin(scene, stack, "stream", "tunnel")
            manager = {"X-API-Key": cast.owner.make_key(scopes=["api_keys"])["key"]}
            there = f"{other.url}/v1/api-keys/{cast.key['id']}"
            assert httpx.delete(there, headers=manager, timeout=PATIENCE).status_code == 204
            for name, begun in streams.items():
                ended = {kind: end() for kind, end in begun.items()}
                assert ended == expected(begun, "unauthorized"), name
    finally:
        assert other.stop() == 0


def lasting_until(time: datetime, cast: Cast) -> str:
    """Return a token of the member that expires then."""
    secret = (cast.server.data_dir / "token-secret").read_text().strip()
    claims = jwt.decode(cast.member.token, secret, algorithms=["HS256"])
    return jwt.encode(claims | {"exp": time}, secret, "HS256")


def test_administrators_who_are_none_any_more(server: ServerProcess, people: People) -> None:
    """Where a role is needed, it is needed to the end: of a log that somebody waits for, say."""
    store_url = f"sqlite+aiosqlite:///{server.data_dir}/sandlot.db"

    async def make_admin(user_id: str, is_admin: bool) -> None:
        store = await open_store(store_url)
        try:
            user = await store.users.get(user_id)
            assert user is not None
            await store.users.save(replace(user, is_admin=is_admin))
        finally:
            await store.close()

    person = people.sign_up("Passing")
    asyncio.run(make_admin(person.id, True))
    recipe = {"name": "long", "recipe": ["RUN sleep 600"]}
    made = person.client.post("/v1/admin/builds", json=recipe)
    assert made.status_code == 201, made.text
    path = f"/v1/admin/builds/{made.json()['id']}"
    try:
        eventually(lambda: "sleep 600" in str(person.client.get(f"{path}/log").json()["pieces"]))
        page = person.client.get(f"{path}/log").json()
        wait = {"offset": page["next_offset"], "wait_sec": 30}
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(person.client.get, f"{path}/log", params=wait)
            assert people.with_token(person.token).get("/v1/admin/builds").status_code == 200
            asyncio.run(make_admin(person.id, False))
            answer = waiting.result(PATIENCE)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")
    finally:
        asyncio.run(make_admin(person.id, True))
        assert person.client.post(f"{path}/cancel").status_code == 204
