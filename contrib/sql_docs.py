"""`make docs`: write docs/sql.md from catalog/db/views.py and docs/reports.md from catalog/reports/reports.py.

These modules are the only place that describes the views, reports and columns. With `--check`, write nothing and exit with status 1
if a file is out of date.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence

from catalog.db.view import View
from catalog.db.views import VIEWS
from catalog.reports.definition import Report
from catalog.reports.reports import REPORTS

PROJECT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

_HEAD = """<!-- Made by `make docs` from catalog/db/views.py. Do not edit. -->
# The public views

`ocicat sql` reads these views and nothing else; the tables behind them may change with any version. The views are in the
database itself, with this text as comments (`ocicat sql --schema`), so sqlite3's own shell and other programs can use them if
they open the file read-only (`sqlite3 "file:$(ocicat db path)?mode=ro"`).

- Times are RFC 3339 text in UTC, all of the same width, so they can be compared as text.
- A condition on an indexed column of a view, without an expression (`WHERE name = ?`), is an index search. A condition on
  another column, or on an expression (`lower(name) = ?`, `name LIKE '%x'`), is a scan; on `store`, a scan of that store's
  rows. Columns that are computed for each row (`total_size`, `platforms`, `created`, `reachable`, `complete`) take time only in
  queries that select them.
- `annotations`, `history`, `problems` and `referrers` consist of several parts. SQLite searches them for a value and for
  `IN (SELECT …)`, but materializes them to join them. `LEFT JOIN` materializes any view.
- To search labels and annotations by value, write `WHERE key = ? AND beginning = ?`.
- To search for a prefix, write a range: `name >= 'docker.io/acme/' AND name < 'docker.io/acme0'`.
- Columns are never removed or renamed, only added.
"""

_EXAMPLES = """
## Examples

```sql
-- The digests of a name, in every store.
SELECT store, digest FROM images WHERE name = 'docker.io/library/alpine:3.16' AND NOT shadowed;

-- Names with different digests in different stores.
SELECT name, count(DISTINCT digest) AS digests, group_concat(DISTINCT store) AS stores
FROM images WHERE name IS NOT NULL AND NOT shadowed GROUP BY name HAVING count(DISTINCT digest) > 1;

-- Tags that moved since yesterday.
SELECT store, name, tag, digest, until FROM history WHERE until > strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-1 day');

-- Stores by the number of their unnamed entries.
SELECT store, count(*) AS unnamed FROM unnamed GROUP BY store ORDER BY unnamed DESC;

-- The platforms, age and size of a name in each store that has it.
SELECT store, digest, platforms, created, total_size FROM images WHERE name = 'docker.io/library/alpine:3.16';

-- The names of images with this layer: manifests that have it, and image indexes with such a manifest.
SELECT images.name FROM layers JOIN images ON images.digest = layers.manifest WHERE layers.digest = :layer
UNION
SELECT images.name FROM layers JOIN platforms ON platforms.digest = layers.manifest
JOIN images ON images.digest = platforms.image_index WHERE layers.digest = :layer;

-- Signatures, attestations and other referrers of every digest of a name.
SELECT how, artifact_type, referrer FROM referrers
WHERE subject IN (SELECT digest FROM images WHERE name = 'docker.io/library/alpine:3.16');

-- Images that have a label with a value.
SELECT digest FROM labels WHERE key = 'org.opencontainers.image.vendor' AND beginning = 'ACME';
```
"""


_REPORTS = """<!-- Made by `make docs` from catalog/reports/reports.py. Do not edit. -->
# Reports

`ocicat report NAME` runs a ready-made report over all stores; without a name it lists the reports. Each report is one query
over the [public views](sql.md), and runs as `ocicat sql` does: read-only, and no longer than `--timeout` (60 seconds).

- `--format` works as for every command. A table on a terminal shows sizes in KiB, MiB and so on; everything else shows bytes.
- `--store` (a name or a glob; repeatable) selects the rows of those stores, if the report has a column `store`.
- `-p NAME=VALUE` sets a parameter, if the report has one. `ocicat report NAME --help` lists them, and shells complete them.
- `-p image=REF` takes the same references as `ocicat resolve`, with the same statuses; `--store` then also limits where REF is
  looked up.
- `--totals` prints one row instead: the number of rows (`rows`), and the sum of each size column that can be added up. On a
  terminal, a line on stderr shows the same below the table.
- A blob in a directory that layouts share (`--shared-blob-dir`) counts for each store that reaches it.
- Missing stores are left out. Until the content of a store has been read (`stores.pending` is 1), `missing` and
  `unreferenced` leave the store out, and the other reports may be incomplete.

```console
$ ocicat add /srv/builds /srv/mirror
$ ocicat report usage
builds/alpine	6	1678	839	839
mirror/alpine	6	1678	839	839
builds/app	6	1669	1669	0
mirror/patched	3	849	849	0
builds/scratch	3	835	835	0
$ ocicat report drift --format '{store} {name} {digest}'
mirror/alpine docker.io/library/alpine:3.16 sha256:5f9c…
mirror/patched docker.io/library/alpine:3.16 sha256:53dd…
```
"""


def render_views() -> str:
    """Return the text of docs/sql.md."""
    return "\n".join([_HEAD, *map(_view, VIEWS)]) + _EXAMPLES


def render_reports() -> str:
    """Return the text of docs/reports.md."""
    return "\n".join([_REPORTS, *map(_report, REPORTS)])


def _view(view: View) -> str:
    columns = [(name, documentation) for name, _, documentation in view.columns]
    keys = ", ".join(" and ".join(f"`{word}`" for word in key.split()) for key in view.keys)
    text = f"{_sentence(view.sentence)}.{f' Indexed: {keys}.' if keys else ''}"
    return "\n".join([f"## `{view.name}`", "", text, "", *_table("column", columns), ""])


def _report(report: Report) -> str:
    columns = [(each.name, f"{each.documentation}{' (bytes)' if each.is_size else ''}") for each in report.columns]
    lines = [f"## `{report.name}`", "", f"{_sentence(report.sentence)}.", "", *_table("column", columns), ""]
    if report.parameters:
        told = [
            (f"{each.name}={each.value}", f"{each.documentation}; default: {each.default}")
            for each in report.parameters
        ]
        lines += [*_table("parameter", told), ""]
    return "\n".join([*lines, "```sql", report.sql, "```", ""])


def _table(head: str, rows: Sequence[tuple[str, str]]) -> Iterator[str]:
    yield f"| {head} | |"
    yield "|---|---|"
    for name, documentation in rows:
        yield f"| `{name}` | {documentation.replace('|', chr(92) + '|')} |"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


DOCUMENTS: dict[str, Callable[[], str]] = {"docs/sql.md": render_views, "docs/reports.md": render_reports}


def keep(documents: dict[str, Callable[[], str]]) -> int:
    """Write each file, given by its path in the project, or with `--check` compare it. Return the exit status."""
    status = 0
    for name, render in documents.items():
        path, text = os.path.join(PROJECT, name), render()
        if "--check" in sys.argv[1:]:
            with open(path, encoding="utf-8") as file:
                if file.read() != text:
                    print(f"{name} is out of date: run 'make docs'", file=sys.stderr)
                    status = 1
        else:
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
    return status


if __name__ == "__main__":
    sys.exit(keep(DOCUMENTS))
