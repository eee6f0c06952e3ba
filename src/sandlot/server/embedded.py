"""A server that belongs to another process and lives no longer than that.

They talk over a socket that the owner leaves in the child. The owner writes a line with the
configuration, the child answers with a line: `{"ready": {"port": N}}` or `{"error": {"code": C,
"message": M}}`. The end of the socket, or of the owner, is the end of the server. The key travels
this way because command lines and environments can be read by others.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError

from .logs import configure_logs
from .options import ENVIRONMENT_PREFIX, Options
from .plane import StartError
from .serving import Server, listen

__all__ = ["run_embedded"]

_MAX_LINE = 64 << 10


class Configuration(BaseModel):
    """What the owner says."""

    model_config = ConfigDict(extra="ignore")

    api_key: SecretStr
    data_dir: Path
    owner_pid: int
    engine: Literal["auto", "local", "process"] = "auto"
    ephemeral: bool = False
    warm: dict[str, int] | None = None


def run_embedded(descriptor: int) -> int:
    """Serve the owner at the other end of a socket; return an exit code."""
    _ = os.umask(0o077)  # the data directory may be one that others can read
    with socket.socket(fileno=descriptor) as owner:
        owner.set_inheritable(False)
        return asyncio.run(_run(owner))


async def _run(owner: socket.socket) -> int:
    owner.setblocking(False)
    reader, writer = await asyncio.open_connection(sock=owner, limit=_MAX_LINE)

    async def say(message: dict[str, object]) -> None:
        writer.write(json.dumps(message).encode() + b"\n")
        with contextlib.suppress(ConnectionError):
            await writer.drain()

    async def fail(code: str, message: str) -> int:
        await say({"error": {"code": code, "message": message}})
        return 1

    try:
        configuration = Configuration.model_validate_json(await reader.readline())
        options = _options(configuration)
    except (ValidationError, ValueError) as error:
        return await fail(
            "invalid_configuration", f"The owner's configuration is malformed: {error}"
        )
    configure_logs(options.log_level)
    try:
        listener = listen(options.host, options.port)
    except OSError as error:
        return await fail("cannot_listen", f"No port could be opened: {error}")
    server = Server(options)
    serving = asyncio.create_task(server.run_on(listener))
    ready = asyncio.create_task(server.ready())
    watching = [
        asyncio.create_task(_until_hangup(reader)),
        asyncio.create_task(_until_exit(configuration.owner_pid)),
    ]
    try:
        _ = await asyncio.wait([serving, ready, *watching], return_when=asyncio.FIRST_COMPLETED)
        if not serving.done() and ready.done():
            await say({"ready": {"port": listener.getsockname()[1]}})
            _ = await asyncio.wait([serving, *watching], return_when=asyncio.FIRST_COMPLETED)
        # A start is not broken off: only what has been started is known how to clean up.
        server.stop()
        await serving
    except StartError as error:
        return await fail(error.code, str(error))
    finally:
        for task in (ready, *watching):
            _ = task.cancel()
        writer.close()
    return 0


def _options(configuration: Configuration) -> Options:
    """Return the options: the owner's, then the environment's, then the defaults."""
    own: dict[str, Any] = configuration.model_dump(exclude={"owner_pid"}, exclude_none=True)
    own |= {"host": "127.0.0.1", "port": 0, "auth": "api-key"}
    # The owner is all the administration there is: nobody else on this machine shall come first.
    own |= {"api_key_scopes": "all", "signup": "closed"}
    own |= {"orphan_timeout_sec": 0.0, "keep_sandboxes": False}  # its sandboxes end with its owner
    named = {name.upper() for name in os.environ}
    if f"{ENVIRONMENT_PREFIX}NETWORKS" not in named:
        own["networks"] = ["none", "outbound", "full"]  # only the owner can ask for any of them
    if not any(name.startswith(ENVIRONMENT_PREFIX) for name in named):
        return Options.model_validate({"log_level": "warning", **own})
    from .settings import Settings  # slow to import, and seldom needed

    return Settings(**own)


async def _until_hangup(reader: asyncio.StreamReader) -> None:
    """Wait until the owner closes its end; it has nothing more to say."""
    with contextlib.suppress(ConnectionError):
        while await reader.read(4096):
            pass


async def _until_exit(pid: int) -> None:
    """Wait until a process has ended, children that hold a copy of its socket or not."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        _ = await ended.wait()
    finally:
        _ = loop.remove_reader(descriptor)
        os.close(descriptor)
