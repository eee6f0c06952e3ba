"""Hosts over HTTP: the server's own, those of agents and of teams, and who may do what."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from contract import Contract
from harness import ServerProcess, client_of, eventually
from people import People, Person

TIMEOUT = 1.5
"""Seconds after which hosts are unreachable in these tests."""
ADDRESS = "10.0.0.7:50051"
FIGURES = {"arch": "amd64", "cpu_cores": 8, "memory_mb": 32768, "disk_gb": 500}


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory, contract: Contract) -> Iterator[People]:
    options = {"signup": "open", "engine": "process", "host_timeout_sec": str(TIMEOUT)}
    server = ServerProcess(tmp_path_factory.mktemp("hosts"), **options)
    people = People(server, contract)
    yield people
    people.close()
    assert server.stop() == 0
    assert not any("Traceback" in str(line) for line in server.lines)


@pytest.fixture(scope="module")
def admin(people: People) -> Person:
    """Who administers the platform, as the owner of the team that events of hosts go to."""
    return people.sign_up("Admin").enter("team-" + "0" * 25)


class Agent:
    """What runs on a machine that is to be a host."""

    def __init__(self, people: People, invitation: dict[str, Any]) -> None:
        self.client = people.anybody
        self.id: str = invitation["host"]["id"]
        self.registration: str = invitation["registration_token"]
        self.token = self.refresh_token = ""

    def register(self, **figures: Any) -> httpx.Response:
        body = {"token": self.registration, "address": ADDRESS, **figures}
        return self._take(self.client.post("/v1/hosts/register", json=body))

    def refresh(self) -> httpx.Response:
        body = {"refresh_token": self.refresh_token}
        return self._take(self.client.post("/v1/hosts/auth/refresh", json=body))

    def beat(self, host_id: str | None = None) -> int:
        path = f"/v1/hosts/{host_id or self.id}/heartbeat"
        return self.client.post(path, headers={"X-Host-Token": self.token}).status_code

    def _take(self, response: httpx.Response) -> httpx.Response:
        if response.is_success:
            self.token = response.json()["token"]
            self.refresh_token = response.json()["refresh_token"]
        return response


def made(person: Person, **fields: Any) -> dict[str, Any]:
    response = person.client.post("/v1/hosts", json={"type": "regular", **fields})
    assert response.status_code == 201, response.text
    invitation: dict[str, Any] = response.json()
    return invitation


def look(person: Person, host_id: str) -> dict[str, Any]:
    host: dict[str, Any] = person.client.get(f"/v1/hosts/{host_id}").json()
    return host


def own(client: httpx.Client) -> dict[str, Any]:
    """Return the host that the server's own machine is."""
    (host,) = [host for host in client.get("/v1/hosts").json() if "engine" in host]
    return dict(host)


def code_of(response: httpx.Response) -> str:
    code: str = response.json()["error"]["code"]
    return code


def test_the_server_is_a_host_and_stays_alive(admin: Person) -> None:
    first = own(admin.client)
    assert (first["type"], first["status"], first["engine"]) == ("regular", "online", "process")
    assert min(first["cpu_cores"], first["memory_mb"], first["disk_gb"]) > 0
    assert first["arch"]
    assert first["address"]
    eventually(lambda: own(admin.client)["last_heartbeat_at"] > first["last_heartbeat_at"])
    later = own(admin.client)
    assert {**later, "last_heartbeat_at": ""} == {**first, "last_heartbeat_at": ""}


def test_an_agent_makes_its_machine_a_host(people: People, admin: Person) -> None:
    invitation = made(admin, provider="us", availability_zone="zone-1")
    assert invitation["host"]["status"] == "pending"
    assert "last_heartbeat_at" not in invitation["host"]
    agent = Agent(people, invitation)
    answer = agent.register(**FIGURES)
    assert answer.status_code == 201
    host = answer.json()["host"]
    assert host.items() >= {**FIGURES, "status": "online", "address": ADDRESS}.items()
    assert (host["provider"], host["availability_zone"]) == ("us", "zone-1")
    claims = jwt.decode(agent.token, options={"verify_signature": False})
    assert claims["typ"] == "host"
    assert claims["host_id"] == claims["sub"] == agent.id
    assert claims["exp"] - claims["iat"] == 7 * 86400
    assert agent.beat() == 204
    assert agent.beat(own(admin.client)["id"]) == 403
    assert agent.register().status_code == 401  # its token was used
    assert code_of(admin.client.post(f"/v1/hosts/{agent.id}/token")) == "invalid_state"
    assert admin.client.delete(f"/v1/hosts/{agent.id}").status_code == 204
    assert agent.beat() == 404
    assert agent.refresh().status_code == 401
    assert look(admin, agent.id)["error"]["code"] == "not_found"


