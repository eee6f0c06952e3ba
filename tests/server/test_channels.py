"""Channels of a live server, and webhooks that real receivers get."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import httpx
import pytest
from contract import Contract
from harness import PATIENCE, ServerProcess, client_of, eventually
from receiver import (
    HERE,
    Receiver,
    answer,
    babbling,
    breaking,
    endless,
    failing,
    hanging,
    trickling,
)

from sandlot import webhooks

SECRET = "s3cret-" + "x" * 20
UNKNOWN = "ch-" + "0" * 25
CREATED = "capsule.created"
QUICK = {
    "engine": "process",
    "api_key_scopes": "all",
    "channels_allow": f"{HERE}/32",
    "channels_attempts": "3",
    "channels_first_wait_sec": "0.2",
    "channels_timeout_sec": "1",
}


@pytest.fixture(scope="module")
def notifier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that may send to the receivers of this test, and to nothing else here."""
    server = ServerProcess(tmp_path_factory.mktemp("notifier"), **QUICK)
    yield server
    assert server.stop() == 0
    assert not [line for line in server.lines if line["level"] in ("error", "critical")]
    assert not [line for line in server.lines if SECRET in str(line)]


@pytest.fixture
def client(notifier: ServerProcess, contract: Contract) -> Iterator[httpx.Client]:
    with client_of(notifier, contract) as client:
        yield client
        for channel in client.get("/v1/channels").json():
            assert client.delete(f"/v1/channels/{channel['id']}").status_code == 204


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


Make = Callable[..., dict[str, Any]]


@pytest.fixture
def make(client: httpx.Client) -> Make:
    """Makes webhooks."""

    def make(url: str, name: str = "ops", events: tuple[str, ...] = (CREATED,)) -> dict[str, Any]:
        response = client.post(
            "/v1/channels",
            json={
                "name": name,
                "provider": "webhook",
                "config": {"url": url, "secret": SECRET},
                "events": list(events),
            },
        )
        assert response.status_code == 201, response.text
        channel: dict[str, Any] = response.json()
        return channel

    return make


def happen(client: httpx.Client) -> str:
    """Make something happen: a sandbox begins and ends."""
    sandbox_id: str = client.post("/v1/sandboxes", json={}).json()["id"]
    assert client.delete(f"/v1/sandboxes/{sandbox_id}").status_code == 204
    return sandbox_id


def deliveries(client: httpx.Client, channel: dict[str, Any], **query: Any) -> list[dict[str, Any]]:
    response = client.get(f"/v1/channels/{channel['id']}/deliveries", params=query)
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()
    return found


def outcome(client: httpx.Client, channel: dict[str, Any]) -> dict[str, Any]:
    """Wait until the only delivery of a channel is done with, and return it."""
    eventually(lambda: any(each["status"] != "pending" for each in deliveries(client, channel)))
    (delivery,) = deliveries(client, channel)
    return delivery


def test_what_happens_to_a_sandbox_is_told(
    client: httpx.Client, make: Make, receiver: Receiver, contract: Contract
) -> None:
    events = ("capsule.created", "capsule.paused", "capsule.running", "capsule.destroyed")
    channel = make(f"{receiver.url}/all?a=1", events=events)
    sandbox_id = client.post("/v1/sandboxes", json={}).json()["id"]
    for way in ("pause", "resume"):
        assert client.post(f"/v1/sandboxes/{sandbox_id}/{way}").status_code == 200
    assert client.delete(f"/v1/sandboxes/{sandbox_id}").status_code == 204
    came = receiver.wait_for("/all", 4)
    assert len(came) == 4
    assert {each.json["event"] for each in came} == set(events)
    for each in came:
        contract.validate_named(each.json, "WebhookEvent")
        event = webhooks.verify(each.body, each.headers, SECRET)
        assert event.resource == webhooks.EventResource("sandbox", sandbox_id)
        assert event.team_id == channel["team_id"]
        assert event.actor.type == "api_key"
        assert str(UUID(event.delivery_id)) == event.delivery_id
        assert each.path == "/all?a=1"
        assert each.headers["host"] == f"{HERE}:{receiver.port}"
        assert each.headers["content-type"] == "application/json"
    eventually(lambda: {each["status"] for each in deliveries(client, channel)} == {"delivered"})
    log = deliveries(client, channel)
    assert {each["id"] for each in log} == {each.id for each in came}
    assert {each["response_status"] for each in log} == {204}
    assert {each["attempts"] for each in log} == {1}


