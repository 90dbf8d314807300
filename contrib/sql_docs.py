"""`make docs`: docs/sql.md out of catalog/db/views.py, where every view and column is described once.

With `--check` it writes nothing, and ends with status 1 where the file is not what it would write.
"""

from __future__ import annotations

import os
import sys

from catalog.db.views import VIEWS, View

PATH = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "docs", "sql.md")

_HEAD = """<!-- Made by `make docs` out of catalog/db/views.py. Do not edit. -->
# The public views

`ocicat sql` reads these views and nothing else; the tables behind them may change with any version. They are in the
database too, with this text as comments (`ocicat sql --schema`), for sqlite3's own shell or whatever else opens the file
read-only (`sqlite3 "file:$(ocicat db path)?mode=ro"`).

- Times are RFC 3339 text in UTC, all of one width: they compare as text.
- Ask by a column as it stands (`WHERE name = ?`, `WHERE digest = ?`, `WHERE tag = ?`, `WHERE repository = ?`): that is an
  index search. By an expression over it (`lower(name) = ?`, `name LIKE '%x'`) it is a scan.
- A beginning is asked for as a range: `name >= 'docker.io/acme/' AND name < 'docker.io/acme0'`.
- Columns are only ever added.
"""

_EXAMPLES = """
## Examples

```sql
-- What a name is, everywhere.
SELECT store, digest FROM images WHERE name = 'docker.io/library/alpine:3.16' AND NOT shadowed;

-- Names that mean different things in different stores.
SELECT name, count(DISTINCT digest) AS digests, group_concat(DISTINCT store) AS stores
FROM images WHERE name IS NOT NULL AND NOT shadowed GROUP BY name HAVING count(DISTINCT digest) > 1;

-- What moved since yesterday.
SELECT store, name, tag, digest, until FROM history WHERE until > strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-1 day');

-- Stores by the number of their entries without a name.
SELECT store, count(*) AS unnamed FROM unnamed GROUP BY store ORDER BY unnamed DESC;
```
"""


def render() -> str:
    """The whole document."""
    return "\n".join([_HEAD, *map(_view, VIEWS)]) + _EXAMPLES


def _view(view: View) -> str:
    rows = [f"| `{name}` | {documentation.replace('|', chr(92) + '|')} |" for name, _, documentation in view.columns]
    sentence = view.sentence[:1].upper() + view.sentence[1:]
    return "\n".join([f"## `{view.name}`", "", f"{sentence}.", "", "| column | |", "|---|---|", *rows, ""])


def main() -> int:
    """Write docs/sql.md, or compare it."""
    text = render()
    if "--check" in sys.argv[1:]:
        with open(PATH, encoding="utf-8") as file:
            fresh = file.read() == text
        if not fresh:
            print("docs/sql.md is stale: run 'make docs'", file=sys.stderr)
        return 0 if fresh else 1
    with open(PATH, "w", encoding="utf-8") as file:
        file.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