def test_refresh_tokens_are_used_up(people: People, admin: Person) -> None:
    agent = Agent(people, made(admin))
    assert agent.register().status_code == 201
    first, old_token = agent.refresh_token, agent.token
    answer = agent.refresh()
    assert answer.status_code == 200
    assert answer.json()["host"]["id"] == agent.id
    assert agent.refresh_token != first
    assert agent.beat() == 204
    agent.refresh_token, second = first, agent.refresh_token
    assert code_of(agent.refresh()) == "unauthorized"
    agent.refresh_token = second
    assert agent.refresh().status_code == 200
    agent.token = old_token  # good until it expires
    assert agent.beat() == 204


def test_registration_tokens_are_used_up(people: People, admin: Person) -> None:
    invitation = made(admin)
    agent = Agent(people, invitation)
    for nonsense in (
        {"address": ""},
        {"address": "a" * 256},
        {"address": "a\0b"},
        {"cpu_cores": -1},
        {"memory_mb": 2**31},
        {"disk_gb": "many"},
        {"arch": "x" * 65},
    ):
        assert agent.register(**nonsense).status_code == 400, nonsense
    other = admin.client.post(f"/v1/hosts/{agent.id}/token").json()
    assert other["registration_token"] != agent.registration
    assert agent.register().status_code == 401  # another has taken its place
    for wrong in ("", "x", "0" * 64, agent.token, "ü", "a\0" * 32, "x" * 10_000):
        agent.registration = wrong
        answer = agent.register()
        assert answer.status_code == 401
        assert len(wrong) < 10 or wrong not in answer.text
    last = Agent(people, other)
    assert admin.client.delete(f"/v1/hosts/{last.id}").status_code == 204
    assert last.register().status_code == 401  # its tokens went with it


def test_silence_is_noticed_and_the_return_too(people: People, admin: Person) -> None:
    agent = Agent(people, made(admin))
    assert agent.register().status_code == 201
    eventually(lambda: look(admin, agent.id)["status"] == "unreachable")
    query = {"resource_type": "host", "action": "marked_down,marked_up"}

    def noted() -> list[str]:
        items = admin.client.get("/v1/audit-logs", params=query).json()["items"]
        return [row["action"] for row in items if row["resource_id"] == agent.id][::-1]

    eventually(lambda: noted() == ["marked_down"])
    assert agent.beat() == 204
    assert look(admin, agent.id)["status"] == "online"
    eventually(lambda: noted()[:2] == ["marked_down", "marked_up"])
    assert own(admin.client)["status"] == "online"  # it tells of itself


def test_what_is_done_with_hosts_is_in_the_audit_log(people: People, admin: Person) -> None:
    agent = Agent(people, made(admin))
    assert agent.register().status_code == 201
    assert admin.client.post(f"/v1/hosts/{agent.id}/tags", json={"tag": "x"}).status_code == 204
    assert admin.client.delete(f"/v1/hosts/{agent.id}").status_code == 204
    items = admin.client.get("/v1/audit-logs", params={"resource_type": "host"}).json()["items"]
    rows = [row for row in items if row["resource_id"] == agent.id][::-1]
    assert [(row["actor_type"], row["action"]) for row in rows] == [
        ("user", "create"),
        ("host", "register"),
        ("user", "add_tag"),
        ("user", "delete"),
    ]
    assert agent.registration not in str(rows)


