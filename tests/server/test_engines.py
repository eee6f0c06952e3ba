"""The same server on the engine without isolation, which only those get who ask for it by name."""

from __future__ import annotations

from collections.abc import Callable

from contract import Contract
from harness import Box, ServerProcess, client_of, eventually, traces_of


def test_the_process_engine(start: Callable[..., ServerProcess], contract: Contract) -> None:
    server = start(engine="process")
    with client_of(server, contract) as client:
        capabilities = client.get("/v1/capabilities").json()
        assert capabilities["isolation"]["level"] == "none"
        assert capabilities["isolation"]["engine"] == "process"
        box = Box(client, client.post("/v1/sandboxes", json={"timeout_sec": 600}).json()["id"])
        assert box.sh("cat; exit 3", stdin="x")["exit_code"] == 3
        assert box.sh("sleep 1000", timeout_sec=0.2)["timed_out"] is True
        assert box.write("a/b", b"1").status_code == 204
        assert box.read("a/b") == b"1"
        assert box.post("/files/read", path="nonsense").status_code == 404
        assert box.post("/pause").json()["status"] == "paused"
        assert box.post("/resume").json()["status"] == "running"
        eventually(lambda: len(client.get(box.url("/metrics")).json()["points"]) > 1)
        traces = traces_of(server)
        assert client.delete(box.url()).status_code == 204
    assert server.stop() == 0
    traces.assert_gone()
