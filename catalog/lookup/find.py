"""Every match of a query, each form by its own index (docs/resolution.md)."""

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
    """Every entry that `query` matches, each once, in the order in which they answer.

    `place` is the store that a query of a scheme names; `stores` narrows to some stores' ids. With `digests` an entry comes
    once for each digest that it has, or reaches, and that begins as is asked. Rows come as they are asked for. Stores that
    are missing yield nothing.
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
                seen.add(row[ENTRY_ID])
                yield Match(reader, row)
    if place is not None and not seen and (stores is None or place.store_id in stores):
        single = _single_entry(reader, query, place)
        if single is not None:
            yield Match(reader, single, fallback=True)


def _below(reader: Reader, query: Query, place: NamedStore | None, *, digests: bool) -> Iterator[tuple[Row, str]]:
    """Entries that reach the digest that is asked for as a manifest below them, and that digest.

    Of the beginning of several digests: each entry once with the first of them, or, with `digests`, the first entry in each
    store for each of them.
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
        if keys:  # if two keys match, report the one with the tag that was asked for (docs/scripts.md)
            key = next((key for key in keys if key[1] == query.tag), keys[0])
            yield Match(reader, row).replaced(repository=key[0], tag=key[1], name=key[2]).row, digest


def _lying(reader: Reader, query: Query, place: NamedStore | None) -> Iterator[Row]:
    """Manifests that no entry of their store reaches: BuildKit, regctl and oras read them by digest all the same.

    Over all stores a name beside the digest asks for what stands under it, and these stand under none.
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
    """buildx's rule: the one element of a layout, where `oci-layout://S` or `oci-layout://S:TAG` found nothing else."""
    if query.kind != kinds.OCI_LAYOUT or query.digest is not None or place.image is not None or place.elements != 1:
        return None
    return reader.row("STORE_ENTRIES", {"store_id": place.store_id})


def _rows(reader: Reader, query: Query) -> Iterator[Row]:
    kind = query.kind
    if kind == kinds.NAME:
        return reader.rows("BY_NAME", {"name": query.name})
    if kind == kinds.TAG:
        tag = query.tag or ""
        # Longer than a key may be: no index has it, and few entries are so long.
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
    """First the one that answers, which is all that most want to know, then those that it shadows."""
    asked = {"name": name, "store_id": store_id}
    yield from reader.rows("STORE_ANSWER_BY_NAME", asked)
    yield from reader.rows("STORE_BY_NAME", asked)


def _by_raw_ref_name(reader: Reader, text: str, store_id: int) -> Iterator[Row]:
    statement: Name = "STORE_BY_LONG_REF_NAME" if is_long(text) else "STORE_BY_REF_NAME"
    return reader.rows(statement, {"tag": text, "store_id": store_id})


def _partial_tag(reader: Reader, tag: str, store_id: int) -> Iterator[Row]:
    """BuildKit's `Get` first: the raw image name, then the raw ref.name, that is exactly the tag; then derived tags."""
    asked = {"tag": tag, "store_id": store_id}
    yield from reader.rows("STORE_BY_IMAGE_NAME", asked)
    yield from reader.rows("STORE_BY_REF_NAME", asked)
    yield from reader.rows("STORE_BY_TAG", asked)


def _nth(reader: Reader, place: NamedStore, query: Query) -> Iterator[Row]:
    """`oci:PATH:@N`: the element N of the list, counted from 0, unusable ones too (containers/image, oci_transport.go).

    The catalog keeps the order of entries only where it decides an answer, so the file itself says which one that is, as
    long as it is the one that the catalog has read. Raises NotInTime for another.
    """
    if reader.past is not None:
        raise UsageError(f"{shown(query.text)}: the past is not kept by number: ask for oci:PATH:REF, or a digest")
    from catalog.lookup.nth import digest_of_element

    digest = digest_of_element(reader, place, query)
    return (
        iter(())
        if digest is None
        else _first(reader.rows("STORE_BY_DIGEST", {"digest": digest, "store_id": place.store_id}))
    )


def _ocidir(reader: Reader, tag: str, store_id: int) -> Iterator[Row]:
    """regctl's: raw ref.names that are the tag, then those that end in `:TAG`, in the order of the list."""
    asked = {"tag": tag, "store_id": store_id}
    yield from reader.rows("STORE_BY_REF_NAME", asked)
    yield from reader.rows("STORE_BY_REF_TAIL", asked)


def _first(rows: Iterator[Row]) -> Iterator[Row]:
    """skopeo's and regctl's forms mean one entry: the first."""
    for row in rows:
        yield row
        return
