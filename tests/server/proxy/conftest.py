"""Programs in sandboxes that listen, and clients that reach them through the proxy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import httpx
import pytest
from harness import Box, ServerProcess

from .programs import Program, run_program

Serve = Callable[..., Program]


@pytest.fixture
def python_box(make: Callable[..., Box]) -> Box:
    """A running sandbox with Python in it."""
    return make(template="base-python")


@pytest.fixture
def serve(server: ServerProcess, python_box: Box) -> Iterator[Serve]:
    """Runs programs that listen, by default in a sandbox of the test's own."""
    with ExitStack() as stack:

        def serve(source: str, box: Box | None = None, **options: str) -> Program:
            program = run_program(server, box or python_box, source, **options)
            return stack.enter_context(program)

        yield serve


@pytest.fixture
def elsewhere(start: Callable[..., ServerProcess]) -> Iterator[Callable[..., Program]]:
    """Runs a program in a sandbox of a server that is started with options."""
    with ExitStack() as stack:

        def run(source: str, key: str | None = None, **options: str) -> Program:
            server = start(**options)
            headers = {} if key is None else {"X-API-Key": key}
            client = stack.enter_context(httpx.Client(base_url=server.url, headers=headers))
            made = client.post("/v1/sandboxes", json={"template": "base-python"})
            assert made.status_code == 201, made.text
            return stack.enter_context(
                run_program(server, Box(client, made.json()["id"]), source, key=key)
            )

        yield run
