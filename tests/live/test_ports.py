"""HTTP clients of programs that listen in a sandbox."""

from __future__ import annotations

import inspect
from typing import Any

import httpx
import pytest

from sandlot import InvalidArgumentError
from tests.colours import in_thread
from tests.live.world import Live, eventually

PORT = 9000
PROGRAM = """
import http.server, json

class Echo(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        if self.path == "/redirect":
            self.send_response(302)
            self.send_header("Location", f"http://localhost:9000/there")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        size = int(self.headers.get("Content-Length", 0))
        got = len(self.rfile.read(size))
        seen = {"path": self.path, "headers": self.headers.items(), "size": got}
        body = json.dumps(seen).encode()
        self.send_response(200)
        self.send_header("Set-Cookie", "a=b")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = answer

http.server.ThreadingHTTPServer(("127.0.0.1", 9000), Echo).serve_forever()
"""


async def ask(client: Any, method: str, path: str, **options: Any) -> httpx.Response:
    """Send a request with a client of either colour."""
    call = getattr(client, method)
    if inspect.iscoroutinefunction(call):
        return await call(path, **options)
    return await in_thread(lambda: call(path, **options))


async def start(box: Any) -> Any:
    """Start the program, and return a client of it."""
    await box.upload("echo.py", PROGRAM.encode())
    _ = await box.exec("nohup python3 echo.py >/dev/null 2>&1 &", check=True)
    client = box.proxy(PORT)

    async def answers() -> bool:
        return (await ask(client, "get", "/")).status_code == 200

    await eventually(answers)
    return client


async def test_a_program_in_a_sandbox(live: Live) -> None:
    async with live.box(template="base-python") as box:
        client = await start(box)
        answer = await ask(client, "get", "/a%2Fb/?q=1&q=2", headers={"X-Mine": "1"})
        seen = answer.json()
        headers = {name.lower(): value for name, value in seen["headers"]}
        assert seen["path"] == "/a%2Fb/?q=1&q=2"
        assert headers["x-mine"] == "1"
        assert "x-api-key" not in headers
        assert live.server.api_key not in answer.text
        assert (await ask(client, "post", "/", content=b"x" * 5_000_000)).json()[
            "size"
        ] == 5_000_000
        assert str(answer.url).startswith(box.get_url(PORT) + "/")
        assert live.server.api_key not in repr(client.headers)
        assert box.proxy(PORT) is client


async def test_redirects_lead_back_to_the_port(live: Live) -> None:
    async with live.box(template="base-python") as box:
        client = await start(box)
        answer = await ask(client, "get", "/redirect", follow_redirects=True)
        assert answer.json()["path"] == "/there"


async def test_cookies_stay_with_the_port(live: Live) -> None:
    async with live.box(template="base-python") as box:
        client = await start(box)
        _ = await ask(client, "get", "/")
        headers = dict((await ask(client, "get", "/")).json()["headers"])
        assert headers["cookie"] == "a=b"
        other = box.proxy(PORT + 1)
        assert not other.cookies


async def test_the_key_goes_nowhere_else(live: Live) -> None:
    async with live.box(template="base-python") as box:
        with pytest.raises(httpx.UnsupportedProtocol, match="only"):
            _ = await ask(box.proxy(PORT), "get", "http://127.0.0.1:1/")


async def test_clients_are_closed_with_the_sandbox(live: Live) -> None:
    async with live.box(template="base-python") as box:
        client, other = box.proxy(PORT), box.http_client
        assert client is not other
    assert client.is_closed
    assert other.is_closed


async def test_nothing_listens(live: Live) -> None:
    async with live.box() as box:
        answer = await ask(box.proxy(PORT), "get", "/")
        assert answer.status_code == 502
        assert answer.json()["error"]["code"] == "port_closed"


@pytest.mark.parametrize("port", [0, -1, 65536, "80", True, None, 1.5])
async def test_what_is_no_port(live: Live, port: Any) -> None:
    async with live.box() as box:
        for call in (box.proxy, box.get_url):
            with pytest.raises(InvalidArgumentError, match="not a port"):
                _ = call(port)
