"""What type checkers make of users' code. It is checked, not run, except for the last function."""

# pyright: reportUnusedCallResult=false
# `assert_type` returns its argument, which is of no use here.

from __future__ import annotations

import inspect
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import assert_type

import sandlot
from sandlot import (
    APIError,
    AsyncClient,
    AsyncExecStream,
    AsyncPage,
    AsyncSandbox,
    Capabilities,
    Client,
    CommandFailedError,
    ExecResult,
    ExecStream,
    Health,
    HostHasSandboxesError,
    Outcome,
    Page,
    Retry,
    Sandbox,
    SandboxInfo,
    SandboxMetrics,
    SandboxStats,
    SandlotError,
    StreamErrorEvent,
    StreamEvent,
    StreamExitEvent,
    StreamGapEvent,
    StreamStartEvent,
    StreamStderrEvent,
    StreamStdoutEvent,
)


def blocking() -> None:
    with Client("key", base_url="https://host", timeout=3, retry=Retry(attempts=2)) as client:
        assert_type(client, Client)
        assert_type(Client.local(), Client)
        assert_type(Client.from_env(), Client)
        assert_type(client.health(), Health)
        assert_type(client.capabilities(), Capabilities)
        assert_type(client.capabilities().features, list[str])
        assert_type(client.sandboxes.get("id"), Sandbox)
        assert_type(client.sandboxes.connect("name"), Sandbox)
        assert_type(client.sandboxes.get_stats(), SandboxStats)
        page = client.sandboxes.list(status="running", metadata={"a": "b"}, limit=5)
        assert_type(page, Page[Sandbox])
        for found in page:
            assert_type(found, Sandbox)
        assert_type(page.next_cursor, str | None)
        assert_type(next(page.pages()), Page[Sandbox])
        with client.sandboxes.create(template="t", env={"A": "b"}) as sandbox:
            assert_type(sandbox, Sandbox)
            assert_type(sandbox.id, str)
            assert_type(sandbox.status, str)
            assert_type(sandbox.name, str | None)
            assert_type(sandbox.metadata, Mapping[str, str])
            assert_type(sandbox.info, SandboxInfo)
            assert_type(sandbox.wait_ready(timeout=3), SandboxInfo)
            assert_type(sandbox.metrics("5m"), SandboxMetrics)
            assert_type(sandbox.download("f"), bytes)
            assert_type(sandbox.stream_download("f"), Iterator[bytes])
            sandbox.upload("f", b"x")
            sandbox.stream_upload("f", [b"x"])
            with open("f", "rb") as file:
                sandbox.stream_upload("f", file)
            result = sandbox.exec("ls", check=True, on_stdout=print)
            assert_type(result, ExecResult)
            assert_type(sandbox.exec(["ls", "-l"]).check(), ExecResult)
            assert_type((result.stdout, result.stdout_bytes), tuple[str, bytes])
            assert_type((result.exit_code, result.ok, result.signal), tuple[int, bool, str | None])
            with sandbox.exec_stream("ls") as stream:
                assert_type(stream, ExecStream)
                assert_type(stream.wait(), ExecResult)
                for event in stream:
                    assert_type(event, StreamEvent)
                    told(event)


async def awaiting() -> None:
    async with AsyncClient("key", base_url="https://host") as client:
        assert_type(client, AsyncClient)
        assert_type(AsyncClient.local(), AsyncClient)
        assert_type(await client.health(), Health)
        assert_type(await client.capabilities(), Capabilities)
        assert_type(await client.sandboxes.get("id"), AsyncSandbox)
        assert_type(await client.sandboxes.list(), AsyncPage[AsyncSandbox])
        async for found in client.sandboxes.list():
            assert_type(found, AsyncSandbox)
        assert_type(await client.sandboxes.create(), AsyncSandbox)
        async with client.sandboxes.create() as sandbox:
            assert_type(sandbox, AsyncSandbox)
            assert_type(await sandbox.exec("ls"), ExecResult)
            assert_type(await sandbox.download("f"), bytes)
            assert_type(sandbox.stream_download("f"), AsyncIterator[bytes])
            await sandbox.stream_upload("f", pieces())
            await sandbox.stream_upload("f", [b"x"])
            async with sandbox.exec_stream("ls") as stream:
                assert_type(stream, AsyncExecStream)
                assert_type(await stream.wait(), ExecResult)
                async for event in stream:
                    assert_type(event, StreamEvent)


async def pieces() -> AsyncIterator[bytes]:
    yield b"x"


def told(event: StreamEvent) -> str:
    match event:
        case StreamStartEvent(pid):
            assert_type(pid, int)
        case StreamStdoutEvent(text) | StreamStderrEvent(data=text):
            assert_type(text, str)
            assert_type(event.data_bytes, bytes)
            return text
        case StreamExitEvent(exit_code=code, signal=signal):
            assert_type(code, int)
            assert_type(signal, str | None)
        case StreamErrorEvent(data=reason):
            return reason
        case StreamGapEvent(stream, lost):
            assert_type((stream, lost), tuple[str, int])
    return ""


def failed(error: SandlotError) -> None:
    assert_type(error.outcome, Outcome)
    assert_type((error.is_retryable, error.request_id), tuple[bool, str | None])
    if isinstance(error, APIError):
        assert_type((error.code, error.retry_after), tuple[str, float | None])
    if isinstance(error, HostHasSandboxesError):
        assert_type(error.sandbox_ids, tuple[str, ...])
    if isinstance(error, CommandFailedError):
        assert_type(error.result, ExecResult)


def test_these_names_exist() -> None:
    used = {
        name
        for name, value in vars(sys.modules[__name__]).items()
        if inspect.isclass(value) and value.__module__.startswith("sandlot")
    }
    assert used <= set(sandlot.__all__)
