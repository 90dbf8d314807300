"""Turn the changed descriptors of one store into rows (docs/architecture.md).

The caller's transaction contains all of it. The number of rows written is in proportion to the change, not to the size of
`index.json`.
"""

from __future__ import annotations

import itertools
import json
from array import array
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from catalog.ingest.diff import Diff, Old
from catalog.ingest.order import mend
from catalog.ingest.parameters import chunks, marks
from catalog.ingest.rows import Row, Rows
from catalog.ingest.shadowing import NameKey, Shadowing
from catalog.layout.descriptor import IMAGE_NAME, REF_NAME, Descriptor, fingerprints
from catalog.names.digest import is_docker_digest
from catalog.names.keys import SOURCES, Key, NameProblem, Unnamed, derive_keys
from catalog.names.limits import KEY_BYTES, is_long
from catalog.names.media_types import IMAGES
from catalog.names.reference import is_tag

PENDING = 10_000
"""New entries get their sort keys when the next old entry follows, or when there are this many of them."""

RUN = 128
"""The number of entries that are compared with those in the catalog in one step, if nothing differs."""

EMBEDDED_BYTES = 4 << 20
"""The largest manifest that is read from the field `data` of a descriptor, in bytes."""

_SUBJECT = "io.containerd.manifest.subject"
_NONE: Mapping[str, str] = {}

NAME_PROBLEMS = ("unusable-name", "name-digest", "long-name")


_ANNOTATION = (
    "SELECT entry_annotation.value FROM entry_annotation JOIN annotation_key ON annotation_key.id = entry_annotation.key_id"
    " WHERE entry_annotation.entry_id = ? AND annotation_key.name = ?"
)


class Applied(NamedTuple):
    """The number of entries that a change added, removed, and moved (if their order matters)."""

    added: int
    removed: int
    moved: int


