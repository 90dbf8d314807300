"""Find every match of a query. Each form of a query uses its own index (docs/resolution.md)."""

from __future__ import annotations

from catalog.errors import UsageError
from catalog.lookup.match import COLUMNS, ENTRY_ID, STORE_ID, Match
from catalog.names import query as kinds
from catalog.names.escape import shown
from catalog.names.limits import is_long
from catalog.names.pattern import Glob, name_globs, upper_bound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from catalog.engine.interface import Reader
    from catalog.engine.names import Name
    from catalog.lookup.stores import NamedStore
    from catalog.names.query import Query

    Row = tuple[Any, ...]


def find(
    reader: Reader, query: Query, place: NamedStore | None, stores: frozenset[int] | None, *, digests: bool = False
) -> Iterator[Match]:
    """Yield every entry that `query` matches, each once, in the order in which entries answer.

    `place` is the store that a query with a scheme names; `stores` are the ids of the stores to search, or None for all stores. For
    a digest prefix with `digests`, an entry is yielded once for each matching digest that it has or reaches. Rows are read
    as the caller iterates. Stores that are missing yield nothing.
    """
    seen: set[int] = set()
    rows = _rows(reader, query) if place is None else _in_store(reader, query, place)
    for row in rows:
        if row[ENTRY_ID] not in seen and (stores is None or row[STORE_ID] in stores):
            seen.add(row[ENTRY_ID])
            yield Match(reader, row)
    if query.digest is not None:
        for row, digest in _below(reader, query, place, digests=digests):
            if (digests or row[ENTRY_ID] not in seen) and (stores is None or row[STORE_ID] in stores):
                seen.add(row[ENTRY_ID])
                yield Match(reader, row, below=digest)
        for row in _lying(reader, query, place):
            if stores is None or row[STORE_ID] in stores:
                yield Match(reader, row)
    if place is not None and not seen and (stores is None or place.store_id in stores):
        single = _single_entry(reader, query, place)
        if single is not None:
            yield Match(reader, single, fallback=True)


def _below(reader: Reader, query: Query, place: NamedStore | None, *, digests: bool) -> Iterator[tuple[Row, str]]:
    """Yield the entries that have a manifest with the requested digest below them, each with that digest.

    If a prefix matches several digests, each entry is yielded once, with the first matching digest; or, with `digests`, the first
    entry in each store is yielded for each digest.
    """
    from catalog.lookup.content import in_prefix, reaching

    digest = query.digest or ""
    if query.kind == kinds.DIGEST_PREFIX:
        several = dict(in_prefix(reader, digest))
        if len(several) > 1:
            from catalog.lookup.above import Above

            above = Above(reader, several.values())
            found = above.first(lambda _match: True) if digests else above.in_turn(several.values())
            yield from ((row, each) for each, content_id in several.items() for row in found.get(content_id, ()))
            return
        digest = next(iter(several), digest)
    repository = query.repository if place is None else place.image
    for row in reaching(reader, digest, None if place is None else place.store_id):
        if repository is None:
            yield row, digest
            continue
        keys = [key for key in Match(reader, row).lookup_keys() if key[0] == repository]
        if keys:  # if two keys match, report the key with the requested tag (docs/scripts.md)
            key = next((key for key in keys if key[1] == query.tag), keys[0])
            yield Match(reader, row).replaced(repository=key[0], tag=key[1], name=key[2]).row, digest


def _lying(reader: Reader, query: Query, place: NamedStore | None) -> Iterator[Row]:
    """Yield manifests that no entry of their store reaches, because BuildKit, regctl and oras read these by digest too.

    NAME@DIGEST over all stores yields none, because such manifests have no name.
    """
    from catalog.lookup.content import in_prefix

    digest = query.digest or ""
    if place is not None:
        return reader.rows("STORE_LYING", {"digest": digest, "store_id": place.store_id})
    if query.kind == kinds.NAME_DIGEST:
        return iter(())
    digests = dict(in_prefix(reader, digest)) if query.kind == kinds.DIGEST_PREFIX else (digest,)
    return (row for one in digests for row in list(reader.rows("LYING", {"digest": one})))


def _single_entry(reader: Reader, query: Query, place: NamedStore) -> Row | None:
    """Return the only element of a layout if `oci-layout://S` or `oci-layout://S:TAG` found nothing: buildx's rule."""
    if query.kind != kinds.OCI_LAYOUT or query.digest is not None or place.image is not None or place.elements != 1:
        return None
    return reader.row("STORE_ENTRIES", {"store_id": place.store_id})


