"""Kernels: one that is ready before it is asked for, and none that is told of before it answers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

import zmq
from jupyter_server.services.kernels.kernelmanager import (
    AsyncMappingKernelManager,
    ServerKernelManager,
)

__all__ = ["Kernels"]

_PATIENCE = 60.0
_AGAIN = 0.05
"""Seconds until a kernel is asked once more, as it does not hear what comes too early."""

_RECONNECT = 5
"""Milliseconds until a socket that has lost its kernel looks for it again."""

_QUIET = 3.0
"""Seconds that nothing must have happened before another kernel is started in reserve."""

_SESSION = "JPY_SESSION_NAME"


class Kernels(AsyncMappingKernelManager):
    """Keeps a kernel of the default kind in reserve, which the next one who wants one gets.

    The reserve is not listed. What is wanted with an id, a directory or an environment of its own
    is started as ever.
    """

    _reserve: asyncio.Task[str] | None = None
    _hidden: str | None = None
    _refilling: asyncio.Task[None] | None = None

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # Those who listen shall be there before a restarted kernel says something.
        self.context.setsockopt(zmq.RECONNECT_IVL, _RECONNECT)

    async def prepare(self) -> None:
        """Have a kernel in reserve, unless there is one."""
        if self._reserve is None:
            self._hidden = self.new_kernel_id()
            self._reserve = asyncio.create_task(self._start(kernel_id=self._hidden))
        _ = await asyncio.wait([self._reserve])

    async def start_kernel(
        self, *, kernel_id: str | None = None, path: str | None = None, **kwargs: Any
    ) -> str:
        """Start a kernel, or hand out the one in reserve; it answers when this returns."""
        reserve = self._reserve
        if reserve is not None and kernel_id is None and self._is_usual(path, kwargs):
            self._reserve = self._hidden = None
            self._refilling = asyncio.create_task(self._refill())
            _ = await asyncio.wait([reserve])
            if reserve.exception() is None and reserve.result() in self:
                return reserve.result()
        return await self._start(kernel_id=kernel_id, path=path, **kwargs)

    async def shutdown_kernel(
        self, kernel_id: str, now: bool = False, restart: bool = False
    ) -> None:
        """End a kernel; one that is being started again must be there before it can."""
        kernel = self.get_kernel(kernel_id)
        while not (ready := kernel.ready).done():  # the end of one is the beginning of the next
            _ = await asyncio.wait([asyncio.wrap_future(ready)])
        await super().shutdown_kernel(kernel_id, now=now, restart=restart)

    def list_kernels(self) -> list[dict[str, Any]]:
        """Return what there is to know of each kernel, without the one in reserve."""
        kernels: list[dict[str, Any]] = super().list_kernels()
        return [kernel for kernel in kernels if kernel["id"] != self._hidden]

    def _is_usual(self, path: str | None, wanted: Mapping[str, Any]) -> bool:
        """Whether the kernel in reserve is what is wanted."""
        env: Mapping[str, str] | None = wanted.get("env")
        return (
            wanted.keys() <= {"kernel_name", "env"}
            and wanted.get("kernel_name") in (None, self.default_kernel_name)
            and (path is None or self.cwd_for_path(path) == os.getcwd())
            and (env is None or {**env, _SESSION: ""} == {**os.environ, _SESSION: ""})
        )

    async def _start(self, **wanted: Any) -> str:
        kernel_id = await super().start_kernel(**wanted)
        kernel = self.get_kernel(kernel_id)
        assert isinstance(kernel, ServerKernelManager)
        waiting = asyncio.create_task(_wait_ready(kernel))
        _, late = await asyncio.wait([waiting], timeout=_PATIENCE)
        if late:
            _ = waiting.cancel()
            self.log.warning("A kernel does not answer: %s", kernel_id)
        return kernel_id

    async def _refill(self) -> None:
        """Have another kernel in reserve, once nothing happens that it could be in the way of."""
        while True:
            await asyncio.sleep(_QUIET)
            if self._is_quiet():
                return await self.prepare()

    def _is_quiet(self) -> bool:
        since = datetime.now(timezone.utc) - self.last_kernel_activity
        busy = any(kernel["execution_state"] == "busy" for kernel in self.list_kernels())
        return since > timedelta(seconds=_QUIET) and not busy


async def _wait_ready(kernel: ServerKernelManager) -> None:
    """Wait until a kernel answers, and is known to."""
    client = kernel.client()
    client.start_channels(iopub=False, stdin=False, hb=False, control=False)
    try:
        while kernel.execution_state == "starting" and await kernel.is_alive():
            _ = client.kernel_info()
            await asyncio.sleep(_AGAIN)
    finally:
        client.stop_channels()
