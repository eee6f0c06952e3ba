"""A call through the SDK, against the same call through bare httpx to the same server."""

from __future__ import annotations

import asyncio
import statistics
import time

import httpx

from benchmarks.report import Row, interleaved
from sandlot import AsyncClient, Client
from sandlot.local import EmbeddedServer

ROUNDS = 600


def _blocking(server: EmbeddedServer, sandbox_id: str) -> tuple[float, float]:
    url = f"{server.base_url}/v1/sandboxes/{sandbox_id}"
    with (
        Client(server.api_key, base_url=server.base_url) as client,
        httpx.Client(headers={"X-API-Key": server.api_key}) as raw,
    ):
        for _ in range(20):
            _ = client.sandboxes.get(sandbox_id), raw.get(url).json()
        ours, limit = interleaved(
            ROUNDS, lambda: client.sandboxes.get(sandbox_id), lambda: raw.get(url).json()
        )
    return ours, limit


async def _awaiting(server: EmbeddedServer, sandbox_id: str) -> tuple[float, float]:
    url = f"{server.base_url}/v1/sandboxes/{sandbox_id}"
    ours: list[float] = []
    limit: list[float] = []
    async with (
        AsyncClient(server.api_key, base_url=server.base_url) as client,
        httpx.AsyncClient(headers={"X-API-Key": server.api_key}) as raw,
    ):
        for _ in range(ROUNDS):
            started = time.perf_counter()
            _ = await client.sandboxes.get(sandbox_id)
            between = time.perf_counter()
            _ = (await raw.get(url)).json()
            ours.append(between - started)
            limit.append(time.perf_counter() - between)
    return statistics.median(ours[20:]), statistics.median(limit[20:])


def run() -> list[Row]:
    """Compare `sandboxes.get` in both colours."""
    server = EmbeddedServer.start()
    try:
        with (
            Client(server.api_key, base_url=server.base_url) as client,
            client.sandboxes.create() as sandbox,
        ):
            blocking = _blocking(server, sandbox.id)
            awaiting = asyncio.run(_awaiting(server, sandbox.id))
    finally:
        server.close()
    return [
        Row(what, ours * 1000, limit * 1000, "ms", against, 1.15)
        for what, (ours, limit), against in (
            ("sandboxes.get, blocking", blocking, "httpx.Client.get().json()"),
            ("sandboxes.get, asyncio", awaiting, "httpx.AsyncClient.get().json()"),
        )
    ]
