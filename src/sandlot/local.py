"""The embedded control plane: a server process of one's own, started and supervised.

The server is a child process on a loopback port. It and its owner are joined by a socket pair.
Over it the owner says what to do, so that the key shows in no process list, environment or file;
and when it closes, however the owner died, the server destroys its sandboxes, removes what it made
and ends.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import LocalServerError

__all__ = ["EmbeddedServer"]

_logger = logging.getLogger("sandlot.local")

_STOP_TIMEOUT = 15.0
"""Seconds that the server has to destroy its sandboxes before it is killed."""

_DYING_TIME = 0.05
"""Seconds that a server may take from the end of its connections to its own."""

_KEPT_ENVIRONMENT = (
    "PATH",
    "HOME",
    "LANG",
    "LC_",
    "TZ",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "PYTHON",
    "SANDLOT_SERVER_",
)
"""Beginnings of the variables that the server sees: what Python needs, and its own settings."""

_NEEDED = (
    "aiosqlite",
    "alembic",
    "argon2",
    "fastapi",
    "jwt",
    "multipart",
    "pydantic_settings",
    "sqlalchemy",
    "structlog",
    "uvicorn",
)
"""Modules of the extra `sandlot[server]`."""

_ALTERNATIVES = (
    " Otherwise use a server elsewhere, by Client(base_url=...), or engine='process', which runs"
    " commands without any isolation."
)


class EmbeddedServer:
    """A control plane that lives no longer than its owner.

    Attributes:
        base_url: Where it listens.
        api_key: The only key that it knows, made for this start.
    """

    base_url: str
    api_key: str

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        owner: socket.socket,
        port: int,
        api_key: str,
        log: Path,
        scratch: Path | None,
    ) -> None:
        self.base_url = f"http://127.0.0.1:{port}"
        self.api_key = api_key
        self._process = process
        self._log = log
        self._finalizer = weakref.finalize(self, _stop, process, owner, scratch, os.getpid())

    def __repr__(self) -> str:
        return f"<EmbeddedServer {self.base_url} pid={self._process.pid}>"

    @classmethod
    def start(
        cls,
        data_dir: str | os.PathLike[str] | None = None,
        engine: str = "auto",
        start_timeout: float = 30.0,
        warm: Mapping[str, int] | None = None,
    ) -> EmbeddedServer:
        """Start a server and wait until it listens.

        Args:
            data_dir: Where it keeps its state; a temporary directory, removed at the end, if None.
            engine: `auto` or `local` for isolated sandboxes, `process` for none at all.
            start_timeout: Seconds to wait.
            warm: How many sandboxes of which templates to keep prepared.

        Raises:
            LocalServerError: It cannot run here; the message says why and what to do.
        """
        _check_requirements(engine)
        scratch: Path | None = None
        if data_dir is None:
            place = scratch = Path(tempfile.mkdtemp(prefix="sandlot-"))
        else:
            place = _existing(data_dir)
        api_key = f"wrn_{secrets.token_hex(16)}"
        log = place / "server.log"
        ours, theirs = socket.socketpair()
        try:
            with theirs, _private_file(log) as log_file:
                process = subprocess.Popen(
                    [
                        sys.executable,
                        "-P",
                        "-m",
                        "sandlot.server",
                        "--embedded-fd",
                        str(theirs.fileno()),
                    ],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=log_file,
                    stderr=log_file,
                    env=_environment(os.environ),
                    cwd="/",
                    # Ctrl-C in a terminal reaches the whole process group; the server must outlive
                    # it to clean up.
                    start_new_session=True,
                )
        except BaseException as exc:
            ours.close()
            _remove(scratch)
            if isinstance(exc, OSError):
                raise LocalServerError(f"The embedded server could not be started: {exc}") from exc
            raise
        try:
            port = _introduce(
                process,
                ours,
                {
                    "api_key": api_key,
                    "data_dir": str(place),
                    "engine": engine,
                    "ephemeral": scratch is not None,
                    "owner_pid": os.getpid(),
                    "warm": None if warm is None else dict(warm),
                },
                log,
                start_timeout,
            )
        except BaseException:
            _stop(process, ours, scratch, os.getpid())
            raise
        return cls(process, ours, port, api_key, log, scratch)

    def close(self) -> None:
        """Stop the server; its sandboxes are destroyed. May be repeated."""
        _ = self._finalizer()

    def explain_loss(self) -> str | None:
        """Say why the server is gone; None while it runs."""
        if not self._finalizer.alive:
            return "The embedded server was stopped, as its client was closed."
        try:
            # A process that dies closes its connections a moment before it can be waited for.
            status = self._process.wait(_DYING_TIME)
        except subprocess.TimeoutExpired:
            return None
        return f"The embedded server {_ending(status)}.{_last_words(self._log)}"


def _check_requirements(engine: str) -> None:
    if engine not in {"auto", "local", "process"}:
        raise LocalServerError(f"There is no engine {engine!r}: use 'auto', 'local' or 'process'.")
    if engine != "process" and not sys.platform.startswith("linux"):
        raise LocalServerError(
            f"Isolated local sandboxes need Linux; this is {sys.platform}. Use Linux, in a virtual"
            f" machine or WSL 2 perhaps.{_ALTERNATIVES}"
        )
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise LocalServerError(
            f"The embedded server needs packages that are not installed ({', '.join(missing)}):"
            " pip install 'sandlot[server]'"
        )
    if not sys.executable:
        raise LocalServerError(
            "The embedded server needs a Python interpreter, but sys.executable is empty."
        )


def _existing(data_dir: str | os.PathLike[str]) -> Path:
    if not os.fspath(data_dir):  # pathlib would take it for the current directory
        raise LocalServerError("data_dir is empty: name a directory, or pass None for none to stay")
    place = Path(data_dir).absolute()
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise LocalServerError(
            f"The data directory {place} cannot be used: {exc.strerror}"
        ) from exc
    return place


def _private_file(path: Path) -> Any:
    try:
        return os.fdopen(
            os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600), "wb"
        )
    except OSError as exc:
        raise LocalServerError(f"The log file {path} cannot be written: {exc.strerror}") from exc


def _environment(environment: Mapping[str, str]) -> dict[str, str]:
    kept = {
        name: value for name, value in environment.items() if name.startswith(_KEPT_ENVIRONMENT)
    }
    package_root = str(Path(__file__).resolve().parents[1])
    kept["PYTHONPATH"] = os.pathsep.join(filter(None, [package_root, kept.get("PYTHONPATH")]))
    return kept


def _introduce(
    process: subprocess.Popen[bytes],
    owner: socket.socket,
    configuration: Mapping[str, object],
    log: Path,
    timeout: float,
) -> int:
    """Tell the server what to do; return the port it listens on."""
    deadline = time.monotonic() + timeout
    received = b""
    try:
        owner.sendall(json.dumps(configuration).encode() + b"\n")
        while b"\n" not in received:
            owner.settimeout(max(deadline - time.monotonic(), 0.001))
            piece = owner.recv(65536)
            if not piece:
                break
            received += piece
    except TimeoutError as exc:
        raise LocalServerError(
            f"The embedded server was not ready after {timeout:g} s.{_last_words(log)}"
        ) from exc
    except OSError:
        pass  # it died before it read its orders; its status says more
    line, complete, _ = received.partition(b"\n")
    if not complete:
        try:
            ending = _ending(process.wait(timeout=5))
        except subprocess.TimeoutExpired:
            ending = "hung up"
        raise LocalServerError(
            f"The embedded server {ending} before it was ready.{_last_words(log)}"
        )
    answer: dict[str, Any] = json.loads(line)
    if "ready" in answer:
        owner.settimeout(None)
        port: int = answer["ready"]["port"]
        return port
    error = answer["error"]
    hint = _ALTERNATIVES if error["code"] == "engine_unavailable" else ""
    raise LocalServerError(f"{error['message']}{hint}")


def _ending(status: int) -> str:
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"


def _last_words(log: Path, limit: int = 2000) -> str:
    try:
        with log.open("rb") as file:
            _ = file.seek(max(log.stat().st_size - limit, 0))
            text = file.read().decode(errors="replace").strip()
    except OSError:
        return ""
    return f" Its last words:\n{text}" if text else ""


def _stop(
    process: subprocess.Popen[bytes], owner: socket.socket, scratch: Path | None, started_by: int
) -> None:
    if os.getpid() != started_by:
        return  # a forked child must not stop its parent's server
    with contextlib.suppress(OSError):  # the server may be gone already
        owner.shutdown(socket.SHUT_RDWR)
    owner.close()
    try:
        _ = process.wait(timeout=_STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        _logger.warning(
            "The embedded server %d did not stop within %g s", process.pid, _STOP_TIMEOUT
        )
        process.kill()
        _ = process.wait()
    _remove(scratch)


def _remove(scratch: Path | None) -> None:
    """Remove the temporary directory, unless the server or its zygote does so at the same time."""
    deadline = time.monotonic() + 5
    while scratch is not None and scratch.exists():
        shutil.rmtree(scratch, ignore_errors=True)
        if not scratch.exists():
            return
        if time.monotonic() > deadline:
            _logger.warning("Could not remove %s", scratch)
            return
        time.sleep(0.02)