def test_only_what_was_asked_for_is_told(
    client: httpx.Client, make: Make, receiver: Receiver
) -> None:
    quiet = make(f"{receiver.url}/quiet", "quiet", ("host.up",))
    _ = make(f"{receiver.url}/loud", "loud", ("capsule.destroyed",))
    _ = happen(client)
    (came,) = receiver.wait_for("/loud")
    assert came.json["event"] == "capsule.destroyed"
    assert receiver.at("/quiet") == []
    assert deliveries(client, quiet) == []


def test_what_nobody_asked_for_is_the_systems(
    client: httpx.Client, make: Make, receiver: Receiver
) -> None:
    _ = make(f"{receiver.url}/end", events=("capsule.destroyed",))
    fields = {"timeout_sec": 1, "on_timeout": "destroy"}
    _ = client.post("/v1/sandboxes", json=fields)
    (came,) = receiver.wait_for("/end")
    assert came.json["actor"] == {"type": "system"}


def test_failures_are_tried_again_with_the_same_id(
    client: httpx.Client, make: Make, receiver: Receiver
) -> None:
    channel = make(receiver.on("/flaky", failing(2)))
    _ = happen(client)
    came = receiver.wait_for("/flaky", 3)
    assert len({each.id for each in came}) == 1
    assert len({each.body for each in came}) == 1
    for each in came:  # signed anew each time
        _ = webhooks.verify(each.body, each.headers, SECRET)
    done = outcome(client, channel)
    assert (done["status"], done["attempts"], done["response_status"]) == ("delivered", 3, 200)
    assert "error" not in done
    assert "next_attempt_at" not in done


@pytest.mark.parametrize(
    ("behaviour", "status", "attempts", "error"),
    [
        (answer(500), 500, 3, "The receiver answered 500."),
        (answer(404), 404, 3, "The receiver answered 404."),
        (answer(410), 410, 1, "The receiver answered 410."),
        (breaking, None, 3, "The answer was no HTTP, or broke off."),
        (babbling, None, 3, "The answer was no HTTP, or broke off."),
    ],
)
def test_what_fails_too_often_has_failed(
    client: httpx.Client,
    make: Make,
    receiver: Receiver,
    behaviour: Any,
    status: int | None,
    attempts: int,
    error: str,
) -> None:
    channel = make(receiver.on("/bad", behaviour))
    _ = happen(client)
    done = outcome(client, channel)
    assert (done["status"], done["attempts"], done["error"]) == ("failed", attempts, error)
    assert done.get("response_status") == status
    assert len(receiver.at("/bad")) == attempts
    assert deliveries(client, channel, status="failed") == [done]
    assert deliveries(client, channel, status="delivered") == []


def test_who_says_when_to_come_back_is_left_alone_until_then(
    client: httpx.Client, make: Make, receiver: Receiver
) -> None:
    channel = make(receiver.on("/busy", failing(1, 503, Retry_After="120")))
    _ = happen(client)
    eventually(lambda: any(each["attempts"] == 1 for each in deliveries(client, channel)))
    (waiting,) = deliveries(client, channel)
    assert waiting["status"] == "pending"
    assert waiting["next_attempt_at"] > waiting["last_attempt_at"]
    assert len(receiver.at("/busy")) == 1


def test_redirects_are_not_followed(client: httpx.Client, make: Make, receiver: Receiver) -> None:
    forbidden = Receiver("127.0.0.1")
    try:
        for name, target in (("inside", forbidden), ("here", receiver)):
            redirect = answer(307, Location=f"{target.url}/stolen")
            channel = make(receiver.on(f"/{name}", redirect), name)
            _ = happen(client)
            done = outcome(client, channel)
            assert done["response_status"] == 307
            assert "redirects are not followed" in done["error"]
            assert client.delete(f"/v1/channels/{channel['id']}").status_code == 204
        assert forbidden.received == []
        assert receiver.at("/stolen") == []
    finally:
        forbidden.close()


@pytest.mark.parametrize(
    "host", ["localhost", "127.1", "2130706433", "0x7f.1", "0", "017700000001"]
)
def test_names_of_this_machine_are_not_connected_to(
    client: httpx.Client, make: Make, host: str
) -> None:
    forbidden = Receiver("127.0.0.1")
    try:
        channel = make(f"http://{host}:{forbidden.port}/")
        _ = happen(client)
        done = outcome(client, channel)
        assert (done["status"], done["attempts"]) == ("failed", 1)
        assert forbidden.received == []
    finally:
        forbidden.close()


