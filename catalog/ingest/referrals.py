"""Find entries of a store that refer to other entries of it. Their rows are written after the content of the store was read.

Three conventions need more than one entry at a time, or have to be found in catalogs that an older release wrote:

- BuildKit's annotation `vnd.docker.reference.digest` on an entry of index.json itself. (For a child, it is written with its index.)
- `cosign save`: an entry whose annotation `kind` says that it has signatures or the like, beside an image of the same name.
- The fallback tag of a digest with more than 64 digits. The distribution-spec truncates it (`sha512-` and the first 64 digits), so
  the digest is looked up among those of the store. No tag is long enough for the whole digest, so nobody names a copy of the image
  like this. If the tag names an index, a child without a subject counts too, unless that index is the subject or contains it.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from typing import NamedTuple

from catalog.db.schema import CHILD
from catalog.ingest.parameters import chunks, marks
from catalog.ingest.reach import Ask
from catalog.ingest.rows import Rows
from catalog.names.pattern import upper_bound

BUILDKIT_SUBJECT = "vnd.docker.reference.digest"
KIND = "kind"

_PREFIXES = ("dev.cosignproject.cosign", "dev.hauler")
_IMAGES = frozenset(f"{prefix}/{kind}" for prefix in _PREFIXES for kind in ("image", "imageIndex"))
_ABOUT = frozenset(f"{prefix}/{kind}" for prefix in _PREFIXES for kind in ("sigs", "atts", "sboms"))
"""Values of the annotation `kind`: images, and referrers of the image with the same name."""

_TRUNCATED_TAG = re.compile(r"(sha384|sha512)-([0-9a-f]{64})")

_HAS_KEY = "SELECT id FROM annotation_key WHERE name = ?"
_ANNOTATED = (
    "SELECT entry.id, content.digest, entry_annotation.value FROM entry"
    " JOIN entry_annotation ON entry_annotation.entry_id = entry.id AND entry_annotation.key_id = ?"
    " JOIN content ON content.id = entry.content_id WHERE entry.store_id = ?"
)
_NAMED = (
    "SELECT entry.id, content.digest, entry.ref_name, entry.image_name, entry_annotation.value FROM entry"
    " JOIN content ON content.id = entry.content_id"
    " LEFT JOIN entry_annotation ON entry_annotation.entry_id = entry.id AND entry_annotation.key_id = ?"
    " WHERE entry.store_id = ? ORDER BY entry.sort"
)
_TRUNCATED_TAGS = (
    "SELECT name.entry_id, name.tag, content.digest FROM name JOIN entry ON entry.id = name.entry_id"
    " JOIN content ON content.id = entry.content_id"
    " WHERE name.store_id = ? AND name.tag >= 'sha384-' AND name.tag < 'sha512.' ORDER BY name.entry_id"
)
_MEANT = (
    "SELECT content.digest FROM content WHERE content.digest >= ? AND content.digest < ? AND ("
    "EXISTS (SELECT 1 FROM entry WHERE entry.content_id = content.id AND entry.store_id = ?)"
    " OR EXISTS (SELECT 1 FROM store_blob WHERE store_blob.content_id = content.id AND store_blob.store_id = ?))"
    " AND NOT EXISTS (SELECT 1 FROM edge JOIN content AS list ON list.id = edge.parent_id"
    f" WHERE edge.child_id = content.id AND edge.role = {CHILD} AND list.digest = ?)"
)
_WRITTEN = (
    "SELECT referrer.id, subject.digest, by_.digest, referrer.how, referrer.entry_id FROM entry"
    " JOIN referrer ON referrer.entry_id = entry.id JOIN content AS subject ON subject.id = referrer.subject_id"
    " JOIN content AS by_ ON by_.id = referrer.referrer_id"
    " WHERE entry.store_id = ? AND referrer.how IN ('buildkit', 'kind', 'cut')"
)


class _Referral(NamedTuple):
    """The digest `digest` refers to `subject`, according to the entry."""

    subject: str
    digest: str
    how: str
    entry_id: int


class Referrals(NamedTuple):
    """Changes to the rows of `referrer` for a store: new rows, and the ids of obsolete rows."""

    new: list[_Referral]
    gone: list[int]


def find_referrals(ask: Ask, store_id: int) -> Generator[None, None, Referrals]:
    """Return the changes that bring the rows of `referrer` up to date with the store's entries. Yields between statements."""
    wanted: set[_Referral] = set()
    for found in (_attestations, _of_kind, _truncated):
        yield
        for each in found(ask, store_id):
            if each is None:
                yield
            elif each.subject != each.digest:
                wanted.add(each)
    yield
    written = {_Referral(*row[1:]): row[0] for row in ask(_WRITTEN, (store_id,))}
    gone = sorted(id_ for each, id_ in written.items() if each not in wanted)
    return Referrals(sorted(wanted - written.keys()), gone)


