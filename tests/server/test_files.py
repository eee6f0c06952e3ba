from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import psutil
import pytest
from harness import KEY, Box, ServerProcess, eventually

MIB = 1 << 20
WRITES = ["/files/write", "/files/stream/write"]
READS = ["/files/read", "/files/stream/read"]
BOUNDARY = "----boundary"
FORM = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def part(name: str, data: bytes, extra: str = "") -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{extra}\r\n\r\n'
    return head.encode() + data + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()


def send(box: Box, tail: str, body: bytes, query: str = "", **headers: str) -> httpx.Response:
    return box.client.post(box.url(tail) + query, content=body, headers={**FORM, **headers})


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("size", [0, 1, 5, 65536, 3 * MIB + 7])
def test_round_trip(common: Box, write: str, read: str, size: int) -> None:
    data = os.urandom(size)
    response = common.client.post(
        common.url(write), data={"path": "round/trip"}, files={"file": data}
    )
    assert response.status_code == 204
    response = common.post(read, path="round/trip")
    assert response.status_code == 200
    assert response.headers["content-length"] == str(size)
    assert response.content == data


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("order", ["path-first", "file-first", "query", "both"])
def test_order_of_parts(common: Box, write: str, order: str) -> None:
    data = os.urandom(300_000)
    path = f"order/{order}"
    body, query = {
        "path-first": (part("path", path.encode()) + part("file", data), ""),
        "file-first": (part("file", data) + part("path", path.encode()), ""),
        "query": (part("file", data), f"?path={path}"),
        "both": (part("path", b"elsewhere") + part("file", data), f"?path={path}"),
    }[order]
    body = part("other", b"ignored") + body + part("more", b"ignored", '; filename="x"') + END
    assert send(common, write, body, query).status_code == 204
    assert common.read(path) == data


@pytest.mark.parametrize(
    "head",
    [
        b'Content-Disposition: form-data; name="file"; filename="a b.txt"',
        b"content-disposition:form-data; name=file",
        b'CONTENT-DISPOSITION: form-data; filename="x;name=path"; name="file"',
        b'X-Other: 1\r\nContent-Disposition: form-data; name="file"\r\nContent-Type: text/plain',
    ],
)
def test_ways_to_name_a_part(common: Box, head: bytes) -> None:
    body = f"--{BOUNDARY}\r\n".encode() + head + b"\r\n\r\nhello\r\n" + END
    assert send(common, "/files/write", body, "?path=named").status_code == 204
    assert common.read("named") == b"hello"


def test_where_files_go(common: Box) -> None:
    assert common.write("relative", b"1").status_code == 204
    assert common.sh("cat /home/user/relative")["stdout"] == "1"
    assert common.read("/home/user/relative") == b"1"
    assert common.read("../user/./relative") == b"1"
    assert common.write("/tmp/a/b/c", b"2").status_code == 204
    assert common.sh("cat /tmp/a/b/c")["stdout"] == "2"
    assert common.write("\u00fc ber/\U0001f600", b"3").status_code == 204
    assert common.read("\u00fc ber/\U0001f600") == b"3"