@pytest.mark.parametrize("kind", ["hanging", "trickling", "endless"])
def test_receivers_that_do_not_come_to_an_end_are_left(
    client: httpx.Client, make: Make, receiver: Receiver, kind: str
) -> None:
    behaviour = {"hanging": hanging, "trickling": trickling, "endless": endless}[kind]
    channel = make(receiver.on("/slow", behaviour(receiver)))
    _ = happen(client)
    done = outcome(client, channel)
    if kind == "endless":
        assert (done["status"], done["response_status"]) == ("delivered", 200)
    else:
        assert (done["status"], done["attempts"]) == ("failed", 3)
        assert done["error"] == "There was no answer within 1 seconds."


def test_a_receiver_that_hangs_holds_up_nobody_else(
    client: httpx.Client, make: Make, receiver: Receiver
) -> None:
    slow = make(receiver.on("/slow", hanging(receiver)), "slow")
    fast = make(f"{receiver.url}/fast", "fast")
    began = time.monotonic()
    for _ in range(6):
        _ = happen(client)
    assert len(receiver.wait_for("/fast", 6)) == 6
    assert time.monotonic() - began < PATIENCE / 2
    assert len(deliveries(client, fast)) == 6
    assert {each["status"] for each in deliveries(client, slow)} <= {"pending", "failed"}
    receiver.let_go.set()


def test_a_deleted_channel_is_told_nothing_more(
    client: httpx.Client, make: Make, receiver: Receiver
) -> None:
    channel = make(receiver.on("/bad", failing(99)))
    _ = happen(client)
    _ = receiver.wait_for("/bad")
    assert client.delete(f"/v1/channels/{channel['id']}").status_code == 204
    assert client.get(f"/v1/channels/{channel['id']}/deliveries").status_code == 404
    assert client.delete(f"/v1/channels/{channel['id']}").status_code == 204
    count = len(receiver.at("/bad"))
    _ = make(f"{receiver.url}/next", "next")
    _ = happen(client)
    _ = receiver.wait_for("/next")
    assert len(receiver.at("/bad")) <= count + 1  # one may have been under way


def test_deliveries_survive_a_server_that_is_killed(
    start: Callable[..., ServerProcess], contract: Contract, receiver: Receiver
) -> None:
    server = start(**QUICK | {"channels_timeout_sec": "30"})
    with client_of(server, contract) as client:
        body = {
            "name": "ops",
            "provider": "webhook",
            "config": {"url": receiver.on("/late", hanging(receiver, times=1)), "secret": SECRET},
            "events": [CREATED],
        }
        channel = client.post("/v1/channels", json=body).json()
        _ = happen(client)
        _ = receiver.wait_for("/late")
    server.kill()
    server = start(**QUICK)
    first, second = receiver.wait_for("/late", 2)
    assert second.id == first.id
    assert second.body == first.body
    with client_of(server, contract) as client:
        assert outcome(client, channel)["status"] == "delivered"


def test_a_server_that_stops_waits_for_nobody_and_forgets_nothing(
    start: Callable[..., ServerProcess], contract: Contract, receiver: Receiver
) -> None:
    server = start(**QUICK | {"channels_timeout_sec": "60"})
    with client_of(server, contract) as client:
        body = {
            "name": "ops",
            "provider": "webhook",
            "config": {"url": receiver.on("/hang", hanging(receiver, times=1)), "secret": SECRET},
            "events": [CREATED, "capsule.destroyed"],
        }
        _ = client.post("/v1/channels", json=body)
        sandbox_id = client.post("/v1/sandboxes", json={}).json()["id"]
        _ = receiver.wait_for("/hang")
    began = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - began < PATIENCE / 2
    _ = start(**QUICK)
    came = receiver.wait_for("/hang", 3)
    told = {(each.json["event"], each.json["resource"]["id"]) for each in came}
    assert told == {(CREATED, sandbox_id), ("capsule.destroyed", sandbox_id)}


def test_requests_do_not_wait_for_receivers(
    client: httpx.Client, make: Make, receiver: Receiver
) -> None:
    _ = make(receiver.on("/slow", hanging(receiver)))
    times: list[float] = []
    for _ in range(3):  # on a busy machine one may take long for other reasons
        began = time.monotonic()
        _ = happen(client)
        times.append(time.monotonic() - began)
    assert min(times) < 0.9  # a receiver may take a second
    receiver.let_go.set()