class StoreNames:
    """Writes the entries and names of one store.

    Its naming policy provides `repository`, for a bare tag, and `unnamed`, for an entry without a name. `now` is the time of the
    change in milliseconds since 1970. `first` means that the store has no entries yet.
    """

    def __init__(
        self,
        rows: Rows,
        store_id: int,
        repository: str | None,
        now: int,
        *,
        first: bool,
        unnamed: Unnamed = Unnamed(),  # noqa: B008 - a constant
    ) -> None:
        self._rows = rows
        self._store_id = store_id
        self._repository = repository
        self._unnamed = unnamed
        self._now = now
        self._first = first
        self._answers = Shadowing(rows, store_id, now)
        self._entry_ids, self._name_ids = rows.ids_of("entry"), rows.ids_of("name")
        self._types: dict[str, int] = {}
        self._seen: set[int] = (
            set()
        )  # the hashes of the keys so far when a store is first read, to notice the second key of a name

    def apply(self, descriptors: Iterable[Descriptor]) -> Applied:
        """Update the store's rows to `descriptors`. If iterating over them raises, the transaction must be rolled back."""
        rows = self._rows
        old = Old() if self._first else self._stored()
        diff = Diff(old)
        order = array("q")  # entry ids in the order of the list
        pending: list[tuple[Descriptor, bytes]] = []
        added = 0

        def place(sorts: Sequence[int]) -> None:
            for (descriptor, fingerprint), sort in zip(pending, sorts, strict=True):
                rows.pause()
                order.append(self._add(descriptor, fingerprint, sort))
            pending.clear()

        each = iter(descriptors)
        while some := list(itertools.islice(each, RUN)):
            rows.pause()
            prints = fingerprints(some)
            begin = None if self._first or pending else diff.run(prints)
            if begin is not None:
                order.extend(old.ids[begin : begin + len(some)])
                continue
            for descriptor, fingerprint in zip(some, prints, strict=True):
                at = None if self._first else diff.match(fingerprint)
                if at is None:
                    added += 1
                    pending.append((descriptor, fingerprint))
                    if len(pending) >= PENDING:
                        place(diff.flush(len(pending)))
                else:
                    sorts = diff.before(at, len(pending))
                    if pending:
                        place(sorts)
                    order.append(old.ids[at])
        place(diff.end(len(pending)))
        removed = [old.ids[at] for at in diff.removed()]
        self._remove(removed)
        moved = 0
        if (
            not self._first or self._answers.touched
        ):  # Otherwise the store was empty before, and the rows can be written later with those of other stores.
            rows.flush()
            moved = self._mend(order) if diff.unordered else 0
            self._answers.settle()
        return Applied(added, len(removed), moved)

    def rekey(self) -> int:
        """Derive the keys of every stored entry again, after the naming policy or the rules changed.

        Returns the number of entries that changed. Call `apply` or `settle` afterwards; until then no query finds the new keys.
        """
        cursor = self._rows.cursor
        entries = cursor.execute(
            "SELECT entry.id, entry.sort, content.digest, entry.ref_name, entry.image_name, media_type.name,"
            " entry.saved_names FROM entry JOIN content ON content.id = entry.content_id"
            " JOIN media_type ON media_type.id = entry.media_type_id WHERE entry.store_id = ? ORDER BY entry.sort",
            (self._store_id,),
        ).fetchall()
        changed = 0
        for entry_id, sort, digest, ref_name, image_name, media_type, saved in entries:
            self._rows.pause()
            rank = source_rank(media_type)
            other = None
            if self._unnamed.annotation is not None:
                row = cursor.execute(_ANNOTATION, (entry_id, self._unnamed.annotation)).fetchone()
                other = None if row is None else row[0]
            saved_names = () if saved is None else json.loads(saved)
            keys, problems = derive_keys(
                ref_name, image_name, digest, self._repository, self._unnamed, other, saved_names
            )
            stored = cursor.execute(
                "SELECT name.id, repository.name, name.tag, name.source, name.repository_id, name.name FROM name"
                " LEFT JOIN repository ON repository.id = name.repository_id WHERE name.entry_id = ? ORDER BY name.id",
                (entry_id,),
            ).fetchall()
            stored_problems = cursor.execute(
                "SELECT kind, subject, detail FROM problem WHERE entry_id = ? AND kind IN (?, ?, ?) ORDER BY id",
                (entry_id, *NAME_PROBLEMS),
            ).fetchall()
            stored_keys = [(*row[1:3], row[3] - rank) for row in stored]
            if stored_keys == keys and stored_problems == problems:
                continue
            changed += 1
            for row in stored:
                if row[2] is not None:
                    self._answers.touch(NameKey(row[4], row[2], row[5]))
            for key in keys:
                self._touch_key(key)
            self._rows.moment.keep_entry(entry_id)
            cursor.execute("DELETE FROM name WHERE entry_id = ?", (entry_id,))
            cursor.execute("DELETE FROM problem WHERE entry_id = ? AND kind IN (?, ?, ?)", (entry_id, *NAME_PROBLEMS))
            self._write_keys(entry_id, sort, keys, problems, rank)
        self._rows.flush()
        return changed

    def settle(self) -> None:
        """Make the keys from `rekey` effective if `apply` is not called."""
        self._answers.settle()

    # --- one entry ----------------------------------------------------------------------------------------------

    def _add(self, descriptor: Descriptor, fingerprint: bytes, sort: int) -> int:
        rows = self._rows
        entry_id = next(self._entry_ids)
        annotations = descriptor.annotations or _NONE
        ref_name, image_name = annotations.get(REF_NAME), annotations.get(IMAGE_NAME)
        asked = self._unnamed.annotation
        other = None if asked is None else descriptor.other_annotations.get(asked)
        saved_names = descriptor.saved_names
        keys, problems = derive_keys(
            ref_name, image_name, descriptor.digest, self._repository, self._unnamed, other, saved_names
        )
        rank = source_rank(descriptor.media_type)
        media_type = descriptor.media_type
        long_words = rows.long_words
        media_type_id = self._types.get(media_type)
        if media_type_id is None:
            media_type_id = rows.media_type(media_type)
            if rows.long_words == long_words:  # A type that is too long is a problem of each entry.
                self._types[media_type] = media_type_id
        rows.entry(
            [
                entry_id,
                self._store_id,
                sort,
                descriptor.digest,
                media_type_id,
                descriptor.size,
                rows.media_type(descriptor.artifact_type) if descriptor.artifact_type else None,
                rows.platform_of(descriptor.platform),
                ref_name,
                image_name,
                ref_tail(ref_name),
                rows.flags[ref_name is not None and is_long(ref_name)],
                rows.flags[image_name is not None and is_long(image_name)],
                rows.flags[descriptor.data is not None and descriptor.embedded(EMBEDDED_BYTES) is not None],
                fingerprint,
                rows.born,
                json.dumps(saved_names) if saved_names else None,
            ]
        )
        self._write_keys(entry_id, sort, keys, problems, rank, touch=True)
        if len(annotations) > (ref_name is not None) + (image_name is not None):
            for key_text, value in descriptor.other_annotations.items():
                rows.annotation(entry_id, key_text, value)
        if may_refer(keys, annotations):
            for subject, how in dict.fromkeys(referrals(keys, annotations)):
                rows.referrer(subject, descriptor.digest, how, entry_id=entry_id)
        if rows.long_words != long_words:
            for detail in long_words_of(descriptor):
                rows.problem(self._store_id, entry_id, "long-word", descriptor.digest, detail)
        for flaw in descriptor.flaws:
            rows.problem(self._store_id, entry_id, "descriptor-field", descriptor.digest, flaw)
        rows.flush_if_full()
        return entry_id

    def _touch_key(self, key: Key) -> None:
        if key.tag is not None:
            repository_id = None if key.repository is None else self._rows.repository(key.repository)
            self._touch(repository_id, key.tag, key.name)

    def _touch(self, repository_id: int | None, tag: str, name: str | None) -> None:
        if self._first:
            # The store was empty before, so only the second key of a name has to be settled. Two names with the same hash only
            # cost some needless work.
            mark = hash((repository_id, tag))
            if mark not in self._seen:
                self._seen.add(mark)
                return
        self._answers.touch(NameKey(repository_id, tag, name), is_new=self._first)

    def _write_keys(
        self, entry_id: int, sort: int, keys: list[Key], problems: list[NameProblem], rank: int, *, touch: bool = False
    ) -> None:
        """Write the keys of an entry. With `touch`, touch each key first (Shadowing)."""
        rows = self._rows
        for key in keys:
            repository, tag, source = key
            repository_id = None if repository is None else rows.repository(repository)
            name = None if repository is None or tag is None else f"{repository}:{tag}"
            if touch and tag is not None:
                self._touch(repository_id, tag, name)
            row: Row = (
                next(self._name_ids), entry_id, self._store_id, repository_id, tag, name, source + rank, sort, rows.flags[False], self._now, rows.born,
                rows.born,
            )  # fmt: skip
            rows.name(row)
        for kind, subject, detail in problems:
            rows.problem(self._store_id, entry_id, kind, subject, detail)

    def _remove(self, entry_ids: list[int]) -> None:
        cursor = self._rows.cursor
        for some in chunks(entry_ids):
            self._rows.pause()
            for row in cursor.execute(
                "SELECT repository_id, tag, name FROM name"
                f" WHERE entry_id IN ({marks(some)}) AND NOT shadowed AND tag IS NOT NULL",
                tuple(some),
            ).fetchall():
                self._answers.touch(NameKey(*row))
        # Delete only after all keys were touched, so that touching each key sees the rows from before the change.
        self._rows.moment.keep_entries(entry_ids)
        for some in chunks(entry_ids):
            self._rows.pause()
            cursor.executemany("DELETE FROM entry WHERE id = ?", [(entry_id,) for entry_id in some])

    # --- the whole store ----------------------------------------------------------------------------------------

    def _stored(self) -> Old:
        return Old(
            self._rows.cursor.execute(
                "SELECT id, sort, fingerprint FROM entry WHERE store_id = ? ORDER BY sort", (self._store_id,)
            ).fetchall()
        )

    def _mend(self, order: array[int]) -> int:
        """Update sort keys to the order of the list where it matters. Return the number of entries that moved."""
        cursor = self._rows.cursor
        sorts: dict[int, int] = {}
        shares: dict[int, list[Hashable]] = {}
        for entry_id, sort, ref_name, image_name in cursor.execute(
            "SELECT id, sort, ref_name, image_name FROM entry WHERE store_id = ?", (self._store_id,)
        ):
            sorts[entry_id] = sort
            shares[entry_id] = list(_raw_shares(ref_name, image_name))
        for entry_id, tag in cursor.execute(
            "SELECT name.entry_id, name.tag FROM entry JOIN name ON name.entry_id = entry.id"
            " WHERE entry.store_id = ? AND name.tag IS NOT NULL",
            (self._store_id,),
        ):
            shares[entry_id].append(("tag", tag))
        changed = mend([sorts[entry_id] for entry_id in order], (shares[entry_id] for entry_id in order))
        for place, sort in changed.items():
            self._rows.pause()
            entry_id = order[place]
            for row in cursor.execute(
                "SELECT repository_id, tag, name FROM name WHERE entry_id = ? AND tag IS NOT NULL", (entry_id,)
            ).fetchall():
                self._answers.touch(NameKey(*row))
            self._rows.moment.keep_entry(entry_id)
            cursor.execute("UPDATE entry SET sort = ? WHERE id = ?", (sort, entry_id))
            cursor.execute("UPDATE name SET sort = ? WHERE entry_id = ?", (sort, entry_id))
        return len(changed)


