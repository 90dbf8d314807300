"""An entry that matches a digest prefix both itself and by manifests below it is returned once."""

from __future__ import annotations

import hashlib
import itertools
import json
from pathlib import Path

import pytest

from catalog.errors import Ambiguous
from catalog.names.query import parse_query
from tests import writers
from tests.conftest import Catalogue, Said
from tests.content.layouts import layout, named, pending, put, write

DIGITS = len("sha256:") + 6
"""The length of the shortest prefix that is allowed. The tests find digests that share one by trying."""


def manifest(number: int) -> bytes:
    return _document(writers.MANIFEST_TYPE, number, layers=[])


def index(children: list[bytes]) -> bytes:
    """Return an image index in which `%d` stands for a number, in its last member."""
    described = [
        {"mediaType": writers.MANIFEST_TYPE, "digest": digest_of(child), "size": len(child)} for child in children
    ]
    return _document(writers.INDEX_TYPE, "%d", manifests=described)


def _document(media_type: str, number: object, **members: object) -> bytes:
    text = json.dumps({"schemaVersion": 2, "mediaType": media_type, **members, "annotations": {"n": f"{number}"}})
    return text.encode()


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def with_entry(tmp_path: Path, catalogue: Catalogue, top: bytes, children: list[bytes]) -> None:
    """Add the store `s`, which lists only the image index `top`, with these manifests below it."""
    path = layout(tmp_path / "s")
    for child in children:
        put(path, None, writers.MANIFEST_TYPE, data=child)
    write(path, named(put(path, None, writers.INDEX_TYPE, data=top)))
    catalogue.add(path)
    catalogue.index()
    assert pending(catalogue) == []
    for child in children:
        assert found(catalogue, digest_of(child)) == [("s", digest_of(top))]


def found(catalogue: Catalogue, ref: str) -> list[tuple[str, str]]:
    return [(match.store, match.digest) for match in catalogue.matches(ref)]


def test_by_itself_and_by_what_lies_below_it(catalogue: Catalogue, tmp_path: Path) -> None:
    children = [manifest(number) for number in range(64)]
    by_prefix = {digest_of(child)[:DIGITS]: digest_of(child) for child in children}
    ahead, behind = index(children).split(b"%d")
    begun = hashlib.sha256(ahead)
    for number in itertools.count():
        end = b"%d" % number + behind
        state = begun.copy()
        state.update(end)
        prefix = f"sha256:{state.hexdigest()}"[:DIGITS]
        if prefix in by_prefix:
            break
    top = ahead + end
    with_entry(tmp_path, catalogue, top, children)
    assert found(catalogue, prefix) == [("s", digest_of(top))]
    assert catalogue.resolve(prefix) == Said(3, candidates=frozenset([digest_of(top), by_prefix[prefix]]))


def alike() -> tuple[str, list[bytes]]:
    """Return a prefix and two manifests whose digests have it."""
    seen: dict[str, bytes] = {}
    for number in itertools.count():
        child = manifest(number)
        prefix = digest_of(child)[:DIGITS]
        if prefix in seen:
            return prefix, [seen[prefix], child]
        seen[prefix] = child
    raise AssertionError


def test_by_several_manifests_below_it(catalogue: Catalogue, tmp_path: Path) -> None:
    prefix, children = alike()
    top = index(children)
    with_entry(tmp_path, catalogue, top, children)
    assert found(catalogue, prefix) == [("s", digest_of(top))]
    assert catalogue.resolve(prefix) == Said(3, candidates=frozenset(map(digest_of, children)))
    with pytest.raises(Ambiguous) as caught:
        catalogue.asking().resolve(parse_query(prefix))
    assert (caught.value.total, len(caught.value.candidates)) == (2, 2)


def test_two_entries_above_manifests_with_one_prefix(catalogue: Catalogue, tmp_path: Path) -> None:
    """Each entry is returned, although each has only one of the digests below it."""
    prefix, children = alike()
    tops = [index([child]) for child in children]
    path = layout(tmp_path / "s")
    for child, top in zip(children, tops, strict=True):
        put(path, None, writers.MANIFEST_TYPE, data=child)
        put(path, None, writers.INDEX_TYPE, data=top)
    write(path, *(named(put(path, None, writers.INDEX_TYPE, data=top), f"{n}") for n, top in enumerate(tops)))
    catalogue.add(path)
    catalogue.index()
    assert sorted(found(catalogue, prefix)) == sorted(("s", digest_of(top)) for top in tops)
    assert catalogue.resolve(prefix) == Said(3, candidates=frozenset(map(digest_of, children)))
