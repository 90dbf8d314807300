"""What a report consists of."""

from __future__ import annotations

from typing import NamedTuple


class Column(NamedTuple):
    """A column of a report. `is_size` marks a number of bytes, `is_age` a time that people prefer to read as an age."""

    name: str
    documentation: str
    is_size: bool = False
    is_age: bool = False


class Report(NamedTuple):
    """A report: its name, a sentence, its columns in order, its query, and its parameters as (name, documentation).

    A parameter that is not given is an empty text. In the query `$DAY_AGO` stands for the time 24 hours ago, in the format
    of the views, because the engines write that differently.
    `left_out` says what the report does with a store of the view `unjudged`; it is empty if that view does not matter to it.
    """

    name: str
    sentence: str
    columns: tuple[Column, ...]
    sql: str
    parameters: tuple[tuple[str, str], ...] = ()
    left_out: str = ""

    def statement(self, dialect: str = "sqlite") -> str:
        """Return the query for a `dialect`, `sqlite` or `postgresql`."""
        return self.sql.replace("$DAY_AGO", _DAY_AGO[dialect])


_DAY_AGO = {
    "sqlite": "strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-1 day')",
    "postgresql": """to_char((now() - interval '1 day') AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')""",
}
