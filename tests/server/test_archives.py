"""Archives that come with recipes: what is kept of good ones, and why bad ones are refused."""

from __future__ import annotations

import gzip
import io
import stat
import struct
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from sandlot.server.services import archives
from sandlot.server.services.archive_tree import Tree
from sandlot.server.services.errors import InvalidRequestError, NoSpaceError
from sandlot.server.services.picking import Picker, SourceError

Member = tuple[tarfile.TarInfo, bytes]


def member(name: str, data: bytes = b"", **fields: object) -> Member:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> Member:
    return member(name, type=kind, linkname=target)


def tar(*members: Member, format: int = tarfile.PAX_FORMAT) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=format) as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    return packed.getvalue()


def zipped(
    *members: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED
) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for info, data in members:
            archive.writestr(info, data)
    return packed.getvalue()


def zipped_as(name: str, kind: int, mode: int = 0o644) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = (kind | mode) << 16
    return info


def rewritten(data: bytes, place: Path) -> tuple[dict[str, tuple[str, int, bytes]], str]:
    """Return what is kept of an archive, by name, and its digest."""
    source, target = place / "sent", place / "clean"
    _ = source.write_bytes(data)
    target.unlink(missing_ok=True)
    digest = archives.rewrite(source, target, 0)
    found: dict[str, tuple[str, int, bytes]] = {}
    with tarfile.open(target) as archive:
        for info in archive:
            assert (info.uid, info.gid, info.uname) == (0, 0, "")
            content = archive.extractfile(info) if info.isreg() else None
            kind = "link" if info.issym() else "directory" if info.isdir() else "file"
            assert kind != "file" or info.isreg()
            text = info.linkname.encode() if content is None else content.read()
            found[info.name] = (kind, info.mode, text)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    return found, digest


GOOD = {
    "a": ("file", 0o644, b"one"),
    "d": ("directory", 0o755, b""),
    "d/b c": ("file", 0o755, b"two"),
    "d/grüße": ("file", 0o600, b"three"),
    "d/l": ("link", 0o777, b"../a"),
}


def good_tar() -> bytes:
    return tar(
        member("./a", b"one", mode=0o644, uid=5, uname="root"),
        member("d/", type=tarfile.DIRTYPE, mode=0o755),
        member("d/b c", b"two", mode=0o4755),
        member("d//./grüße", b"three", mode=0o000),
        link("d/l", "../a"),
    )


def good_zip() -> bytes:
    return zipped(
        (zipped_as("a", stat.S_IFREG), b"one"),
        (zipped_as("d/", stat.S_IFDIR, 0o755), b""),
        (zipped_as("d/b c", stat.S_IFREG, 0o4755), b"two"),
        (zipped_as("d/grüße", stat.S_IFREG, 0o600), b"three"),
        (zipped_as("d/l", stat.S_IFLNK, 0o777), b"../a"),
    )


@pytest.mark.parametrize(
    "make", [good_tar, lambda: gzip.compress(good_tar()), good_zip], ids=["tar", "gzip", "zip"]
)
def test_good_archives(make: Callable[[], bytes], tmp_path: Path) -> None:
    found, digest = rewritten(make(), tmp_path)
    kind, mode, target = found["d/l"]
    assert (kind, target) == ("link", b"../a")  # modes of links mean nothing
    assert {**found, "d/l": (kind, 0o777, target)} == GOOD
    assert mode
    assert len(digest) == 64


def test_digests_tell_contents_from_wrappings(tmp_path: Path) -> None:
    def digest(*members: Member) -> str:
        return rewritten(tar(*members), tmp_path)[1]

    one = digest(member("a", b"x", mtime=5))
    assert digest(member("./a", b"x", mtime=9, uname="me")) == one
    assert digest(member("a", b"y")) != one
    assert digest(member("a", b"x", mode=0o755)) != one
    assert digest(member("b", b"x")) != one


def test_hard_links_become_files(tmp_path: Path) -> None:
    found, _ = rewritten(
        gzip.compress(tar(member("a", b"x"), link("./b", "./a", tarfile.LNKTYPE))), tmp_path
    )
    assert found["b"] == ("file", 0o644, b"x")


def test_implicit_directories_and_the_root(tmp_path: Path) -> None:
    data = tar(member("./", type=tarfile.DIRTYPE), member("a/b/c", b"x"), member("a/", type=b"5"))
    assert list(rewritten(data, tmp_path)[0]) == ["a/b/c"]


def long_header() -> bytes:
    """A header that says that a name of 200 MiB follows."""
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 200 << 20
    return info.tobuf(tarfile.GNU_FORMAT) + bytes(1024)


def pax(**headers: str) -> bytes:
    info = tarfile.TarInfo("a")
    info.pax_headers = headers
    return tar((info, b""))


def nested_long_names() -> bytes:
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 512
    return (info.tobuf(tarfile.GNU_FORMAT) + bytes(512)) * 5000


