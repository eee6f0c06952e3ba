"""Files and directories of sandboxes, as HTTP has them."""

from __future__ import annotations

import base64
import io
import random
import socket
import tarfile
from typing import Any

import httpx
import pytest
from harness import KEY, Box, ServerProcess, eventually

FIELDS = {
    "name",
    "path",
    "type",
    "size",
    "mode",
    "permissions",
    "owner",
    "group",
    "modified_at",
}


def entry(box: Box, tail: str, **fields: Any) -> dict[str, Any]:
    response = box.post(f"/files/{tail}", **fields)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()["entry"]
    return found


def listed(box: Box, path: str, depth: int | None = None) -> list[dict[str, Any]]:
    fields = {"path": path} if depth is None else {"path": path, "depth": depth}
    response = box.post("/files/list", **fields)
    assert response.status_code == 200, response.text
    entries: list[dict[str, Any]] = response.json()["entries"]
    return entries


def archive(
    members: list[tuple[tarfile.TarInfo, bytes]], format: int = tarfile.PAX_FORMAT
) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def member(
    name: str, kind: bytes = tarfile.REGTYPE, link: str = "", **more: Any
) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    for field, value in more.items():
        setattr(info, field, value)
    return info


def extract(box: Box, path: str, data: bytes) -> httpx.Response:
    files = {"file": data}
    return box.client.post(box.url("/files/extract"), data={"path": path}, files=files)


def test_what_is_told_of_files(common: Box) -> None:
    line = "rm -rf told; mkdir -p told/deep/er; cd told; echo hello > file; chmod 640 file;"
    links = "ln -s file to_file; ln -s deep to_directory; ln -s nowhere dangling; mkfifo pipe"
    assert common.sh(f"{line} touch -d @1000000000 file; {links}")["exit_code"] == 0
    entries = {item["name"]: item for item in listed(common, "told")}
    assert list(entries) == ["dangling", "deep", "file", "pipe", "to_directory", "to_file"]
    here = "/home/user/told"
    assert entries["file"] == {
        "name": "file",
        "path": f"{here}/file",
        "type": "file",
        "size": 6,
        "mode": 0o640,
        "permissions": "-rw-r-----",
        "owner": "user",
        "group": "user",
        "modified_at": 1_000_000_000,
    }
    assert entries["deep"].keys() == FIELDS
    links = {name: item for name, item in entries.items() if "symlink_target" in item}
    # A link has the type and the mode of what it leads to (wrenn: 4.5).
    told = {
        name: (item["type"], item["mode"], item["symlink_target"]) for name, item in links.items()
    }
    assert told == {
        "dangling": ("unknown", 0, f"{here}/nowhere"),
        "to_directory": ("directory", 0o755, f"{here}/deep"),
        "to_file": ("file", 0o640, f"{here}/file"),
    }
    assert {item["permissions"][0] for item in links.values()} == {"L"}
    assert entries["pipe"]["type"] == "unknown"
    for name, item in entries.items():
        assert entry(common, "stat", path=f"told/{name}") == item


@pytest.mark.parametrize(
    ("depth", "names"),
    [
        (None, ["a", "z"]),
        (0, ["a", "z"]),
        (1, ["a", "z"]),
        (2, ["a", "a/b", "a/link", "z"]),
        (2**31 - 1, ["a", "a/b", "a/b/c", "a/link", "z"]),
    ],
)
def test_depth(common: Box, depth: int | None, names: list[str]) -> None:
    assert common.sh("mkdir -p levels/a/b/c levels/z; ln -sfn .. levels/a/link")["exit_code"] == 0
    found = [item["path"] for item in listed(common, "levels", depth)]
    assert found == [f"/home/user/levels/{name}" for name in names]


def test_paths(common: Box) -> None:
    home = entry(common, "stat", path="/home/user")
    for path in (".", "~", "~/", "./", "../user", "/home/./user/"):
        assert entry(common, "stat", path=path) == home
    assert entry(common, "mkdir", path="~/paths/in/home/")["path"] == "/home/user/paths/in/home"
    assert entry(common, "stat", path="/")["name"] == "/"
    assert [item["name"] for item in listed(common, "/home")] == ["user"]
    home = entry(common, "stat", path="~")
    assert common.client.post(
        f"/v1/capsules/{common.id}/files/list", json={"path": "/home", "depth": 1}
    ).json() == {"entries": [home]}


