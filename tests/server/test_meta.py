from __future__ import annotations

import socket
from pathlib import Path

import httpx
import pytest
import yaml
from harness import ServerProcess

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("path", ["/health", "/healthz"])
def test_health_needs_no_key(client: httpx.Client, path: str) -> None:
    del client.headers["X-API-Key"]
    response = client.get(path)
    assert response.status_code == 200
    assert response.json()["status"] == "ok"
    assert "OK" in response.text


def test_the_contract_is_served(client: httpx.Client) -> None:
    answer = client.get("/openapi.yaml", headers={"X-API-Key": ""})
    assert answer.content == (ROOT / "internal" / "api" / "openapi.yaml").read_bytes()
    assert yaml.safe_load(answer.text)["openapi"].startswith("3.")


def test_capabilities(client: httpx.Client) -> None:
    answer = client.get("/v1/capabilities").json()
    assert answer["server"] == "sandlot"
    assert answer["isolation"]["level"] == "full"
    assert {"exec.stream.v1", "capabilities", "exec.cwd"} <= set(answer["features"])
    assert "minimal" in answer["templates"]
    assert answer["limits"]["max_output_bytes"] == 10 << 20


@pytest.mark.parametrize("path", ["/", "/v2", "/v1/nothing", "/v1/sandboxes/x/y/z", "/docs"])
def test_unknown_paths_answer_with_the_error_body(client: httpx.Client, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "not_found"


def test_wrong_methods_answer_with_the_error_body(client: httpx.Client) -> None:
    response = client.put("/v1/sandboxes")
    assert response.status_code == 405
    assert response.json()["error"]["code"] == "method_not_allowed"
    assert response.headers["allow"]


def test_a_valid_request_id_is_used(client: httpx.Client) -> None:
    response = client.get("/v1/nothing", headers={"X-Request-Id": "mine:1.2-3_4"})
    assert response.headers["x-request-id"] == "mine:1.2-3_4"
    assert response.json()["error"]["request_id"] == "mine:1.2-3_4"


@pytest.mark.parametrize("given", ["a b", "x" * 129, "<script>"])
def test_an_invalid_request_id_is_replaced(client: httpx.Client, given: str) -> None:
    response = client.get("/health", headers={"X-Request-Id": given})
    assert response.headers["x-request-id"] != given


def test_request_ids_differ(client: httpx.Client) -> None:
    ids = {client.get("/health").headers["x-request-id"] for _ in range(10)}
    assert len(ids) == 10


def test_what_is_no_http_is_refused_with_the_error_body(server: ServerProcess) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"this is not HTTP\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"code":"invalid_request"' in answer


def test_trailing_slashes_mean_nothing(client: httpx.Client, shared: str) -> None:
    assert client.get("/v1/sandboxes/").status_code == 200
    assert client.get(f"/v1/sandboxes/{shared}/").status_code == 200
