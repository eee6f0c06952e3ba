"""Starting servers, and looking for what they leave behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
from contract import Contract
from websockets.sync.client import ClientConnection, connect

from tests.nursery import Popen

KEY = "wrn_0123456789abcdef0123456789abcdef"
UNKNOWN_ID = "cl-" + "0" * 25
PATIENCE = 45.0


class ServerProcess:
    """`python -m sandlot.server`."""

    def __init__(self, data_dir: Path, *, with_key: bool = True, **options: str) -> None:
        self.data_dir = data_dir
        self.lines: list[dict[str, Any]] = []
        self._changed = threading.Condition()
        # Unless a test wants otherwise, sandboxes end with a server that is killed.
        arguments = {"port": "0", "data-dir": str(data_dir), "orphan-timeout-sec": "0"}
        arguments |= {name.replace("_", "-"): value for name, value in options.items()}
        command = self.command = [sys.executable, "-m", "sandlot.server"]
        for name, value in arguments.items():
            command += [f"--{name}", *([value] if value else [])]
        environment = {
            "SANDLOT_SERVER_WARM_ADAPT": "false",  # what is there is what was asked for
            **os.environ,
            "SANDLOT_SERVER_API_KEY": KEY,
        }
        if not with_key:
            del environment["SANDLOT_SERVER_API_KEY"]
        self.process = Popen(
            command, env=environment, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            line = self.wait_for(lambda line: line["event"] == "listening")
        except AssertionError:
            self.kill()
            raise
        self.port: int = line["port"]
        self.url = f"http://127.0.0.1:{self.port}"

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as stream:
            for text in stream:
                with self._changed:
                    self.lines.append(json.loads(text))
                    self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    def wait_for(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Return the first line of the log that is wanted, waiting for it."""
        with self._changed:
            found = self._changed.wait_for(
                lambda: (
                    next((line for line in self.lines if wanted(line)), None)
                    or not self._reader.is_alive()
                ),
                PATIENCE,
            )
        assert isinstance(found, dict), self.lines
        return found

    def stop(self) -> int:
        """Ask it to end, and return its exit code."""
        self.process.terminate()
        return self.wait()

    def wait(self) -> int:
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code

    def kill(self) -> None:
        """End it the hard way, if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
        _ = self.wait()


def client_of(server: ServerProcess, contract: Contract, key: str | None = KEY) -> httpx.Client:
    """Return a client whose every answer is held against the contract."""
    return httpx.Client(
        base_url=server.url,
        headers={} if key is None else {"X-API-Key": key},
        timeout=PATIENCE,
        event_hooks={"response": [contract.check]},
    )


class Box:
    """A sandbox."""

    def __init__(self, client: httpx.Client, sandbox_id: str) -> None:
        self.client = client
        self.id = sandbox_id

    def url(self, tail: str = "") -> str:
        return f"/v1/sandboxes/{self.id}{tail}"

    def post(self, tail: str, **fields: Any) -> httpx.Response:
        return self.client.post(self.url(tail), json=fields)

    def get(self) -> dict[str, Any]:
        info: dict[str, Any] = self.client.get(self.url()).json()
        return info

    def exec(self, cmd: str, *args: str, **fields: Any) -> dict[str, Any]:
        response = self.post("/exec", cmd=cmd, args=list(args), **fields)
        assert response.status_code == 200, response.text
        result: dict[str, Any] = response.json()
        return result

    def sh(self, line: str, **fields: Any) -> dict[str, Any]:
        return self.exec("/bin/sh", "-c", line, **fields)

    def read(self, path: str) -> bytes:
        response = self.post("/files/read", path=path)
        assert response.status_code == 200, response.text
        return response.content

    def write(self, path: str, data: bytes) -> httpx.Response:
        return self.client.post(self.url("/files/write"), data={"path": path}, files={"file": data})

    def running(self, command: str) -> int:
        """Return how many processes in the sandbox have this command line."""
        line = "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline; echo; done 2>/dev/null"
        return self.sh(line)["stdout"].splitlines().count(f"{command} ")

    @contextlib.contextmanager
    def stream(
        self, subprotocols: Sequence[str] = (), **options: Any
    ) -> Iterator[ClientConnection]:
        base = str(self.client.base_url).rstrip("/").replace("http", "ws", 1)
        with connect(
            base + self.url("/exec/stream"),
            additional_headers={"X-API-Key": self.client.headers["X-API-Key"]},
            subprotocols=list(subprotocols) or None,
            compression=None,
            max_size=None,
            proxy=None,
            open_timeout=PATIENCE,
            **options,
        ) as connection:
            yield connection


def eventually(condition: Callable[[], bool], patience: float = PATIENCE) -> None:
    """Assert that something comes to be true; only for what nobody announces."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, "it never came to be true"
        time.sleep(0.02)


@dataclass
class Traces:
    """What of a server is on this machine."""

    processes: list[psutil.Process]
    cgroups: set[str]
    directory: Path

    def assert_gone(self) -> None:
        _, alive = psutil.wait_procs(self.processes, PATIENCE)
        assert not alive
        assert not [path for path in self.cgroups if Path(path).exists()]
        assert str(self.directory) not in Path("/proc/self/mounts").read_text()
        boxes = self.directory / "sandboxes"
        assert not boxes.exists() or not list(boxes.iterdir())


def traces_of(server: ServerProcess) -> Traces:
    """Return what of a server is on this machine now."""
    processes = psutil.Process(server.process.pid).children(recursive=True)
    cgroups = set[str]()
    for process in processes:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{process.pid}/cgroup").read_text().splitlines():
                _, controllers, path = line.split(":", 2)
                if "sandlot" in path:
                    mount = "unified" if not controllers else controllers.split(",")[0]
                    cgroups.add(f"/sys/fs/cgroup/{mount}{path}")
    return Traces(processes, cgroups, server.data_dir)


def init_of(server: ServerProcess, box: Box) -> int:
    """Return the process that holds up a sandbox, as the host sees it."""
    marker = f"sleep {time.time_ns() % 10**9 + 10**6}"
    with box.stream() as connection:
        connection.send(json.dumps({"type": "start", "cmd": "sleep", "args": [marker.split()[1]]}))
        assert json.loads(connection.recv(PATIENCE))["type"] == "start"
        for process in psutil.Process(server.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):  # an earlier command may be on its way out
                if " ".join(process.cmdline()) == marker:
                    break
        else:
            raise AssertionError("the command is not found")
        while _pid_inside(process.pid) != 1:
            parent = process.parent()
            assert parent is not None
            process = parent
    return process.pid


def _pid_inside(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("NSpid:"))
    return int(line.split()[-1])


def interrupt(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)