def large_directory() -> bytes:
    """A zip archive whose end says that its directory has 1 GiB."""
    end = bytearray(zipped(("a", b"x")))
    end[-10:-6] = (1 << 30).to_bytes(4, "little")
    return bytes(end)


def large_directory_in_64_bits() -> bytes:
    """A zip archive with a comment so long that what is before the end is easily overlooked."""
    data = zipped(("a", b"x"))
    body, end = data[:-22], data[-22:-2]
    directory = int.from_bytes(end[12:16], "little")
    more = struct.pack(
        "<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, directory, len(body) - directory
    )
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, len(body), 1)
    return body + more + locator + end + b"\xff\xff" + b"x" * 0xFFFF


def before_the_beginning() -> bytes:
    """A zip archive whose end says that its directory comes later than it does."""
    data = bytearray(zipped(("a", b"x")))
    data[-6:-2] = (int.from_bytes(data[-6:-2], "little") + 100).to_bytes(4, "little")
    return bytes(data)


def common_header(keys: int, members: int) -> bytes:
    """A tar archive whose members have many attributes in common, which take nearly no room."""
    headers = {f"a{number}": "b" for number in range(keys)}
    packed = io.BytesIO()
    with tarfile.open(
        fileobj=packed, mode="w", format=tarfile.PAX_FORMAT, pax_headers=headers
    ) as archive:
        for number in range(members):
            archive.addfile(tarfile.TarInfo(f"f{number}"))
    return packed.getvalue()


def encrypted() -> bytes:
    data = bytearray(zipped(("a", b"x")))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    return bytes(data)


