from __future__ import annotations

import json
from collections.abc import Callable

import httpx
from contract import Contract
from harness import KEY, UNKNOWN_ID, Box, ServerProcess, client_of

SECRET = "c0ffee-secret"


def test_every_request_has_a_line(server: ServerProcess, common: Box) -> None:
    for request_id, path in (("log-1", common.url()), ("log-2", f"/v1/capsules/{UNKNOWN_ID}")):
        _ = common.client.get(path, headers={"X-Request-Id": request_id})
    one = server.wait_for(lambda line: line.get("request_id") == "log-1")
    assert (one["event"], one["method"], one["status"]) == ("request", "GET", 200)
    assert one["route"] == "/v1/sandboxes/{id}"
    assert one["ms"] > 0
    assert one["level"] == "info"
    assert one["timestamp"].endswith("Z")
    two = server.wait_for(lambda line: line.get("request_id") == "log-2")
    assert (two["route"], two["status"]) == ("/v1/capsules/{id}", 404)


def test_streams_have_a_line_too(server: ServerProcess, common: Box) -> None:
    with common.stream() as stream:
        stream.send(json.dumps({"type": "start", "cmd": "true"}))
        request_id = stream.response.headers["x-request-id"]
        assert len(list(stream)) == 2
    line = server.wait_for(lambda line: line.get("request_id") == request_id)
    assert (line["method"], line["status"]) == ("WEBSOCKET", 101)
    assert line["route"] == "/v1/sandboxes/{id}/exec/stream"


def test_secrets_stay_out(start: Callable[..., ServerProcess], contract: Contract) -> None:
    server = start(log_level="debug")
    with client_of(server, contract) as client:
        info = client.post(
            "/v1/sandboxes", json={"env": {"TOKEN": SECRET}, "metadata": {"m": SECRET}}
        ).json()
        box = Box(client, info["id"])
        assert box.sh(f"echo {SECRET}", env={"A": SECRET}, stdin=SECRET)["exit_code"] == 0
        assert box.write(SECRET, SECRET.encode()).status_code == 204
        assert box.read(SECRET) == SECRET.encode()
        _ = client.get(f"/v1/sandboxes?name={SECRET}")
        _ = client.post(box.url("/exec"), content=f'{{"cmd": ["{SECRET}"]}}'.encode())
        _ = httpx.get(f"{server.url}/v1/{SECRET}", headers={"X-API-Key": f"wrn_{SECRET}"})
        with box.stream() as stream:
            stream.send(json.dumps({"type": "start", "cmd": "echo", "args": [SECRET]}))
            assert SECRET in "".join(str(message) for message in stream)
    assert server.stop() == 0
    text = json.dumps(server.lines)
    assert len(server.lines) > 10
    assert SECRET not in text
    assert KEY not in text
    settings = next(line for line in server.lines if line["event"] == "starting")["settings"]
    assert settings["api_key"] == "**********"
