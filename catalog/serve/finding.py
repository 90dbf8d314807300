"""Find in the catalog what a request asks for. Each function answers one question, in a thread that has a reader."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from catalog.engine.interface import Reader
from catalog.errors import Ambiguous, NotFound, NotInTime
from catalog.lookup.below import INDEX
from catalog.lookup.content import is_pending
from catalog.lookup.holders import Carried, Holder, StorePlace, carriers, holders, place_of_store
from catalog.lookup.ids import ids_text
from catalog.lookup.match import Match
from catalog.lookup.resolve import Asking
from catalog.lookup.stores import store_id, store_ids
from catalog.names.escape import shown
from catalog.names.media_types import OCI_INDEX, OCI_MANIFEST
from catalog.names.reference import is_tag
from catalog.serve.naming import STORES, Asked

REFUSE, SKIP, FIRST = "refuse", "skip", "first"
AMBIGUOUS = (REFUSE, SKIP, FIRST)
"""The values of --ambiguous."""
_STALE = ("invalid", "unreadable")
_GUESSES = 64
"""The largest number of stores with unread manifests in which a digest is searched for on the disk."""
_PAGE = 500
_FIRST_PAGE = 8  # one tag is often enough
_BY_SUBJECT = ("subject", "fallback", "cut")
"""How a referrer as the distribution-spec defines it may name its subject (catalog.db.schema, table `referrer`)."""


class Serving(NamedTuple):
    """The options that decide what is served: --store, --strict, --ambiguous."""

    stores: tuple[str, ...] = ()
    strict: bool = False
    ambiguous: str = REFUSE

    def scope(self, reader: Reader) -> frozenset[int] | None:
        """Return the ids of the stores that may answer, or None for all stores. Raises UnknownStore."""
        return store_ids(reader, self.stores) if self.stores else None


class FoundManifest(NamedTuple):
    """A manifest: its digest, the media type in its descriptor, and the stores that may hold it, in the order in which to try them.

    `carried` has the descriptors that embed it. `is_unsure` is true if a store may have it although the catalog does not know that
    yet. `notes` are messages for the user.
    """

    digest: str
    media_type: str | None
    places: list[StorePlace]
    carried: list[Carried]
    is_unsure: bool
    notes: list[str]


class FoundBlob(NamedTuple):
    """The stores that may hold a blob; `carried` and `is_unsure` are as in FoundManifest."""

    holders: list[Holder]
    carried: list[Carried]
    is_unsure: bool


def tagged(reader: Reader, asked: Asked, tag: str, rules: Serving) -> FoundManifest:
    """Return the manifest that a tag resolves to, as `ocicat resolve` answers. Raises NotFound, Ambiguous, UnknownStore."""
    notes: list[str] = []
    scope = rules.scope(reader)
    asking = Asking(reader, notes.append, stores=scope, strict=rules.strict)
    query = asked.tagged(tag)
    try:
        match = asking.resolve(query)
    except Ambiguous as error:
        if rules.ambiguous == REFUSE:
            raise
        if rules.ambiguous == SKIP:
            raise NotFound(str(error)) from error
        match = asking.resolve(query, first=True)
        notes.append(f"{error}; took the first store, {shown(match.store)}")
    if match.fallback:
        raise NotFound(f"{shown(asked.text)} has no tag {shown(tag)}")
    _refuse_elsewhere(match)
    first = place_of_store(reader, match.store_id)
    held = _held(reader, match.digest, scope, rules)
    others = (each.place for each in held if each.place.store_id != match.store_id)
    places = [*([first] if first else []), *others]
    carried = carriers(reader, match.digest, held)
    return FoundManifest(match.digest, match.media_type, places, carried, is_unsure=False, notes=notes)


def _refuse_elsewhere(match: Match) -> None:
    host = match.host
    if host is not None:
        raise NotFound(f"store {shown(match.store)} is on the host {shown(host)}", "run 'ocicat serve' there")


def by_digest(reader: Reader, asked: Asked, digest: str, rules: Serving) -> FoundManifest:
    """Return the manifest with a digest in any store, not only in those of the repository. Raises NotFound and UnknownStore."""
    reader.known.clear()
    scope = rules.scope(reader)
    held = _held(reader, digest, scope, rules)
    places = {each.place.store_id: each.place for each in held}
    media_type: str | None = None
    for row in list(islice(reader.rows("BY_DIGEST", {"digest": digest}), _PAGE)):
        match = Match(reader, row)
        media_type = media_type or match.media_type
        if match.store_id not in places and (scope is None or match.store_id in scope):
            place = place_of_store(reader, match.store_id)
            if place is not None and not (rules.strict and place.state in _STALE):
                places[place.store_id] = place
    if media_type is None:
        edge = reader.row("EDGE_TO", {"digest": digest})
        media_type = None if edge is None else edge[2]
    guesses = _guesses(reader, asked, scope, frozenset(places))
    if not places and not guesses:
        if is_pending(reader, scope):
            raise _pending(digest)
        raise NotFound(f"no store has {shown(digest)}")
    carried = carriers(reader, digest, held)
    return FoundManifest(digest, media_type, [*places.values(), *guesses], carried, is_unsure=bool(guesses), notes=[])


def blob(reader: Reader, asked: Asked, digest: str, rules: Serving) -> FoundBlob:
    """Return which stores hold a blob, not only those of the repository. Raises NotFound and UnknownStore."""
    reader.known.clear()
    scope = rules.scope(reader)
    held = _held(reader, digest, scope, rules)
    guesses = _guesses(reader, asked, scope, frozenset(each.place.store_id for each in held))
    if not held and not guesses:
        if is_pending(reader, scope):
            raise _pending(digest)
        raise NotFound(f"no store has {shown(digest)}")
    carried = carriers(reader, digest, held)
    lying = [each for each in held if not each.embedded]
    lying += [Holder(place, 0, None, None, embedded=False) for place in guesses]
    return FoundBlob(lying, carried, bool(guesses))


def _held(reader: Reader, digest: str, scope: frozenset[int] | None, rules: Serving) -> list[Holder]:
    found = holders(reader, digest, scope)
    return [each for each in found if not (rules.strict and each.place.state in _STALE)]


def _guesses(reader: Reader, asked: Asked, scope: frozenset[int] | None, known: frozenset[int]) -> list[StorePlace]:
    """Return the stores of a repository whose blobs are not all known yet. A client may ask for a blob that was just written."""
    pending = {row[0] for row in reader.rows("PENDING", {}) if scope is None or row[0] in scope} - known
    if not pending:
        return []
    if asked.store is not None:
        found = store_id(reader, asked.store)
        wanted = set() if found is None else {found}
    else:
        first = {"repository": asked.repository, "low": "", "low_store": -1, "count": _PAGE}
        wanted = {row[1] for row in reader.rows("TAGS_AFTER", first)}
    places = (place_of_store(reader, each) for each in sorted(pending & wanted)[:_GUESSES])
    return [place for place in places if place is not None]


def _pending(digest: str) -> NotInTime:
    return NotInTime(f"{shown(digest)} is not known yet: manifests are still being read; ask again")


def tags(reader: Reader, asked: Asked, last: str, count: int, rules: Serving) -> list[str]:
    """Return at most `count` tags of a repository, in order, that come after `last`. Raises NotFound for an unknown repository."""
    scope = rules.scope(reader)
    if asked.store is not None:
        return _tags_of_store(reader, asked.store, last, count, scope)
    if count == 0:
        found: list[str] = []
    else:
        found = list(islice(_tags(reader, asked.repository or "", last, scope), count))
    if not found and next(_tags(reader, asked.repository or "", "", scope), None) is None:
        raise NotFound(f"no store has the repository {shown(asked.text)}")
    return found


def _tags(reader: Reader, repository: str, last: str, scope: frozenset[int] | None) -> Iterator[str]:
    """Yield the tags of a repository after `last` that a client can ask for, in order."""
    low, low_store = last, 1 << 62
    yielded = last
    count = _FIRST_PAGE
    while True:
        asked = {"repository": repository, "low": low, "low_store": low_store, "count": count}
        rows = list(reader.rows("TAGS_AFTER", asked))
        for tag, store in rows:
            is_served = (store in scope) if scope is not None else True
            if tag != yielded and is_served and is_tag(tag) and reader.host_of(store) is None:
                yielded = tag
                yield tag
        if len(rows) < count:
            return
        low, low_store = rows[-1]
        count = min(4 * count, _PAGE)


def _tags_of_store(reader: Reader, name: str, last: str, count: int, scope: frozenset[int] | None) -> list[str]:
    """Return at most `count` bare tags of a store after `last`. They have no index, so all entries of the store are read."""
    found = store_id(reader, name)
    is_served = found is not None and (scope is None or found in scope) and reader.host_of(found) is None
    served = set(_bare_tags(reader, found)) if found is not None and is_served else set()
    if not served:
        raise NotFound(f"there is no store {shown(name)} with a bare tag")
    return heapq.nsmallest(count, (tag for tag in served if tag > last))


def _bare_tags(reader: Reader, store: int) -> Iterator[str]:
    """Yield the tags of entries of a store that have no repository, in the order of its list."""
    for _, _, _, repository, tag in reader.rows("KEYS_OF_STORE", {"store_id": store}):
        if repository is None and tag is not None and is_tag(tag):
            yield tag


def repositories(reader: Reader, last: str, count: int, rules: Serving, registry: str | None = None) -> list[str]:
    """Return at most `count` repositories, in order, that come after `last`: canonical names, and stores with bare tags.

    With `registry`, only the repositories of this registry are returned. Their names still begin with its name.
    """
    scope = rules.scope(reader)
    before = "" if registry is None else f"{registry}/"
    low = max(last, before)
    both = _repositories_and_stores(reader, low, scope)
    return list(islice(itertools.takewhile(lambda name: name.startswith(before), both), count))


def _repositories_and_stores(reader: Reader, last: str, scope: frozenset[int] | None) -> Iterator[str]:
    """Yield repositories and stores in order. A store is read only when its turn comes, because that may read all its entries."""
    names = _repositories(reader, last, scope)
    behind: list[str] = []
    for name in names:
        if name > STORES:
            behind = [name]
            break
        yield name
    yield from heapq.merge(itertools.chain(behind, names), _stores(reader, last, scope))


def _repositories(reader: Reader, last: str, scope: frozenset[int] | None) -> Iterator[str]:
    ids = None if scope is None else ids_text(sorted(scope))
    while True:
        if ids is None:
            found = reader.rows("REPOSITORIES_AFTER", {"low": last, "count": _PAGE})
        else:
            found = reader.rows("REPOSITORIES_OF_STORES", {"low": last, "count": _PAGE, "ids": ids})
        rows = [row[0] for row in found]
        for name in rows:
            if next(_tags(reader, name, "", scope), None) is not None:
                yield name
        if len(rows) < _PAGE:
            return
        last = rows[-1]


def _stores(reader: Reader, last: str, scope: frozenset[int] | None) -> Iterator[str]:
    before = f"{STORES}/"
    low = last[len(before) :] if last.startswith(before) else ""
    if not last.startswith(before) and last > before:
        return
    while True:
        rows = list(reader.rows("STORES_AFTER", {"low": low, "count": _PAGE}))
        for each, name in rows:
            is_served = (scope is None or each in scope) and reader.host_of(each) is None
            if is_served and next(_bare_tags(reader, each), None) is not None:
                yield before + name
        if len(rows) < _PAGE:
            return
        low = rows[-1][1]


def referrers(
    reader: Reader, digest: str, last: str, count: int, kinds: frozenset[str], rules: Serving
) -> list[dict[str, object]]:
    """Return at most `count` descriptors of the referrers of a digest whose own digests come after `last`, in the order of these digests.

    These are manifests with that subject, and those in the index of a fallback tag (distribution-spec, "Referrers Tag Schema").
    With `kinds`, only referrers of these artifact types are returned. Raises NotInTime if manifests are still being read.
    """
    reader.known.clear()
    scope = rules.scope(reader)
    if is_pending(reader, scope):
        raise _pending(digest)
    rows = reader.rows("REFERRERS_OF", {"digest": digest})
    found = sorted({row[0]: row[2] for row in rows if row[1] in _BY_SUBJECT and row[0] > last}.items())
    listed: list[dict[str, object]] = []
    for by, content_id in found:
        if len(listed) == count:
            break
        held = _held(reader, by, scope, rules)
        if held:
            descriptor = _descriptor(reader, by, content_id, held[0])
            if not kinds or descriptor.get("artifactType") in kinds:
                listed.append(descriptor)
    return listed


def _descriptor(reader: Reader, digest: str, content_id: int, holder: Holder) -> dict[str, object]:
    """Return the descriptor of a referrer, as the distribution-spec requires it ("Listing Referrers")."""
    about = reader.row("ABOUT", {"digest": digest})
    media_type, size = (None, None) if about is None else (about[3], about[2])
    is_index = about is not None and about[1] == INDEX
    descriptor: dict[str, object] = {
        "mediaType": media_type or (OCI_INDEX if is_index else OCI_MANIFEST),
        "digest": digest,
        "size": holder.size if size is None else size,
    }
    kind = reader.row("ARTIFACT_TYPE_OF", {"content_id": content_id})
    if kind is not None and kind[0] is not None:
        descriptor["artifactType"] = kind[0]
    annotations = dict(reader.rows("CONTENT_ANNOTATIONS", {"content_id": content_id}))
    if annotations:
        descriptor["annotations"] = annotations
    return descriptor
