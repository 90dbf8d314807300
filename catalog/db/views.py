"""The public views: what people write SQL against (schema.md section 3). Each column is documented here, once.

The documentation goes into the database with the view (comments in its text on SQLite, where `sqlite_master` keeps them),
is printed by `ocicat sql --schema`, and makes docs/sql.md. A key column stands bare in its view, so that asking by it stays
an index search; nothing aggregates but correlated subqueries.
"""

from __future__ import annotations

from typing import NamedTuple


class View(NamedTuple):
    """A public view: its `name`, one sentence, its columns as (name, expression, documentation), and what it reads."""

    name: str
    sentence: str
    columns: tuple[tuple[str, str, str], ...]
    source: str
    more: tuple[tuple[tuple[str, ...], str], ...] = ()  # further arms of a UNION ALL: their expressions and sources

    def create(self, engine: str) -> str:
        """The CREATE VIEW statement for `engine`, `sqlite` or `postgresql`, with its documentation as comments."""
        lines = [f"CREATE VIEW {self.name} AS -- {self.sentence}", "SELECT"]
        last = len(self.columns) - 1
        for number, (name, expression, documentation) in enumerate(self.columns):
            comma = "" if number == last else ","
            lines.append(f"  {_render(expression, engine)} AS {name}{comma} -- {documentation}")
        lines.append(self.source)
        for expressions, source in self.more:
            lines += ["UNION ALL", "SELECT " + ", ".join(_render(e, engine) for e in expressions), source]
        return "\n".join(lines)


def _render(expression: str, engine: str) -> str:
    """`@column` is a time: milliseconds in the table, RFC 3339 text of one fixed width in UTC in the view."""
    if not expression.startswith("@"):
        return expression
    if engine == "sqlite":
        return f"strftime('%Y-%m-%dT%H:%M:%fZ', {expression[1:]} / 1000.0, 'unixepoch')"
    return f"to_char(to_timestamp({expression[1:]} / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"


_ENTRY = """JOIN store ON store.id = entry.store_id
JOIN content ON content.id = entry.content_id
JOIN media_type ON media_type.id = entry.media_type_id
LEFT JOIN media_type AS artifact ON artifact.id = entry.artifact_type_id
LEFT JOIN platform ON platform.id = entry.platform_id
WHERE store.state <> 'missing'"""

_DIGEST = ("digest", "content.digest", "digest of the descriptor")
_DESCRIPTOR = (
    _DIGEST,
    ("media_type", "nullif(media_type.name, '')", "media type, as the descriptor claims"),
    ("artifact_type", "artifact.name", "artifact type, as the descriptor claims, or null"),
    ("size", "entry.size", "size of the manifest in bytes, as the descriptor claims"),
    ("platform", "platform.name", "os/arch[/variant], where the descriptor itself says it"),
)
_STORE = ("store", "store.name", "name of the store")
_PATH = ("path", "store.path", "absolute path of the store")

