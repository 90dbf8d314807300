"""What a public view is: its columns with their documentation, and its text for either engine."""

from __future__ import annotations

import re
from typing import NamedTuple


class View(NamedTuple):
    """A public view: its `name`, one sentence, its columns as (name, expression, documentation), and what it reads.

    `more` are further arms of a UNION ALL: their expressions and sources. `keys` are the columns by which asking is an
    index search (several at once where a name has several words), which tests/reports/test_view_steps.py counts.
    """

    name: str
    sentence: str
    columns: tuple[tuple[str, str, str], ...]
    source: str
    more: tuple[tuple[tuple[str, ...], str], ...] = ()
    keys: tuple[str, ...] = ()

    def create(self, engine: str) -> str:
        """The CREATE VIEW statement for `engine`, `sqlite` or `postgresql`, with its documentation as comments."""
        lines = [f"CREATE VIEW {self.name} AS -- {self.sentence}", "SELECT"]
        last = len(self.columns) - 1
        for number, (name, expression, documentation) in enumerate(self.columns):
            comma = "" if number == last else ","
            lines.append(f"  {_render(expression, engine)} AS {name}{comma} -- {documentation}")
        lines.append(_counted_once(self.source, engine))
        for expressions, source in self.more:
            lines += ["UNION ALL", "SELECT " + ", ".join(_render(e, engine) for e in expressions)]
            lines.append(_counted_once(source, engine))
        return "\n".join(lines)

    def comments(self) -> list[str]:
        """The statements that give PostgreSQL the documentation; SQLite keeps it with the text of the view."""
        quoted = [(f"VIEW {self.name}", self.sentence)]
        quoted += [(f"COLUMN {self.name}.{name}", documentation) for name, _, documentation in self.columns]
        return ["COMMENT ON {} IS '{}'".format(what, text.replace("'", "''")) for what, text in quoted]


HERE = "(SELECT id FROM host WHERE name = current_setting('ocicat.host', true))"
STORE_NAME = (
    f"CASE WHEN store.host_id = {HERE} THEN store.name"
    " ELSE (SELECT name FROM host WHERE id = store.host_id) || ':' || store.name END"
)
"""A store of this host by its name, of another one by `HOST:STORE`. Without a session of ocicat's every host is another."""
_THERE = "store.state <> 'missing'"
ONCE = (
    "(store.shared_as IS NULL OR store.id = (SELECT twin.id FROM store AS twin"
    " WHERE twin.shared_as = store.shared_as AND twin.state <> 'missing'"
    f" ORDER BY (twin.host_id = {HERE}) IS TRUE DESC, twin.changed_at DESC NULLS LAST, twin.id LIMIT 1))"
)
"""A layout that several hosts see counts as it is seen from here, or else by the host that saw it change last."""


def _counted_once(source: str, engine: str) -> str:
    return source.replace(_THERE, f"{_THERE} AND {ONCE}") if engine == "postgresql" else source


NOW_MS = "now_ms()"
"""In an expression of a view: the time by the clock of whoever asks, in milliseconds since 1970."""
_NOW_MS = {
    "sqlite": "CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER)",
    "postgresql": "CAST(extract(epoch FROM now()) * 1000 AS BIGINT)",
}


_AT_MOST = re.compile(r"/\* at most ([0-9]+) \*/")
"""Where a recursive CTE ends: how many rows of it are needed."""


def _render(expression: str, engine: str) -> str:
    """`@column` is a time: milliseconds in the table, RFC 3339 text of one fixed width in UTC in the view.

    `string_agg` is PostgreSQL's word; SQLite has it from 3.44 on, and called it `group_concat` before. What PostgreSQL
    calls `least` is `min` there.
    """
    if engine == "postgresql" and expression == "store.name":
        return STORE_NAME
    if engine == "sqlite":
        expression = expression.replace("string_agg(", "group_concat(")
        expression = expression.replace("least(", "min(")
        expression = _AT_MOST.sub(r"LIMIT \1", expression)
    expression = expression.replace(NOW_MS, _NOW_MS[engine])
    if not expression.startswith("@"):
        return expression
    if engine == "sqlite":
        return f"strftime('%Y-%m-%dT%H:%M:%fZ', {expression[1:]} / 1000.0, 'unixepoch')"
    return f"to_char(to_timestamp({expression[1:]} / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"


STORE = ("store", "store.name", "name of the store")
PATH = ("path", "store.path", "absolute path of the store")