def test_the_mode_of_a_file_is_kept(common: Box) -> None:
    assert common.sh("echo old > script; chmod 755 script")["exit_code"] == 0
    assert common.write("script", b"new").status_code == 204
    assert common.sh("stat -c %a script; cat script")["stdout"] == "755\nnew"


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("nonsense", 404, "not_found"),
        ("nonsense/deeper", 404, "not_found"),
        ("/etc/passwd/x", 404, "not_found"),
        ("/home/user", 400, "invalid_request"),
        (".", 400, "invalid_request"),
        ("a\0b", 400, "invalid_request"),
        ("", 400, "invalid_request"),
        ("x" * 5000, 400, "invalid_request"),
        ("secret", 403, "forbidden"),
        ("pipe", 400, "invalid_request"),
        ("loop", 400, "invalid_request"),
    ],
)
def test_what_cannot_be_read(common: Box, read: str, path: str, status: int, code: str) -> None:
    line = "touch secret; chmod 0 secret; [ -p pipe ] || mkfifo pipe; ln -sfn loop loop"
    assert common.sh(line)["exit_code"] == 0
    response = common.post(read, path=path)
    assert response.status_code == status, response.text
    assert response.json()["error"]["code"] == code


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("order", ["path-first", "file-first"])
@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/home/user", 400, "invalid_request"),
        ("a\0b", 400, "invalid_request"),
        ("x" * 5000, 400, "invalid_request"),
        ("x" * 20000, 400, "invalid_request"),
        ("/usr/bin/new", 403, "forbidden"),
        ("/proc/new", 404, "not_found"),
        ("/etc/passwd/x", 404, "not_found"),
    ],
)
def test_what_cannot_be_written(
    common: Box, write: str, order: str, path: str, status: int, code: str
) -> None:
    parts = [part("path", path.encode()), part("file", b"x" * 100_000)]
    body = b"".join(parts if order == "path-first" else parts[::-1]) + END
    response = send(common, write, body)
    assert response.status_code == status, response.text
    assert response.json()["error"]["code"] == code


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"", {}),
        (END, {}),
        (part("path", b"x") + END, {}),
        (part("file", b"x") + END, {}),
        (part("path", b"") + part("file", b"x") + END, {}),
        (part("path", b"x") + part("file", b"1") + part("file", b"2") + END, {}),
        (part("path", b"x") + part("file", b"x"), {}),
        (b"nonsense", {}),
        (b"{}", {"Content-Type": "application/json"}),
        (b"x", {"Content-Type": "multipart/form-data"}),
        (b"x", {"Content-Type": "multipart/form-data; boundary="}),
        (b"x", {"Content-Type": "multipart/form-data; boundary=" + "x" * 1000}),
        (f"--{BOUNDARY}\r\n{'x' * 20000}: y\r\n\r\n".encode() + END, {}),
    ],
)
def test_forms_that_make_no_sense(
    common: Box, write: str, body: bytes, headers: dict[str, str]
) -> None:
    response = send(common, write, body, **headers)
    assert response.status_code == 400, response.text
    assert response.json()["error"]["code"] == "invalid_request"


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"path": 1}', b'{"path": null}', b"\xff"])
def test_reads_that_make_no_sense(common: Box, content: bytes) -> None:
    response = common.client.post(common.url("/files/read"), content=content)
    assert response.status_code == 400


