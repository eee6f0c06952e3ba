"""Archives of directories on this machine: made, and taken from somebody hostile."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sandlot import (
    InvalidArgumentError,
    SandlotError,
    TooLargeError,
    TransportError,
    UnexpectedResponseError,
)
from sandlot._archives.packing import pack
from sandlot._archives.unpacking import Limits, Unpacking

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs descriptors of directories")
ENOUGH = Limits(1 << 30, 10_000)


def member(name: str, data: bytes = b"", kind: bytes = b"0", link: str = "", **more: Any) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, len(data)
    for field, value in more.items():
        setattr(info, field, value)
    head = info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
    return head + data + bytes(-len(data) % 512)


END = bytes(1024)


def unpack(target: Path, data: bytes, limits: Limits = ENOUGH, size: int = 7777) -> None:
    with Unpacking(target, limits) as unpacking:
        for start in range(0, len(data), size):
            unpacking.feed(data[start : start + size])
        unpacking.finish()


def tree(top: Path) -> dict[str, object]:
    """Return what is below a directory: contents of files, targets of links."""
    found: dict[str, object] = {}
    for path in sorted(top.rglob("*")):
        name = str(path.relative_to(top))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        else:
            found[name] = None if path.is_dir() else path.read_bytes()
    return found


@pytest.fixture
def around(tmp_path: Path) -> Iterator[Path]:
    """The target of hostile archives; nothing around it may change."""
    outside = tmp_path / "outside"
    outside.mkdir()
    _ = (outside / "secret").write_bytes(b"secret")
    target = tmp_path / "target"
    target.mkdir()
    yield target
    assert sorted(os.listdir(tmp_path)) == ["outside", "target"]
    assert tree(outside) == {"secret": b"secret"}
    assert not [path for path in target.rglob("*") if path.name.endswith(".part")]


def test_there_and_back(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "a/empty").mkdir(parents=True)
    _ = (source / "a/file").write_bytes(os.urandom(600_000))
    _ = (source / "a/none").write_bytes(b"")
    _ = (source / ("n\xe4me" * 30)).write_bytes(b"long")
    _ = Path(os.fsdecode(os.fsencode(source) + b"/\xff\xfe")).write_bytes(b"bytes")
    (source / "a/link").symlink_to("../a/file")
    (source / "a/file").chmod(0o4751)
    os.utime(source / "a/file", (10**9, 10**9))
    os.mkfifo(source / "pipe")
    data = b"".join(pack(source))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert "pipe" not in tar.getnames()
    (source / "pipe").unlink()
    for size in (1000, 10**9):
        target = tmp_path / f"by-{size}"
        unpack(target, data, size=size)
        assert tree(target) == tree(source)
        status = (target / "a/file").stat()
        assert (status.st_mode & 0o7777, status.st_mtime) == (0o751, 10**9)


def test_one_byte_at_a_time(tmp_path: Path) -> None:
    data = member("a/b", b"x" * 600) + member("c", kind=b"2", link="a/b") + END
    unpack(tmp_path, data, size=1)
    assert tree(tmp_path) == {"a": None, "a/b": b"x" * 600, "c": "-> a/b"}


def test_what_is_there_is_replaced_but_never_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    _ = outside.write_bytes(b"mine")
    target = tmp_path / "target"
    target.mkdir()
    (target / "link").symlink_to(outside)
    _ = (target / "file").write_bytes(b"old")
    held = (target / "file").open("rb")
    hard = member("same", kind=b"1", link="file")
    unpack(target, member("link", b"new") + member("file", b"new") + hard + END)
    assert tree(target) == {"link": b"new", "file": b"new", "same": b"new"}
    assert outside.read_bytes() == b"mine"
    with held:
        assert held.read() == b"old"


EVIL: dict[str, bytes] = {
    "dots": member("../evil", b"x"),
    "dots inside": member("a/../../evil", b"x"),
    "absolute": member("/tmp/sandlot-evil", b"x"),
    "nothing but dots": member("..", kind=b"5"),
    "link to the root": member("l", kind=b"2", link="/"),
    "link upwards": member("l", kind=b"2", link=".."),
    "link out by the way": member("a/l", kind=b"2", link="b/../../../outside"),
    "link to nothing": member("l", kind=b"2", link=""),
    "through a link": member("d", kind=b"5")
    + member("l", kind=b"2", link="d")
    + member("l/evil", b"x"),
    "through links that look harmless": member("a/up", kind=b"2", link="../b")
    + member("b", kind=b"2", link="a/..")
    + member("a/up/../../evil", b"x"),
    "directory by a link": member("l", kind=b"2", link="d") + member("l", kind=b"5"),
    "hard link out": member("h", kind=b"1", link="../outside/secret"),
    "hard link to what is absolute": member("h", kind=b"1", link="/etc/passwd"),
    "hard link through a link": member("l", kind=b"2", link="x")
    + member("h", kind=b"1", link="l/secret"),
    "hard link to nothing": member("h", kind=b"1", link="missing"),
    "file over a directory": member("d", kind=b"5") + member("d", b"x"),
    "directory over a file": member("f", b"x") + member("f/evil", b"x"),
    "character device": member("c", kind=b"3"),
    "block device": member("c", kind=b"4"),
    "pipe": member("p", kind=b"6"),
    "GNU sparse": member("s", kind=b"S"),
    "pax sparse": member("s", pax_headers={"GNU.sparse.major": "1"}),
    "unknown": member("s", kind=b"Z"),
    "too long a name": member("x" * 300, b"x"),
    "too deep": member("x/" * 1500, kind=b"5"),
    "directory with a content": member("d", b"x", kind=b"5"),
    "negative size": member("f", pax_headers={"size": "-1"}),
    "size that is none": member("f", pax_headers={"size": "x"}),
    "endless time": member("f", pax_headers={"mtime": "inf"}),
    "time that is none": member("f", pax_headers={"mtime": "nan"}),
    "huge header": member("h", b"x" * ((1 << 20) + 1), kind=b"x"),
    "header of nonsense": member("h", b"nonsense", kind=b"x"),
    "header that ends early": member("h", b"99 path=x\n", kind=b"x"),
    "no archive": b"x" * 512,
}


@pytest.mark.parametrize("name", EVIL)
def test_hostile_archives(around: Path, name: str) -> None:
    (around / "x").symlink_to("../outside")
    with pytest.raises(UnexpectedResponseError) as caught:
        unpack(around, EVIL[name] + END)
    assert caught.value.outcome == "finished"
    assert not Path("/tmp/sandlot-evil").exists()
    assert not list(around.parent.rglob("evil"))


@pytest.mark.parametrize(
    ("data", "limits"),
    [
        (member("a", b"x" * 600) + member("b", b"x" * 600), Limits(1000, 10)),
        (member("a") + member("b") + member("c"), Limits(1000, 2)),
        (member("a", pax_headers={"size": str(1 << 60)}), ENOUGH),
        (b"".join(member(f"d{number}", kind=b"5") for number in range(20)), Limits(10, 10)),
    ],
    ids=["bytes", "files", "announced", "directories"],
)
def test_bombs(around: Path, data: bytes, limits: Limits) -> None:
    with pytest.raises(TooLargeError):
        unpack(around, data + END, limits)


@pytest.mark.parametrize("left", [0, 100, 512, 900, 1024, 1536])
def test_what_breaks_off_is_no_success(around: Path, left: int) -> None:
    data = member("a", b"1" * 100) + member("b", b"2" * 700)
    with pytest.raises(TransportError):
        unpack(around, data[:left])
    assert tree(around) in ({}, {"a": b"1" * 100})


def test_names_that_come_later(around: Path) -> None:
    """A header says something of the member after it only."""
    data = member("x" * 150, b"1") + member("y", b"2") + member("g", b"11 path=zz\n", kind=b"g")
    unpack(around, data + member("z", b"3") + END + b"what follows is of no interest")
    assert tree(around) == {"x" * 150: b"1", "y": b"2", "z": b"3"}


def unreadable(top: Path) -> None:
    (top / "link").symlink_to("/etc")


def upwards(top: Path) -> None:
    (top / "a").mkdir()
    (top / "a/link").symlink_to("../b/../..")


@pytest.mark.parametrize("spoil", [unreadable, upwards])
def test_links_that_lead_out_are_not_sent(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    spoil(tmp_path)
    with pytest.raises(InvalidArgumentError, match="leads out"):
        _ = list(pack(tmp_path))


def test_what_is_no_directory(tmp_path: Path) -> None:
    _ = (tmp_path / "file").write_bytes(b"")
    for name in ("file", "missing"):
        with pytest.raises(InvalidArgumentError):
            _ = pack(tmp_path / name)
    with pytest.raises((SandlotError, FileExistsError)):
        unpack(tmp_path / "file", END)
