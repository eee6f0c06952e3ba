"""A client that has pyarrow, but no pandas: run by a template's own Python."""

from __future__ import annotations

import sys

import pyarrow as pa

from sandlot._inside import exchange


class Absence:
    """Finds out that there is no pandas."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0] == "pandas":
            raise ImportError(name)


sys.meta_path.insert(0, Absence())
table = exchange.read(exchange.parse(exchange.write(pa.table({"a": [1, 2]}))))
assert isinstance(table, pa.Table)
print(table.to_pydict())