def test_names_of_any_bytes_survive(common: Box) -> None:
    name = b"odd \xff\xfe \xc3\xa9"
    path = base64.b64encode(b"odd/" + name).decode()
    assert entry(common, "mkdir", path_base64=path)["path"].endswith("odd/odd \ufffd\ufffd \xe9")
    [found] = listed(common, "odd")
    assert base64.b64decode(found["path_base64"]) == b"/home/user/odd/" + name
    assert "path_base64" not in entry(common, "stat", path="odd")
    file = base64.b64encode(b"odd/" + name + b"/file").decode()
    upload = {"path": b"odd/" + name + b"/file"}
    response = common.client.post(
        common.url("/files/write"), data=upload, files={"file": b"content"}
    )
    assert response.status_code == 204
    assert common.post("/files/read", path_base64=file).content == b"content"
    copy = entry(common, "copy", source_base64=path, destination="odd/plain")
    assert copy["path"] == "/home/user/odd/plain"
    packed = common.post("/files/archive", path="odd").content
    assert extract(common, "again", packed).status_code == 204
    again = base64.b64encode(b"again/" + name + b"/file").decode()
    assert common.post("/files/read", path_base64=again).content == b"content"
    missing = common.post("/files/stat", path_base64=base64.b64encode(b"\xff").decode())
    assert missing.status_code == 404
    assert "\ufffd" in missing.json()["error"]["message"]
    assert common.post("/files/remove", path_base64=path).status_code == 204
    assert [item["name"] for item in listed(common, "odd")] == ["plain"]


PREPARE = (
    "cd; rm -rf bad; mkdir -p bad/directory/full bad/other; cd bad; touch file;"
    " ln -s loop loop; mkdir closed; chmod 0 closed"
)


@pytest.mark.parametrize(
    ("tail", "fields", "status", "code"),
    [
        ("list", {"path": "bad/missing"}, 404, "not_found"),
        ("list", {"path": "bad/file"}, 400, "invalid_request"),
        ("list", {"path": "bad/closed"}, 403, "forbidden"),
        ("list", {"path": "bad", "depth": -1}, 400, "invalid_request"),
        ("list", {"path": "bad/loop"}, 400, "invalid_request"),
        ("list", {"path": ""}, 400, "invalid_request"),
        ("list", {}, 400, "invalid_request"),
        ("stat", {"path": "bad/missing"}, 404, "not_found"),
        ("stat", {"path": "bad/file/x"}, 404, "not_found"),
        ("stat", {"path": "a\0b"}, 400, "invalid_request"),
        ("stat", {"path": "x" * 5000}, 400, "invalid_request"),
        ("stat", {"path": "/root/.bashrc"}, 404, "not_found"),
        ("stat", {"path": "a", "path_base64": "YQ=="}, 400, "invalid_request"),
        ("stat", {"path_base64": "?"}, 400, "invalid_request"),
        ("stat", {"path_base64": "AA=="}, 400, "invalid_request"),
        ("mkdir", {"path": "bad/directory"}, 409, "conflict"),
        ("mkdir", {"path": "bad/file"}, 400, "invalid_request"),
        ("mkdir", {"path": "bad/file/below"}, 404, "not_found"),
        ("mkdir", {"path": "/usr/new"}, 403, "forbidden"),
        ("remove", {"path": "bad/missing"}, 404, "not_found"),
        ("remove", {"path": "/usr/share/common-licenses/BSD"}, 403, "forbidden"),
        ("remove", {"path": "."}, 403, "forbidden"),
        ("remove", {"path": "bad/directory/../.."}, 403, "forbidden"),
        ("remove", {"path": "/home/user/"}, 403, "forbidden"),
        ("remove", {"path": "/tmp"}, 403, "forbidden"),
        ("remove", {"path": "/"}, 403, "forbidden"),
        ("move", {"source": "bad/missing", "destination": "x"}, 404, "not_found"),
        ("move", {"source": "bad/file", "destination": "bad/other"}, 409, "conflict"),
        ("move", {"source": "bad/directory", "destination": "bad/file"}, 409, "conflict"),
        ("move", {"source": "bad/other", "destination": "bad/other/x"}, 400, "invalid_request"),
        ("move", {"source": ".", "destination": "/tmp/home"}, 403, "forbidden"),
        ("move", {"source": "bad/file", "destination": "/usr/x"}, 403, "forbidden"),
        ("move", {"source": "bad/file"}, 400, "invalid_request"),
        ("copy", {"source": "bad/missing", "destination": "x"}, 404, "not_found"),
        ("copy", {"source": "bad/file", "destination": "bad/other"}, 409, "conflict"),
        ("copy", {"source": "bad", "destination": "bad/x/y"}, 400, "invalid_request"),
        ("copy", {"source": "bad/closed", "destination": "bad/x"}, 403, "forbidden"),
        (
            "copy",
            {"source": "bad/other", "destination": "bad", "overwrite": True},
            400,
            "invalid_request",
        ),
        ("chmod", {"path": "bad/missing", "mode": 0o600}, 404, "not_found"),
        ("chmod", {"path": "bad/file", "mode": 0o10000}, 400, "invalid_request"),
        ("chmod", {"path": "bad/file", "mode": -1}, 400, "invalid_request"),
        ("chmod", {"path": "bad/file"}, 400, "invalid_request"),
        ("chmod", {"path": "/etc/passwd", "mode": 0o666}, 403, "forbidden"),
        ("archive", {"path": "bad/missing"}, 404, "not_found"),
        ("archive", {"path": "bad/file"}, 404, "not_found"),
        ("archive", {"path": "bad/closed"}, 403, "forbidden"),
    ],
)
def test_what_cannot_be_done(
    common: Box, tail: str, fields: dict[str, Any], status: int, code: str
) -> None:
    # These are places of the sandbox, and had better not be those of this machine.
    assert common.client.get("/v1/capabilities").json()["isolation"]["level"] == "full"
    if not common.sh("cat bad/ready 2>/dev/null")["stdout"]:
        assert common.sh(f"{PREPARE}; echo yes > ready")["exit_code"] == 0
    response = common.post(f"/files/{tail}", **fields)
    assert response.status_code == status, response.text
    assert response.json()["error"]["code"] == code
    names = [item["name"] for item in listed(common, "bad")]
    assert names == ["closed", "directory", "file", "loop", "other", "ready"]


