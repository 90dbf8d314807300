"""Advice for a question without one answer. Only loaded when it is needed."""

from __future__ import annotations

from itertools import islice

from catalog.errors import Ambiguous
from catalog.names import query as kinds
from catalog.names.escape import shown
from catalog.names.limits import MAX_NAMES
from catalog.names.reference import is_tag, repository_name, split_reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from catalog.engine.interface import Reader
    from catalog.lookup.match import Match
    from catalog.lookup.stores import NamedStore
    from catalog.names.query import Query

_MOST_PINNED = 10_000
"""How many pinned names are looked at for a hint."""


def tag_hint(reader: Reader, text: str) -> str:
    """Return advice for somebody who wrote a tag instead of a name; empty if that does not help."""
    if not is_tag(text):
        return ""
    row = reader.row("COUNT_TAG", {"tag": text})
    count = row[0] if row else 0
    if not count:
        return ""
    many = "1 entry has" if count == 1 else f"{count}{'+' if count >= 1000 else ''} entries have"
    return f"{many} the tag {text}: ask for ':{text}'"


def beginning(reader: Reader) -> str:
    """Return how to begin if the catalog has no stores; else an empty string."""
    if reader.row("STORE_NAMES", {}) is not None:
        return ""
    return "the catalog has no stores yet: 'ocicat add PATH' adds a layout, or a directory of layouts"


def part_hint(reader: Reader, digest: str) -> str:
    """Return advice for somebody who asks for a config (an image ID) or a layer; empty if the digest is neither."""
    from catalog.lookup.content import containing

    if next(containing(reader, digest), None) is None:
        return ""
    return f"it is a config or a layer of an image: ask 'ocicat query --contains {digest}'"


def pinned_hint(reader: Reader, query: Query, place: NamedStore | None = None) -> str:
    """Return which entry has the requested name pinned to a digest other than its own; empty if there is none.

    Such a name is not a key (docs/resolution.md). crane and hauler write NAME:TAG@INDEX on the manifest of one platform.
    """
    image = None if place is None else place.image
    rows = [row for row in reader.rows("PINNED", {}) if place is None or row[0] == place.name]
    names = (
        (store, text, digest)
        for store, image_name, ref_name, digest in rows
        for text in (image_name or "", *(ref_name or "").split(",", MAX_NAMES)[:MAX_NAMES])
    )
    for store, text, digest in islice(names, _MOST_PINNED):
        base, _, pinned = text.rpartition("@")
        parts = split_reference(base)
        if parts is None or pinned == digest:
            continue
        domain, path, tag, _ = parts
        repository = repository_name(domain, path)
        is_asked = query.tag == (tag or "latest") if query.digest is None else query.digest == pinned
        if is_asked and repository == (query.repository or image or repository):
            return f"an entry of {shown(store)} has the name {shown(text)}, but is '@{digest}': ask for that"
    return ""


def ambiguous(query: Query, matches: list[Match], total: int, stores: int) -> Ambiguous:
    """Return the error for a reference with `total` candidates in so many stores; it lists `matches`, the first of them."""
    lines = [f"{shown(m.store)}\t{shown(m.name or (':' + m.tag if m.tag else '-'))}\t{m.answered}" for m in matches]
    where = "1 store" if stores == 1 else f"{stores} stores"
    if query.kind == kinds.OCI:
        path = shown(query.text.rstrip(":"))
        advice = f"write {path}:REF, {path}:@N for entry N counted from 0, or oci-layout://STORE@DIGEST"
    else:
        advice = "give a digest, select stores with --store, or take the first store with --first"
    return Ambiguous(f"{shown(query.text)} is ambiguous: {total} candidates in {where}; {advice}", lines, total)