def test_a_host_is_made_once_for_a_key(admin: Person) -> None:
    headers = {"Idempotency-Key": "host-1"}
    answers = [
        admin.client.post("/v1/hosts", json={"type": "regular"}, headers=headers) for _ in "ab"
    ]
    assert answers[0].json() == answers[1].json()
    other = admin.client.post("/v1/hosts", json={"type": "byoc"}, headers=headers)
    assert code_of(other) == "idempotency_key_conflict"


@pytest.fixture(scope="module")
def owner(people: People, admin: Person) -> Person:
    """The owner of a team that brings its own hosts."""
    owner = people.sign_up("Owner")
    asked = {"type": "byoc", "team_id": owner.team}
    assert owner.client.post("/v1/hosts", json=asked).status_code == 403  # not yet
    box = owner.client.post("/v1/sandboxes", json={}).json()["id"]
    assert owner.client.delete(f"/v1/sandboxes/{box}").status_code == 204
    path = f"/v1/admin/teams/{owner.team}/byoc"
    for _ in range(2):
        assert admin.client.put(path, json={"enabled": True}).status_code == 204
    assert admin.client.put(path, json={"enabled": False}).status_code == 400
    return owner


def test_hosts_of_a_team_are_its_own(people: People, admin: Person, owner: Person) -> None:
    member, manager = people.join(owner), people.join(owner, "admin")
    stranger = people.sign_up("Stranger")
    asked = {"type": "byoc", "team_id": owner.team}
    for person in (member, stranger):
        assert person.client.post("/v1/hosts", json=asked).status_code == 403
    ids = [made(person, **asked)["host"]["id"] for person in (manager, owner, admin)]
    assert [host["id"] for host in member.client.get("/v1/hosts").json()] == ids[::-1]
    assert stranger.client.get("/v1/hosts").json() == []
    names = {host["id"]: host.get("team_name") for host in admin.client.get("/v1/hosts").json()}
    assert names[ids[0]] == "Owner's Team"
    path = f"/v1/hosts/{ids[0]}"
    assert look(member, ids[0])["team_id"] == owner.team
    assert "team_name" not in look(owner, ids[0])
    for method, tail, body in (
        ("DELETE", "", None),
        ("GET", "/delete-preview", None),
        ("POST", "/token", None),
        ("POST", "/tags", {"tag": "x"}),
        ("DELETE", "/tags/x", None),
    ):
        statuses = [
            person.client.request(method, path + tail, json=body).status_code
            for person in (stranger, member)
        ]
        assert statuses == [404, 403], (method, tail)
    assert member.client.get(f"{path}/tags").json() == []
    assert manager.client.post(f"{path}/tags", json={"tag": "x"}).status_code == 204
    assert member.client.get(f"{path}/tags").json() == ["x"]
    for person, host_id in zip((manager, owner, admin), ids, strict=True):
        assert person.client.delete(f"/v1/hosts/{host_id}").status_code == 204
    for nonsense in (
        {"type": "byoc"},
        {"type": "byoc", "team_id": "team-x"},
        {"type": "cloud"},
        {"type": "regular", "provider": "x" * 129},
        {"type": "regular", "availability_zone": "a\nb"},
    ):
        assert admin.client.post("/v1/hosts", json=nonsense).status_code == 400, nonsense
    nobody = {"type": "byoc", "team_id": "team-" + "1" * 25}
    assert admin.client.post("/v1/hosts", json=nobody).status_code == 404
    assert owner.client.post("/v1/hosts", json={"type": "regular"}).status_code == 403


def test_a_team_that_brings_its_hosts_is_nowhere_else(owner: Person) -> None:
    answer = owner.client.post("/v1/sandboxes", json={})
    assert (answer.status_code, code_of(answer)) == (503, "no_hosts_available")
    assert "hosts of its own" in answer.json()["error"]["message"]


