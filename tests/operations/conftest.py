"""How operations are performed without any I/O."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sandlot._flow import Flow, Now, Request, Response, Step, Undo

ID = "cl-0000000000000000000000001"
INFO = {
    "id": ID,
    "status": "running",
    "template": "minimal",
    "vcpus": 1,
    "memory_mb": 512,
    "timeout_sec": 0,
    "created_at": "2026-01-01T00:00:00Z",
    "last_updated": "2026-01-01T00:00:00+06:00",
}


class Play:
    """Answers the steps of a flow and remembers them, except for the time and undo."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.undo: Any = None
        self.clock = 0.0

    @property
    def sent(self) -> list[Request]:
        return [step for step in self.steps if isinstance(step, Request)]

    def __call__(self, flow: Flow[Any], *replies: Any) -> Any:
        """Perform a flow; an exception among the replies is raised inside it."""
        waiting = list(replies)
        try:
            step = next(flow)
            while True:
                if isinstance(step, Undo):
                    self.undo = step.flow
                    step = flow.send(None)
                    continue
                if isinstance(step, Now):
                    step = flow.send(self.clock)
                    continue
                self.steps.append(step)
                if not waiting:
                    raise AssertionError(f"no reply for {step}")
                reply = waiting.pop(0)
                step = flow.throw(reply) if isinstance(reply, Exception) else flow.send(reply)
        except StopIteration as stop:
            assert waiting == [], f"not asked for: {waiting}"
            return stop.value


def answer(body: Any = None, status: int = 200, **headers: str) -> Response:
    """Make an answer; underscores in names of headers stand for hyphens."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(
        status, content, {name.replace("_", "-"): value for name, value in headers.items()}
    )


def info(**changes: Any) -> Response:
    return answer({**INFO, **changes})


def problem(code: str, status: int, message: str = "no", **headers: str) -> Response:
    return answer({"error": {"code": code, "message": message}}, status, **headers)


@pytest.fixture
def play() -> Play:
    return Play()
