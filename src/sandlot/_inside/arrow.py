"""Arrow data (an IPC stream) that may come from an enemy, read and written with pyarrow.

Read is only what cannot be more than it seems: types whose values lie in the data, uncompressed and
once. Extension types, views, run-ends and compression are refused; so is a pyarrow in which reading
could run code.
"""

from __future__ import annotations

import struct
from importlib import import_module
from typing import Any

from . import plain

SAFE_VERSION = (14, 0, 1)
"""Of pyarrow. Before it, reading could run code (CVE-2023-47248)."""

_LEAVES = (
    "boolean",
    "integer",
    "floating",
    "decimal",
    "date",
    "time",
    "timestamp",
    "duration",
    "string",
    "large_string",
    "binary",
    "large_binary",
    "null",
)
_LISTS = ("list", "large_list")
_DICTIONARY_BATCH, _RECORD_BATCH = 2, 3  # Message.fbs, MessageHeader
_COMPRESSION = 3  # Message.fbs, RecordBatch: number of the field


def pyarrow() -> Any:
    """Return the library.

    Raises:
        ImportError: It is not installed, or too old to be safe.
    """
    library = import_module("pyarrow")
    numbers = library.__version__.split(".")[:3]
    if tuple(int(number) for number in numbers if number.isdigit()) < SAFE_VERSION:
        raise ImportError(f"pyarrow {library.__version__} is too old to read tables safely")
    _ = import_module("pyarrow.ipc")
    return library


def write(table: Any) -> bytes:
    """Return a table as a stream.

    Raises:
        plain.PlainError: It has columns that `read` would refuse.
    """
    library = pyarrow()
    _check_types(library, table.schema)
    sink = library.BufferOutputStream()
    with library.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def read(data: bytes) -> Any:
    """Return the table in a stream.

    Raises:
        plain.PlainError: It is none, or could be more than it seems.
    """
    library = pyarrow()
    try:
        for message in _messages(library, data):
            _check_uncompressed(message.metadata.to_pybytes())
        reader = library.ipc.open_stream(data)
        _check_types(library, reader.schema)
        table = reader.read_all()
        table.validate(full=True)
    except (library.ArrowException, MemoryError, OSError, struct.error) as exc:
        raise plain.PlainError(f"it is no Arrow data: {str(exc)[:200]}") from exc
    if table.num_rows * table.num_columns > 8 * len(data):  # nothing takes less than a bit
        raise plain.PlainError("it claims to have more values than it has")
    return table


def _messages(library: Any, data: bytes) -> Any:
    reader = library.ipc.MessageReader.open_stream(data)
    while True:
        try:
            yield reader.read_next_message()
        except StopIteration:
            return


def _check_types(library: Any, schema: Any) -> None:
    for field in schema:
        kind = field.type
        if library.types.is_dictionary(kind):
            kind = kind.value_type
        elif any(getattr(library.types, f"is_{name}")(kind) for name in _LISTS):
            kind = kind.value_type
            if library.types.is_null(kind):
                raise plain.PlainError("a table of lists of nothing is refused")
        marked = field.metadata is not None and b"ARROW:extension:name" in field.metadata
        if marked or not any(getattr(library.types, f"is_{name}")(kind) for name in _LEAVES):
            raise plain.PlainError(f"a column of Arrow's type {str(field.type)[:100]} is refused")


def _check_uncompressed(metadata: bytes) -> None:
    """Refuse compressed buffers, as a small one can become any size (Arrow's Message.fbs)."""
    message = _Flat(metadata, struct.unpack_from("<I", metadata)[0])
    kind = message.byte(1)
    if kind not in (_DICTIONARY_BATCH, _RECORD_BATCH):
        return
    batch = message.table(2)
    if kind == _DICTIONARY_BATCH and batch is not None:
        batch = batch.table(1)
    if batch is None or batch.place(_COMPRESSION) is not None:
        raise plain.PlainError("compressed Arrow data is refused")


class _Flat:
    """A table of a FlatBuffer: its fields are found by way of a list of their places."""

    def __init__(self, data: bytes, start: int) -> None:
        self._data = data
        self._start = start
        self._places = start - struct.unpack_from("<i", data, start)[0]
        if self._places < 0:
            raise struct.error("a FlatBuffer that points outside")

    def place(self, field: int) -> int | None:
        """Return where a field is; None if it is left out."""
        (size,) = struct.unpack_from("<H", self._data, self._places)
        if 4 + 2 * field + 2 > size:
            return None
        (place,) = struct.unpack_from("<H", self._data, self._places + 4 + 2 * field)
        return self._start + int(place) if place else None

    def byte(self, field: int) -> int:
        place = self.place(field)
        return 0 if place is None else int(self._data[place])

    def table(self, field: int) -> _Flat | None:
        place = self.place(field)
        if place is None:
            return None
        return _Flat(self._data, place + int(struct.unpack_from("<I", self._data, place)[0]))