def test_moving_and_copying(common: Box) -> None:
    fill = "cd; rm -rf m; mkdir -p m/a/b; cd m; echo 1 > a/b/f; chmod 700 a/b/f; ln -s b/f a/link"
    assert common.sh(f"{fill}; ln a/b/f a/same; mkdir old; echo 2 > old/x; echo 3 > file")
    assert entry(common, "copy", source="m/a", destination="m/new/a")["type"] == "directory"
    look = "cd m/new/a && cat link && stat -c '%a %h %N' b/f link"
    assert common.sh(look)["stdout"] == "1\n700 2 b/f\n777 1 link -> b/f\n" or common.sh(look)
    assert common.sh("stat -c '%a %h' m/new/a/b/f")["stdout"] == "700 2\n"
    # What is in the way goes, whatever it is.
    for source, destination in (("m/a", "m/old"), ("m/file", "m/new"), ("m/old", "m/file")):
        fields = {"source": source, "destination": destination}
        for tail in ("move", "copy"):
            assert common.post(f"/files/{tail}", **fields).status_code in (404, 409)
        moved = (
            entry(common, "move", **fields, overwrite=True)
            if source != "m/file"
            else entry(common, "copy", **fields, overwrite=True)
        )
        assert moved["path"] == f"/home/user/{destination}"
    assert common.sh("cd m; cat file/b/f new; ls")["stdout"] == "1\n3\nfile\nnew\n"
    # To another file system and back.
    assert entry(common, "move", source="m/file", destination="/tmp/moved/x")["name"] == "x"
    assert common.sh("cat /tmp/moved/x/b/f; stat -c '%a %h' /tmp/moved/x/b/f; ls m")["stdout"] == (
        "1\n700 2\nnew\n"
    )
    assert entry(common, "copy", source="/tmp/moved/x", destination="m/back")["mode"] == 0o755
    assert entry(common, "copy", source="/usr/share/common-licenses", destination="m/host")
    link = entry(common, "copy", source="m/back/link", destination="m/link")
    assert link["symlink_target"] == "/home/user/m/b/f"
    assert common.sh("ls -A m /tmp/moved")["stdout"].split() == [
        "/tmp/moved:", "x", "m:", "back", "host", "link", "new",
    ]  # fmt: skip


