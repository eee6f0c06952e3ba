from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing

import httpx
import pytest
from contract import Contract
from harness import KEY, ServerProcess, client_of


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/capabilities"),
        ("GET", "/v1/sandboxes"),
        ("POST", "/v1/sandboxes"),
        ("GET", "/v1/sandboxes/stats"),
        ("GET", "/v1/sandboxes/malformed"),
        ("DELETE", "/v1/capsules/malformed"),
        ("POST", "/v1/sandboxes/malformed/exec"),
        ("GET", "/v1/sandboxes/malformed/exec/stream"),
        ("POST", "/v1/sandboxes/malformed/files/write"),
        ("GET", "/v1/sandboxes/malformed/metrics"),
    ],
)
@pytest.mark.parametrize("key", [None, "", "wrn_" + "f" * 32, KEY[:-1], KEY + "0", "\u00e9"])
def test_nothing_is_told_without_a_key(
    server: ServerProcess, contract: Contract, method: str, path: str, key: str | None
) -> None:
    headers = {} if key is None else {"X-API-Key": key.encode("latin-1")}
    with client_of(server, contract, None) as client:
        response = client.request(method, path, headers=headers)
    assert response.status_code == 401
    assert response.json()["error"]["code"] == "unauthorized"
    assert key is None or not key or key not in response.text


def test_only_the_hash_is_stored(server: ServerProcess, client: httpx.Client) -> None:
    assert client.get("/v1/sandboxes").status_code == 200
    with closing(sqlite3.connect(server.data_dir / "sandlot.db")) as database:
        rows = database.execute("SELECT hash, prefix, last_used FROM api_keys").fetchall()
    assert len(rows) == 1
    digest, prefix, last_used = rows[0]
    assert len(digest) == 64
    assert prefix == KEY[:10]
    assert last_used is not None
    for path in server.data_dir.glob("sandlot.db*"):
        assert KEY.encode() not in path.read_bytes()


def test_the_first_start_makes_a_key(start: Callable[..., ServerProcess]) -> None:
    server = start(with_key=False)
    path = server.data_dir / "api-key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    key = path.read_text().strip()
    assert key.startswith("wrn_")
    assert len(key) == 36
    assert any(line.get("path") == str(path) for line in server.lines)
    headers = {"X-API-Key": key}
    assert httpx.get(f"{server.url}/v1/sandboxes", headers=headers).status_code == 200
    assert server.stop() == 0
    assert not any(key in str(line) for line in server.lines)
    # The next start finds it.
    server = start(with_key=False)
    assert path.read_text().strip() == key
    assert httpx.get(f"{server.url}/v1/sandboxes", headers=headers).status_code == 200


def test_without_authentication_on_loopback(start: Callable[..., ServerProcess]) -> None:
    server = start(auth="none")
    url = f"{server.url}/v1/sandboxes"
    assert httpx.get(url).status_code == 200
    assert httpx.get(url, headers={"X-API-Key": "whatever"}).status_code == 200
    # Web pages cannot take advantage of that.
    response = httpx.post(url, json={}, headers={"Origin": "https://example.org"})
    assert response.status_code == 403
    assert response.json()["error"]["code"] == "forbidden"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_refuses_to_listen_to_everybody_without_authentication(host: str) -> None:
    command = [sys.executable, "-m", "sandlot.server", "--host", host, "--auth", "none"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 2
    assert "without authentication" in done.stderr
    assert "Traceback" not in done.stderr