def test_secrets_are_shown_once(client: httpx.Client, receiver: Receiver) -> None:
    body = {
        "name": "  My Ops ",
        "provider": "webhook",
        "config": {"url": f"{receiver.url}/made-up"},
        "events": [CREATED, CREATED],
    }
    channel = client.post("/v1/channels", json=body).json()
    assert re.fullmatch("[0-9a-f]{64}", channel["secret"])
    assert (channel["name"], channel["events"]) == ("my-ops", [CREATED])
    _ = happen(client)
    (came,) = receiver.wait_for("/made-up")
    _ = webhooks.verify(came.body, came.headers, channel["secret"])
    url = f"/v1/channels/{channel['id']}"
    shown = client.get(url).json()
    assert shown == {key: value for key, value in channel.items() if key != "secret"}
    assert client.get("/v1/channels").json() == [shown]
    changed = client.patch(url, json={"name": "new", "events": ["host.up"]}).json()
    assert (changed["name"], changed["events"]) == ("new", ["host.up"])
    assert "secret" not in changed
    config = {"config": {"url": receiver.url, "secret": SECRET}}
    assert client.put(f"{url}/config", json=config).json()["secret"] == SECRET
    again = client.put(f"{url}/config", json={"config": {"url": receiver.url}}).json()
    assert again["secret"] not in (SECRET, channel["secret"])


def test_names_are_unique(client: httpx.Client, make: Make, receiver: Receiver) -> None:
    _, second = make(receiver.url, "one"), make(receiver.url, "two")
    body = {"name": "One", "provider": "webhook", "config": {"url": receiver.url}}
    taken = client.post("/v1/channels", json={**body, "events": [CREATED]})
    assert (taken.status_code, taken.json()["error"]["code"]) == (409, "conflict")
    changed = {"name": "one", "events": [CREATED]}
    assert client.patch(f"/v1/channels/{second['id']}", json=changed).status_code == 409


def test_creating_twice_with_one_key_makes_one(client: httpx.Client, receiver: Receiver) -> None:
    body = {
        "name": "once",
        "provider": "webhook",
        "config": {"url": receiver.url},
        "events": [CREATED],
    }
    headers = {"Idempotency-Key": "channel-once"}
    first = client.post("/v1/channels", json=body, headers=headers)
    second = client.post("/v1/channels", json=body, headers=headers)
    assert (first.status_code, first.json()) == (second.status_code, second.json())
    other = client.post("/v1/channels", json={**body, "name": "other"}, headers=headers)
    assert other.json()["error"]["code"] == "idempotency_key_conflict"


def test_channels_are_tested_before_they_are_made(client: httpx.Client, receiver: Receiver) -> None:
    config = {"url": f"{receiver.url}/ok", "secret": SECRET}
    response = client.post("/v1/channels/test", json={"provider": "webhook", "config": config})
    assert (response.status_code, response.json()) == (200, {"status": "ok"})
    (came,) = receiver.at("/ok")
    assert webhooks.verify(came.body, came.headers, SECRET).name == "channel.test"
    for url, said in (
        (receiver.on("/bad", answer(500)), "The receiver answered 500."),
        (receiver.on("/slow", hanging(receiver)), "There was no answer within 1 seconds."),
        ("http://localhost:1/", "The address is not one that this server may connect to."),
        (f"http://{HERE}:1/", "No connection could be made."),
        ("http://no.such.name.invalid/", "The name of the host cannot be resolved."),
    ):
        body = {"provider": "webhook", "config": {"url": url, "secret": SECRET}}
        response = client.post("/v1/channels/test", json=body)
        error = response.json()["error"]
        assert (response.status_code, error["code"]) == (502, "bad_gateway")
        assert error["message"] == said
    assert client.get("/v1/channels").json() == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": ""}, "name"),
        ({"name": "a/b"}, "name"),
        ({"name": "ü"}, "name"),
        ({"name": "x" * 10_000}, "name"),
        ({"name": 5}, "name"),
        ({"provider": "smoke"}, "provider"),
        ({"events": []}, "events"),
        ({"events": ["capsule.created", "nothing.known"]}, "events"),
        ({"events": "capsule.created"}, "events"),
        ({"config": {}}, "config.url"),
        ({"config": {"url": ""}}, "config.url"),
        ({"config": {"url": 5}}, "config.url"),
        ({"config": None}, "config"),
        ({"config": {"url": "http://a", "other": "tell-no-one"}}, "config"),
        ({"config": {"url": "http://a", "secret": "tell-no-one"}}, "config.secret"),
        ({"config": {"url": "ftp://tell-no-one"}}, "config.url"),
        ({"config": {"url": "file:///etc/passwd?tell-no-one"}}, "config.url"),
        ({"config": {"url": "http://user:tell-no-one@example.com/"}}, "config.url"),
        ({"config": {"url": "http://example.com/#tell-no-one"}}, "config.url"),
        ({"config": {"url": "http://exa mple/tell-no-one"}}, "config.url"),
        ({"config": {"url": "http://example.com\\@tell-no-one/"}}, "config.url"),
        ({"config": {"url": "http://example.com/\r\nX-Tell-No-One: tell-no-one"}}, "config.url"),
        ({"config": {"url": "http://example.com:99999/tell-no-one"}}, "config.url"),
        ({"config": {"url": "http://example.com:0/tell-no-one"}}, "config.url"),
        ({"config": {"url": "http:///tell-no-one"}}, "config.url"),
        ({"config": {"url": "http://bücher.example/tell-no-one"}}, "config.url"),
        ({"config": {"url": "http://127.0.0.1/tell-no-one"}}, "config.url"),
        ({"config": {"url": "http://[::1]/tell-no-one"}}, "config.url"),
        ({"config": {"url": "http://[::ffff:127.0.0.1]/tell-no-one"}}, "config.url"),
        ({"config": {"url": "http://[fe80::1%25eth0]/tell-no-one"}}, "config.url"),
        ({"config": {"url": "http://169.254.169.254/tell-no-one"}}, "config.url"),
        ({"config": {"url": "http://10.0.0.1/tell-no-one"}}, "config.url"),
        ({"config": {"url": "http://example.com/" + "tell-no-one" * 1000}}, "config.url"),
        ({"config": {"url": "http://a", "x" * 70_000: "tell-no-one"}}, "larger"),
    ],
)
def test_bad_requests_are_refused_without_quoting_them(
    client: httpx.Client, changes: dict[str, Any], said: str
) -> None:
    body = {
        "name": "ops",
        "provider": "webhook",
        "config": {"url": "http://example.com/"},
        "events": [CREATED],
    }
    response = client.post("/v1/channels", json={**body, **changes})
    assert response.status_code == (413 if said == "larger" else 400), response.text
    assert said in response.json()["error"]["message"]
    assert "tell-no-one" not in response.text.lower()
    assert client.get("/v1/channels").json() == []


