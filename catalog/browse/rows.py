"""Rows as Datasette expects them: a value can be looked up by its index or by the name of its column."""

from __future__ import annotations

from typing import Any


class Row(tuple[Any, ...]):  # noqa: SLOT001 - a tuple's subclass can have no slots
    """A row of values that knows the names of its columns, like sqlite3.Row."""

    _columns: tuple[str, ...]

    @classmethod
    def of(cls, columns: tuple[str, ...], values: tuple[object, ...]) -> Row:
        """Return a row of `values`, which are in the order of `columns`."""
        row = cls(values)
        row._columns = columns
        return row

    def __getitem__(self, key: Any) -> Any:
        """Return the value at an index, the values of a slice, or the value of a column. Raises IndexError."""
        if isinstance(key, str):
            try:
                key = self._columns.index(key)
            except ValueError as error:
                raise IndexError(f"no column {key}") from error
        return super().__getitem__(key)

    def keys(self) -> list[str]:
        """Return the names of the columns."""
        return list(self._columns)