def test_sandboxes_go_where_the_tags_are(admin: Person) -> None:
    host = own(admin.client)
    path = f"/v1/hosts/{host['id']}/tags"
    answer = admin.client.post("/v1/sandboxes", json={"host_tags": ["gpu", "größer"]})
    assert (answer.status_code, code_of(answer)) == (503, "no_hosts_available")
    assert "gpu, größer" in answer.json()["error"]["message"]
    assert admin.client.get(path).json() == []
    for tag in ("gpu", "größer", "gpu", "a b&c?=#"):
        assert admin.client.post(path, json={"tag": tag}).status_code == 204
    assert admin.client.get(path).json() == ["a b&c?=#", "gpu", "größer"]
    for wanted in (["gpu", "größer"], ["a b&c?=#"], []):
        box = admin.client.post("/v1/sandboxes", json={"host_tags": wanted})
        assert box.status_code == 201, box.text
        assert box.json()["host_id"] == host["id"]
        assert admin.client.delete(f"/v1/sandboxes/{box.json()['id']}").status_code == 204
    missing = admin.client.post("/v1/sandboxes", json={"host_tags": ["gpu", "none"]})
    assert missing.status_code == 503
    for tag in ("gpu", "gpu", "gr%C3%B6%C3%9Fer", "a%20b%26c%3F%3D%23"):
        assert admin.client.delete(f"{path}/{tag}").status_code == 204
    assert admin.client.get(path).json() == []
    for bad in ("", " ", "a/b", "..", "x" * 65, "a\nb", "a\0b", " a", "\ud800"):
        content = f'{{"tag": "{bad.encode("unicode_escape").decode()}"}}'.replace("\\x", "\\u00")
        assert admin.client.post(path, content=content).status_code == 400, bad
    bad_tags = admin.client.post("/v1/sandboxes", json={"host_tags": ["a/b"]})
    assert bad_tags.status_code == 400


def test_a_host_has_so_many_tags_and_no_more(admin: Person) -> None:
    path = f"/v1/hosts/{made(admin)['host']['id']}/tags"
    for number in range(100):
        assert admin.client.post(path, json={"tag": f"t{number}"}).status_code == 204
    assert code_of(admin.client.post(path, json={"tag": "more"})) == "conflict"
    assert admin.client.post(path, json={"tag": "t5"}).status_code == 204  # which it has


def test_sandboxes_keep_their_host(admin: Person) -> None:
    host = own(admin.client)
    path = f"/v1/hosts/{host['id']}"
    ids = sorted(admin.client.post("/v1/sandboxes", json={}).json()["id"] for _ in "ab")
    assert admin.client.post(f"/v1/sandboxes/{ids[0]}/pause").status_code == 200
    preview = admin.client.get(f"{path}/delete-preview").json()
    assert preview["host"]["id"] == host["id"]
    assert set(ids) <= set(preview["sandbox_ids"])
    refused = admin.client.delete(path)
    assert (refused.status_code, code_of(refused)) == (409, "has_active_sandboxes")
    assert refused.json()["error"]["sandbox_ids"] == preview["sandbox_ids"]
    forced = admin.client.delete(path, params={"force": "true"})
    assert (forced.status_code, code_of(forced)) == (409, "conflict")  # it runs here
    for sandbox_id in ids:
        assert admin.client.get(f"/v1/sandboxes/{sandbox_id}").json()["status"] != "stopped"
        assert admin.client.delete(f"/v1/sandboxes/{sandbox_id}").status_code == 204
    assert not set(ids) & set(admin.client.get(f"{path}/delete-preview").json()["sandbox_ids"])


def test_usage(people: People) -> None:
    ada = people.sign_up()

    def used(**query: str) -> dict[str, Any]:
        answer = ada.client.get("/v1/sandboxes/usage", params=query)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    before = datetime.now(UTC)
    assert used()["points"] == []
    began = time.monotonic()
    box = ada.client.post("/v1/sandboxes", json={"vcpus": 2, "memory_mb": 300}).json()["id"]

    def minutes() -> float:
        return sum(point["cpu_minutes"] for point in used()["points"])

    eventually(lambda: minutes() > 0)  # it runs
    assert ada.client.post(f"/v1/sandboxes/{box}/pause").status_code == 200
    longest = (time.monotonic() - began) / 60 * 2
    counted = minutes()
    assert 0 < counted <= longest + 0.001
    memory = sum(point["ram_mb_minutes"] for point in used()["points"])
    assert memory == pytest.approx(counted * 150)
    assert minutes() == counted  # it rests
    assert ada.client.delete(f"/v1/sandboxes/{box}").status_code == 204
    assert minutes() == counted
    report = used()
    days = {before.date().isoformat(), datetime.now(UTC).date().isoformat()}
    assert report["to"] in days
    assert {point["date"] for point in report["points"]} <= days
    assert used(**{"from": "2026-01-01", "to": "2026-02-01"})["points"] == []
    assert people.sign_up().client.get("/v1/capsules/usage").json()["points"] == []
    for query in (
        {"from": "2026-13-01"},
        {"from": "20260101"},
        {"to": "tomorrow"},
        {"from": "2026-02-02", "to": "2026-02-01"},
        {"from": "2026-01-01", "to": "2026-04-04"},
        {"from": "9999-12-31"},
        {"to": "0001-01-01"},
    ):
        assert ada.client.get("/v1/sandboxes/usage", params=query).status_code == 400, query