def _rows(reader: Reader, query: Query) -> Iterator[Row]:
    kind = query.kind
    if kind == kinds.NAME:
        return reader.rows("BY_NAME", {"name": query.name})
    if kind == kinds.TAG:
        tag = query.tag or ""
        # A tag that is longer than a key is in no index, but few entries are that long.
        return reader.rows("BY_LONG_RAW" if is_long(tag) else "BY_TAG", {"tag": tag})
    if kind == kinds.DIGEST:
        return reader.rows("BY_DIGEST", {"digest": query.digest})
    if kind == kinds.DIGEST_PREFIX:
        low = query.digest or ""
        return reader.rows("BY_DIGEST_RANGE", {"low": low, "high": upper_bound(low)})
    if kind == kinds.NAME_DIGEST:
        asked = {"repository": query.repository, "digest": query.digest, "tag": query.tag}
        return reader.rows("BY_REPOSITORY_DIGEST", asked)
    if kind == kinds.TAG_PATTERN:
        return _tags(reader, Glob(query.tag or ""))
    return _names(reader, name_globs(query.text))


def _names(reader: Reader, globs: Iterable[Glob]) -> Iterator[Row]:
    at = COLUMNS.index("name")
    for glob in globs:
        bounds = glob.bounds()
        rows = reader.rows("BY_ANY_NAME", {}) if bounds is None else reader.rows("BY_NAME_RANGE", bounds)
        yield from (row for row in rows if glob.matches(row[at]))


def _tags(reader: Reader, glob: Glob) -> Iterator[Row]:
    at = COLUMNS.index("tag")
    bounds = glob.bounds()
    rows = reader.rows("BY_ANY_TAG", {}) if bounds is None else reader.rows("BY_TAG_RANGE", bounds)
    return (row for row in rows if glob.matches(row[at]))


def _in_store(reader: Reader, query: Query, place: NamedStore) -> Iterator[Row]:
    store_id = place.store_id
    if query.digest is not None:
        asked = {"digest": query.digest, "store_id": store_id}
        if place.image is None:
            return reader.rows("STORE_BY_DIGEST", asked)
        named = {"repository": place.image, "tag": query.tag}
        return reader.rows("STORE_BY_REPOSITORY_DIGEST", asked | named)
    if query.kind == kinds.OCI:
        if query.tag is None:
            return reader.rows("STORE_ENTRIES", {"store_id": store_id})
        if query.tag.startswith("@"):
            return _nth(reader, place, query)
        from catalog.names.media_types import IMAGES

        at = COLUMNS.index("media_type")
        return _first(row for row in _by_raw_ref_name(reader, query.tag, store_id) if row[at] in IMAGES)
    tag = query.tag or "latest"
    if query.kind == kinds.OCIDIR:
        return _first(_ocidir(reader, tag, store_id))
    if place.image is not None:
        return _by_name(reader, f"{place.image}:{tag}", store_id)
    return _partial_tag(reader, tag, store_id)


def _by_name(reader: Reader, name: str, store_id: int) -> Iterator[Row]:
    """Yield the entry that answers first, which is usually enough, then the entries that it shadows."""
    asked = {"name": name, "store_id": store_id}
    yield from reader.rows("STORE_ANSWER_BY_NAME", asked)
    yield from reader.rows("STORE_BY_NAME", asked)


def _by_raw_ref_name(reader: Reader, text: str, store_id: int) -> Iterator[Row]:
    statement: Name = "STORE_BY_LONG_REF_NAME" if is_long(text) else "STORE_BY_REF_NAME"
    return reader.rows(statement, {"tag": text, "store_id": store_id})


def _partial_tag(reader: Reader, tag: str, store_id: int) -> Iterator[Row]:
    """Yield entries by a tag: raw image name, then raw ref.name, as in BuildKit's `Get`; then derived tags."""
    asked = {"tag": tag, "store_id": store_id}
    yield from reader.rows("STORE_BY_IMAGE_NAME", asked)
    yield from reader.rows("STORE_BY_REF_NAME", asked)
    yield from reader.rows("STORE_BY_TAG", asked)


def _nth(reader: Reader, place: NamedStore, query: Query) -> Iterator[Row]:
    """Yield element N of the list for `oci:PATH:@N`, counted from 0, including unusable elements (oci_transport.go).

    The catalog keeps the order of entries only where it decides an answer, so the digest is read from the file itself. Raises
    UsageError for a question about the past, and what `digest_of_element` raises, such as NotInTime for a file that has changed.
    """
    if reader.past is not None:
        raise UsageError(
            f"{shown(query.text)} cannot be used for the past, which has no numbers of entries: use oci:PATH:REF or a digest"
        )
    from catalog.lookup.nth import digest_of_element

    digest = digest_of_element(reader, place, query)
    return (
        iter(())
        if digest is None
        else _first(reader.rows("STORE_BY_DIGEST", {"digest": digest, "store_id": place.store_id}))
    )


def _ocidir(reader: Reader, tag: str, store_id: int) -> Iterator[Row]:
    """Yield the entries that regctl finds: those whose raw ref.name equals the tag, then those whose ref.name ends with `:TAG`.

    Both are in the order of the list.
    """
    asked = {"tag": tag, "store_id": store_id}
    yield from reader.rows("STORE_BY_REF_NAME", asked)
    yield from reader.rows("STORE_BY_REF_TAIL", asked)


def _first(rows: Iterator[Row]) -> Iterator[Row]:
    """Yield only the first row, because the forms of skopeo and regctl mean one entry."""
    for row in rows:
        yield row
        return
