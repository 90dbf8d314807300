"""Write the contents of manifests and configs into the tables of content."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence

from sqlalchemy import Connection

from catalog.db.schema import CHILD, CONFIG, LAYER, SUBJECT, UNREAD
from catalog.engine.driver import keep_edges
from catalog.ingest import findings
from catalog.ingest.blob_reading import BlobRead, ContentReading, parse_blob
from catalog.ingest.reach import standing
from catalog.ingest.registry import Registry
from catalog.ingest.rows import Rows
from catalog.ingest.unread import other_copies, unread_elsewhere, unread_of
from catalog.layout.config import Config
from catalog.layout.descriptor import MAX_SIZE, Descriptor, Layer
from catalog.layout.manifest import Manifest
from catalog.layout.text import shorten
from catalog.names.moment import milliseconds

_CONTAINERD_SUBJECT = "io.containerd.manifest.subject"
_BUILDKIT_SUBJECT = "vnd.docker.reference.digest"


def write_batch(
    connection: Connection,
    store_ids: Collection[int],
    batch: Sequence[BlobRead],
    max_bytes: int,
    pause: Callable[[], None],
) -> tuple[set[int], list[int]]:
    """Write blobs that were read from these stores.

    Returns the ids of other stores that now have something to read, and the ids of the manifests and indexes that were written,
    including embedded ones. `max_bytes` is the largest size of an embedded manifest.
    """
    keep_edges(connection, still=False)
    parents: list[int] = []
    rows = Rows(connection)
    rows.pause = pause
    embedded: list[BlobRead] = []
    with_long_words: list[tuple[int]] = []
    # Rows are locked in the order of their ids, so two hosts that read the same digests never wait for each other.
    for read in sorted(batch, key=lambda read: read.content_id):
        content_id = read.content_id
        rows.cursor.execute(
            f"UPDATE content SET kind = ?, size = ?, odd = ? WHERE id = ? AND digest = ? AND kind = {UNREAD}",
            (read.kind, read.size, _odd(read), content_id, read.digest),
        )
        if not rows.cursor.rowcount:
            continue  # Another process has read or deleted it meanwhile.
        long_words = rows.long_words
        if read.config is not None:
            write_config(rows, content_id, read.config)
        if read.manifest is not None:
            embedded += write_manifest(rows, content_id, read.digest, read.manifest, max_bytes)
            parents.append(content_id)
        if rows.long_words != long_words:
            with_long_words.append((content_id,))
        rows.flush_if_full()
    rows.flush()
    rows.cursor.executemany("UPDATE content SET long_words = TRUE WHERE id = ?", with_long_words)
    woken = unread_elsewhere(rows, list(store_ids), parents)
    _set_pending(rows, woken)
    if embedded:  # Their ids are known now. The recursion ends, because each is smaller than the manifest around it.
        unique = {read.digest: read for read in embedded}.values()
        again = [read._replace(content_id=rows.content(read.digest)) for read in unique]
        more_woken, more_parents = write_batch(connection, store_ids, again, max_bytes, pause)
        woken |= more_woken
        parents += more_parents
    return woken, parents


def write_end(
    connection: Connection, readings: Sequence[ContentReading], max_bytes: int, pause: Callable[[], None]
) -> tuple[list[ContentReading], set[int]]:
    """Write the problems of stores, and record that their content is read.

    Returns the readings of stores with more to read, for which nothing is written, and the ids of other stores that now have
    something to read.
    """
    keep_edges(connection, still=True)
    more = unread_of(connection, [each.store.id for each in readings], max_bytes)  # found by other processes
    left = [each for each in readings if any(not each.left_out(one.digest) for one in more.get(each.store.id, ()))]
    ids = [each.store.id for each in readings if each not in left]
    paths = {store.id: store.path for store in Registry(connection).stores(ids)}  # without stores removed meanwhile
    done = [each for each in readings if each not in left and paths.get(each.store.id) == each.store.path]
    rows = Rows(connection)
    rows.pause = pause
    rows.cursor.executemany("DELETE FROM problem WHERE store_id = ? AND stage = 1", [(each.store.id,) for each in done])
    for each in done:
        problems = sorted((problem.kind, digest, problem.reason) for digest, problem in each.all_problems().items())
        for kind, digest, reason in problems:
            rows.problem(each.store.id, None, kind, digest, reason, stage=1)
    rows.flush()
    for each in done:
        _write_findings(rows, each)
    bad = [(digest, each.store.id) for each in done for digest in each.problems]
    woken = other_copies(rows, bad, max_bytes) - {each.store.id for each in readings}
    if woken:
        # The stores that are done are included only for the order of locks. The next statement resets them.
        _set_pending(rows, woken | {each.store.id for each in done})
    rows.cursor.executemany(
        "UPDATE store SET content_pending = FALSE, blobs_identity = ? WHERE id = ? AND generation = ?",
        sorted(((each.identity, each.store.id, each.store.generation) for each in done), key=lambda row: row[1]),
    )
    return left, woken


def _write_findings(rows: Rows, reading: ContentReading) -> None:
    """Write the findings about a store. Find them now if that was not done yet or the store has changed since."""
    ask = findings.asking(rows)
    found = reading.findings
    if found is None or reading.standing != standing(ask, reading.store.id):
        steps = findings.find(ask, reading.store, reading.reasons(), reading.blobs.unknown())
        while True:
            rows.pause()
            try:
                next(steps)
            except StopIteration as end:
                found = end.value
                break
    assert found is not None
    findings.write(rows, reading.store, found)


def _set_pending(rows: Rows, store_ids: Collection[int]) -> None:
    """Record that these stores have something to read, in the order of their ids, because other hosts write them too."""
    rows.cursor.executemany(
        "UPDATE store SET content_pending = TRUE WHERE id = ?", [(one,) for one in sorted(store_ids)]
    )


def _odd(read: BlobRead) -> str | None:
    """Return the fields of a manifest or config whose value depends on the reader (gojson.py), or None if there are none."""
    lines = read.manifest.odd if read.manifest is not None else read.config.odd if read.config is not None else ()
    return shorten("; ".join(lines)) if lines else None


def write_manifest(rows: Rows, content_id: int, digest: str, manifest: Manifest, max_bytes: int) -> list[BlobRead]:
    """Write the contents of a manifest or index. Return the manifests and configs that it embeds, whose ids are not known yet."""
    embedded: list[BlobRead] = []
    chain: str | None = None
    subjects: dict[tuple[str, str, str], None] = {}
    for position, layer in enumerate(manifest.layers):
        rows.pause()
        chain = _chain(chain, layer.digest)
        _write_edge(rows, content_id, LAYER, position, layer, max_bytes, chain)
    if manifest.config is not None:
        embedded += _write_edge(rows, content_id, CONFIG, 0, manifest.config, max_bytes)
    if manifest.subject is not None:
        _write_edge(rows, content_id, SUBJECT, 0, manifest.subject, 0)
    for position, child in enumerate(manifest.manifests):
        rows.pause()
        embedded += _write_edge(rows, content_id, CHILD, position, child, max_bytes)
        annotations = child.annotations or {}
        for key, how in ((_BUILDKIT_SUBJECT, "buildkit"), (_CONTAINERD_SUBJECT, "containerd")):
            if key in annotations:
                subjects[annotations[key], child.digest, how] = None
    if _CONTAINERD_SUBJECT in manifest.annotations:
        subjects[manifest.annotations[_CONTAINERD_SUBJECT], digest, "containerd"] = None
    for subject in subjects:  # a dict, so that each is written once even if an index lists a manifest twice
        rows.referrer(*subject, content_id=content_id)
    rows.manifest(
        content_id,
        manifest.media_type,
        manifest.artifact_type,
        len(manifest.layers),
        min(sum(layer.size or 0 for layer in manifest.layers), MAX_SIZE),
        chain,
        flaws=shorten("; ".join(manifest.flaws)) if manifest.flaws else None,
    )
    rows.content_annotations(content_id, manifest.annotations, is_label=False)
    return embedded


def _write_edge(
    rows: Rows, parent_id: int, role: int, position: int, child: Descriptor, max_bytes: int, chain: str | None = None
) -> list[BlobRead]:
    """Record that a manifest points to a blob. Return the blob if its descriptor embeds it in at most `max_bytes`."""
    if child.annotations and role in (CHILD, LAYER):
        rows.descriptor_annotations(parent_id, role, position, child.annotations)
    data = child.embedded(max_bytes)
    rows.edge(
        parent_id,
        role,
        position,
        child.digest,
        rows.platform_of(child.platform),
        child.media_type,
        child.size,
        chain,
        is_foreign=isinstance(child, Layer) and child.is_foreign,
        embedded=data is not None,
    )
    return [] if data is None else [parse_blob(0, child.digest, data)]


def write_config(rows: Rows, content_id: int, config: Config) -> None:
    """Write the contents of the config of an image."""
    created = None if config.created is None else milliseconds(config.created)
    rows.config(content_id, rows.platform_of(config), created)
    rows.content_annotations(content_id, config.labels, is_label=True)


def _chain(before: str | None, digest: str) -> str:
    """Return the hash of a list of layers, given the hash of all but the last layer. Equal hashes mean equal lists."""
    return hashlib.blake2b(f"{before or ''} {digest}".encode(), digest_size=16).hexdigest()
