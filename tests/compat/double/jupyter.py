"""What listens on port 8888 of sandboxes of the Python template: as much of Jupyter as is used.

It runs code in this process, in a namespace for each kernel, without any shell of IPython's.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import traceback
import uuid
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from tests.compat.double.world import Capsule

_SPECS = {
    "default": "python3",
    "kernelspecs": {"python3": {"name": "python3", "spec": {"language": "python"}}},
}


async def serve(capsule: Capsule, request: Request) -> Response:
    """Answer a request."""
    match request.method, request.url.path.strip("/").split("/")[1:]:
        case "GET", ["status"]:
            return JSONResponse({"kernels": len(capsule.kernels)})
        case "GET", ["kernelspecs"]:
            return JSONResponse(_SPECS)
        case "GET", ["kernels"]:
            return JSONResponse([_model(each) for each in capsule.kernels])
        case "POST", ["kernels"]:
            wanted = json.loads(await request.body() or b"{}").get("name", "python3")
            if wanted not in _SPECS["kernelspecs"]:
                return JSONResponse({"message": "no such kernel"}, 500)
            kernel = str(uuid.uuid4())
            capsule.kernels[kernel] = {}
            return JSONResponse(_model(kernel), 201)
        case "DELETE", ["kernels", kernel] if kernel in capsule.kernels:
            del capsule.kernels[kernel]
            return Response(status_code=204)
        case "POST", ["kernels", kernel, "interrupt"] if kernel in capsule.kernels:
            return Response(status_code=204)
        case "POST", ["kernels", kernel, "restart"] if kernel in capsule.kernels:
            capsule.kernels[kernel] = {}
            return JSONResponse(_model(kernel))
        case _:
            return JSONResponse({"message": "not found"}, 404)


async def converse(capsule: Capsule, websocket: WebSocket) -> None:
    """Talk with whoever uses a kernel, in the older form of the protocol, without subprotocol."""
    kernel = websocket.url.path.split("/")[3]
    if kernel not in capsule.kernels:
        await websocket.send_denial_response(JSONResponse({"message": "no such kernel"}, 404))
        return
    await websocket.accept()
    with contextlib.suppress(WebSocketDisconnect):
        while True:
            asked = json.loads(await websocket.receive_text())
            for channel, kind, content in _answer(capsule.kernels[kernel], asked):
                told = {"msg_type": kind, "msg_id": str(uuid.uuid4()), "session": kernel}
                whole = {"channel": channel, "header": told, "parent_header": asked["header"]}
                await websocket.send_json({**whole, "metadata": {}, "content": content})


def _model(kernel: str) -> dict[str, Any]:
    return {"id": kernel, "name": "python3", "execution_state": "idle"}


def _answer(names: dict[str, Any], asked: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    said: list[tuple[str, str, dict[str, Any]]] = []

    def say(channel: str, kind: str, **content: Any) -> None:
        said.append((channel, kind, content))

    say("iopub", "status", execution_state="busy")
    if asked["header"]["msg_type"] == "kernel_info_request":
        say("shell", "kernel_info_reply", status="ok")
    elif asked["content"]["silent"]:
        say("shell", "execute_reply", status="ok", execution_count=0, user_expressions={})
    else:
        out, failure, value = _run(names, asked["content"]["code"])
        if out:
            say("iopub", "stream", name="stdout", text=out)
        if failure is not None:
            raised = {
                "ename": type(failure).__name__,
                "evalue": str(failure),
                "traceback": traceback.format_exception(failure),
            }
            say("iopub", "error", **raised)
            say("shell", "execute_reply", status="error", execution_count=1, **raised)
        else:
            if value is not None:
                data = {"text/plain": repr(value)}
                say("iopub", "execute_result", execution_count=1, data=data, metadata={})
            say("shell", "execute_reply", status="ok", execution_count=1, user_expressions={})
    say("iopub", "status", execution_state="idle")
    return said


def _run(names: dict[str, Any], code: str) -> tuple[str, Exception | None, Any]:
    out = io.StringIO()
    try:
        tree = ast.parse(code)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        with contextlib.redirect_stdout(out):
            exec(compile(tree, "cell", "exec"), names)
            value = None
            if isinstance(last, ast.Expr):
                value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    except Exception as exc:
        return out.getvalue(), exc, None
    return out.getvalue(), None, value
