"""Messages of the Jupyter protocol in both their forms, and what is none."""

from __future__ import annotations

import json
import random
import struct
from itertools import pairwise
from typing import Any

import pytest

from sandlot._protocols.kernel import (
    Message,
    decode,
    encode,
    execute_request,
    kernel_info_request,
)
from sandlot.errors import UnexpectedResponseError

FORMS = pytest.mark.parametrize("framed", [True, False], ids=["framed", "older"])
ANSWER = Message(
    "iopub", "display_data", "i", "p", "s", {"data": {"text/plain": "é\ud800\n"}}, {"m": [1, None]}
)


def same(one: Message, other: Message) -> bool:
    fields = ("channel", "type", "id", "parent_id", "session", "content", "metadata", "buffers")
    return all(getattr(one, name) == getattr(other, name) for name in fields)


@FORMS
@pytest.mark.parametrize("buffers", [(), (b"",), (b"\0\xff" * 100, b"", b"x")])
def test_messages_come_back_as_they_were(framed: bool, buffers: tuple[bytes, ...]) -> None:
    message = Message(
        **{**{name: getattr(ANSWER, name) for name in ANSWER.__slots__}, "buffers": buffers}
    )
    data = encode(message, framed=framed)
    assert isinstance(data, str) == (not framed and not buffers)
    decoded = decode(data, framed=framed)
    assert same(decoded, message)
    assert decoded.size == len(data)


@FORMS
def test_requests_say_what_the_protocol_asks_for(framed: bool) -> None:
    request = execute_request("1", "me", user_expressions={"a": "b"}, stop_on_error=False)
    data = encode(request, framed=framed)
    if isinstance(data, bytes):
        offsets = struct.unpack_from("<7Q", data)[1:]
        channel, header, parent = (data[a:b] for a, b in pairwise(offsets[:4]))
        assert channel == b"shell"
        head, before = json.loads(header), json.loads(parent)
    else:
        whole = json.loads(data)
        assert whole["channel"] == "shell"
        assert whole["buffers"] == []
        head, before = whole["header"], whole["parent_header"]
    assert before == {}
    assert head["msg_id"] == request.id
    assert len(request.id) == 32
    assert (head["msg_type"], head["session"], head["version"]) == ("execute_request", "me", "5.3")
    assert head["date"].endswith("+00:00")
    assert request.content == {
        "code": "1",
        "silent": False,
        "store_history": True,
        "user_expressions": {"a": "b"},
        "allow_stdin": False,
        "stop_on_error": False,
    }


def test_silent_cells_leave_no_history() -> None:
    assert execute_request("1", "s", silent=True).content["store_history"] is False
    assert kernel_info_request("s").type == "kernel_info_request"
    assert kernel_info_request("s").id != kernel_info_request("s").id


def test_output_that_is_no_text_can_still_be_read() -> None:
    data = encode(ANSWER, framed=True)
    assert isinstance(data, bytes)
    broken = data.replace(b"\\ud800", b"\xff\xfe\xfd\xfc\xfb\xfa")
    assert decode(broken, framed=True).content == {
        "data": {"text/plain": "é" + "\ufffd" * 6 + "\n"}
    }


def header(**changed: Any) -> dict[str, Any]:
    return {"msg_id": "i", "msg_type": "status", "session": "s", **changed}


def whole(**changed: Any) -> str:
    parts = {"channel": "iopub", "header": header(), "parent_header": {}, "metadata": {}}
    return json.dumps({**parts, "content": {}, **changed})


DEEP = "[" * 100_000 + "]" * 100_000
WRONG = [
    "",
    "{",
    "[]",
    "1",
    "null",
    DEEP,
    f'{{"content": {DEEP}}}',
    "1" * 10_000,
    whole(header=[]),
    whole(header={}),
    whole(header=header(msg_id=1)),
    whole(header=header(msg_type=None)),
    whole(header=header(session=[])),
    whole(channel=None),
    whole(content=[]),
    whole(metadata="x"),
    whole(parent_header={"msg_id": 5}),
    json.dumps({"header": header()}),
]


@pytest.mark.parametrize("data", WRONG, ids=lambda text: text[:30])
def test_what_is_no_message(data: str) -> None:
    with pytest.raises(UnexpectedResponseError) as caught:
        _ = decode(data, framed=False)
    assert caught.value.outcome == "unknown"
    assert len(str(caught.value)) < 400
    with pytest.raises(UnexpectedResponseError):
        _ = decode(data, framed=True)


def test_a_parent_may_be_missing_its_name() -> None:
    for parent in ({}, {"msg_id": ""}, {"msg_id": None}):
        assert decode(whole(parent_header=parent), framed=False).parent_id == ""


def framed_parts(*parts: bytes) -> bytes:
    offsets = [8 * (len(parts) + 2)]
    for part in parts:
        offsets.append(offsets[-1] + len(part))
    return struct.pack(f"<{len(offsets) + 1}Q", len(offsets), *offsets) + b"".join(parts)


GOOD = (b"iopub", json.dumps(header()).encode(), b"{}", b"{}", b"{}")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\1",
        struct.pack("<Q", 6),
        struct.pack("<Q", 2**63),
        struct.pack("<Q", 10**6) + bytes(100),
        framed_parts(*GOOD[:4]),
        framed_parts(b"\xff", *GOOD[1:]),
        framed_parts(GOOD[0], b"[]", *GOOD[2:]),
        framed_parts(*GOOD)[:-1],
        framed_parts(*GOOD) + b"x",
        framed_parts(*GOOD, *[b""] * 2000),
    ],
)
def test_frames_that_are_none(data: bytes) -> None:
    with pytest.raises(UnexpectedResponseError):
        _ = decode(data, framed=True)


@pytest.mark.parametrize("place", range(1, 7))
@pytest.mark.parametrize("value", [0, 7, 2**31, 2**63, 2**64 - 1])
def test_offsets_that_point_elsewhere(place: int, value: int) -> None:
    data = bytearray(framed_parts(*GOOD))
    struct.pack_into("<Q", data, 8 * place, value)
    with pytest.raises(UnexpectedResponseError):
        _ = decode(bytes(data), framed=True)


@FORMS
def test_noise_never_raises_anything_else(framed: bool) -> None:
    chance = random.Random(20)
    good = [
        encode(Message("shell", "a", "b", "c", "d", {"e": [1]}, {}, (b"xyz",)), framed=framed),
        encode(ANSWER, framed=framed),
    ]
    for _ in range(3000):
        data = chance.choice(good)
        noise = bytearray(data if isinstance(data, bytes) else data.encode())
        for _ in range(chance.randint(1, 8)):
            match chance.randrange(3):
                case 0:
                    noise[chance.randrange(len(noise))] = chance.randrange(256)
                case 1:
                    del noise[chance.randrange(len(noise)) :]
                    noise += b"\0"
                case _:
                    noise.insert(chance.randrange(len(noise)), chance.randrange(256))
        sent = bytes(noise) if isinstance(data, bytes) else noise.decode(errors="replace")
        try:
            message = decode(sent, framed=framed)
        except UnexpectedResponseError:
            continue
        assert isinstance(message.id, str)
        assert isinstance(message.content, dict)