def test_administration(people: People, admin: Person) -> None:
    templates = admin.client.get("/v1/admin/templates").json()
    assert {"base-python", "minimal"} <= {each["name"] for each in templates}
    assert code_of(admin.client.delete("/v1/admin/templates/minimal")) == "forbidden"
    assert code_of(admin.client.delete("/v1/admin/templates/none")) == "not_found"
    assert code_of(admin.client.delete("/v1/admin/templates/-x")) == "invalid_request"
    nobody = f"/v1/admin/teams/team-{'1' * 25}/byoc"
    assert admin.client.put(nobody, json={"enabled": True}).status_code == 404
    key = admin.make_key(scopes=["admin"])["key"]
    with_key = people.with_headers(**{"X-API-Key": key})
    assert with_key.get("/v1/admin/templates").status_code == 200
    assert with_key.get("/v1/hosts").status_code == 401  # not what it was made for


def test_servers_that_share_a_database(
    tmp_path: Path, contract: Contract, start: Callable[..., ServerProcess]
) -> None:
    """Each has a host of its own, and leaves alone what is on the other's."""
    shared = {
        "database_url": f"sqlite+aiosqlite:///{tmp_path / 'shared.db'}",
        "engine": "process",
        "host_timeout_sec": str(TIMEOUT),
        "api_key_scopes": "all",
    }
    servers: list[ServerProcess] = []

    def begin(name: str) -> httpx.Client:
        servers.append(ServerProcess(tmp_path / name, **shared))
        return client_of(servers[-1], contract)

    try:
        with begin("a") as first:
            mine = own(first)["id"]
            box = first.post("/v1/sandboxes", json={"name": "there"}).json()
            assert box["host_id"] == mine
            with begin("b") as second:
                hosts = {host["id"]: host for host in second.get("/v1/hosts").json()}
                (other,) = hosts.keys() - {mine}
                assert {host["status"] for host in hosts.values()} == {"online"}
                path = f"/v1/sandboxes/{box['id']}"
                assert second.get(path).json()["status"] == "running"
                for answer in (second.post(f"{path}/pause"), second.delete(path)):
                    assert (answer.status_code, code_of(answer)) == (503, "host_unavailable")
                    assert mine in answer.json()["error"]["message"]
                servers[0].kill()
                eventually(
                    lambda: second.get(f"/v1/hosts/{mine}").json()["status"] == "unreachable"
                )
                refused = second.delete(f"/v1/hosts/{mine}")
                assert refused.json()["error"]["sandbox_ids"] == [box["id"]]
                answer = second.delete(f"/v1/hosts/{mine}", params={"force": "true"})
                assert answer.status_code == 204
                assert second.get(path).json()["status"] == "stopped"
                assert second.get(path).json()["status_reason"] == "Its host was deleted."
                assert second.delete(path).status_code == 204
                with begin("a") as again:  # it is itself, and makes itself known
                    assert {host["id"] for host in again.get("/v1/hosts").json()} == {mine, other}
                    assert again.get(f"/v1/hosts/{mine}").json()["status"] == "online"
                    assert servers[-1].stop() == 0
                assert second.get(f"/v1/hosts/{mine}").json()["status"] == "offline"
                assert second.delete(f"/v1/hosts/{mine}").status_code == 204
    finally:
        for server in servers:
            server.kill()
