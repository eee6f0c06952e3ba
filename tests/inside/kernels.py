"""Kernels of an installed template, and what a client with its libraries would get from them."""

from __future__ import annotations

import os
import struct
import subprocess
from pathlib import Path
from typing import Any
from uuid import uuid4

from sandlot import CodeEvent, Execution, Variable
from sandlot._protocols import values
from sandlot._protocols.cell import KernelTalk
from sandlot._protocols.kernel import Message, decode, encode, execute_request
from sandlot._protocols.preparation import prepare

_BRIDGE = Path(__file__).with_name("bridge.py")
_SCRIPTS = Path(__file__).with_name("scripts")
_SOURCES = Path(__file__).parents[2] / "src"
# With pytest's own variable ipykernel does not watch file descriptors.
_ENVIRONMENT = {
    name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"
} | {"PYTHONDONTWRITEBYTECODE": "1"}


class Kernel:
    """A kernel, and one client's side of the conversation with it."""

    def __init__(self, python: Path, *, framed: bool = True, name: str = "python3") -> None:
        self.framed = framed
        self.talk = KernelTalk(uuid4().hex)
        self._bridge = subprocess.Popen(
            [python, _BRIDGE, "framed" if framed else "older", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_ENVIRONMENT,
        )
        assert self._read() == b""
        if name == "python3":
            self.prepare()

    def prepare(self, **more: Any) -> Execution:
        code = prepare("python", more.get("cwd"), more.get("env", {}))
        return self.perform(execute_request(code, self.talk.session, silent=True))

    def run(self, code: str, **options: Any) -> Execution:
        return self.perform(execute_request(code, self.talk.session), **options)

    def perform(self, request: Message, **options: Any) -> Execution:
        self.begin(request, **options)
        return self.finish()

    def begin(self, request: Message, **options: Any) -> None:
        self.events: list[CodeEvent] = []
        self.messages: list[Message] = []
        self.talk.begin(request, **options)
        self.send(request)

    def finish(self) -> Execution:
        while not self.talk.ended:
            _ = self.receive()
        while (event := self.talk.take()) is not None:
            self.events.append(event)
        return self.talk.execution()

    def ask(self, expressions: dict[str, str]) -> Any:
        request = execute_request("", self.talk.session, silent=True, user_expressions=expressions)
        _ = self.perform(request)
        return self.talk.answers

    def variables(self) -> dict[str, Variable]:
        found = values.variables(self.ask(values.ask_variables()))
        return {variable.name: variable for variable in found}

    def get(self, name: str) -> Any:
        return values.value(self.ask(values.ask_value(name)))

    def set(self, name: str, value: Any) -> None:
        values.done(self.ask(values.ask_to_set(name, value)))

    def send(self, message: Message) -> None:
        data = encode(message, framed=self.framed)
        self.send_raw(data.encode() if isinstance(data, str) else data)

    def interrupt(self) -> None:
        self.send_raw(b"interrupt")

    def send_raw(self, data: bytes) -> None:
        assert self._bridge.stdin is not None
        _ = self._bridge.stdin.write(struct.pack(">I", len(data)) + data)
        self._bridge.stdin.flush()

    def receive(self) -> Message:
        data = self._read()
        is_text = not self.framed and data.startswith(b"{")
        message = decode(data.decode() if is_text else data, framed=self.framed)
        self.messages.append(message)
        self.talk.receive(message)
        while not self.talk.ended and (event := self.talk.take()) is not None:
            self.events.append(event)
        return message

    def close(self) -> None:
        assert self._bridge.stdin is not None
        assert self._bridge.stdout is not None
        self._bridge.stdin.close()
        self._bridge.stdout.close()
        _ = self._bridge.wait(30)

    def _read(self) -> bytes:
        assert self._bridge.stdout is not None
        (size,) = struct.unpack(">I", self._bridge.stdout.read(4))
        return self._bridge.stdout.read(size)


def beside(python: Path, script: str) -> str:
    """Run a script with the library in a template's Python: a client with pandas and pyarrow."""
    done = subprocess.run(
        [python, _SCRIPTS / script],
        capture_output=True,
        text=True,
        env={**_ENVIRONMENT, "PYTHONPATH": str(_SOURCES)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
