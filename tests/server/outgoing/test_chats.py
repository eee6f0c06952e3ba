"""Chat services: what Apprise makes of configurations, and a homeserver that is spoken to."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import psutil
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # for the receiver

from receiver import HERE, Receiver, answer, hanging

from sandlot.server.outgoing.chats import Chats
from sandlot.server.outgoing.failures import BadConfigError, NotDeliveredError

TOKEN = "syt_c2VjcmV0"
ROOM = "!room:example.org"
SLACK = "https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"
DISCORD = "https://discord.com/api/webhooks/123456789/abc-DEF_123"
GOOGLE = "https://chat.googleapis.com/v1/spaces/AAAA/messages?key=k-1&token=t-1"
TEAMS = "https://prod-1.westus.logic.azure.com:443/workflows/abc/triggers/manual/paths/invoke"
TEAMS += "?api-version=2016-06-01&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=SIG"
GOOD: Mapping[str, Mapping[str, str]] = {
    "slack": {"webhook_url": SLACK},
    "discord": {"webhook_url": DISCORD},
    "googlechat": {"webhook_url": GOOGLE},
    "teams": {"webhook_url": TEAMS},
    "telegram": {"bot_token": "123456789:" + "a" * 35, "chat_id": "-100123"},
    "matrix": {
        "homeserver_url": "https://matrix.example.org",
        "access_token": TOKEN,
        "room_id": ROOM,
    },
}
BAD: list[tuple[str, Mapping[str, str]]] = [
    ("slack", {"webhook_url": DISCORD}),
    ("discord", {"webhook_url": SLACK}),
    ("slack", {"webhook_url": "https://hooks.slack.com/services/short"}),
    ("discord", {"webhook_url": "https://discord.com.evil.example/api/webhooks/1/a"}),
    ("googlechat", {"webhook_url": "https://example.com/?key=a&token=b"}),
    ("teams", {"webhook_url": "https://example.com/"}),
    ("telegram", {"bot_token": "nonsense", "chat_id": "1"}),
]


class Homeserver:
    """The part of a Matrix homeserver that takes messages."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self.status = 200
        receiver.fallback = self._answer

    def _answer(self, handler: BaseHTTPRequestHandler, before: int) -> None:
        content: dict[str, Any] = {"user_id": "@bot:example.org", "room_id": ROOM, "event_id": "$1"}
        body = json.dumps(content).encode()
        answer(self.status, body, Content_Type="application/json")(handler, before)

    @property
    def messages(self) -> list[dict[str, Any]]:
        return [
            each.json
            for each in self._receiver.received
            if f"/rooms/{ROOM}/send/" in unquote(each.path)
        ]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture
def matrix(receiver: Receiver) -> Homeserver:
    return Homeserver(receiver)


def run(*steps: Any, timeout: float = 20, allowed: str = f"{HERE}/32") -> list[Any]:
    """Perform steps with one courier, and see to it that it ends; return results and failures."""

    async def main() -> list[Any]:
        chats = Chats([ip_network(allowed)], timeout)
        try:
            results: list[Any] = []
            for step in steps:
                results += await asyncio.gather(step(chats), return_exceptions=True)
            return results
        finally:
            await chats.close()

    before = set(psutil.Process().children())
    results = asyncio.run(main())
    assert set(psutil.Process().children()) <= before
    return results


def at(receiver: Receiver, **changes: str) -> dict[str, str]:
    config = {"homeserver_url": receiver.url, "access_token": TOKEN, "room_id": ROOM}
    return {**config, **changes}


def test_a_message_reaches_a_room(receiver: Receiver, matrix: Homeserver) -> None:
    async def send(chats: Chats) -> None:
        await chats.send("matrix", at(receiver), "capsule.created", "Sandbox <b> & co. was created")

    assert run(send, send) == [None, None]
    assert len(matrix.messages) == 2
    text = json.dumps(matrix.messages[0])
    assert "capsule.created" in text
    assert "Sandbox <b> & co. was created" in matrix.messages[0]["body"]
    transactions = {each.path for each in receiver.received if "/send/" in each.path}
    assert len(transactions) == 2  # the same one would be taken for a repetition
    for each in receiver.received:
        assert each.headers["authorization"] == f"Bearer {TOKEN}"


def test_what_a_service_refuses_is_told_with_its_status(
    receiver: Receiver, matrix: Homeserver
) -> None:
    matrix.status = 403

    async def send(chats: Chats) -> None:
        await chats.send("matrix", at(receiver), "t", "x")

    (failure,) = run(send)
    assert isinstance(failure, NotDeliveredError)
    assert matrix.messages == [] or failure.status == 403
    assert TOKEN not in str(failure)


