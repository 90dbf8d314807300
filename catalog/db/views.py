"""The public views, which are the contract for users' SQL. The views about manifests and blobs are in content_views.py.

The documentation of each column is written once, here. It goes into the database with the view (in SQLite, as comments in
the text that `sqlite_master` keeps), `ocicat sql --schema` prints it, and docs/sql.md is generated from it. Each key is a plain
column and not an expression, so that a query by a key remains an index search. Only correlated subqueries aggregate.
"""

from __future__ import annotations

from catalog.db.content_views import CONTENT_VIEWS
from catalog.db.kinds import AMBIGUOUS, CONFIG, LAYER, LISTED, PART, UNREACHED, UNUSABLE
from catalog.db.recursive import CREATED, MOST_BLOBS, MOST_MANIFESTS, PLATFORMS, TOTAL_SIZE, held
from catalog.db.view import NOW_MS, PATH, STORE, View

_ENTRY = """JOIN store ON store.id = entry.store_id
JOIN content ON content.id = entry.content_id
JOIN media_type ON media_type.id = entry.media_type_id
LEFT JOIN media_type AS artifact ON artifact.id = entry.artifact_type_id
LEFT JOIN platform ON platform.id = entry.platform_id
WHERE store.state <> 'missing'"""

_DIGEST = ("digest", "content.digest", "digest of the descriptor")
_DESCRIPTOR = (
    _DIGEST,
    ("media_type", "nullif(media_type.name, '')", "media type in the descriptor, or null"),
    ("artifact_type", "artifact.name", "artifact type in the descriptor, or null"),
    ("size", "entry.size", "size of the manifest in bytes, according to the descriptor"),
    ("platform", "platform.name", "os/arch[/variant] in the descriptor, or null"),
)
_REACHED = (
    (
        "total_size",
        TOTAL_SIZE,
        (
            "total bytes of the blobs in this store that it reaches, each counted once; null if not all are read yet, or for "
            f"more than {MOST_BLOBS:,} blobs"
        ),
    ),
    (
        "platforms",
        PLATFORMS,
        (
            "os/arch[/variant] of all its images, sorted and separated by commas; null if none is known, or for more than "
            f"{MOST_MANIFESTS:,} images"
        ),
    ),
    ("created", CREATED, "when it was created, according to its config; for an index, the newest of its images"),
)
_JSON_TYPES = """'application/vnd.oci.image.manifest.v1+json', 'application/vnd.oci.image.index.v1+json',
    'application/vnd.oci.image.config.v1+json', 'application/vnd.docker.distribution.manifest.v2+json',
    'application/vnd.docker.distribution.manifest.list.v2+json', 'application/vnd.docker.container.image.v1+json'"""
