from __future__ import annotations

import pytest

from sandlot.server.api.multipart import FormParser
from sandlot.server.services.errors import InvalidRequestError

BODY = (
    b"--b\r\n"
    b'Content-Disposition: form-data; name="path"\r\n\r\n'
    b"a/b\r\n"
    b"--b\r\n"
    b'Content-Disposition: form-data; name="file"; filename="x"\r\n'
    b"Content-Type: application/octet-stream\r\n\r\n"
    b"\r\n--\r\n--a\r\n--b-\r\n-\r\r\n--bb\r\n"
    b"\r\n--b--\r\n"
)


def parse(body: bytes, size: int) -> dict[str, bytes]:
    parser = FormParser("multipart/form-data; boundary=b")
    parts: dict[str, bytes] = {}
    ended: list[str] = []
    for start in range(0, len(body), size):
        for piece in parser.feed(body[start : start + size]):
            if piece.kind == "begin":
                assert piece.name not in parts
                parts[piece.name] = b""
            elif piece.kind == "data":
                parts[piece.name] += piece.data
            else:
                ended.append(piece.name)
    parser.finish()
    assert ended == list(parts)
    return parts


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 16, 1000])
def test_pieces_of_any_size(size: int) -> None:
    assert parse(BODY, size) == {
        "path": b"a/b",
        "file": b"\r\n--\r\n--a\r\n--b-\r\n-\r\r\n--bb\r\n",
    }


@pytest.mark.parametrize("end", range(len(BODY) - 3))
def test_every_early_end_is_noticed(end: int) -> None:
    with pytest.raises(InvalidRequestError):
        _ = parse(BODY[:end], 7)