def source_rank(media_type: str) -> int:
    """Return the number to add to the source of an entry's keys. Keys are sorted by it, so images answer before other entries.

    The media type of an image is that of an OCI or Docker manifest or index, or is missing (docs/resolution.md).
    """
    return 0 if not media_type or media_type in IMAGES else SOURCES


def long_words_of(descriptor: Descriptor) -> Iterator[str]:
    """Yield a line for each media type or platform of a descriptor that is too long to be kept whole, and one for too long annotation keys.

    The lengths are limited because the indexes of both engines have limits.
    """
    words = {
        "mediaType": descriptor.media_type,
        "artifactType": descriptor.artifact_type,
        "platform": descriptor.platform_text,
    }
    for what, word in words.items():
        if word is not None and is_long(word):
            yield f"{what} is over {KEY_BYTES} bytes: only its beginning is kept"
    keys = sum(is_long(key) for key in descriptor.other_annotations)
    if keys:
        left_out = (
            "1 annotation is left out: its key is" if keys == 1 else f"{keys} annotations are left out: their keys are"
        )
        yield f"{left_out} over {KEY_BYTES} bytes"


def may_refer(keys: Sequence[Key], annotations: Mapping[str, str]) -> bool:
    """Return whether `referrals` may yield anything. This is a quick check, because hardly any entry has referrals."""
    if _SUBJECT in annotations:
        return True
    for key in keys:  # noqa: SIM110 - `any` takes longer, and this runs for every entry
        if key.tag is not None and key.tag.startswith("sha256-"):
            return True
    return False