@pytest.mark.parametrize(
    ("channel_id", "status"), [("nonsense", 400), ("ch-" + "z" * 25, 400), (UNKNOWN, 404)]
)
def test_unknown_channels(client: httpx.Client, channel_id: str, status: int) -> None:
    url = f"/v1/channels/{channel_id}"
    change = {"name": "a", "events": [CREATED]}
    assert client.get(url).status_code == status
    assert client.patch(url, json=change).status_code == status
    config = {"config": {"url": "http://example.com/"}}
    if status == 400:
        assert client.delete(url).status_code == status
    else:
        assert client.put(f"{url}/config", json=config).status_code == status
    assert client.get(f"{url}/deliveries").status_code == status


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=-1", "limit=99999", "limit=x", "cursor=x", "cursor=bm9uZQ", "status=x"],
)
def test_bad_queries(client: httpx.Client, make: Make, receiver: Receiver, query: str) -> None:
    url = f"/v1/channels/{make(receiver.url)['id']}/deliveries"
    assert client.get(f"{url}?{query}").status_code == 400


def test_the_log_comes_in_pages(client: httpx.Client, make: Make, receiver: Receiver) -> None:
    channel = make(f"{receiver.url}/many")
    for _ in range(5):
        _ = happen(client)
    _ = receiver.wait_for("/many", 5)
    url = f"/v1/channels/{channel['id']}/deliveries"
    found, query = list[str](), {"limit": "2"}
    while True:
        response = client.get(url, params=query)
        found += [each["id"] for each in response.json()]
        if (following := response.headers.get("x-next-cursor")) is None:
            break
        query["cursor"] = following
    assert len(found) == len(set(found)) == 5
    assert set(found) == {each.id for each in receiver.at("/many")}


def test_without_a_key_there_is_nothing(client: httpx.Client) -> None:
    del client.headers["X-API-Key"]
    for method, path in (
        ("GET", "/v1/channels"),
        ("POST", "/v1/channels"),
        ("POST", "/v1/channels/test"),
        ("GET", f"/v1/channels/{UNKNOWN}"),
        ("DELETE", f"/v1/channels/{UNKNOWN}"),
        ("GET", f"/v1/channels/{UNKNOWN}/deliveries"),
    ):
        assert client.request(method, path, json={}).status_code == 401
    client.headers["X-API-Key"] = "wrn_0123456789abcdef0123456789abcdef"
