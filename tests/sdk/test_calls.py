"""What calls send and return, in both colours."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path
from typing import Any

import pytest

from sandlot import (
    FileNotFoundInSandboxError,
    InvalidArgumentError,
    SandboxDestroyedError,
    TransportError,
    UnexpectedResponseError,
    UnsupportedError,
)
from tests.sdk.conftest import Api
from tests.sdk.toy import ID, INFO, Received, Wire

SANDBOX = f"/v1/sandboxes/{ID}"


async def test_what_every_request_carries(api: Api) -> None:
    async with api.client() as client:
        sandbox = await client.sandboxes.get(ID)
        assert (sandbox.id, sandbox.status) == (ID, "running")
    (request,) = api.server.received
    assert request.headers["x-api-key"] == "wrn_secret"
    assert re.fullmatch(r"sandlot-python/\d+\.\d+\.\d+\S*", request.headers["user-agent"])
    assert "authorization" not in request.headers


async def test_a_token_instead_of_a_key(api: Api) -> None:
    async with api.colour.client(token="t.o.k", base_url=api.server.base_url) as client:
        await client.sandboxes.get(ID)
    assert api.server.received[0].headers["authorization"] == "Bearer t.o.k"
    assert "x-api-key" not in api.server.received[0].headers


async def test_the_path_of_the_base_url_is_kept(api: Api) -> None:
    url = f"{api.server.base_url}/api/"
    async with api.colour.client("k", base_url=url) as client:
        await client.sandboxes.get(ID)
    assert api.server.asked == [f"GET /api{SANDBOX}"]


async def test_a_sandbox_that_was_created_is_destroyed(api: Api) -> None:
    async with api.client() as client:
        async with client.sandboxes.create(template="t", vcpus=2) as sandbox:
            assert repr(sandbox).endswith(f"Sandbox {ID} running>")
            result = await sandbox.exec("ls")
            assert result.stdout == "out"
        assert sandbox.status == "stopped"
        with pytest.raises(SandboxDestroyedError):
            await sandbox.exec("ls")
    assert api.server.asked == [
        "POST /v1/sandboxes",
        f"POST {SANDBOX}/exec",
        f"DELETE {SANDBOX}",
    ]
    assert api.server.received[0].json == {"template": "t", "vcpus": 2}


async def test_a_sandbox_that_was_awaited_is_destroyed_too(api: Api) -> None:
    async with api.client() as client:
        sandbox = await client.sandboxes.create()
        async with sandbox:
            pass
        async with sandbox:
            pass
    assert api.server.asked == ["POST /v1/sandboxes", f"DELETE {SANDBOX}"]


async def test_a_sandbox_that_was_found_is_left_alone(api: Api) -> None:
    async with api.client() as client:
        async with await client.sandboxes.get(ID):
            pass
        async with await client.sandboxes.connect(ID):
            pass
    assert not any(request.startswith("DELETE") for request in api.server.asked)


async def test_a_sandbox_destroyed_by_hand_is_not_destroyed_again(api: Api) -> None:
    async with api.client() as client:
        async with client.sandboxes.create() as sandbox:
            await sandbox.destroy()
        await sandbox.destroy()
    assert api.server.asked == ["POST /v1/sandboxes"] + [f"DELETE {SANDBOX}"] * 2


async def test_verbs_of_a_sandbox(api: Api) -> None:
    paused = {**INFO, "status": "paused"}
    api.server.told(f"POST {SANDBOX}/pause", lambda wire, _: wire.answer(paused))
    api.server.told(f"POST {SANDBOX}/ping", lambda wire, _: wire.answer(None, 204))
    metrics = {"sandbox_id": ID, "range": "5m", "points": []}
    api.server.told(f"GET {SANDBOX}/metrics?range=5m", lambda wire, _: wire.answer(metrics))
    async with api.client() as client:
        sandbox = await client.sandboxes.get(ID)
        assert (await sandbox.pause()).status == "paused"
        assert sandbox.status == "paused"
        await sandbox.ping()
        assert (await sandbox.resume()).status == sandbox.status == "running"
        assert (await sandbox.refresh()) is sandbox.info
        assert (await sandbox.wait_ready()).status == "running"
        assert (await sandbox.metrics("5m")).points == []
        await client.sandboxes.destroy(ID)
    assert [path.rpartition("/")[2] for path in api.server.asked] == [
        *(ID, "pause", "ping", "resume", ID, ID, "metrics?range=5m", ID)
    ]


async def test_a_list_walks_its_pages(api: Api) -> None:
    infos = [{**INFO, "id": f"cl-{number:025}"} for number in range(5)]
    path = "GET /v1/sandboxes?limit=2"
    api.server.told(path, lambda wire, _: wire.answer(infos[:2], x_next_cursor="a/b"))
    api.server.told(
        f"{path}&cursor=a%2Fb", lambda wire, _: wire.answer(infos[2:4], x_next_cursor="c")
    )
    api.server.told(f"{path}&cursor=c", lambda wire, _: wire.answer(infos[4:]))
    async with api.client() as client:
        page = await client.sandboxes.list(limit=2)
        assert len(api.server.received) == 1
        assert ([sandbox.id for sandbox in page.items], page.next_cursor) == (
            [info["id"] for info in infos[:2]],
            "a/b",
        )
        assert [sandbox.id async for sandbox in page] == [info["id"] for info in infos]
    assert len(api.server.received) == 3


async def test_small_files(api: Api) -> None:
    read = f"POST {SANDBOX}/files/read"
    api.server.told(read, lambda wire, _: wire.answer(b"\x00\xff"))
    async with api.client() as client:
        sandbox = await client.sandboxes.get(ID)
        await sandbox.upload('a "b".txt', b"\r\n--x")
        assert await sandbox.download("a") == b"\x00\xff"
    assert parts(api.server.received[1]) == {"path": b'a "b".txt', "file": b"\r\n--x"}
    assert api.server.received[2].json == {"path": "a"}


@pytest.mark.parametrize("size", [0, 1, 5_000_000])
async def test_large_files(api: Api, size: int) -> None:
    content = bytes(range(256)) * (size // 256 + 1)
    content = content[:size]
    read = f"POST {SANDBOX}/files/stream/read"
    api.server.told(read, lambda wire, _: wire.answer(content))
    async with api.client() as client:
        sandbox = await client.sandboxes.get(ID)
        await sandbox.stream_upload("big", iter([content[: size // 3], b"", content[size // 3 :]]))
        pieces = [piece async for piece in sandbox.stream_download("big")]
    assert b"".join(pieces) == content
    request = api.server.received[1]
    assert request.path.endswith("/files/stream/write")
    assert request.headers["transfer-encoding"] == "chunked"
    assert parts(request) == {"path": b"big", "file": content}


async def test_open_files_and_coroutines_are_streams(api: Api) -> None:
    async def pieces() -> Any:
        yield b"a"
        yield b"b"

    async with api.client() as client:
        sandbox = await client.sandboxes.get(ID)
        await sandbox.stream_upload("f", io.BytesIO(b"one\ntwo\n"))
        if not api.colour.is_blocking:
            await sandbox.stream_upload("f", pieces())
            assert parts(api.server.received[-1])["file"] == b"ab"
    assert parts(api.server.received[1])["file"] == b"one\ntwo\n"


async def test_files_of_this_machine(api: Api, tmp_path: Path) -> None:
    content = b"x" * 3_000_000
    api.server.told(f"POST {SANDBOX}/files/stream/read", lambda wire, _: wire.answer(content))
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(content)
    seen: list[tuple[int, int | None]] = []
    async with api.client() as client:
        sandbox = await client.sandboxes.get(ID)
        await sandbox.upload_file("f", source, progress=lambda *args: seen.append(args))
        request = api.server.received[1]
        assert int(request.headers["content-length"]) > len(content)
        assert parts(request)["file"] == content
        assert seen[-1] == (len(content), len(content))
        await sandbox.download_file("f", target, progress=lambda *args: seen.append(args))
        assert target.read_bytes() == content
        assert seen[-1] == (len(content), len(content))
        with pytest.raises(FileNotFoundError):
            await sandbox.upload_file("f", tmp_path / "missing")
    assert sorted(os.listdir(tmp_path)) == ["source", "target"]


async def test_a_download_that_breaks_off_leaves_the_old_file(api: Api, tmp_path: Path) -> None:
    def half(wire: Wire, request: Received) -> None:
        wire.send(b"HTTP/1.1 200 x\r\ncontent-length: 100\r\n\r\nhalf")
        wire.drop()

    read = f"POST {SANDBOX}/files/stream/read"
    api.server.told(read, half, half)
    target = tmp_path / "target"
    target.write_bytes(b"old")
    async with api.client() as client:
        sandbox = await client.sandboxes.get(ID)
        with pytest.raises(TransportError, match="without a whole answer"):
            await sandbox.download_file("f", target)
        pieces = aiter(sandbox.stream_download("f"))
        assert await anext(pieces) == b"half"
        with pytest.raises(TransportError):
            _ = await anext(pieces)
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["target"]


async def test_errors_of_streams_are_those_of_calls(api: Api) -> None:
    read = f"POST {SANDBOX}/files/stream/read"
    api.server.told(read, lambda wire, _: wire.problem("not_found", 404))
    api.server.told(read, lambda wire, _: wire.problem("x", 503))
    async with api.client() as client:
        sandbox = await client.sandboxes.get(ID)
        with pytest.raises(FileNotFoundInSandboxError):
            _ = [piece async for piece in sandbox.stream_download("f")]
        api.server.told(read, lambda wire, _: wire.answer(b"second time"))
        assert [piece async for piece in sandbox.stream_download("f")] == [b"second time"]


async def test_an_empty_stream_of_an_original_server_is_a_missing_file(api: Api) -> None:
    def empty(wire: Wire, request: Received) -> None:
        wire.send(b"HTTP/1.1 200 x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n")

    stream, read = (f"POST {SANDBOX}/files/{how}" for how in ("stream/read", "read"))
    api.server.told(stream, empty, empty)
    missing = {"error": {"code": "agent_error", "message": "read file: status 404"}}
    api.server.told(read, *[lambda wire, _: wire.answer(missing, 502)] * 4)
    api.server.told(read, lambda wire, _: wire.answer(b""))
    async with api.client() as client:
        sandbox = await client.sandboxes.get(ID)
        with pytest.raises(FileNotFoundInSandboxError):
            _ = [piece async for piece in sandbox.stream_download("f")]
        assert [piece async for piece in sandbox.stream_download("f")] == []


async def test_an_upload_whose_source_fails_is_not_completed(api: Api) -> None:
    def pieces() -> Any:
        yield b"x" * 100
        raise LookupError("mine")

    async with api.client() as client:
        sandbox = await client.sandboxes.get(ID)
        with pytest.raises(LookupError, match="mine"):
            await sandbox.stream_upload("f", pieces())
        with pytest.raises(InvalidArgumentError, match="not str"):
            await sandbox.stream_upload("f", ["text"])
        api.server.wait_for(3)
        assert (await client.sandboxes.get(ID)).id == ID
    assert [request.whole for request in api.server.received[1:3]] == [False, False]


async def test_a_request_of_ones_own(api: Api) -> None:
    async with api.client() as client:
        api.server.told(
            "PUT /v1/new?a=b",
            lambda wire, _: wire.answer({"x": 1}, content_type="application/json"),
        )
        assert await client.request("put", "/v1/new", params={"a": "b"}, json=[1]) == {"x": 1}
        with pytest.raises(InvalidArgumentError):
            await client.request("PUT", "/v1/new", json={"a": float("nan")})
        with pytest.raises(InvalidArgumentError):
            await client.request("PUT", "/v1/new", json={"a": "\ud800"})
    assert api.server.received[0].body == b"[1]"
    assert len(api.server.received) == 1


async def test_a_redirect_does_not_take_the_credential_along(api: Api) -> None:
    async with api.client() as client:
        api.server.told(
            f"GET {SANDBOX}",
            lambda wire, _: wire.answer(None, 307, location=api.server.base_url + "/elsewhere"),
        )
        with pytest.raises(UnexpectedResponseError, match="elsewhere"):
            await client.sandboxes.get(ID)
    assert len(api.server.received) == 1


async def test_an_original_server_is_asked_once_what_it_can_do(api: Api) -> None:
    plain = lambda wire, _: wire.answer(b"404 page not found\n", 404)  # noqa: E731
    api.server.told("GET /v1/capabilities", plain)
    async with api.client() as client:
        sandbox = await client.sandboxes.get(ID)
        await sandbox.exec("pwd", cwd="/tmp")
        await sandbox.exec("pwd", cwd="/tmp")
        api.server.told("GET /health", plain)
        with pytest.raises(UnsupportedError):
            await client.health()
    assert api.server.asked.count("GET /v1/capabilities") == 1
    assert api.server.received[-2].json["args"][:3] == ["-c", 'cd -- "$0" && exec "$@"', "/tmp"]


def parts(request: Received) -> dict[str, bytes]:
    """Read a multipart body."""
    boundary = request.headers["content-type"].partition("boundary=")[2].encode()
    found: dict[str, bytes] = {}
    assert request.body.endswith(b"\r\n--" + boundary + b"--\r\n")
    for part in (b"\r\n" + request.body).split(b"\r\n--" + boundary)[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        name = re.search(rb'name="(\w+)"', head)
        assert name is not None
        found[name[1].decode()] = content
    return found
