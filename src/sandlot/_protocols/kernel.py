"""Messages of the Jupyter protocol, as they travel over a server's WebSocket.

There are two forms (Jupyter Server's documentation, "WebSocket kernel wire protocols"): the
subprotocol `v1.kernel.websocket.jupyter.org`, in which each part of a message is JSON of its own
and untouched by the server, and the older one, in which a message is one JSON text, or a binary
frame if it has buffers.

What arrives comes out of a sandbox: anything wrong with it is an `UnexpectedResponseError`.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from uuid import uuid4

from .._json import a_text, an_object
from ..errors import UnexpectedResponseError

SUBPROTOCOL = "v1.kernel.websocket.jupyter.org"
VERSION = "5.3"
"""Of the messaging protocol; what is used here has been the same since."""

_PARTS = 6  # of a framed message without buffers: channel, four JSON texts, the end
_MOST_BUFFERS = 1024


@dataclass(frozen=True, slots=True)
class Message:
    """A message to or from a kernel."""

    channel: str
    """`shell`, `control`, `iopub` or `stdin`."""
    type: str
    """What it is, such as `execute_request`."""
    id: str
    """Its own name."""
    parent_id: str
    """Name of the message that it is about; empty if there is none."""
    session: str
    """Who sends it."""
    content: dict[str, Any]
    """What it says."""
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])
    """What is said about it."""
    buffers: tuple[bytes, ...] = ()
    """Binary data."""
    size: int = 0
    """Bytes that were received; 0 if it was made here."""


def execute_request(
    code: str,
    session: str,
    *,
    silent: bool = False,
    store_history: bool = True,
    user_expressions: Mapping[str, str] | None = None,
    stop_on_error: bool = True,
) -> Message:
    """Return the order to run code; the code cannot ask for input.

    Args:
        code: What to run.
        session: Who asks.
        silent: Show nothing, count nothing, remember nothing.
        store_history: Count it and keep it in the kernel's history.
        user_expressions: What to evaluate afterwards, by any name; the reply has the values.
        stop_on_error: If it fails, refuse what waits behind it.
    """
    content: dict[str, Any] = {
        "code": code,
        "silent": silent,
        "store_history": store_history and not silent,
        "user_expressions": dict(user_expressions or {}),
        "allow_stdin": False,
        "stop_on_error": stop_on_error,
    }
    return _request("execute_request", session, content)


def kernel_info_request(session: str) -> Message:
    """Return the question what kernel it is; kernels answer it when all before it is done."""
    return _request("kernel_info_request", session, {})


def encode(message: Message, *, framed: bool) -> str | bytes:
    """Return a message as it is sent; `framed` if the server has agreed to `SUBPROTOCOL`."""
    header = {
        "msg_id": message.id,
        "msg_type": message.type,
        "username": "sandlot",
        "session": message.session,
        "date": datetime.now(UTC).isoformat(),
        "version": VERSION,
    }
    parent = {"msg_id": message.parent_id} if message.parent_id else {}
    if not framed:
        return _encode_older(message, header, parent)
    texts = [
        json.dumps(part).encode() for part in (header, parent, message.metadata, message.content)
    ]
    parts = [message.channel.encode(), *texts, *message.buffers]
    offsets = [8 * (len(parts) + 2)]
    for part in parts:
        offsets.append(offsets[-1] + len(part))
    return b"".join([struct.pack(f"<{len(offsets) + 1}Q", len(offsets), *offsets), *parts])


def decode(data: str | bytes, *, framed: bool) -> Message:
    """Read a message.

    Raises:
        UnexpectedResponseError: It is none.
    """
    try:
        return _decode_framed(data) if framed else _decode_older(data)
    except (LookupError, ValueError, TypeError, RecursionError, struct.error) as exc:
        reason = str(exc) or type(exc).__name__
        raise _malformed(reason) from exc


def _request(kind: str, session: str, content: dict[str, Any]) -> Message:
    return Message("shell", kind, uuid4().hex, "", session, content)


def _encode_older(message: Message, header: dict[str, str], parent: dict[str, str]) -> str | bytes:
    whole: dict[str, Any] = {
        "channel": message.channel,
        "header": header,
        "parent_header": parent,
        "metadata": message.metadata,
        "content": message.content,
    }
    if not message.buffers:
        return json.dumps({**whole, "buffers": []})
    parts = [json.dumps(whole).encode(), *message.buffers]
    offsets = [4 * (len(parts) + 1)]
    for part in parts[:-1]:
        offsets.append(offsets[-1] + len(part))
    return b"".join([struct.pack(f">{len(parts) + 1}I", len(parts), *offsets), *parts])


def _decode_framed(data: str | bytes) -> Message:
    if isinstance(data, str):
        raise ValueError("a text came where frames were agreed on")
    (count,) = struct.unpack_from("<Q", data)
    if not _PARTS <= count <= _PARTS + _MOST_BUFFERS:
        raise ValueError(f"{count} parts")
    offsets: tuple[int, ...] = struct.unpack_from(f"<{count}Q", data, 8)
    parts = _split(data, offsets, 8 * (count + 1))
    header, parent, metadata, content = (_json(part) for part in parts[1:5])
    return _message(parts[0].decode(), header, parent, metadata, content, parts[5:], len(data))


def _decode_older(data: str | bytes) -> Message:
    parts: list[bytes] = []
    if isinstance(data, str):
        whole = an_object(json.loads(data), "message")
    else:
        (count,) = struct.unpack_from(">I", data)
        if not 1 <= count <= 1 + _MOST_BUFFERS:
            raise ValueError(f"{count} parts")
        offsets: tuple[int, ...] = struct.unpack_from(f">{count}I", data, 4)
        parts = _split(data, (*offsets, len(data)), 4 * (count + 1))
        whole = _json(parts[0])
    return _message(
        whole["channel"],
        an_object(whole["header"], "header"),
        an_object(whole["parent_header"], "parent_header"),
        an_object(whole["metadata"], "metadata"),
        an_object(whole["content"], "content"),
        parts[1:],
        len(data),
    )


def _split(data: bytes, offsets: tuple[int, ...], start: int) -> list[bytes]:
    if offsets[0] != start or offsets[-1] != len(data):
        raise ValueError("its offsets are not its own")
    if any(one > other for one, other in pairwise(offsets)):
        raise ValueError("its offsets are out of order")
    return [data[one:other] for one, other in pairwise(offsets)]


def _message(
    channel: object,
    header: dict[str, Any],
    parent: dict[str, Any],
    metadata: dict[str, Any],
    content: dict[str, Any],
    buffers: list[bytes],
    size: int,
) -> Message:
    return Message(
        a_text(channel, "channel"),
        a_text(header["msg_type"], "msg_type"),
        a_text(header["msg_id"], "msg_id"),
        a_text(parent.get("msg_id") or "", "msg_id"),
        a_text(header["session"], "session"),
        content,
        metadata,
        tuple(buffers),
        size,
    )


def _json(data: bytes) -> dict[str, Any]:
    # Kernels encode with `surrogateescape`, so the output of a program can make it no UTF-8.
    return an_object(json.loads(data.decode(errors="replace")), "part")


def _malformed(reason: str) -> UnexpectedResponseError:
    return UnexpectedResponseError(
        f"The kernel sent a message that is none ({reason[:200]}); what it runs goes on",
        outcome="unknown",
    )