def referrals(keys: Sequence[Key], annotations: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield each subject that an entry refers to, and by which convention: its tag, or containerd's annotation.

    `sha256-HEX` is the fallback tag of the distribution-spec; the children of such an index are the referrers. With the suffix
    `.sig`, `.att` or `.sbom`, it is a tag of cosign.
    """
    for key in keys:
        if key.tag is not None and key.tag.startswith("sha256-"):
            digits, dot, kind = key.tag[len("sha256-") :].partition(".")
            if is_docker_digest(f"sha256:{digits}") and (not dot or kind in ("sig", "att", "sbom")):
                yield f"sha256:{digits}", "cosign" if dot else "fallback"
    if _SUBJECT in annotations:
        yield annotations[_SUBJECT], "containerd"


def ref_tail(ref_name: str | None) -> str | None:
    """Return the tag after the last colon of `ref_name`, which `ocidir://PATH:TAG` looks up, or None if there is none.

    regctl takes the first ref.name that ends in `:TAG`, whatever precedes it (docs/resolution.md).
    """
    if ref_name is None or ":" not in ref_name:
        return None
    tail = ref_name.rpartition(":")[2]
    return tail if is_tag(tail) else None


def _raw_shares(ref_name: str | None, image_name: str | None) -> Iterator[Hashable]:
    if ref_name is not None:
        yield "ref", ref_name
        yield "tag", ref_name.rpartition(":")[2]
    if image_name is not None:
        yield "image", image_name