def test_removing(common: Box) -> None:
    line = "cd; rm -rf r; mkdir -p r/a/b/c r/kept; touch r/kept/file; ln -s ../kept r/a/link"
    assert common.sh(f"{line}; chmod 0 r/a/b; ln -s kept r/link")["exit_code"] == 0
    assert common.post("/files/remove", path="r/link").status_code == 204
    assert common.post("/files/remove", path="r/a").status_code == 204
    assert common.sh("find r | sort")["stdout"] == "r\nr/kept\nr/kept/file\n"


def test_changing_the_mode(common: Box) -> None:
    assert common.write("mode", b"").status_code == 204
    assert common.sh("ln -sf mode mode_link")["exit_code"] == 0
    for mode in (0, 0o7777, 0o640):
        assert entry(common, "chmod", path="mode_link", mode=mode)["mode"] == mode
        assert common.sh("stat -c %a mode")["stdout"] == f"{mode:o}\n"


def test_deep_and_wide_trees(common: Box) -> None:
    program = (
        "import os\n"
        "os.makedirs('wide'); [open(f'wide/{n}', 'w').close() for n in range(10001)]\n"
        "os.mkdir('deep'); os.chdir('deep')\n"
        "for _ in range(1010): os.mkdir('d'); os.chdir('d')\n"
    )
    assert common.exec("python3", "-c", program)["exit_code"] == 0
    response = common.post("/files/list", path="wide")
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "too_large"
    deep = listed(common, "deep", 100)
    assert [len(item["path"]) for item in deep] == [17 + 2 * level for level in range(100)]
    copied = common.post("/files/copy", source="deep", destination="deeper")
    assert copied.status_code == 200, copied.text
    # Too deep for an archive: the answer has begun, and ends so that nobody takes it for whole.
    with pytest.raises(httpx.RemoteProtocolError):
        _ = common.post("/files/archive", path="deep")
    for path in ("wide", "deep", "deeper"):
        assert common.post("/files/remove", path=path).status_code == 204
    assert not [item for item in listed(common, ".") if item["name"].endswith(".part")]


def test_archives_in_and_out(common: Box) -> None:
    long = "/".join(["n\xe4me" * 20] * 12)
    line = "cd; rm -rf arc; mkdir -p arc/empty arc/sub; cd arc; head -c 3000000 /dev/urandom > big"
    more = "ln -s sub/x link; echo x > sub/x; ln sub/x same; chmod 755 sub/x; mkfifo pipe; : > none"
    assert common.sh(f"{line}; {more}; touch -d @1234567890 sub/x")["exit_code"] == 0
    assert common.write(f"arc/{long}", b"long").status_code == 204
    response = common.post("/files/archive", path="arc")
    assert response.headers["content-type"] == "application/x-tar"
    with tarfile.open(fileobj=io.BytesIO(response.content)) as tar:
        members = {item.name: item for item in tar}
        assert {"big", "empty", "link", "none", "same", "sub", "sub/x", long} <= members.keys()
        assert "pipe" not in members
        assert members["empty"].isdir()
        assert members["link"].linkname == "sub/x"
        assert members["sub/x"].islnk() or members["same"].islnk()
        assert members["same"].mtime == 1234567890
        assert members["same"].mode == 0o755
        big = tar.extractfile("big")
        assert big is not None
        assert big.read() == common.read("arc/big")
    assert extract(common, "arc2/here", response.content).status_code == 204
    assert common.sh("rm arc/pipe; diff -r arc arc2/here && stat -c '%a %Y %h' arc2/here/sub/x")[
        "stdout"
    ] == ("755 1234567890 2\n")
    for format in (tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT):
        name = "d" * 90 + "/" + "f" * 80
        data = archive([(member(name), b"content"), (member("plain"), b"")], format)
        assert extract(common, "arc3", data).status_code == 204
        assert common.read(f"arc3/{name}") == b"content"


