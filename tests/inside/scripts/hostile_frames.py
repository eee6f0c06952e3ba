"""Arrow data of an enemy: run by a template's own Python."""

from __future__ import annotations

import io
import json
import random
import struct

import pandas as pd
import pyarrow as pa

from sandlot._inside import arrow, exchange, plain


def stream(table, **options):
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return sink.getvalue()


def refused(data, said=""):
    try:
        arrow.read(data)
    except plain.PlainError as exc:
        reason = str(exc)
    else:
        raise AssertionError(said)
    assert said in reason


def refuse(form):
    try:
        _ = exchange.read(form)
    except plain.PlainError:
        return
    raise AssertionError(form)


class Evil(pa.ExtensionType):
    def __init__(self):
        super().__init__(pa.int64(), "sandlot.evil")

    def __arrow_ext_serialize__(self):
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage, data):
        return cls()


ints = pa.table({"a": list(range(1000))})
assert arrow.read(stream(ints)).equals(ints)
for codec in ("lz4", "zstd"):
    refused(stream(ints, compression=codec), "compressed")
words = pa.table({"a": pa.array(["x", "y"] * 500).dictionary_encode()})
assert arrow.read(stream(words)).equals(words)
refused(stream(words, compression="zstd"), "compressed")
evil = pa.table({"a": pa.ExtensionArray.from_storage(Evil(), pa.array([1]))})
refused(stream(evil), "refused")
pa.register_extension_type(Evil())
refused(stream(evil), "refused")
pa.unregister_extension_type("sandlot.evil")
metadata = {"ARROW:extension:name": "arrow.py_extension_type"}
marked = pa.schema([pa.field("a", pa.int64(), metadata=metadata)])
refused(stream(pa.table([[1]], schema=marked)), "refused")
KINDS = [
    pa.string_view(),
    pa.list_(pa.null()),
    pa.list_(pa.list_(pa.int8())),
    pa.map_(pa.int8(), pa.int8()),
    pa.struct([("a", pa.int8())]),
    pa.list_(pa.int8(), 0),
    pa.binary(0),
    pa.run_end_encoded(pa.int32(), pa.null()),
]
for kind in KINDS:
    refused(stream(pa.table({"a": pa.nulls(5, kind)})), "refused")
refused(stream(pa.table({"a": pa.nulls(10**9)})), "more values")
refused(b"", "")
refused(b"no arrow at all")

# Offsets of texts that point outside of them
for place in range(0, 8, 4):
    data = bytearray(stream(pa.table({"a": ["abc", "def"]})))
    at = data.index(struct.pack("<iii", 0, 3, 6))
    struct.pack_into("<i", data, at + 4 + place, 10**9)
    refused(bytes(data))

chance = random.Random(11)
seeds = [
    stream(ints.slice(0, 20)),
    stream(words.slice(0, 20)),
    stream(pa.table({"a": [[1], None], "s": ["a", None], "b": [True, None]})),
]
read = 0
for _ in range(4000):
    data = bytearray(chance.choice(seeds))
    for _ in range(chance.randint(1, 6)):
        data[chance.randrange(len(data))] = chance.choice(
            [0, 1, 127, 128, 255, chance.randrange(256)]
        )
    try:
        table = arrow.read(bytes(data))
        table.to_pandas(ignore_metadata=True)
        read += 1
    except (plain.PlainError, pa.ArrowException, ValueError, TypeError, NotImplementedError):
        pass
print("survived", read > 0)

GOOD = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}, index=["i", "j"])
form = json.loads(exchange.write(GOOD))["frame"]
wrong: dict[str, list[object]] = {
    "arrow": [None, "?", "", 5],
    "names": [None, [], ["a"], [[], 1, 2], [{"$": 1}] * 3],
    "dtypes": [None, ["x"], [None, [], {}]],
    "levels": [None, -1, 4, 10**9, "1", 1.5],
    "column_levels": [None, [], [1, 2], [{"$": 1}]],
}
for key, options in wrong.items():
    for option in options:
        refuse({"frame": {**form, key: option}})
    refuse({"frame": {name: part for name, part in form.items() if name != key}})
for labels in (5, [1], [0, 2, 0], [0, 10**12, 1], ["a", "b", "c"], {"a": 1}):
    refuse({"frame": {**form, "levels": 0, "range": labels}})
refuse({"frame": {**form, "levels": 0, "range": None, "index_name": {"$": 5}}})
for data in (None, 5, [], "x", {}):
    refuse({"frame": data})

pa.__version__ = "14.0.0"
try:
    arrow.pyarrow()
except ImportError as exc:
    print(exc)
