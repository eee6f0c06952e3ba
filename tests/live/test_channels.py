"""Channels, with either client: made, told of what happens, changed, and deleted."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from sandlot import APIError, ConflictError, InvalidRequestError, NotFoundError, webhooks
from tests.colours import Colour
from tests.live.world import Live, eventually

HERE = "127.0.0.2"


class Hook:
    """A receiver of webhooks."""

    def __init__(self) -> None:
        came: list[tuple[bytes, Mapping[str, str]]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                came.append((body, dict(self.headers)))
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.came = came
        self._server = ThreadingHTTPServer((HERE, 0), Handler)
        self.url = f"http://{HERE}:{self._server.server_address[1]}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def hook() -> Iterator[Hook]:
    hook = Hook()
    yield hook
    hook.close()


async def test_whoever_asked_is_told(
    colour: Colour, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SANDLOT_SERVER_CHANNELS_ALLOW", f'["{HERE}/32"]')
    async with await colour.local(engine="process") as client:
        await client.channels.test("webhook", {"url": hook.url})
        names = ["capsule.created", "capsule.destroyed"]
        channel = await client.channels.create("My Ops", "webhook", {"url": hook.url}, names)
        assert channel.name == "my-ops"
        assert channel.secret not in repr(channel)
        box = await client.sandboxes.create()
        await box.destroy()

        async def told() -> bool:
            return len(hook.came) == 3

        await eventually(told)
        events = [webhooks.verify(*each, channel.secret) for each in hook.came[1:]]
        assert {(each.name, each.resource.id) for each in events} == {
            (name, box.id) for name in names
        }

        async def logged() -> bool:
            first = await client.channels.deliveries(channel.id, status="delivered")
            return len(first.items) == 2

        await eventually(logged)
        page = client.channels.deliveries(channel.id, limit=1)
        found = [each async for each in (await page if colour.is_blocking else page)]
        assert {each.id for each in found} == {each.delivery_id for each in events}

        rotated = await client.channels.rotate_config(channel.id, {"url": hook.url})
        assert rotated.secret not in (None, channel.secret)
        changed = await client.channels.update(channel.id, events=["host.up"])
        assert (changed.name, changed.events, changed.secret) == ("my-ops", ["host.up"], None)
        assert await client.channels.get(channel.id) == changed
        assert await client.channels.list() == [changed]
        await client.channels.delete(channel.id)
        await client.channels.delete(channel.id)
        assert await client.channels.list() == []


async def test_what_goes_wrong_is_said(live: Live) -> None:
    async with live.client() as client:
        good = {"url": "https://example.com/", "secret": "0123456789abcdef"}
        channel = await client.channels.create("wrong", "webhook", good, ["host.up"])
        try:
            assert channel.secret == good["secret"]
            with pytest.raises(ConflictError):
                await client.channels.create("WRONG", "webhook", good, ["host.up"])
            bad: list[tuple[Any, ...]] = [
                ("n", "smoke", good, ["host.up"]),
                ("n", "webhook", {"url": "http://127.0.0.1/"}, ["host.up"]),
                ("n", "webhook", good, ["no.event"]),
                ("/", "webhook", good, ["host.up"]),
            ]
            for arguments in bad:
                with pytest.raises(InvalidRequestError):
                    await client.channels.create(*arguments)
            with pytest.raises(APIError, match="not one that this server may connect to"):
                await client.channels.test("webhook", {"url": "http://localhost:1/"})
        finally:
            await client.channels.delete(channel.id)
        for call in (client.channels.get, client.channels.deliveries):
            with pytest.raises(NotFoundError):
                _ = await call(channel.id)