EVIL: dict[str, list[tuple[tarfile.TarInfo, bytes]]] = {
    "dots": [(member("../evil"), b"x")],
    "dots-inside": [(member("a/../../evil"), b"x")],
    "absolute": [(member("/tmp/evil"), b"x")],
    "absolute-link": [(member("l", tarfile.SYMTYPE, "/etc"), b"")],
    "link-out": [(member("a/l", tarfile.SYMTYPE, "../../evil"), b"")],
    "hard-link-out": [(member("h", tarfile.LNKTYPE, "../arc"), b"")],
    "hard-link-absolute": [(member("h", tarfile.LNKTYPE, "/etc/passwd"), b"")],
    "through-a-link": [
        (member("real", tarfile.DIRTYPE), b""),
        (member("l", tarfile.SYMTYPE, "real"), b""),
        (member("l/evil"), b"x"),
    ],
    "device": [(member("dev", tarfile.CHRTYPE), b"")],
    "block-device": [(member("dev", tarfile.BLKTYPE), b"")],
    "pipe": [(member("p", tarfile.FIFOTYPE), b"")],
    "directory-over-file": [(member("f"), b"x"), (member("f/evil"), b"x")],
    "sparse": [(member("s", tarfile.GNUTYPE_SPARSE), b"")],
}


@pytest.mark.parametrize("name", EVIL)
def test_hostile_archives(common: Box, name: str) -> None:
    assert common.sh("cd; rm -rf hostile; mkdir hostile")["exit_code"] == 0
    response = extract(common, "hostile/target", archive(EVIL[name]))
    assert response.status_code == 400, response.text
    assert "evil" not in common.sh("find /home /tmp")["stdout"]
    assert ".part" not in common.sh("find hostile")["stdout"]


def test_links_that_are_there_are_not_followed(common: Box) -> None:
    assert common.sh("cd; rm -rf t out; mkdir t out; ln -s ../out t/l; ln -s ../out/f t/f")
    assert extract(common, "t", archive([(member("l/x"), b"x")])).status_code == 400
    assert extract(common, "t", archive([(member("f"), b"x")])).status_code == 204
    assert common.sh("ls out; cat t/f; find t -type l")["stdout"] == "xt/l\n"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x",
        b"x" * 2000,
        archive([(member("a"), b"x" * 9999)])[:3000],
        archive([(member("a"), b"x")])[:1024],
        b"\x1f\x8b" + random.Random(0).randbytes(2000),
        member("x", size=1 << 40).tobuf(tarfile.GNU_FORMAT),
        member("x", tarfile.XHDTYPE, size=1 << 30).tobuf(tarfile.GNU_FORMAT),
        member("x", tarfile.GNUTYPE_LONGNAME, size=1 << 30).tobuf(tarfile.GNU_FORMAT),
        b"".join([member("x", tarfile.XHDTYPE, size=0).tobuf(tarfile.GNU_FORMAT)] * 3_000),
        member("x", tarfile.DIRTYPE, size=5).tobuf(tarfile.GNU_FORMAT) + bytes(2048),
    ],
    ids=lambda data: f"{len(data)}-{data[:9].hex()}",
)
def test_damaged_archives(common: Box, data: bytes) -> None:
    assert common.sh("rm -rf damaged")["exit_code"] == 0
    response = extract(common, "damaged", data)
    assert response.status_code == 400, response.text
    assert ".part" not in common.sh("find damaged")["stdout"]


def test_an_upload_that_breaks_off_leaves_no_part_of_a_file(
    common: Box, server: ServerProcess
) -> None:
    head = (
        b'--B\r\nContent-Disposition: form-data; name="path"\r\n\r\nbroken\r\n'
        b'--B\r\nContent-Disposition: form-data; name="file"\r\n\r\n'
    )
    data = archive([(member("whole"), b"whole"), (member("half"), b"x" * 500_000)])
    request = (
        f"POST {common.url('/files/extract')} HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\n"
        "Content-Type: multipart/form-data; boundary=B\r\nContent-Length: 9999999\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(request.encode() + head + data[:300_000])
        eventually(lambda: any(".part" in item["name"] for item in seen(common, "broken")))
    eventually(lambda: [item["name"] for item in seen(common, "broken")] == ["whole"])


def seen(box: Box, path: str) -> list[dict[str, Any]]:
    response = box.post("/files/list", path=path)
    return response.json()["entries"] if response.status_code == 200 else []


def test_nobody_reads_on_when_who_downloads_has_hung_up(server: ServerProcess, box: Box) -> None:
    assert box.sh("mkdir d; for n in $(seq 999); do truncate -s 500M d/$n; done")["exit_code"] == 0
    headers = {"X-Request-Id": "hung-up"}
    with box.client.stream(
        "POST", box.url("/files/archive"), json={"path": "d"}, headers=headers
    ) as response:
        assert next(response.iter_raw())
    line = server.wait_for(lambda line: line.get("request_id") == "hung-up")
    assert line["outcome"] == "disconnected"