# This avoids NOT EXISTS, because PostgreSQL may turn it into a join that compares each row with each problem of the store.
_NO_PROBLEM = """(
  SELECT other.id FROM problem AS other WHERE other.store_id = store.id
  AND substr(other.subject, 1, 512) = substr(content.digest, 1, 512) AND other.subject = content.digest
  AND other.stage = 1 AND other.kind IN ({}) LIMIT 1
) IS NULL"""
_IS_LISTED = f"""NOT store.content_pending AND NOT store.unlisted AND store.state <> 'missing'
AND {_NO_PROBLEM.format("'bad-blob'")}"""
# This avoids NOT EXISTS too, because PostgreSQL may then visit a blob in all stores that have it.
_ABSENT = "(SELECT held.size FROM store_blob AS held WHERE held.store_id = {} AND held.content_id = {}) IS NULL"
_MISSING_ENTRIES = f"""FROM store
JOIN entry ON entry.store_id = store.id
JOIN content ON content.id = entry.content_id
WHERE {_IS_LISTED} AND {_ABSENT.format("entry.store_id", "entry.content_id")}
AND NOT EXISTS ( -- an earlier entry with the same digest
  SELECT 1 FROM entry AS same
  WHERE same.content_id = entry.content_id AND same.store_id = entry.store_id AND same.sort < entry.sort
)"""
_MISSING_PARTS = f"""FROM store
JOIN store_blob ON store_blob.store_id = store.id
JOIN content AS parent ON parent.id = store_blob.content_id
JOIN edge ON edge.parent_id = store_blob.content_id AND edge.role IN ({CONFIG}, {LAYER})
JOIN content ON content.id = edge.child_id
WHERE {_IS_LISTED} AND {_ABSENT.format("store_blob.store_id", "edge.child_id")}
AND store_blob.reach = {LISTED} AND NOT edge.is_foreign AND NOT (store.sparse AND edge.role = {LAYER})"""
_CLAIMED = f"""(
  EXISTS (
    SELECT 1 FROM entry JOIN media_type ON media_type.id = entry.media_type_id
    WHERE entry.content_id = content.id AND entry.store_id = store.id AND media_type.name IN ({_JSON_TYPES})
  ) OR EXISTS (
    SELECT 1 FROM edge JOIN media_type ON media_type.id = edge.media_type_id
    WHERE edge.child_id = content.id AND media_type.name IN ({_JSON_TYPES}) AND {held("store.id", "edge.parent_id")}
  )
)"""


def _seen(of: str, born: str, gone: str | None, content: str, where: str = "") -> tuple[tuple[str, ...], str]:
    """Return an arm of the view `history` for spans that ocicat saw: a key answered while the store had one name.

    The statements of `ocicat history` (catalog.db.statements) do the same. If a time is in the future because a clock was wrong,
    the current time is shown instead.
    """
    is_later, is_first = f"{born} >= store.born", f"(store.gone IS NULL OR {gone} <= store.gone)"
    start, since = (
        f"CASE WHEN {is_later} THEN {of}.{each} ELSE store.{{}} END" for each in (born.split(".")[1], "since")
    )
    start, since = start.format("born"), since.format("since")
    end, until = "store.gone", "store.until"
    if gone is not None:
        end = f"CASE WHEN {is_first} THEN {gone} ELSE store.gone END"
        until = f"CASE WHEN {is_first} THEN {of}.until ELSE store.until END"
    columns = (
        "store.name", f"{of}.name", "repository.name", f"{of}.tag", "content.digest",
        f"@least(coalesce(began.label, {since}), {NOW_MS})",
        f"@least(coalesce(ended.label, {until}), {NOW_MS if gone else f'CASE WHEN {end} IS NOT NULL THEN {NOW_MS} END'})",
        "CAST(NULL AS TEXT)",
    )  # fmt: skip
    overlap = f"(store.gone IS NULL OR store.gone > {born})" + (f" AND store.born < {gone}" if gone else "")
    return (
        columns,
        f"""FROM {of}
{content}
JOIN store_span AS store ON store.store_id = {of}.store_id
LEFT JOIN moment AS began ON began.id = {start}
LEFT JOIN moment AS ended ON ended.id = {end}
LEFT JOIN repository ON repository.id = {of}.repository_id
WHERE {overlap}{where}""",
    )