def test_services_on_this_machine_are_not_spoken_to(matrix: Homeserver) -> None:
    forbidden = Receiver("127.0.0.1")
    try:

        async def send(chats: Chats) -> None:
            config = at(forbidden, homeserver_url=f"http://localhost:{forbidden.port}")
            await chats.send("matrix", config, "t", "x")

        (failure,) = run(send)
        assert isinstance(failure, NotDeliveredError)
        assert forbidden.received == []
    finally:
        forbidden.close()


def test_redirects_of_services_are_not_followed(receiver: Receiver, matrix: Homeserver) -> None:
    receiver.fallback = answer(307, Location=f"{receiver.url}/stolen")

    async def send(chats: Chats) -> None:
        await chats.send("matrix", at(receiver), "t", "x")

    (failure,) = run(send)
    assert isinstance(failure, NotDeliveredError)
    assert receiver.received != []
    assert receiver.at("/stolen") == []


def test_a_service_that_hangs_costs_its_time_and_no_more(receiver: Receiver) -> None:
    receiver.fallback = hanging(receiver)

    async def check(chats: Chats) -> None:  # so that the courier runs
        await chats.check("slack", GOOD["slack"])

    async def send(chats: Chats) -> None:
        chats._timeout = 0.5
        await chats.send("matrix", at(receiver), "t", "x")

    started, failure = run(check, send)
    assert started is None
    assert isinstance(failure, NotDeliveredError)
    assert "no answer within 0.5" in str(failure)


def test_a_courier_that_dies_is_replaced() -> None:
    async def check(chats: Chats) -> None:
        await chats.check("slack", GOOD["slack"])

    async def kill(chats: Chats) -> None:
        assert chats._courier is not None
        chats._courier._process.kill()
        await chats._courier._reader

    assert run(check, kill, check) == [None, None, None]


def test_configurations_are_judged_by_who_uses_them() -> None:
    async def good(chats: Chats) -> None:
        for provider, config in GOOD.items():
            await chats.check(provider, config)

    async def bad(chats: Chats) -> None:
        for provider, config in BAD:
            with pytest.raises(BadConfigError) as caught:
                await chats.check(provider, config)
            assert not any(value in str(caught.value) for value in config.values())

    assert run(good, bad) == [None, None]


PROGRAM = """
import json, sys
import requests
sent = []
def request(self, method, url, **options):
    sent.append([method, url, options.get("allow_redirects"), options.get("verify"),
                 str(options.get("data") or options.get("json"))])
    answer = requests.Response()
    content = b'{"ok": true, "result": {"message_id": 1}}'
    answer.status_code, answer._content = 200, b"ok" if "slack" in url else content
    return answer
requests.Session.request = request
from sandlot.server.outgoing.courier import plugin_for
results = {}
for name, (provider, config) in json.load(sys.stdin).items():
    sent.clear()
    plugin = plugin_for(provider, config)
    results[name] = [plugin is not None and plugin.notify(body="the text", title="t"), list(sent)]
print(json.dumps(results))
"""


def test_each_service_is_asked_at_its_own_address_and_with_our_options_only() -> None:
    """Options in the query of a URL would be Apprise's: files of this machine as templates, …"""
    evil = "verify=no&redirect=yes&template=/etc/passwd&mode=bot&avatar_url=http://evil"
    asked = {name: (name, dict(config)) for name, config in GOOD.items() if "webhook_url" in config}
    for name, (provider, config) in list(asked.items()):
        joined = "&" if "?" in config["webhook_url"] else "?"
        evil_config = {"webhook_url": config["webhook_url"] + joined + evil}
        asked[f"{name}-evil"] = (provider, evil_config)
    asked["telegram"] = ("telegram", dict(GOOD["telegram"]))
    results = _ask(asked)
    homes = {
        "slack": SLACK,
        "discord": DISCORD,
        "googlechat": "https://chat.googleapis.com/v1/spaces/AAAA/messages",
        "teams": TEAMS.partition("?")[0],
        "telegram": f"https://api.telegram.org/bot{GOOD['telegram']['bot_token']}/sendMessage",
    }
    for name, (sent, requests) in results.items():
        assert sent, name
        ((method, url, redirects, verified, body),) = requests
        assert method.upper() == "POST"
        assert url.partition("?")[0] == homes[name.partition("-")[0]], name
        assert (redirects, verified) == (False, True), name
        assert "the text" in body
        assert "root:" not in body


def _ask(asked: Mapping[str, tuple[str, dict[str, str]]]) -> dict[str, Any]:
    import subprocess

    answer = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=True,
    )
    results: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    return results
