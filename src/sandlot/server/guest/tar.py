"""Headers of tar archives: POSIX pax ones (pax(1), "pax Interchange Format"), and GNU's long names.

The standard library's module takes longer to load than all the rest of this package together, and
would hold in memory whatever an archive says is a header. Nothing is compressed here.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = [
    "BLOCK",
    "DIRECTORY",
    "END",
    "FILE",
    "HARD_LINK",
    "SYMBOLIC_LINK",
    "Member",
    "TarError",
    "padding",
    "read_member",
    "write_header",
]

BLOCK = 512
END = bytes(2 * BLOCK)
FILE, HARD_LINK, SYMBOLIC_LINK, DIRECTORY = b"0", b"1", b"2", b"5"
_KINDS = {
    b"0": FILE,
    b"\0": FILE,
    b"7": FILE,
    b"1": HARD_LINK,
    b"2": SYMBOLIC_LINK,
    b"5": DIRECTORY,
}
_PAX, _GLOBAL, _LONG_NAME, _LONG_LINK = b"x", b"g", b"L", b"K"
_LONGEST = 1 << 20
"""Bytes of a header; the longest path has 4096."""
_NAME = 100
_LARGEST = 8**11 - 1
_LAST_TIME = 1 << 40

Read = Callable[[int], bytes]
"""Returns as many bytes, or fewer at the end."""


class TarError(Exception):
    """An archive is not as it should be, or not fit to be extracted."""


class Member:
    """Something in an archive. Names are bytes: what they mean is the file system's to say."""

    def __init__(
        self,
        name: bytes,
        kind: bytes,
        *,
        size: int = 0,
        mode: int = 0o644,
        modified_at: int = 0,
        link: bytes = b"",
    ) -> None:
        self.name = name
        self.kind = kind
        self.size = size
        self.mode = mode
        self.modified_at = modified_at
        self.link = link


def padding(size: int) -> int:
    """Return how many bytes follow a content to fill its last block."""
    return -size % BLOCK


def write_header(member: Member) -> bytes:
    """Return the header of a member, and before it one of what does not fit into it."""
    more = b""
    if len(member.name) > _NAME or not member.name.isascii():
        more += _record(b"path", member.name)
    if len(member.link) > _NAME or not member.link.isascii():
        more += _record(b"linkpath", member.link)
    if member.size > _LARGEST:
        more += _record(b"size", b"%d" % member.size)
    if not 0 <= member.modified_at <= _LARGEST:
        more += _record(b"mtime", b"%d" % member.modified_at)
    if not more:
        return _block(member, member.kind)
    if not _is_text(member.name) or not _is_text(member.link):
        more = _record(b"hdrcharset", b"BINARY") + more
    extra = Member(b"././@PaxHeader", _PAX, size=len(more))
    return _block(extra, _PAX) + more + bytes(padding(len(more))) + _block(member, member.kind)


def read_member(read: Read) -> Member | None:
    """Read the next header; None at the end of the archive. The content is left to the caller.

    Raises:
        TarError: It is none, or one of something that is neither file, directory nor link.
    """
    names: dict[bytes, bytes] = {}
    records: dict[bytes, bytes] = {}
    total = 0
    while True:
        block = read(BLOCK)
        if len(block) < BLOCK:
            raise TarError("the archive breaks off")
        if block == bytes(BLOCK):
            return None
        kind, member = _parse(block)
        if kind not in (_PAX, _GLOBAL, _LONG_NAME, _LONG_LINK):
            return _complete(kind, member, names, records)
        total += member.size
        if total > _LONGEST:
            raise TarError("a header of the archive is too long")
        size = member.size + padding(member.size)
        data = read(size)
        if len(data) < size:
            raise TarError("the archive breaks off")
        data = data[: member.size]
        if kind == _PAX:
            records.update(_records(data))
        elif kind != _GLOBAL:
            names[kind] = data.rstrip(b"\0")


