"""Prepared sandboxes, from outside."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from harness import KEY, Box, ServerProcess, eventually, traces_of

from sandlot.local import EmbeddedServer


def test_nobody_sees_them_until_they_are_wanted(start: Callable[..., ServerProcess]) -> None:
    server = start(warm="python-jupyter=1")
    _ = server.wait_for(lambda line: line["event"] == "a sandbox is prepared")
    with httpx.Client(base_url=server.url, headers={"X-API-Key": KEY}, timeout=20) as client:
        assert client.get("/v1/sandboxes").json() == []
        stats = client.get("/v1/sandboxes/stats").json()
        assert stats["current"]["running_count"] == 0
        (place,) = (server.data_dir / "sandboxes").iterdir()
        fields = {"template": "code-runner-beta", "name": "mine", "timeout_sec": 60}
        made = client.post("/v1/sandboxes", json=fields).json()
        assert (made["template"], made["name"]) == ("code-runner-beta", "mine")
        assert [path.name for path in (server.data_dir / "sandboxes").iterdir()] == [place.name]
        box = Box(client, made["id"])
        assert box.sh("ls /tmp/.jupyter/kernel-*.json | wc -l")["stdout"] == "1\n", "in reserve"
        assert client.delete(box.url()).status_code == 204
        assert not place.exists()
    traces = traces_of(server)
    assert server.stop() == 0
    traces.assert_gone()


def test_they_go_when_the_server_is_killed(start: Callable[..., ServerProcess]) -> None:
    server = start(warm='{"python-jupyter": 2}', ephemeral="")
    count = 0

    def both(line: dict[str, object]) -> bool:
        nonlocal count
        count += line["event"] == "a sandbox is prepared"
        return count == 2

    _ = server.wait_for(both)
    traces = traces_of(server)
    assert len(traces.processes) >= 1 + 2 * 4
    server.kill()
    traces.assert_gone()


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ("nonsense=1", "cannot start: there is no template 'nonsense'"),
        ("python-jupyter=-1", "warm.python-jupyter: "),
        ("python-jupyter=many", "warm.python-jupyter: "),
    ],
    ids=["template", "number", "word"],
)
def test_what_cannot_be_prepared(option: str, reason: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sandlot.server", "--port", "0"]
    command += ["--data-dir", str(tmp_path / "data"), "--warm", option]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode in (1, 2)
    assert reason in done.stderr


def test_an_embedded_server_prepares_too() -> None:
    server = EmbeddedServer.start(warm={"minimal": 1})
    try:
        log = server._log
        sandboxes = log.parent / "sandboxes"
        eventually(lambda: any(path.name.startswith("warm-") for path in sandboxes.iterdir()))
        headers = {"X-API-Key": server.api_key}
        listed = httpx.get(f"{server.base_url}/v1/sandboxes", headers=headers)
        assert json.loads(listed.text) == []
    finally:
        server.close()
    assert not log.parent.exists()