VIEWS = (
    View(
        "stores",
        "one row per store (layout)",
        (
            ("name", "store.name", "name of the store"),
            ("path", "store.path", "absolute path, percent-encoded if it is not UTF-8"),
            ("root", "root.name", "the root below which it was found, or null"),
            ("state", "store.state", "ok, empty, invalid, unreadable or missing"),
            ("error", "store.error", "why it is not ok, or null"),
            ("state_since", "@store.state_since", "since when it has been in that state"),
            ("entries", "store.entries", "number of usable entries of its index.json"),
            ("naming", "store.naming", "naming policy: annotations, path, path:tag, fixed=NAME or annotation=KEY"),
            ("prefix", "store.prefix", "the registry in front of names with the policy path, or null"),
            ("priority", "store.priority", "lower numbers answer first"),
            ("shared_blob_dir", "store.shared_blobs", "a blob directory that it shares with other stores, or null"),
            ("layout_version", "store.layout_version", "imageLayoutVersion of its oci-layout"),
            ("indexed_at", "@store.indexed_at", "when the catalog last read its index.json"),
            ("changed_at", "@store.changed_at", "when its entries were last seen to change"),
            ("pending", "store.content_pending", "1 while its manifests are not all read yet"),
            ("host", "(SELECT host.name FROM host WHERE host.id = store.host_id)", "the machine that it is on"),
            ("sparse", "store.sparse", "1 if its layers may be absent"),
            ("archive", "store.archive", "1 if it is a tar archive"),
            ("shared_as", "store.shared_as", "equal in stores of several hosts that are the same layout; else null"),
            ("sha256", "store.sha256", "SHA-256 of the index.json that was read last, in hex"),
        ),
        "FROM store LEFT JOIN root ON root.id = store.root_id",
        keys=("name", "path"),
    ),
    View(
        "images",
        "one row per name: every lookup key of every entry, except in stores that are missing",
        (
            STORE,
            PATH,
            (
                "name",
                "name.name",
                "full canonical name with tag; null if it has only a tag or only a repository",
            ),
            ("repository", "repository.name", "canonical repository (docker.io/library/alpine), or null"),
            ("familiar", "repository.familiar", "the repository in Docker's short form (alpine)"),
            ("tag", "name.tag", "the tag; null if the name has a digest but no tag"),
            *_DESCRIPTOR,
            ("ref_name", "entry.ref_name", "raw org.opencontainers.image.ref.name"),
            ("image_name", "entry.image_name", "raw io.containerd.image.name"),
            ("since", "@name.since", "since when this name has had this digest in this store"),
            ("shadowed", "name.shadowed", "1 if another entry of the store answers for this name"),
            *_REACHED,
            (
                "source",
                "CASE name.source % 3 WHEN 0 THEN 'containerd' WHEN 1 THEN 'ref' ELSE 'docker-save' END",
                (
                    "where the name is written: containerd (image_name, or the annotation of the naming policy), ref (ref_name, or the "
                    "path), docker-save (RepoTags in manifest.json of an archive)"
                ),
            ),
        ),
        f"""FROM name
JOIN entry ON entry.id = name.entry_id
LEFT JOIN repository ON repository.id = name.repository_id
{_ENTRY}""",
        keys=("name", "repository", "familiar", "tag", "digest"),
    ),
    View(
        "unnamed",
        "one row per entry that has no name and no tag",
        (STORE, PATH, *_DESCRIPTOR, *_REACHED),
        f"FROM entry\n{_ENTRY} AND NOT EXISTS (SELECT 1 FROM name WHERE name.entry_id = entry.id)",
        keys=("digest",),
    ),
    *CONTENT_VIEWS,
    View(
        "history",
        "one row per span: the digest that a name of a store had, and when",
        (
            STORE,
            ("name", "name_span.name", "full canonical name, or null if there was only a tag"),
            ("repository", "repository.name", "canonical repository, or null"),
            ("tag", "name_span.tag", "the tag"),
            ("digest", "content.digest", "the digest that it had"),
            ("since", "@name_span.since", "when the span began"),
            (
                "until",
                "@name_span.until",
                "when it ended, which is also when the store was renamed, went missing or was removed; null if it has not ended",
            ),
            ("origin", "name_span.origin", "null if ocicat saw it; olareg if the layout's own index.json records it"),
        ),
        """FROM name_span
JOIN store ON store.id = name_span.store_id
JOIN content ON content.id = name_span.content_id
LEFT JOIN repository ON repository.id = name_span.repository_id""",
        (
            _seen(
                "answer_span",
                "answer_span.born",
                "answer_span.gone",
                "JOIN content ON content.id = answer_span.content_id",
            ),
            _seen(
                "name",
                "name.answers_from",
                None,
                "JOIN entry ON entry.id = name.entry_id\nJOIN content ON content.id = entry.content_id",
                # With `name.tag IS NOT NULL`, SQLite would use the index of tags, and so visit the rows of all tables in random order.
                " AND NOT name.shadowed AND (name.tag || '') IS NOT NULL",
            ),
        ),
        keys=("name", "repository", "tag", "digest"),
    ),
    View(
        "snapshots",
        "one row per change of an index.json that ocicat saw",
        (
            STORE,
            ("at", "@snapshot.at", "when the catalog recorded it"),
            ("generation", "snapshot.generation", "number of the change, counted per store"),
            ("sha256", "snapshot.sha256", "SHA-256 of index.json, in hex"),
            ("size", "snapshot.size", "size of index.json in bytes"),
            ("entries", "snapshot.entries", "number of usable entries after the change"),
            ("added", "snapshot.added", "number of entries that were added"),
            ("removed", "snapshot.removed", "number of entries that were removed"),
            ("moved", "snapshot.moved", "number of entries that moved among entries that share a tag or raw name"),
            ("took_ms", "snapshot.took_ms", "milliseconds from the read to the commit"),
        ),
        "FROM snapshot JOIN store ON store.id = snapshot.store_id",
    ),
    View(
        "missing",
        "one row per missing blob: manifests of entries, configs and layers",
        (
            STORE,
            PATH,
            ("digest", "content.digest", "digest of the missing blob"),
            ("role", "CAST('manifest' AS TEXT)", "manifest (of an entry), config or layer"),
            ("manifest", "CAST(NULL AS TEXT)", "the manifest that needs it; null if an entry needs it"),
            (
                "position",
                "CAST(NULL AS INTEGER)",
                "for a layer, its place in the list of the manifest, from 0; else null",
            ),
            ("size", "entry.size", "its size in bytes, according to its descriptor"),
        ),
        _MISSING_ENTRIES,
        (
            (
                (
                    "store.name",
                    "store.path",
                    "content.digest",
                    f"CASE WHEN edge.role = {CONFIG} THEN 'config' ELSE 'layer' END",
                    "parent.digest",
                    f"CASE WHEN edge.role = {LAYER} THEN edge.position END",
                    "edge.size",
                ),
                _MISSING_PARTS,
            ),
        ),
    ),
    View(
        "problems",
        "one row per problem that ocicat check lists: of a store, an entry, a name or a blob",
        (
            STORE,
            ("kind", "problem.kind", "kind of problem: see 'ocicat help problems'"),
            ("subject", "problem.subject", "what has the problem: a path, a file, an annotation or a digest"),
            ("detail", "problem.detail", "what is wrong with it"),
        ),
        "FROM problem JOIN store ON store.id = problem.store_id WHERE problem.stage < 2",
        (
            (
                (
                    "store.name",
                    "CASE WHEN store.error LIKE 'index.json is a symbolic link%' THEN 'linked' ELSE store.state END",
                    "store.path",
                    "coalesce(store.error, '')",
                ),
                "FROM store WHERE store.state IN ('invalid', 'unreadable', 'missing')",
            ),
            (
                (
                    "store.name",
                    "'copies-differ'",
                    "store.path",
                    "'another store that is the same layout has read another index.json'",
                ),
                """FROM store
WHERE store.shared_as IS NOT NULL AND (store.state = 'ok' OR store.state = 'empty') AND EXISTS (
  SELECT 1 FROM store AS twin
  WHERE twin.shared_as = store.shared_as AND twin.state IN ('ok', 'empty') AND twin.sha256 <> store.sha256
)""",
            ),
            (
                (
                    "missing.store",
                    "'missing-blob'",
                    "missing.digest",
                    """CASE missing.role WHEN 'manifest' THEN 'the manifest of an entry' WHEN 'config' THEN 'config of ' || missing.manifest
  ELSE 'layers[' || missing.position || '] of ' || missing.manifest END""",
                ),
                "FROM missing",
            ),
            (
                (
                    "store.name",
                    "'unusable-content'",
                    "content.digest",
                    "'is not JSON, although its media type says so'",
                ),
                f"""FROM store
JOIN store_blob ON store_blob.store_id = store.id
JOIN content ON content.id = store_blob.content_id
WHERE content.kind = {UNUSABLE} AND store.state <> 'missing' AND {_CLAIMED}
AND store_blob.reach >= {PART}""",
            ),
            (
                (
                    "store.name",
                    "'ambiguous-manifest'",
                    "content.digest",
                    "'has the fields of several kinds of manifest, or fields that do not fit its media type (CVE-2021-41190)'",
                ),
                f"""FROM store
JOIN store_blob ON store_blob.store_id = store.id
JOIN content ON content.id = store_blob.content_id
WHERE content.kind = {AMBIGUOUS} AND store.state <> 'missing' AND store_blob.reach > {UNREACHED}""",
            ),
            (
                ("store.name", "'odd-json'", "content.digest", "content.odd"),
                f"""FROM content
JOIN store_blob ON store_blob.content_id = content.id
JOIN store ON store.id = store_blob.store_id
WHERE content.odd IS NOT NULL AND store.state <> 'missing' AND store_blob.reach > {UNREACHED}""",
            ),
            (
                ("store.name", "'bad-descriptor'", "content.digest", "manifest.flaws"),
                f"""FROM manifest
JOIN content ON content.id = manifest.content_id
JOIN store_blob ON store_blob.content_id = content.id
JOIN store ON store.id = store_blob.store_id
WHERE manifest.flaws IS NOT NULL AND store.state <> 'missing' AND store_blob.reach > {UNREACHED}""",
            ),
            (
                (
                    "store.name",
                    "'long-word'",
                    "content.digest",
                    "'has a media type or platform (shortened) or a key (left out) of more than 1024 bytes'",
                ),
                f"""FROM content
JOIN store_blob ON store_blob.content_id = content.id
JOIN store ON store.id = store_blob.store_id
WHERE content.long_words AND store.state <> 'missing' AND store_blob.reach > {UNREACHED}""",
            ),
            (
                ("store.name", "'digest-differs'", "content.digest", "'its bytes do not match its digest'"),
                f"""FROM store
JOIN store_blob ON store_blob.store_id = store.id AND NOT store_blob.is_good
JOIN content ON content.id = store_blob.content_id
WHERE store.state <> 'missing' AND {_NO_PROBLEM.format("'digest-differs'")}""",
            ),
            (
                (
                    "store.name",
                    "'digest-differs'",
                    "content.digest",
                    "'has ' || store_blob.size || ' bytes, but its digest is that of ' || content.size",
                ),
                f"""FROM store
JOIN store_blob ON store_blob.store_id = store.id AND NOT store_blob.embedded
JOIN content ON content.id = store_blob.content_id
WHERE store.state <> 'missing' AND content.size <> store_blob.size AND coalesce(store_blob.is_good, TRUE)
AND {_NO_PROBLEM.format("'digest-differs'")}""",
            ),
            (  # found when the store was read (catalog.ingest.claims), and reported until the bytes have been hashed
                ("store.name", "problem.kind", "problem.subject", "problem.detail"),
                f"""FROM problem
JOIN store ON store.id = problem.store_id
JOIN content ON content.digest = problem.subject
JOIN store_blob ON store_blob.store_id = store.id AND store_blob.content_id = content.id
WHERE problem.stage = 2 AND store.state <> 'missing' AND content.size IS NULL AND store_blob.is_good IS NULL
AND {_NO_PROBLEM.format("'digest-differs'")}""",
            ),
        ),
    ),
)
