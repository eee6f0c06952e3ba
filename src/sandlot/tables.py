"""Tables that code showed, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ._inside import plain
from ._json import a_count, a_list, a_text

__all__ = ["Column", "Table"]

TABLE = "application/vnd.sandlot.table+json"
"""MIME type of what `Table.parse` reads."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    name: Any
    """Its name, a plain value; a tuple if the names have several levels."""
    dtype: str
    """What it holds, as the library that made the table calls it, such as `int64`."""


@dataclass(frozen=True, slots=True, repr=False)
class Table:
    """A DataFrame or Series that code showed: its first rows, as plain values."""

    columns: tuple[Column, ...]
    """Its columns."""
    rows: tuple[tuple[Any, ...], ...]
    """Values, row by row: plain ones, None where one is missing, text for everything else."""
    index: tuple[Any, ...]
    """Label of each row; a tuple if the labels have several levels."""
    index_names: tuple[Any, ...]
    """Name of each level of the labels."""
    total_rows: int
    """How many rows the whole has."""
    total_columns: int
    """How many columns the whole has."""

    @property
    def truncated(self) -> bool:
        """The whole has more rows or columns than this."""
        return len(self.rows) < self.total_rows or len(self.columns) < self.total_columns

    def column(self, name: object) -> tuple[Any, ...]:
        """Return the values of the first column of that name.

        Raises:
            KeyError: There is no such column.
        """
        for place, column in enumerate(self.columns):
            if column.name == name:
                return tuple(row[place] for row in self.rows)
        raise KeyError(name)

    def __repr__(self) -> str:
        names = ", ".join(str(column.name) for column in self.columns[:8])
        more = ", ..." if len(self.columns) > 8 else ""
        return f"Table({self.total_rows} rows, {self.total_columns} columns: {names}{more})"

    @classmethod
    def parse(cls, data: object) -> Table | None:
        """Read the JSON form of a table; None if it is none."""
        try:
            return _table(data)
        except (KeyError, TypeError, ValueError):
            return None


def _table(data: Any) -> Table:
    columns = tuple(
        Column(plain.decode(item["name"]), a_text(item["dtype"]))
        for item in a_list(data["columns"])
    )
    rows = tuple(tuple(map(plain.decode, a_list(row))) for row in a_list(data["rows"]))
    index = tuple(map(plain.decode, a_list(data["index"])))
    if len(index) != len(rows) or any(len(row) != len(columns) for row in rows):
        raise ValueError("the rows of a table have its columns and its labels")
    return Table(
        columns,
        rows,
        index,
        tuple(map(plain.decode, a_list(data["index_names"]))),
        max(a_count(data["total_rows"]), len(rows)),
        max(a_count(data["total_columns"]), len(columns)),
    )
