"""Sending to chat services: the server's side of the courier."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter, ValidationError

from .failures import BadConfigError, NotDeliveredError
from .targets import Network

__all__ = ["Chats"]

_COURIER = "sandlot.server.outgoing.courier"
_KEPT = ("LANG", "LC_ALL", "PATH", "REQUESTS_CA_BUNDLE", "SSL_CERT_DIR", "SSL_CERT_FILE")
"""What of the environment the courier gets: no keys, and no proxies to hide targets behind."""
_START_TIMEOUT = 30.0
_ANSWER: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, Any])


class _Courier:
    """A running courier, and who waits for what."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._waiting = dict[int, asyncio.Future[dict[str, Any]]]()
        self._numbers = itertools.count()
        self._reader = asyncio.create_task(self._read())

    @property
    def is_gone(self) -> bool:
        return self._reader.done()

    async def ask(self, request: Mapping[str, object]) -> dict[str, Any]:
        """Send a request, and return the answer."""
        number = next(self._numbers)
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps({"id": number, **request}).encode() + b"\n")
            with contextlib.suppress(ConnectionError):  # then the reader ends, too
                await self._process.stdin.drain()
            if self.is_gone:
                raise NotDeliveredError("The message could not be sent: the courier ended.")
            return await answer
        finally:
            del self._waiting[number]

    async def finish(self, patience: float) -> None:
        """Let it finish what it is doing, for some seconds at most."""
        if self._waiting:
            _ = await asyncio.wait(self._waiting.values(), timeout=patience)

    async def end(self) -> None:
        """End it, whatever it is doing."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        _ = await self._process.wait()
        await self._reader

    async def _read(self) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(ValidationError, ValueError):  # a line too long, or no JSON
            while line := await self._process.stdout.readline():
                answer = _ANSWER.validate_json(line)
                waiting = self._waiting.get(answer.get("id", -1))
                if waiting is not None and not waiting.done():
                    waiting.set_result(answer)
        for waiting in self._waiting.values():
            if not waiting.done():
                reason = "The message may not have been sent: the courier ended."
                waiting.set_exception(NotDeliveredError(reason))


class Chats:
    """Sends to chat services.

    The courier starts with the first message. One that has not answered in time is replaced: what
    hangs in it would add up.

    Args:
        allowed: Networks that may be connected to besides the public ones.
        timeout: Seconds for a message; chat services may have to be asked several things.
    """

    def __init__(self, allowed: Sequence[Network], timeout: float) -> None:
        self._allowed = allowed
        self._timeout = timeout
        self._courier: _Courier | None = None
        self._starting = asyncio.Lock()
        self._retiring = dict[asyncio.Task[None], _Courier]()

    async def check(self, provider: str, config: Mapping[str, str]) -> None:
        """Check a configuration without sending anything.

        Raises:
            BadConfigError: It makes no sense.
            NotDeliveredError: There is nobody to ask.
        """
        _ = await self._ask({"do": "check", "provider": provider, "config": dict(config)})

    async def send(self, provider: str, config: Mapping[str, str], title: str, text: str) -> None:
        """Send a message.

        Raises:
            NotDeliveredError: The service did not take it, or did not say so in time.
        """
        message = {"title": title, "text": text}
        request = {"do": "send", "provider": provider, "config": dict(config), **message}
        answer = await self._ask(request)
        if answer.get("problem") is None:
            return
        status: int | None = answer.get("status")
        reason = (
            "The chat service could not be reached, or did not take the message."
            if status is None
            else f"The chat service answered {status}."
        )
        raise NotDeliveredError(reason, status=status)

    async def close(self) -> None:
        """End the courier, whatever it is doing."""
        couriers = [*self._retiring.values(), *filter(None, [self._courier])]
        self._courier = None
        for task in list(self._retiring):
            _ = task.cancel()
        for courier in couriers:
            await courier.end()

    async def _ask(self, request: Mapping[str, object]) -> dict[str, Any]:
        courier = await self._running()
        try:
            async with asyncio.timeout(self._timeout):
                answer = await courier.ask(request)
        except TimeoutError as error:
            if self._courier is courier:
                self._courier = None
                self._retire(courier)
            reason = f"There was no answer within {self._timeout:g} seconds."
            raise NotDeliveredError(reason) from error
        if answer.get("problem") == "config":
            raise BadConfigError(f"config: is not what {request['provider']} needs.")
        return answer

    def _retire(self, courier: _Courier) -> None:
        async def retire() -> None:
            await courier.finish(self._timeout)
            await courier.end()

        task = asyncio.create_task(retire())
        self._retiring[task] = courier
        task.add_done_callback(self._retiring.pop)

    async def _running(self) -> _Courier:
        async with self._starting:
            if self._courier is None or self._courier.is_gone:
                try:
                    async with asyncio.timeout(_START_TIMEOUT):
                        self._courier = await self._start()
                except (OSError, TimeoutError) as error:
                    raise NotDeliveredError("The courier cannot be started.") from error
            return self._courier

    async def _start(self) -> _Courier:
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", _COURIER, *map(str, self._allowed)),
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,
            cwd="/",
            env=environment,
            start_new_session=True,
        )
        return _Courier(process)