VIEWS = (
    View(
        "stores",
        "a row a store (layout)",
        (
            ("name", "store.name", "name of the store"),
            ("path", "store.path", "absolute path; percent-encoded where it is not UTF-8"),
            ("root", "root.name", "the root below which it was found, or null"),
            ("state", "store.state", "ok, empty, invalid, unreadable or missing"),
            ("error", "store.error", "why it is not ok, or null"),
            ("state_since", "@store.state_since", "since when it is in that state"),
            ("entries", "store.entries", "entries of its index.json that are usable"),
            ("naming", "store.naming", "naming policy: annotations, path or fixed=NAME"),
            ("prefix", "store.prefix", "the registry in front of names under the policy path"),
            ("priority", "store.priority", "lower numbers answer first"),
            ("layout_version", "store.layout_version", "imageLayoutVersion of its oci-layout"),
            ("indexed_at", "@store.indexed_at", "when its index.json was last read into the catalog"),
            ("changed_at", "@store.changed_at", "when a change of its entries was last seen"),
        ),
        "FROM store LEFT JOIN root ON root.id = store.root_id",
    ),
    View(
        "images",
        "a row a name: every lookup key of every entry; stores that are missing are left out",
        (
            _STORE,
            _PATH,
            ("name", "name.name", "full canonical name with tag, or null where the entry has a tag alone"),
            ("repository", "repository.name", "canonical repository, docker.io/library/alpine, or null"),
            ("familiar", "repository.familiar", "the repository as Docker shows it: alpine"),
            ("tag", "name.tag", "the tag; null where the name has a digest and no tag"),
            *_DESCRIPTOR,
            ("ref_name", "entry.ref_name", "raw org.opencontainers.image.ref.name"),
            ("image_name", "entry.image_name", "raw io.containerd.image.name"),
            ("since", "@name.since", "since when this name answers with this digest here"),
            ("shadowed", "name.shadowed", "1 where another entry of that store answers for this name"),
        ),
        f"""FROM name
JOIN entry ON entry.id = name.entry_id
LEFT JOIN repository ON repository.id = name.repository_id
{_ENTRY}""",
    ),
    View(
        "unnamed",
        "a row an entry that has no name and no tag",
        (_STORE, _PATH, *_DESCRIPTOR),
        f"FROM entry\n{_ENTRY} AND NOT EXISTS (SELECT 1 FROM name WHERE name.entry_id = entry.id)",
    ),
    View(
        "annotations",
        "a row an annotation of an entry, its two names left out (images.ref_name, images.image_name)",
        (
            _STORE,
            _DIGEST,
            ("key", "annotation_key.name", "key of the annotation"),
            ("value", "entry_annotation.value", "its value"),
        ),
        """FROM entry_annotation
JOIN annotation_key ON annotation_key.id = entry_annotation.key_id
JOIN entry ON entry.id = entry_annotation.entry_id
JOIN store ON store.id = entry.store_id
JOIN content ON content.id = entry.content_id
WHERE store.state <> 'missing'""",
    ),
    View(
        "history",
        "what a name of a store answered, and when: one row a span, the standing ones with until null",
        (
            _STORE,
            ("name", "name_span.name", "full canonical name, or null where there was a tag alone"),
            ("repository", "repository.name", "canonical repository, or null"),
            ("tag", "name_span.tag", "the tag"),
            ("digest", "content.digest", "what it answered"),
            ("since", "@name_span.since", "from when"),
            ("until", "@name_span.until", "until when; null while it stands"),
            ("origin", "name_span.origin", "null: ocicat saw it; olareg: the layout's own index.json tells it"),
        ),
        """FROM name_span
JOIN store ON store.id = name_span.store_id
JOIN content ON content.id = name_span.content_id
LEFT JOIN repository ON repository.id = name_span.repository_id""",
        (
            (
                (
                    "store.name",
                    "name.name",
                    "repository.name",
                    "name.tag",
                    "content.digest",
                    "@name.since",
                    "NULL",
                    "NULL",
                ),
                """FROM name
JOIN entry ON entry.id = name.entry_id
JOIN store ON store.id = name.store_id
JOIN content ON content.id = entry.content_id
LEFT JOIN repository ON repository.id = name.repository_id
WHERE NOT name.shadowed AND name.tag IS NOT NULL""",
            ),
        ),
    ),
    View(
        "snapshots",
        "a row a change of an index.json, as it was seen",
        (
            _STORE,
            ("at", "@snapshot.at", "when it was taken into the catalog"),
            ("generation", "snapshot.generation", "rises by one with each change of that store"),
            ("sha256", "snapshot.sha256", "of the bytes of index.json, hex"),
            ("size", "snapshot.size", "of index.json in bytes"),
            ("entries", "snapshot.entries", "usable entries after it"),
            ("added", "snapshot.added", "entries that it added"),
            ("removed", "snapshot.removed", "entries that it removed"),
            ("moved", "snapshot.moved", "entries whose order it changed where order matters"),
            ("took_ms", "snapshot.took_ms", "milliseconds from the read to the commit"),
        ),
        "FROM snapshot JOIN store ON store.id = snapshot.store_id",
    ),
    View(
        "problems",
        "what ocicat check lists: stores that are not well, entries and names that cannot be used",
        (
            _STORE,
            ("kind", "problem.kind", "kind of problem (docs/problems.md)"),
            ("subject", "problem.subject", "what it is about"),
            ("detail", "problem.detail", "why"),
        ),
        "FROM problem JOIN store ON store.id = problem.store_id",
        (
            (
                ("store.name", "store.state", "store.path", "coalesce(store.error, '')"),
                "FROM store WHERE store.state IN ('invalid', 'unreadable', 'missing')",
            ),
        ),
    ),
)
