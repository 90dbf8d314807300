"""The definition of a public view: its columns with their documentation, and its text for each engine."""

from __future__ import annotations

import re
from typing import NamedTuple


class View(NamedTuple):
    """A public view: its `name`, one sentence, its columns as (name, expression, documentation), and its FROM clause.

    `more` are further arms of a UNION ALL: their expressions and FROM clauses. A condition on one of the `keys` is an index search.
    A key of several words stands for several columns together. tests/reports/test_view_steps.py counts the steps.
    """

    name: str
    sentence: str
    columns: tuple[tuple[str, str, str], ...]
    source: str
    more: tuple[tuple[tuple[str, ...], str], ...] = ()
    keys: tuple[str, ...] = ()

    def create(self, engine: str) -> str:
        """Return the CREATE VIEW statement for `engine` (`sqlite` or `postgresql`), with the documentation as comments."""
        lines = [f"CREATE VIEW {self.name} AS -- {self.sentence}", "SELECT"]
        last = len(self.columns) - 1
        for number, (name, expression, documentation) in enumerate(self.columns):
            comma = "" if number == last else ","
            lines.append(f"  {rendered(expression, engine)} AS {name}{comma} -- {documentation}")
        lines.append(_counted_once(self.source, engine))
        for expressions, source in self.more:
            lines += ["UNION ALL", "SELECT " + ", ".join(rendered(e, engine) for e in expressions)]
            lines.append(_counted_once(source, engine))
        return "\n".join(lines)

    def comments(self) -> list[str]:
        """Return the statements that document the view in PostgreSQL. SQLite keeps the comments in the text of the view."""
        quoted = [(f"VIEW {self.name}", self.sentence)]
        quoted += [(f"COLUMN {self.name}.{name}", documentation) for name, _, documentation in self.columns]
        return ["COMMENT ON {} IS '{}'".format(what, text.replace("'", "''")) for what, text in quoted]


HERE = "(SELECT id FROM host WHERE name = current_setting('ocicat.host', true))"
STORE_NAME = (
    f"CASE WHEN store.host_id = {HERE} THEN store.name"
    " ELSE (SELECT name FROM host WHERE id = store.host_id) || ':' || store.name END"
)
"""The name of a store: `HOST:STORE` for a store of another host. In a session that ocicat did not open, every host counts as
another host."""
_THERE = "store.state <> 'missing'"
NEWEST = (
    "(twin.state IN ('ok', 'empty')) DESC, CAST(split_part(twin.file_identity, ':', 5) AS BIGINT) DESC NULLS LAST,"
    " twin.changed_at DESC NULLS LAST, twin.id"
)
"""The order of the copies of a layout, the newest first: by the ctime of the `index.json` that was read. The file server sets that
time, so it is the same for all hosts and does not depend on their clocks, nor on which host read the file first. Copies whose file
cannot be used come last."""
ONCE = (
    "(store.shared_as IS NULL OR store.id = (SELECT twin.id FROM store AS twin"
    " WHERE twin.shared_as = store.shared_as AND twin.state <> 'missing'"
    f" ORDER BY (twin.host_id = {HERE}) IS TRUE DESC, {NEWEST} LIMIT 1))"
)
"""The condition that a store is the one copy that counts of a layout that several hosts see: this host's copy, else the newest."""


def _counted_once(source: str, engine: str) -> str:
    return source.replace(_THERE, f"{_THERE} AND {ONCE}") if engine == "postgresql" else source


NOW_MS = "now_ms()"
"""In an expression of a view, the current time in milliseconds since 1970."""
_NOW_MS = {
    "sqlite": "CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER)",
    "postgresql": "CAST(extract(epoch FROM now()) * 1000 AS BIGINT)",
}


_AT_MOST = re.compile(r"/\* at most ([0-9]+) \*/")
"""A mark at the end of a recursive CTE: the number of rows after which it may stop."""


def rendered(expression: str, engine: str) -> str:
    """Return an expression of a view for `engine`.

    `@column` is a time: milliseconds in the table, RFC 3339 text in UTC with milliseconds in the view. `string_agg` is
    called `group_concat` in SQLite before 3.44, and `least` is called `min`.
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