def garbled() -> bytes:
    data = bytearray(gzip.compress(good_tar()))
    data[len(data) // 2] ^= 0xFF
    return bytes(data)


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "no archive": (lambda: b"hello" * 1000, "damaged"),
    "empty": (lambda: b"", "damaged"),
    "truncated tar": (lambda: tar(member("a", b"x" * 2000))[:1500], "damaged"),
    "garbage at the end": (lambda: tar(member("a", b"x"))[:1024] + b"x" * 512, "damaged"),
    "truncated gzip": (lambda: gzip.compress(good_tar())[:-20], "damaged"),
    "garbled gzip": (garbled, "damaged"),
    "truncated zip": (lambda: good_zip()[:-30], "damaged"),
    "wrong checksum": (
        lambda: zipped(("a", b"xyz"), method=0).replace(b"xyz", b"xyy", 1),
        "damaged",
    ),
    "dots": (lambda: tar(member("a/../../b")), "leads out"),
    "dots inside": (lambda: tar(member("a/../b")), "leads out"),
    "dots in a zip": (lambda: zipped(("../b", b"")), "leads out"),
    "absolute": (lambda: tar(member("/etc/passwd")), "absolute"),
    "absolute in a zip": (lambda: zipped(("/etc/passwd", b"")), "absolute"),
    "backslashes": (lambda: zipped(("..\\b", b"")), "backslash"),
    "control character": (lambda: tar(member("a\nb")), "cannot be printed"),
    "other direction": (lambda: tar(member("a\u202eb")), "cannot be printed"),
    "no utf-8": (lambda: tar(member("a\udcff")), "not UTF-8"),
    "no name": (lambda: tar(member(".")), "no name"),
    "long name": (lambda: tar(member("x" * 256)), "too long"),
    "long path": (lambda: tar(member("/".join(["x" * 200] * 6))), "too long"),
    "deep": (lambda: tar(member("a/" * 40 + "b")), "deep"),
    "twice": (lambda: tar(member("a", b"1"), member("./a", b"2")), "twice"),
    "file and directory": (lambda: tar(member("a", b"1"), member("a/b", b"2")), "no directory"),
    "through a link": (lambda: tar(link("a", "b"), member("a/c", b"2")), "no directory"),
    "link up": (lambda: tar(link("a", "../b")), "leads out"),
    "link up later": (lambda: tar(link("d/a", "x/../../b")), "leads out"),
    "link to root": (lambda: tar(link("a", "/etc")), "absolute"),
    "link to nothing": (lambda: tar(link("a", "")), "nothing"),
    "link up in a zip": (lambda: zipped((zipped_as("a", stat.S_IFLNK), b"../b")), "leads out"),
    "long link in a zip": (
        lambda: zipped((zipped_as("a", stat.S_IFLNK), b"x" * 5000)),
        "too long",
    ),
    "hard link out": (lambda: tar(link("a", "/etc/passwd", tarfile.LNKTYPE)), "come before"),
    "hard link ahead": (
        lambda: tar(link("a", "b", tarfile.LNKTYPE), member("b", b"x")),
        "come before",
    ),
    "character device": (lambda: tar(member("a", type=tarfile.CHRTYPE)), "device"),
    "block device": (lambda: tar(member("a", type=tarfile.BLKTYPE)), "device"),
    "pipe": (lambda: tar(member("a", type=tarfile.FIFOTYPE)), "device"),
    "device in a zip": (lambda: zipped((zipped_as("a", stat.S_IFCHR), b"")), "device"),
    "sparse": (
        lambda: pax(**{"GNU.sparse.size": str(1 << 60), "GNU.sparse.map": "0,0"}),
        "sparse",
    ),
    "long header": (long_header, "damaged"),
    "headers in headers": (nested_long_names, "damaged"),
    "negative size": (lambda: pax(size="-5"), "damaged|more"),
    "size without content": (lambda: pax(size=str(1 << 40)), "damaged|more"),
    "bomb": (lambda: gzip.compress(bytes(34 << 20), 1), "unpacks to more"),
    "bomb in a tar": (
        lambda: gzip.compress(tar(member("a", bytes(34 << 20))), 1),
        "unpacks to more",
    ),
    "bomb in a zip": (lambda: zipped(("a", bytes(34 << 20))), "unpacks to more"),
    "bomb of hard links": (
        lambda: gzip.compress(
            tar(
                member("a", bytes(4 << 20)),
                *(link(f"b{n}", "a", tarfile.LNKTYPE) for n in range(20)),
            )
        ),
        "unpacks to more",
    ),
    "encrypted": (encrypted, "encrypted"),
    "bzip2 in a zip": (lambda: zipped(("a", b"x"), method=zipfile.ZIP_BZIP2), "another method"),
    "large directory": (large_directory, "more entries"),
    "large directory in 64 bits": (large_directory_in_64_bits, "more entries"),
    "before the beginning": (before_the_beginning, "damaged"),
    "many attributes": (lambda: common_header(2000, 1), "attributes"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_archives(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "_HEADERS", 0)  # what else would be unpacked takes its time
    make, problem = HOSTILE[name]
    with pytest.raises(InvalidRequestError, match=problem) as caught:
        _ = rewritten(make(), tmp_path)
    assert str(caught.value).startswith("archive: ")
    assert "\n" not in str(caught.value)
    assert {path.name for path in tmp_path.iterdir()} <= {"sent", "clean"}


def test_times_that_there_are_not(tmp_path: Path) -> None:
    data = tar(*(member(f"a{n}", mtime=time) for n, time in enumerate((-5, 1e20, float("1e300")))))
    assert len(rewritten(data, tmp_path)[0]) == 3


def test_entries_have_a_bound() -> None:
    tree = Tree(1 << 30)
    for number in range(50_000):
        _ = tree.take(str(number), "file", mode=0o644)
    with pytest.raises(InvalidRequestError, match="more than 50000 entries"):
        _ = tree.take("more", "file", mode=0o644)


def test_directories_that_come_again_and_again_are_entries_too() -> None:
    tree = Tree(1 << 30)
    for _ in range(50_000):
        assert tree.take(".", "directory", mode=0o755) is None
    with pytest.raises(InvalidRequestError, match="more than 50000 entries"):
        _ = tree.take(".", "directory", mode=0o755)


def test_headers_are_not_kept(tmp_path: Path) -> None:
    data = gzip.compress(
        tar(*(member(f"f{n}", pax_headers={"comment": f"{n}" + "x" * 100_000}) for n in range(200)))
    )
    tracemalloc.start()
    try:
        assert len(rewritten(data, tmp_path)[0]) == 200
        assert tracemalloc.get_traced_memory()[1] < 10 << 20
    finally:
        tracemalloc.stop()


def test_a_full_disk(tmp_path: Path) -> None:
    source = tmp_path / "sent"
    _ = source.write_bytes(tar(member("a", b"x")))
    with pytest.raises(NoSpaceError):
        _ = archives.rewrite(source, tmp_path / "clean", 1 << 62)


def picked(
    place: Path, *sources: str, name: str | None = None, mode: int | None = None
) -> list[str]:
    _ = rewritten(good_tar(), place)
    picker = Picker(place / "clean", sources)
    picker.check()
    target = io.BytesIO()
    picker.write(target, name, mode)
    _ = target.seek(0)
    with tarfile.open(fileobj=target) as archive:
        return [f"{info.name} {info.mode:o}" for info in archive]


def test_what_a_copy_takes(tmp_path: Path) -> None:
    assert picked(tmp_path, "a") == ["a 644"]
    assert picked(tmp_path, "/a", name="z", mode=0o755) == ["z 755"]
    assert picked(tmp_path, "d/b c", "a") == ["b c 755", "a 644"]
    whole = ["a 644", "d 755", "d/b c 755", "d/grüße 600", "d/l 644"]
    assert picked(tmp_path, ".") == whole
    assert picked(tmp_path, "d/..") == whole
    assert picked(tmp_path, "./d/") == ["b c 755", "grüße 600", "l 644"]


@pytest.mark.parametrize("source", ["nope", "d/nope", "a/x", "..", "../a", "d/../../a", "d/l/x"])
def test_sources_that_are_not_there(source: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError):
        _ = picked(tmp_path, source)


def test_nothing_to_copy_from() -> None:
    with pytest.raises(SourceError, match="no archive"):
        _ = Picker(None, ["a"])
