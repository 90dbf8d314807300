"""The rows of a statement as Datasette wants them: it takes a value by its place or by the name of its column."""

from __future__ import annotations

from typing import Any


class Row(tuple[Any, ...]):  # noqa: SLOT001 - a tuple's subclass can have no slots
    """A row of values that know their columns, as sqlite3.Row does."""

    _columns: tuple[str, ...]

    @classmethod
    def of(cls, columns: tuple[str, ...], values: tuple[object, ...]) -> Row:
        """The row of `values`, in the order of `columns`."""
        row = cls(values)
        row._columns = columns
        return row

    def __getitem__(self, key: Any) -> Any:
        """The value at a place, the values of a slice, or the value of a column; raises IndexError for one that is none."""
        if isinstance(key, str):
            try:
                key = self._columns.index(key)
            except ValueError as error:
                raise IndexError(f"no column {key}") from error
        return super().__getitem__(key)

    def keys(self) -> list[str]:
        """The names of the columns."""
        return list(self._columns)
