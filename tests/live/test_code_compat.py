"""Jupyter through the port proxy as other clients use it, without this library."""

from __future__ import annotations

import json
import socket
import uuid
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from sandlot import Client
from tests.live.coding import Coding


@pytest.fixture
def coding(jupyter: Any) -> Coding:
    from tests.colours import Colour

    return Coding(Colour("blocking"), *jupyter)


def request(code: str) -> dict[str, Any]:
    """Return what the original Python library sends (wrenn: section 7.2)."""
    header = {
        "msg_id": str(uuid.uuid4()),
        "msg_type": "execute_request",
        "username": "wrenn-sdk",
        "session": str(uuid.uuid4()),
        "date": "2026-01-01T00:00:00Z",
        "version": "5.3",
    }
    content = {
        "code": code,
        "silent": False,
        "store_history": True,
        "user_expressions": {},
        "allow_stdin": False,
        "stop_on_error": True,
    }
    return {
        "header": header,
        "parent_header": {},
        "metadata": {},
        "content": content,
        "buffers": [],
        "channel": "shell",
    }


def test_the_original_library(coding: Coding) -> None:
    server = httpx.URL(coding.server.base_url)
    host = f"8888-{coding.sandbox_id}.localhost:{server.port}"
    headers = {"X-API-Key": coding.server.api_key}
    with httpx.Client(base_url=server, headers={**headers, "Host": host}) as http:
        made = http.post("/api/kernels")
        assert made.status_code == 201
        kernel = made.json()["id"]
        assert kernel in [each["id"] for each in http.get("/api/kernels").json()]
        where = f"ws://{host}/api/kernels/{kernel}/channels"
        with connect(
            where,
            additional_headers=headers,
            sock=socket.create_connection(("127.0.0.1", server.port)),
        ) as kernel_socket:
            sent = request("print('out')\n40 + 2")
            kernel_socket.send(json.dumps(sent))
            heard: dict[str, Any] = {}
            while heard.get("status", {}).get("execution_state") != "idle":
                message = json.loads(kernel_socket.recv(20))
                if message["parent_header"].get("msg_id") == sent["header"]["msg_id"]:
                    heard[message["msg_type"]] = message["content"]
        assert heard["stream"]["text"] == "out\n"
        assert heard["execute_result"]["data"]["text/plain"] == "42"
        assert http.delete(f"/api/kernels/{kernel}").status_code == 204


def test_the_template_by_its_other_name(coding: Coding) -> None:
    with (
        Client(coding.server.api_key, base_url=coding.server.base_url) as client,
        client.sandboxes.create("code-runner-beta") as box,
    ):
        assert box.template == "code-runner-beta"
        assert box.run_code("1 + 1").text == "2"
        assert box.http_client.get("/api/status").json()["kernels"] == 1
