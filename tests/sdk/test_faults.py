"""What happens when the network or the server does not play along, in both colours."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any

import pytest

from sandlot import (
    AgentError,
    APIError,
    CommandTimeoutError,
    ConfigurationError,
    ConnectError,
    InvalidArgumentError,
    RateLimitError,
    RequestTimeoutError,
    Retry,
    SandlotError,
    TransportError,
    UnavailableError,
    UnexpectedResponseError,
)
from tests.sdk.conftest import Api
from tests.sdk.toy import ID, Received, Wire

SANDBOX = f"/v1/sandboxes/{ID}"
GET = f"GET {SANDBOX}"
KNOWN = "GET /v1/capabilities"
EXEC = f"POST {SANDBOX}/exec"


def half(wire: Wire, request: Received) -> None:
    wire.send(b'HTTP/1.1 200 x\r\ncontent-length: 99\r\n\r\n{"id":')
    wire.drop()


def nonsense(wire: Wire, request: Received) -> None:
    wire.send(b"I am no server\r\n\r\n")
    wire.drop()


BREAKS: dict[str, Any] = {
    "drop": lambda wire, _: wire.drop(),
    "reset": lambda wire, _: wire.reset(),
    "half": half,
    "nonsense": nonsense,
}


@pytest.mark.parametrize("how", BREAKS)
async def test_a_lookup_survives_a_broken_connection(api: Api, how: str) -> None:
    api.server.told(GET, *[BREAKS[how]] * 3)
    async with api.client() as client:
        assert (await client.sandboxes.get(ID)).id == ID
    assert api.server.asked == [GET] * 4


@pytest.mark.parametrize("how", BREAKS)
async def test_a_command_is_not_run_again(api: Api, how: str) -> None:
    api.server.told(EXEC, BREAKS[how])
    async with api.client() as client:
        sandbox = await client.sandboxes.get(ID)
        with pytest.raises(TransportError, match="may have taken effect") as caught:
            await sandbox.exec("pay")
    assert (caught.value.outcome, caught.value.is_retryable) == ("unknown", False)
    assert api.server.asked.count(EXEC) == 1


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_nor_after_an_error_of_the_server(api: Api, status: int) -> None:
    api.server.told(EXEC, lambda wire, _: wire.problem("x", status))
    async with api.client() as client:
        sandbox = await client.sandboxes.get(ID)
        with pytest.raises(APIError) as caught:
            await sandbox.exec("pay")
    assert caught.value.outcome == ("not_started" if status in (429, 503) else "unknown")
    assert api.server.asked.count(EXEC) == 1


async def test_no_answer_in_time(api: Api) -> None:
    api.server.told(GET, lambda wire, _: wire.stall())
    async with api.client(timeout=0.2, retry=Retry(attempts=1)) as client:
        with pytest.raises(RequestTimeoutError) as caught:
            await client.sandboxes.get(ID)
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.outcome == "unknown"
    assert caught.value.is_retryable


async def test_nobody_there(api: Api) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    async with api.colour.client("k", base_url=url, retry=Retry(attempts=2, backoff=0)) as client:
        with pytest.raises(ConnectError, match="nothing was sent") as caught:
            await client.health()
    assert isinstance(caught.value, ConnectionError)
    assert (caught.value.outcome, caught.value.is_retryable) == ("not_started", True)


async def test_what_fits_into_no_address(api: Api) -> None:
    async with api.client() as client:
        with pytest.raises(InvalidArgumentError, match="too long"):
            _ = await client.sandboxes.list(cursor="x" * 100_000)
    assert api.server.asked == []


async def test_a_limit_of_requests_is_waited_for(api: Api) -> None:
    api.server.told(GET, lambda wire, _: wire.problem("slow_down", 429, retry_after="0"))
    async with api.client() as client:
        assert (await client.sandboxes.get(ID)).id == ID
        api.server.told(GET, lambda wire, _: wire.problem("slow_down", 429, retry_after="9999"))
        with pytest.raises(RateLimitError) as caught:
            await client.sandboxes.get(ID)
    assert caught.value.retry_after == 9999


async def test_a_create_is_asked_for_again_with_its_key(api: Api) -> None:
    create = "POST /v1/sandboxes"
    api.server.told(create, BREAKS["drop"], lambda wire, _: wire.problem("x", 503))
    async with api.client() as client, client.sandboxes.create():
        pass
    assert api.server.asked == [create, KNOWN, create, create, f"DELETE {SANDBOX}"]
    asked = [each for each in api.server.received if str(each) == create]
    keys = {request.headers["idempotency-key"] for request in asked}
    assert len(keys) == 1


async def test_each_create_has_a_key_of_its_own(api: Api) -> None:
    async with api.client() as client:
        for _ in range(3):
            await client.sandboxes.create()
    assert len({request.headers["idempotency-key"] for request in api.server.received}) == 3


async def test_a_create_whose_answer_is_lost_leaves_nothing(api: Api) -> None:
    create = "POST /v1/sandboxes"
    api.server.told(create, *[BREAKS["drop"]] * 4)
    async with api.client() as client:
        with pytest.raises(TransportError) as caught:
            await client.sandboxes.create()
    assert api.server.asked == [create, KNOWN, *[create] * 4, f"DELETE {SANDBOX}"]
    asked = [each for each in api.server.received if str(each) == create]
    assert len({request.headers["idempotency-key"] for request in asked}) == 1
    assert caught.value.outcome == "not_started"


async def test_a_command_that_an_original_server_lost_to_its_deadline(api: Api) -> None:
    late = {"error": {"code": "agent_error", "message": "context deadline exceeded"}}
    api.server.told(EXEC, lambda wire, _: wire.answer(late, 502))
    async with api.client() as client:
        sandbox = await client.sandboxes.get(ID)
        with pytest.raises(CommandTimeoutError) as caught:
            await sandbox.exec("sleep 99")
    assert isinstance(caught.value.__cause__, AgentError)


async def test_an_answer_before_the_end_of_an_upload(api: Api) -> None:
    def early(wire: Wire, request: Received) -> None:
        wire.problem("no_space", 507)
        wire.drop()

    api.server.told(f"POST {SANDBOX}/files/stream/write", early)
    async with api.client() as client:
        sandbox = await client.sandboxes.get(ID)
        with pytest.raises(APIError) as caught:
            await sandbox.stream_upload("f", [b"x" * 100])
    assert caught.value.code == "no_space"


async def test_a_cleanup_that_fails_is_raised_and_logged(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    delete = f"DELETE {SANDBOX}"
    refused = lambda wire, _: wire.problem("conflict", 409)  # noqa: E731
    async with api.client() as client:
        api.server.told(delete, refused)
        with pytest.raises(SandlotError, match="says conflict"):
            async with client.sandboxes.create():
                pass
        assert ID in caplog.text
        api.server.told(delete, refused)
        with pytest.raises(LookupError, match="mine"):
            async with client.sandboxes.create():
                raise LookupError("mine")
    assert caplog.text.count("could not be destroyed") == 2


async def test_a_closed_client_says_so(api: Api) -> None:
    client = api.client()
    sandbox = await client.sandboxes.get(ID)
    await client.aclose()
    await client.aclose()
    with pytest.raises(ConfigurationError, match="closed"):
        await sandbox.exec("ls")


async def test_a_client_that_was_never_used_can_be_closed(api: Api) -> None:
    await api.client().aclose()


async def test_connections_are_reused(api: Api) -> None:
    async with api.client() as client:
        for _ in range(5):
            await client.sandboxes.get(ID)
        assert api.server.connections == 1


async def test_many_at_once(api: Api) -> None:
    async with api.client() as client:
        sandbox = await client.sandboxes.get(ID)
        results = await asyncio.gather(*(sandbox.exec(f"echo {n}") for n in range(40)))
    assert len({id(result) for result in results}) == 40
    commands = {request.json["args"][1] for request in api.server.received[1:]}
    assert commands == {f"echo {n}" for n in range(40)}


async def test_no_secret_is_shown(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="sandlot")
    shown: list[str] = []
    api.server.told(GET, lambda wire, _: wire.problem("unauthorized", 401))
    api.server.told(EXEC, BREAKS["drop"])
    async with api.client() as client:
        shown += [repr(client), repr(vars(client.target if api.colour.is_blocking else client))]
        with pytest.raises(SandlotError) as refused:
            await client.sandboxes.get(ID)
        sandbox = await client.sandboxes.get(ID)
        with pytest.raises(SandlotError) as lost:
            await sandbox.exec("ls", env={"PASSWORD": "wrn_secret"})
        shown += [str(refused.value), repr(refused.value), str(lost.value), repr(sandbox)]
    assert "token" in str(refused.value)
    assert "GET" in caplog.text
    assert "wrn_secret" not in "".join([*shown, caplog.text])


async def test_a_malformed_answer_names_what_is_missing(api: Api) -> None:
    api.server.told(EXEC, lambda wire, _: wire.answer({"stdout": ""}, x_request_id="r-1"))
    async with api.client() as client:
        sandbox = await client.sandboxes.get(ID)
        with pytest.raises(UnexpectedResponseError, match="exit_code") as caught:
            await sandbox.exec("ls")
    assert (caught.value.outcome, caught.value.request_id) == ("finished", "r-1")


async def test_an_unavailable_host_carries_when_to_come_back(api: Api) -> None:
    api.server.told(EXEC, lambda wire, _: wire.problem("host_unavailable", 503, retry_after="3"))
    async with api.client() as client:
        sandbox = await client.sandboxes.get(ID)
        with pytest.raises(UnavailableError) as caught:
            await sandbox.exec("ls")
    assert (caught.value.retry_after, caught.value.is_retryable) == (3, True)