def _complete(
    kind: bytes, member: Member, names: dict[bytes, bytes], records: dict[bytes, bytes]
) -> Member:
    if kind not in _KINDS or any(name.startswith(b"GNU.sparse") for name in records):
        raise TarError(f"{_show(member.name)}: neither a file nor a directory nor a link")
    member.name = records.get(b"path", names.get(_LONG_NAME, member.name))
    member.link = records.get(b"linkpath", names.get(_LONG_LINK, member.link))
    member.size = _integer(records[b"size"]) if b"size" in records else member.size
    if b"mtime" in records:
        member.modified_at = _integer(records[b"mtime"].partition(b".")[0])
    if kind == b"0" and member.name.endswith(b"/"):
        kind = DIRECTORY  # as it was before POSIX
    member.kind = _KINDS[kind]
    if member.size < 0 or (member.size and member.kind in (SYMBOLIC_LINK, DIRECTORY)):
        raise TarError(f"{_show(member.name)}: has an impossible size")
    if member.kind == HARD_LINK and member.size:
        raise TarError(f"{_show(member.name)}: a link with a content")
    if not abs(member.modified_at) < _LAST_TIME:
        raise TarError(f"{_show(member.name)}: has an impossible time")
    return member


def _parse(block: bytes) -> tuple[bytes, Member]:
    """Read a header block (ustar: pax(1), "ustar Interchange Format")."""
    total = sum(block[:148]) + 8 * 32 + sum(block[156:])
    if _number(block[148:156]) != total:
        raise TarError("this is no tar archive, or it is damaged or compressed")
    name = block[:_NAME].partition(b"\0")[0]
    prefix = block[345:500].partition(b"\0")[0]
    if prefix and block[257:263] == b"ustar\0":
        name = prefix + b"/" + name
    member = Member(
        name,
        block[156:157],
        size=_number(block[124:136]),
        mode=_number(block[100:108]) & 0o7777,
        modified_at=_number(block[136:148]),
        link=block[157:257].partition(b"\0")[0],
    )
    if member.size < 0:
        raise TarError("a header of the archive has an impossible size")
    return member.kind, member


def _number(field: bytes) -> int:
    """Read a number: in octal digits or, as GNU has it, in base 256."""
    if field[0] in (0o200, 0o377):
        value = int.from_bytes(field[1:], "big")
        return value if field[0] == 0o200 else value - (1 << (8 * (len(field) - 1)))
    text = field.partition(b"\0")[0].strip()
    try:
        return int(text or b"0", 8)
    except ValueError:
        raise TarError("this is no tar archive, or it is damaged or compressed") from None


def _records(data: bytes) -> dict[bytes, bytes]:
    """Read pax records: length, space, name, equals sign, value, newline."""
    records: dict[bytes, bytes] = {}
    while data.rstrip(b"\0"):
        head, _, _ = data.partition(b" ")
        length = _integer(head)
        record, rest = data[len(head) + 1 : length], data[length:]
        name, equals, value = record.partition(b"=")
        if not len(head) + 1 < length <= len(data) or not equals or not value.endswith(b"\n"):
            raise TarError("a header of the archive is damaged")
        records[name] = value[:-1]
        data = rest
    return records


def _integer(digits: bytes) -> int:
    if not digits.removeprefix(b"-").isdigit() or len(digits) > 20:
        raise TarError("a header of the archive is damaged")
    return int(digits)


def _record(name: bytes, value: bytes) -> bytes:
    rest = len(name) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))  # the digits count, too
    return b"%d %s=%s\n" % (length, name, value)


def _block(member: Member, kind: bytes) -> bytes:
    size = member.size if member.size <= _LARGEST else 0
    time = member.modified_at if 0 <= member.modified_at <= _LARGEST else 0
    head = b"".join(
        (
            member.name[:_NAME].ljust(_NAME, b"\0"),
            b"%07o\0" % member.mode,
            b"0000000\0" * 2,
            b"%011o\0" % size,
            b"%011o\0" % time,
        )
    )
    tail = kind + member.link[:_NAME].ljust(_NAME, b"\0") + b"ustar\x0000"
    tail = tail.ljust(BLOCK - 156, b"\0")
    checksum = b"%06o\0 " % (sum(head) + 8 * 32 + sum(tail))
    return head + checksum + tail


def _is_text(name: bytes) -> bool:
    try:
        _ = name.decode()
    except UnicodeDecodeError:
        return False
    return True


def _show(name: bytes) -> str:
    return name.decode(errors="replace")
