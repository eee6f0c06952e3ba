"""Clients with a server of their own, which is a toy here."""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sandlot import AsyncClient, Client, LocalServerError, Retry, StreamClosedError, TransportError
from sandlot.local import EmbeddedServer
from sandlot.models import SandboxInfo
from sandlot.sandbox.sandbox import AsyncSandbox, Sandbox
from tests.colours import in_thread
from tests.sdk.toy import ID, INFO, Script, Toy, stage

ONCE = Retry(attempts=1)


class Embedded:
    """Stands for the embedded server."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self.api_key = "wrn_local"
        self.loss: str | None = None
        self.closed = 0

    def explain_loss(self) -> str | None:
        return self.loss

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def started(
    server: Toy, monkeypatch: pytest.MonkeyPatch, unconfigured: Path
) -> list[tuple[Any, Embedded]]:
    """What was started, with which arguments."""
    servers: list[tuple[Any, Embedded]] = []

    def start(*arguments: Any) -> Embedded:
        servers.append((arguments, Embedded(server.base_url)))
        return servers[-1][1]

    monkeypatch.setattr(EmbeddedServer, "start", start)
    # A proxy that the environment names has no business with one's own server.
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    return servers


def test_a_blocking_client_starts_its_server_at_once(
    started: list[tuple[Any, Embedded]], server: Toy
) -> None:
    client = Client.local(data_dir="/data", engine="process", start_timeout=3, warm={"a": 1})
    ((arguments, embedded),) = started
    assert arguments == ("/data", "process", 3, {"a": 1})
    with client:
        assert client.sandboxes.get(ID).id == ID
        assert repr(client) == f"<Client of {server.base_url}>"
        assert repr(client.teams) == f"<Teams of {server.base_url}>"
    client.close()
    assert embedded.closed >= 1
    assert len(started) == 1
    assert server.received[0].headers["x-api-key"] == "wrn_local"
    assert "wrn_local" not in repr(client)


async def test_an_asynchronous_client_starts_its_server_when_entered(
    started: list[tuple[Any, Embedded]],
) -> None:
    client = AsyncClient.local()
    assert started == []
    assert repr(client) == "<AsyncClient of a server of its own>"
    assert repr(client.teams) == "<AsyncTeams of a server of its own>"
    assert "await it" in repr(client.audit.list())
    async with client:
        assert len(started) == 1
        _ = await client.sandboxes.get(ID)
    assert started[0][1].closed == 1


@pytest.mark.parametrize(("make", "box"), [(Client, Sandbox), (AsyncClient, AsyncSandbox)])
@pytest.mark.parametrize("move", [pickle.dumps, copy.deepcopy])
def test_clients_stay_in_their_process(
    make: Callable[..., Any], box: Callable[..., Any], move: Callable[[object], object]
) -> None:
    client = make(token="hush", base_url="http://127.0.0.1:1")
    sandbox = box(client._transport, SandboxInfo.model_validate(INFO))
    for each in (client, client.sandboxes, sandbox):
        with pytest.raises(TypeError, match="a client in each process"):
            _ = move(each)


async def test_or_when_first_used_and_only_once(started: list[tuple[Any, Embedded]]) -> None:
    client = AsyncClient.local()
    _ = await asyncio.gather(*(client.sandboxes.get(ID) for _ in range(5)))
    assert len(started) == 1
    await client.aclose()


def test_several_event_loops_share_the_server(started: list[tuple[Any, Embedded]]) -> None:
    client = AsyncClient.local()
    for _ in range(2):
        _ = asyncio.run(_get(client))
    assert len(started) == 1
    asyncio.run(client.aclose())
    assert started[0][1].closed == 1


async def _get(client: AsyncClient) -> str:
    return (await client.sandboxes.get(ID)).id


async def test_an_unused_client_starts_nothing(started: list[tuple[Any, Embedded]]) -> None:
    await AsyncClient.local().aclose()
    assert started == []


@pytest.mark.parametrize("awaited", [False, True])
def test_a_server_that_cannot_start(
    awaited: bool, monkeypatch: pytest.MonkeyPatch, unconfigured: Path
) -> None:
    def start(*arguments: Any) -> Embedded:
        raise LocalServerError("no user namespaces here")

    monkeypatch.setattr(EmbeddedServer, "start", start)

    async def enter() -> None:
        async with AsyncClient.local():
            pass

    with pytest.raises(LocalServerError, match="namespaces"):
        asyncio.run(enter()) if awaited else Client.local()


async def test_errors_tell_that_the_server_has_died(
    started: list[tuple[Any, Embedded]], server: Toy
) -> None:
    server.told(f"GET /v1/sandboxes/{ID}", *[lambda wire, _: wire.drop()] * 2)
    with Client.local(retry=ONCE) as client:
        started[0][1].loss = "It was killed by SIGKILL."
        with pytest.raises(TransportError, match=r"killed by SIGKILL") as caught:
            _ = await in_thread(lambda: client.sandboxes.get(ID))
    assert caught.value.outcome == "unknown"
    assert not caught.value.is_retryable
    async with AsyncClient.local(retry=ONCE) as other:
        started[1][1].loss = "It was killed by SIGKILL."
        with pytest.raises(TransportError, match=r"killed by SIGKILL"):
            _ = await other.sandboxes.get(ID)


async def test_so_do_those_of_streams(
    started: list[tuple[Any, Embedded]], monkeypatch: pytest.MonkeyPatch
) -> None:
    died = threading.Event()

    def play(script: Script) -> None:
        _ = script.expect()
        script.say("start", pid=1)
        assert died.wait(20)
        script.drop()

    with stage(play) as here:
        embedded = Embedded(here.base_url)
        monkeypatch.setattr(EmbeddedServer, "start", lambda *_: embedded)
        with Client.local() as client:
            sandbox = Sandbox(client._transport, SandboxInfo.model_validate(INFO))
            with sandbox.exec_stream("x") as stream:
                _ = next(stream)
                embedded.loss = "It was killed by SIGKILL."
                died.set()
                with pytest.raises(StreamClosedError, match=r"killed by SIGKILL"):
                    _ = await in_thread(lambda: next(stream))
        await here.wait_played()