def test_small_files_have_a_limit(box: Box) -> None:
    response = box.write("large", bytes(100 * MIB))
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "too_large"

    def pieces() -> Iterator[bytes]:
        yield part("path", b"large")[:-2] + b"\r\n" + part("file", b"")[:-2]
        for _ in range(101):
            yield bytes(MIB)
        yield b"\r\n" + END

    response = box.client.post(box.url("/files/write"), content=pieces(), headers=FORM)
    assert response.status_code == 413
    assert box.post("/files/read", path="large").status_code == 404
    response = box.client.post(box.url("/files/stream/write"), content=pieces(), headers=FORM)
    assert response.status_code == 204
    assert box.sh("stat -c %s large")["stdout"] == f"{101 * MIB}\n"


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("order", ["path-first", "file-first"])
def test_an_upload_that_breaks_off_leaves_the_old_content(
    server: ServerProcess, box: Box, write: str, order: str
) -> None:
    assert box.write("kept", b"old").status_code == 204
    parts = [part("path", b"kept"), part("file", b"x" * MIB)]
    body = b"".join(parts if order == "path-first" else parts[::-1])
    head = (
        f"POST {box.url(write)} HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\n"
        f"X-Request-Id: cut-off-{write[7]}-{order}\r\nContent-Length: {len(body) + 1000}\r\n"
        f"Content-Type: {FORM['Content-Type']}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(head.encode() + body)
    line = server.wait_for(lambda line: line.get("request_id") == f"cut-off-{write[7]}-{order}")
    assert line["outcome"] == "disconnected"
    assert box.read("kept") == b"old"
    eventually(lambda: box.sh("ls -A")["stdout"] == "kept\n")


def test_a_full_disk(make: object) -> None:
    assert callable(make)
    box: Box = make(disk_mb=1)
    for parts in ([0, 1], [1, 0]):
        body = [part("path", b"large"), part("file", bytes(2 * MIB))]
        response = send(box, "/files/stream/write", b"".join(body[i] for i in parts) + END)
        assert response.status_code == 507, response.text
        assert response.json()["error"]["code"] == "no_space"
    assert box.sh("ls -A")["stdout"] == ""


@pytest.mark.parametrize("read", READS)
def test_files_that_do_not_know_their_size(common: Box, read: str) -> None:
    response = common.post(read, path="/proc/self/status")
    assert response.status_code == 200
    assert "content-length" not in response.headers
    assert response.text.startswith("Name:")


def test_a_file_that_shrinks_breaks_the_transfer_off(server: ServerProcess, box: Box) -> None:
    size = 64 * MIB
    assert box.sh(f"truncate -s {size} shrinking")["exit_code"] == 0
    with box.client.stream("POST", box.url("/files/read"), json={"path": "shrinking"}) as response:
        assert response.headers["content-length"] == str(size)
        pieces = response.iter_raw()
        _ = next(pieces)
        assert box.sh("truncate -s 0 shrinking")["exit_code"] == 0
        with pytest.raises(httpx.RemoteProtocolError):
            _ = list(pieces)
    assert box.sh("true")["exit_code"] == 0


def test_a_file_that_grows_is_read_as_long_as_it_was(box: Box) -> None:
    size = 16 * MIB
    assert box.sh(f"truncate -s {size} growing")["exit_code"] == 0
    with box.client.stream("POST", box.url("/files/read"), json={"path": "growing"}) as response:
        pieces = response.iter_raw()
        first = len(next(pieces))
        assert box.sh("echo more >> growing")["exit_code"] == 0
        assert first + sum(map(len, pieces)) == size


def test_large_files_cost_no_memory(server: ServerProcess, box: Box) -> None:
    process = psutil.Process(server.process.pid)
    digest = hashlib.sha256()
    count = 192

    def pieces() -> Iterator[bytes]:
        yield part("path", b"large") + part("file", b"")[:-2]
        block = os.urandom(MIB)
        for _ in range(count):
            digest.update(block)
            yield block
        yield b"\r\n" + END

    before = process.memory_info().rss
    response = box.client.post(box.url("/files/stream/write"), content=pieces(), headers=FORM)
    assert response.status_code == 204
    after_write = process.memory_info().rss
    received = hashlib.sha256()
    with box.client.stream("POST", box.url("/files/stream/read"), json={"path": "large"}) as answer:
        for piece in answer.iter_raw():
            received.update(piece)
    assert received.digest() == digest.digest()
    assert after_write - before < 32 * MIB
    assert process.memory_info().rss - before < 32 * MIB


def test_a_reader_that_leaves_is_not_missed(server: ServerProcess, box: Box) -> None:
    assert box.sh(f"truncate -s {256 * MIB} large")["exit_code"] == 0
    descriptors = psutil.Process(server.process.pid).num_fds()
    for _ in range(3):
        with box.client.stream("POST", box.url("/files/read"), json={"path": "large"}) as answer:
            _ = next(answer.iter_raw())
    eventually(lambda: psutil.Process(server.process.pid).num_fds() <= descriptors + 1)


def test_writers_of_the_same_file_do_not_mix(box: Box) -> None:
    contents = [bytes([n]) * 300_000 for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        responses = list(pool.map(lambda data: box.write("same", data), contents))
    assert {response.status_code for response in responses} == {204}
    assert box.read("same") in contents
    assert box.sh("ls -A")["stdout"] == "same\n"