def write_referrals(rows: Rows, found: Referrals) -> None:
    """Write the changes from `find_referrals`."""
    rows.cursor.executemany("DELETE FROM referrer WHERE id = ?", [(id_,) for id_ in found.gone])
    for each in found.new:
        rows.pause()
        rows.referrer(each.subject, each.digest, each.how, entry_id=each.entry_id)
    rows.flush()


def write_some_referrals(rows: Rows, store_id: int, part: Referrals) -> None:
    """Write some of the changes, except new rows that another process has written meanwhile."""
    written: set[_Referral] = set()
    for some in chunks([each.entry_id for each in part.new]):
        statement = f"{_WRITTEN} AND entry.id IN ({marks(some)})"
        written.update(_Referral(*row[1:]) for row in rows.cursor.execute(statement, (store_id, *some)).fetchall())
    write_referrals(rows, part._replace(new=[each for each in part.new if each not in written]))


def _attestations(ask: Ask, store_id: int) -> Iterator[_Referral]:
    for (key,) in ask(_HAS_KEY, (BUILDKIT_SUBJECT,)):
        for entry_id, digest, subject in ask(_ANNOTATED, (key, store_id)):
            yield _Referral(subject, digest, "buildkit", entry_id)


def _of_kind(ask: Ask, store_id: int) -> Iterator[_Referral | None]:
    """Yield the referrals from signatures and the like to an image of the same name.

    The subject is the last image before the entry, as cosign writes them, or else the first image after it. Among entries without a
    name there must be only one image, because the order of such entries is not kept. Yields None between two statements.
    """
    keys = ask(_HAS_KEY, (KIND,))
    if not keys:
        return
    key = keys[0][0]
    kinds = ask(_ANNOTATED, (key, store_id))
    if not any(kind in _ABOUT for _, _, kind in kinds):
        return
    yield None
    by_name: dict[str | None, list[tuple[int, str, str | None]]] = {}
    for entry_id, digest, ref_name, image_name, kind in ask(_NAMED, (key, store_id)):
        by_name.setdefault(ref_name or image_name, []).append((entry_id, digest, kind))
    for name, entries in by_name.items():
        images = [digest for _, digest, kind in entries if kind in _IMAGES]
        is_image = _IMAGES if images else {None}
        images = images or [digest for _, digest, kind in entries if kind is None]
        if not images or (name is None and len(set(images)) > 1):
            continue
        subject = images[0]
        for entry_id, digest, kind in entries:
            if kind in is_image:
                subject = digest
            elif kind in _ABOUT:
                yield _Referral(subject, digest, "kind", entry_id)


def _truncated(ask: Ask, store_id: int) -> Iterator[_Referral | None]:
    seen: set[tuple[str, str]] = set()
    for entry_id, tag, digest in ask(_TRUNCATED_TAGS, (store_id,)):
        parts = _TRUNCATED_TAG.fullmatch(tag)
        # One entry stands for all entries with this tag and index. There may be any number of them, and of children of the index.
        if parts is not None and (tag, digest) not in seen:
            seen.add((tag, digest))
            yield None
            low = f"{parts[1]}:{parts[2]}"
            for (subject,) in ask(_MEANT, (low, upper_bound(low), store_id, store_id, digest)):
                yield _Referral(subject, digest, "cut", entry_id)
