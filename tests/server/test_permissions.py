"""Who may do what: every route, for everybody who might ask, on every database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
import yaml
from contract import Contract
from harness import UNKNOWN_ID, ServerProcess
from people import People, Person
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from sandlot.server.api.permissions import RULES
from sandlot.server.app import ROUTERS

STRANGERS = (
    "none",
    "wrong key",
    "malformed key",
    "malformed token",
    "expired token",
    "unsigned token",
    "forged token",
    "token of a user that is not",
    "revoked key",
    "host",
    "host as user",
)
"""Whoever has no valid credential: 401, wherever one is needed."""
KEY, MEMBER, ADMIN, OWNER = "key", "member", "admin", "owner"
PLATFORM = "platform admin"
OTHERS = ("other owner", PLATFORM)
TEAM = (KEY, MEMBER, ADMIN, OWNER)
USERS = (MEMBER, ADMIN, OWNER)
Expected = dict[str, int]


def everybody(status: int) -> Expected:
    return dict.fromkeys((*STRANGERS, *TEAM, *OTHERS), status)


def with_key(status: int, others: int | None = None) -> Expected:
    """Those of the team, by key or token; the others are told `others`."""
    return (
        dict.fromkeys(STRANGERS, 401)
        | dict.fromkeys(TEAM, status)
        | dict.fromkeys(OTHERS, status if others is None else others)
    )


def users(status: int, others: int | None = None, *, below: tuple[str, ...] = ()) -> Expected:
    """Users of the team, but for those below the role that it takes."""
    return with_key(status, others) | {KEY: 401} | dict.fromkeys(below, 403)


def platform(status: int) -> Expected:
    """Administrators of the platform, and nobody else."""
    return users(403) | {"platform admin": status}


BOX, TEAM_PATH = "/v1/sandboxes/{id}", "/v1/teams/{id}"
NO_USER, NO_KEY, NO_TEAM = "usr-" + "1" * 25, "key-" + "1" * 25, "team-" + "1" * 25
HOST, NO_HOST = "/v1/hosts/{id}", {"id": "host-" + "1" * 25}
CHANNEL, NO_CHANNEL = "/v1/channels/{id}", {"id": "ch-" + "1" * 25}
BUILD, NO_BUILD = "/v1/admin/builds/{id}", {"id": "bld-" + "1" * 25}
BELOW_ADMIN, BELOW_OWNER = (MEMBER,), (MEMBER, ADMIN)
# What is asked for harms nobody: bodies that make no sense, ids of nothing.
TABLE: list[tuple[str, Expected, dict[str, Any]]] = [
    ("GET /health", everybody(200), {}),
    ("GET /healthz", everybody(200), {}),
    ("GET /openapi.yaml", everybody(200), {}),
    ("GET /v1/capabilities", with_key(200), {}),
    ("POST /v1/sandboxes", with_key(400), {"json": {"vcpus": "many"}}),
    ("GET /v1/sandboxes", with_key(200), {}),
    ("GET /v1/sandboxes/stats", with_key(200), {}),
    ("GET /v1/sandboxes/usage", with_key(200), {}),
    ("POST /v1/sandboxes/stop", with_key(200), {"json": {"sandbox_ids": [UNKNOWN_ID]}}),
    (f"GET {BOX}", with_key(200, 404), {}),
    (f"DELETE {BOX}", with_key(404), {"id": UNKNOWN_ID}),
    (f"POST {BOX}/ping", with_key(204, 404), {}),
    (f"POST {BOX}/lease", with_key(400, 404), {}),
    (f"POST {BOX}/pause", with_key(404), {"id": UNKNOWN_ID}),
    (f"POST {BOX}/resume", with_key(409, 404), {}),
    (f"GET {BOX}/metrics", with_key(200, 404), {}),
    (f"POST {BOX}/exec", with_key(400, 404), {"json": {}}),
    (f"GET {BOX}/exec/stream", with_key(400, 404), {}),
    (f"WEBSOCKET {BOX}/exec/stream", with_key(101, 404), {}),
    (f"GET {BOX}/processes", with_key(200, 404), {}),
    (f"DELETE {BOX}/processes/{{selector}}", with_key(404), {}),
    (f"GET {BOX}/processes/{{selector}}/stream", with_key(400, 404), {}),
    # Those without a credential may show one in their first message.
    (
        f"WEBSOCKET {BOX}/processes/{{selector}}/stream",
        with_key(101, 404) | {"none": 101, "host": 101},
        {},
    ),
    (f"GET {BOX}/pty", with_key(400, 404), {}),
    (f"WEBSOCKET {BOX}/pty", with_key(101, 404) | {"none": 101, "host": 101}, {}),
    (f"POST {BOX}/files/write", with_key(400, 404), {"json": {}}),
    (f"POST {BOX}/files/read", with_key(404), {"json": {"path": "/nothing/here"}}),
    (f"POST {BOX}/files/stream/write", with_key(400, 404), {"json": {}}),
    (f"POST {BOX}/files/stream/read", with_key(404), {"json": {"path": "/nothing/here"}}),
    (f"POST {BOX}/files/list", with_key(404), {"json": {"path": "/nothing/here"}}),
    (f"POST {BOX}/files/stat", with_key(404), {"json": {"path": "/nothing/here"}}),
    (f"POST {BOX}/files/mkdir", with_key(400, 404), {"json": {}}),
    (f"POST {BOX}/files/remove", with_key(404), {"json": {"path": "/nothing/here"}}),
    (f"POST {BOX}/files/move", with_key(400, 404), {"json": {}}),
    (f"POST {BOX}/files/copy", with_key(400, 404), {"json": {}}),
    (f"POST {BOX}/files/chmod", with_key(400, 404), {"json": {}}),
    (f"POST {BOX}/files/archive", with_key(404), {"json": {"path": "/nothing/here"}}),
    (f"POST {BOX}/files/extract", with_key(400, 404), {"json": {}}),
    (f"POST {BOX}/fork", with_key(404), {"id": UNKNOWN_ID, "json": {}}),
    (f"POST {BOX}/checkpoints", with_key(404), {"id": UNKNOWN_ID, "json": {}}),
    (f"GET {BOX}/checkpoints", with_key(200, 404), {}),
    (f"DELETE {BOX}/checkpoints/{{checkpoint}}", with_key(404), {}),
    (f"POST {BOX}/rollback", with_key(404), {"json": {"checkpoint_id": "cp-" + "0" * 25}}),
    (f"GET {BOX}/changes", with_key(404), {"id": UNKNOWN_ID}),
    ("POST /v1/snapshots", with_key(404), {"json": {"sandbox_id": UNKNOWN_ID}}),
    ("GET /v1/snapshots", with_key(200), {}),
    ("GET /v1/snapshots/{name}", with_key(404), {}),
    ("DELETE /v1/snapshots/{name}", with_key(404), {}),
    ("POST /v1/auth/signup", everybody(400), {"json": {}}),
    ("POST /v1/auth/login", everybody(400), {"json": {}}),
    ("POST /v1/auth/switch-team", users(200, 403), {"json": {"team_id": "TEAM"}}),
    ("GET /v1/me", users(200), {}),
    ("PATCH /v1/me", users(400), {"json": {"name": ""}}),
    ("DELETE /v1/me", users(400), {"json": {"confirmation": "somebody else"}}),
    ("POST /v1/me/password", users(400), {"json": {"current_password": "x", "new_password": "y"}}),
    ("GET /v1/admin/teams", platform(200), {}),
    ("DELETE /v1/admin/teams/{id}", platform(404), {"id": "team-" + "1" * 25}),
    ("GET /v1/admin/users", platform(200), {}),
    ("PUT /v1/admin/users/{id}/active", platform(404), {"id": NO_USER, "json": {"active": False}}),
    ("GET /v1/admin/audit-logs", platform(200), {}),
    ("GET /v1/users/search", users(200), {"params": {"email": "nobody@"}}),
    ("POST /v1/api-keys", users(400), {"json": {"scopes": ["nonsense"]}}),
    ("GET /v1/api-keys", users(200), {}),
    ("DELETE /v1/api-keys/{id}", users(204), {"id": NO_KEY}),
    ("POST /v1/teams", users(400), {"json": {"name": "/"}}),
    ("GET /v1/teams", users(200), {}),
    (f"GET {TEAM_PATH}", users(200, 403), {}),
    (f"PATCH {TEAM_PATH}", users(204, 403, below=BELOW_ADMIN), {"json": {"name": "New"}}),
    (f"DELETE {TEAM_PATH}", users(409, 403, below=BELOW_OWNER), {}),
    (f"GET {TEAM_PATH}/members", users(200, 403), {}),
    (
        f"POST {TEAM_PATH}/members",
        users(404, 403, below=BELOW_ADMIN),
        {"json": {"email": "nobody@example.org"}},
    ),
    (
        f"PATCH {TEAM_PATH}/members/{{user_id}}",
        users(404, 403, below=BELOW_ADMIN),
        {"json": {"role": "member"}},
    ),
    (f"DELETE {TEAM_PATH}/members/{{user_id}}", users(404, 403, below=BELOW_ADMIN), {}),
    ("POST /v1/channels", users(400), {"json": {}}),
    ("GET /v1/channels", users(200), {}),
    ("POST /v1/channels/test", users(400), {"json": {}}),
    (f"GET {CHANNEL}", users(404), NO_CHANNEL),
    (
        f"PATCH {CHANNEL}",
        users(404),
        {**NO_CHANNEL, "json": {"name": "n", "events": ["host.up"]}},
    ),
    (f"DELETE {CHANNEL}", users(204), NO_CHANNEL),
    (f"PUT {CHANNEL}/config", users(404), {**NO_CHANNEL, "json": {"config": {}}}),
    (f"GET {CHANNEL}/deliveries", users(404), NO_CHANNEL),
    ("POST /v1/admin/builds", platform(400), {"json": {"name": "b", "recipe": ["NONSENSE"]}}),
    ("GET /v1/admin/builds", platform(200), {}),
    (f"GET {BUILD}", platform(404), NO_BUILD),
    (f"GET {BUILD}/log", platform(404), NO_BUILD),
    (f"POST {BUILD}/cancel", platform(404), NO_BUILD),
    ("POST /v1/hosts", users(403) | {PLATFORM: 201}, {"json": {"type": "regular"}}),
    ("GET /v1/hosts", users(200), {}),
    (f"GET {HOST}", users(404), NO_HOST),
    (f"DELETE {HOST}", users(404), NO_HOST),
    (f"GET {HOST}/delete-preview", users(404), NO_HOST),
    (f"POST {HOST}/token", users(404), NO_HOST),
    (f"GET {HOST}/tags", users(404), NO_HOST),
    (f"POST {HOST}/tags", users(404), {**NO_HOST, "json": {"tag": "gpu"}}),
    (f"DELETE {HOST}/tags/{{tag}}", users(404), NO_HOST),
    ("POST /v1/hosts/register", everybody(400), {"json": {}}),
    ("POST /v1/hosts/auth/refresh", everybody(400), {"json": {}}),
    (f"POST {HOST}/heartbeat", everybody(401) | {"host": 403}, NO_HOST),
    (
        "PUT /v1/admin/teams/{id}/byoc",
        users(403) | {PLATFORM: 400},
        {"id": NO_TEAM, "json": {"enabled": False}},
    ),
    ("GET /v1/admin/templates", users(403) | {PLATFORM: 200}, {}),
    ("DELETE /v1/admin/templates/{name}", users(403) | {PLATFORM: 404}, {}),
    # Last, as it is what it says; the owner is the last one.
    (f"POST {TEAM_PATH}/leave", users(204, 403) | {OWNER: 403}, {}),
    ("GET /v1/audit-logs", users(200) | dict.fromkeys((MEMBER, ADMIN), 401), {}),
]


class World:
    """A team with a sandbox, and all who might ask for it."""

    def __init__(self, server: ServerProcess, people: People) -> None:
        self.server = server
        first = people.sign_up("Platform")
        owner = people.sign_up("Owner")
        self.team = owner.team
        self.box: str = owner.client.post("/v1/sandboxes", json={}).json()["id"]
        revoked = owner.make_key()
        assert owner.client.delete(f"/v1/api-keys/{revoked['id']}").status_code == 204
        secret = (server.data_dir / "token-secret").read_text().strip()
        self._member = people.join(owner)
        admin = people.join(owner, "admin")
        self.headers: dict[str, dict[str, str]] = {
            "none": {},
            "wrong key": {"X-API-Key": "wrn_" + "f" * 32},
            "malformed key": {"X-API-Key": "x", "Authorization": f"Bearer {owner.token}"},
            "revoked key": {"X-API-Key": revoked["key"]},
            KEY: {"X-API-Key": owner.make_key()["key"]},
            MEMBER: _bearer(self._member.token),
            ADMIN: _bearer(admin.token),
            OWNER: _bearer(owner.token),
            "other owner": _bearer(people.sign_up("Other").token),
            PLATFORM: _bearer(first.token),
        }
        self.headers |= _bad_tokens(owner, secret)

    def ask(self, client: httpx.Client, who: str, route: str, **about: Any) -> int:
        """Return the status of the answer."""
        method, pattern = route.split(" ")
        thing = about.get("id") or (self.team if pattern.startswith("/v1/teams") else self.box)
        path = pattern.replace("{id}", thing).replace("{user_id}", NO_USER)
        path = path.replace("{name}", "nothing").replace("{checkpoint}", "cp-" + "0" * 25)
        path = path.replace("{tag}", "gpu").replace("{selector}", "1")
        if method == "WEBSOCKET":
            return self._upgrade(path, self.headers[who])
        content = json.dumps(about["json"]).replace("TEAM", self.team) if "json" in about else None
        response = client.request(
            method,
            path,
            headers=self.headers[who],
            content=content,
            params=about.get("params"),
        )
        for value in self.headers[who].values():
            assert len(value) < 10 or value.removeprefix("Bearer ") not in response.text
        return response.status_code

    def _upgrade(self, path: str, headers: dict[str, str]) -> int:
        url = self.server.url.replace("http", "ws", 1) + path
        try:
            with connect(url, additional_headers=headers, proxy=None):
                return 101
        except InvalidStatus as refused:
            return refused.response.status_code


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _bad_tokens(owner: Person, secret: str) -> dict[str, dict[str, str]]:
    now = datetime.now(UTC)
    claims = jwt.decode(owner.token, secret, algorithms=["HS256"])
    assert claims["exp"] - claims["iat"] == 6 * 3600
    expired = claims | {"iat": now - timedelta(hours=7), "exp": now - timedelta(hours=1)}
    host = {"typ": "host", "host_id": "host-x", "sub": "host-x", "iat": now}
    host_token = jwt.encode(host | {"exp": now + timedelta(days=1)}, secret, "HS256")
    nobody = jwt.encode(claims | {"sub": NO_USER}, secret, "HS256")
    return {
        "malformed token": _bearer("not.a.token"),
        "expired token": _bearer(jwt.encode(expired, secret, "HS256")),
        "unsigned token": _bearer(jwt.encode(claims, None, "none")),
        "forged token": _bearer(jwt.encode(claims, "x" * 48, "HS256")),
        "token of a user that is not": _bearer(nobody),
        "host": {"X-Host-Token": host_token},
        "host as user": _bearer(host_token),
    }


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, contract: Contract
) -> Iterator[World]:
    options = {"signup": "open", "engine": "process"}
    if request.param == "postgresql":
        options["database_url"] = request.getfixturevalue("database")
    server = ServerProcess(tmp_path_factory.mktemp("permissions"), **options)
    people = People(server, contract)
    yield World(server, people)
    people.close()
    assert server.stop() == 0
    assert not any("Traceback" in str(line) for line in server.lines)


def test_every_route_for_everybody(world: World, contract: Contract) -> None:
    wrong: list[str] = []
    with httpx.Client(
        base_url=world.server.url, timeout=30, event_hooks={"response": [contract.check]}
    ) as client:
        for route, expected, about in TABLE:
            assert expected.keys() == world.headers.keys(), route
            for who, status in expected.items():
                found = world.ask(client, who, route, **about)
                if found != status:
                    wrong.append(f"{route} for {who}: {found} instead of {status}")
        # Whatever the others have tried: it still runs.
        assert world.ask(client, OWNER, f"GET {BOX}") == 200
    assert not wrong, "\n".join(wrong)


def test_others_cannot_touch_what_is_not_theirs(world: World) -> None:
    with httpx.Client(base_url=world.server.url, timeout=30) as client:
        for route, _, about in TABLE:
            if BOX in route:
                for who in OTHERS:
                    assert world.ask(client, who, route, **about | {"id": world.box}) == 404, route
        stop = {"json": {"sandbox_ids": [world.box]}}
        assert world.ask(client, OTHERS[0], "POST /v1/sandboxes/stop", **stop) == 200
        assert world.ask(client, OWNER, f"GET {BOX}") == 200


def test_no_route_is_forgotten() -> None:
    served = {
        f"{method} {(prefix + route.path).replace('/v1/capsules', '/v1/sandboxes')}"
        for prefix, router in ROUTERS
        for route in router.routes
        for method in getattr(route, "methods", None) or ("WEBSOCKET",)
    }
    assert set(RULES) == served
    assert {route for route, _, _ in TABLE} == served
    file = Path(__file__).parents[2] / "internal" / "api" / "openapi.yaml"
    documented = {
        f"{method.upper()} {path}"
        for path, item in yaml.safe_load(file.read_text())["paths"].items()
        for method in item
        if method in ("get", "post", "put", "patch", "delete")
    }
    # One is the alias of another; the contract tells of the WebSocket at the GET of its path.
    streams = ("exec/stream", "processes/{selector}/stream", "pty")
    assert served - documented == {
        "GET /healthz",
        *(f"WEBSOCKET {BOX}/{path}" for path in streams),
    }
    assert documented <= served


def test_whatever_changes_something_is_in_the_audit_log() -> None:
    unaudited = {
        route for route, rule in RULES.items() if rule.audited is None and "GET " not in route
    }
    assert unaudited == {
        f"POST {BOX}/ping",
        f"POST {BOX}/lease",
        f"WEBSOCKET {BOX}/processes/{{selector}}/stream",
        f"POST {BOX}/files/read",
        f"POST {BOX}/files/stream/read",
        f"POST {BOX}/files/list",
        f"POST {BOX}/files/stat",
        f"POST {BOX}/files/archive",
        "POST /v1/auth/login",
        "POST /v1/auth/switch-team",
        "POST /v1/channels/test",
        "POST /v1/hosts/auth/refresh",
        f"POST {HOST}/heartbeat",
    }
