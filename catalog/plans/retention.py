"""Rules for giving up entries: superseded names, and entries without a name.

An entry is given up if a rule says so, its time is known and old enough, and no `--keep` protects it. Its time is the later of
two: when the file of its manifest was last written, and when ocicat saw the name move to that digest. (The time when ocicat
first read the store does not count, because it says nothing about the image.) A referrer (a signature, an attestation, the list
behind a fallback tag) is never judged by itself: it is given up or kept with its subject.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from catalog.engine.interface import Reader
from catalog.names.pattern import Glob, name_globs
from catalog.plans.stores import PlanStore

_ENTRIES = (
    "SELECT entry.id, entry.content_id, content.digest, entry.ref_name, entry.image_name, store_blob.mtime FROM entry"
    " JOIN content ON content.id = entry.content_id LEFT JOIN store_blob"
    " ON store_blob.store_id = entry.store_id AND store_blob.content_id = entry.content_id"
    " WHERE entry.store_id = :store_id ORDER BY entry.sort"
)
_NAMES = (
    "SELECT entry.id, name.repository_id, name.tag, name.name, name.since, repository.familiar FROM entry"
    " JOIN name ON name.entry_id = entry.id LEFT JOIN repository ON repository.id = name.repository_id"
    " WHERE entry.store_id = :store_id"
)
_ENDED = (
    "SELECT span.content_id, max(span.until) FROM entry JOIN {0} AS span ON span.content_id = entry.content_id"
    " WHERE entry.store_id = :store_id AND span.store_id = entry.store_id GROUP BY span.content_id"
)


class Rules(NamedTuple):
    """Which entries to give up. Ages are in milliseconds; `keep` are globs over names and tags."""

    age: int
    keep_last: int | None = None
    keep: tuple[str, ...] = ()
    unnamed: bool = False
    untagged: int | None = None

    @property
    def give_up(self) -> bool:
        """Whether any of the rules can give up entries."""
        return self.keep_last is not None or self.unnamed or self.untagged is not None


class EntryName(NamedTuple):
    """A name of an entry: its repository and tag, each of which may be None."""

    repository_id: int | None
    tag: str | None
    name: str | None
    since: int
    familiar: str | None


class Entry(NamedTuple):
    """An entry of index.json, and the modification time of the file of its manifest, in milliseconds since 1970."""

    id: int
    store_id: int
    content_id: int
    digest: str
    ref_name: str | None
    image_name: str | None
    mtime: int | None
    keys: tuple[EntryName, ...]

    @property
    def name(self) -> str | None:
        """The name to show: the canonical name, else `:TAG`, else a raw annotation."""
        for key in self.keys:
            if key.name is not None:
                return key.name
        for key in self.keys:
            if key.tag is not None:
                return f":{key.tag}"
        return self.image_name or self.ref_name


class Judgement(NamedTuple):
    """What the rules decide for the entries of one store: the entries kept, and the ids of those given up with the reason.

    `held` has the ids of all entries that `--keep` protects. `keeping` has the globs of `--keep` that match a name or tag.
    """

    kept: list[Entry]
    given_up: dict[int, str]
    held: set[int]
    keeping: set[str]


def entries_of(reader: Reader, store_id: int) -> list[Entry]:
    """Return the entries of a store with their names."""
    keys: dict[int, list[EntryName]] = {}
    for entry_id, *key in reader.select(_NAMES, {"store_id": store_id}):
        keys.setdefault(entry_id, []).append(EntryName(*key))
    return [
        Entry(entry_id, store_id, content_id, digest, ref_name, image_name, mtime, tuple(keys.get(entry_id, ())))
        for entry_id, content_id, digest, ref_name, image_name, mtime in reader.select(_ENTRIES, {"store_id": store_id})
    ]


def judge_entries(reader: Reader, store: PlanStore, entries: Sequence[Entry], rules: Rules, now: int) -> Judgement:
    """Return what the rules decide for entries of a store at the time `now`. Referrers are judged like all other entries."""
    keeps = [_Keep(text) for text in rules.keep]
    held: set[int] = set()
    keeping: set[str] = set()
    for entry in entries:
        for text, keep in zip(rules.keep, keeps, strict=True):
            if (entry.id not in held or text not in keeping) and keep.holds(entry):
                held.add(entry.id)
                keeping.add(text)
    given: dict[int, str] = {}
    if rules.keep_last is not None:
        given |= dict.fromkeys(_superseded(entries, rules.keep_last, store.first_at), "superseded")
    nameless = [entry for entry in entries if not entry.keys and not entry.ref_name and not entry.image_name]
    if rules.unnamed:
        given |= dict.fromkeys((entry.id for entry in nameless), "unnamed")
    if rules.untagged is not None:
        ended = _ended(reader, store.id, entries)
        oldest = now - rules.untagged
        given |= {entry.id: "unnamed" for entry in nameless if ended.get(entry.content_id, now + 1) <= oldest}
    old = {entry.id for entry in entries if _is_old(entry, store.first_at, now - rules.age)}
    given = {entry_id: why for entry_id, why in given.items() if entry_id in old and entry_id not in held}
    return Judgement([entry for entry in entries if entry.id not in given], given, held, keeping)


def _superseded(entries: Sequence[Entry], keep: int, first_at: int | None) -> set[int]:
    """Return the ids of entries all of whose names are older than the `keep` newest images of their repositories.

    Images are counted, not names: two tags of one digest count once. Images of the same time are kept or given up together.
    """
    times: dict[int | None, dict[int, int]] = {}
    for entry in entries:
        for key in entry.keys:
            images = times.setdefault(key.repository_id, {})
            images[entry.content_id] = max(images.get(entry.content_id, 0), _time(entry, key, first_at) or 1 << 62)
    newest = {
        repository: sorted(images.values(), reverse=True)[keep - 1] if len(images) > keep else 0
        for repository, images in times.items()
    }
    return {
        entry.id
        for entry in entries
        if entry.keys
        and all(times[key.repository_id][entry.content_id] < newest[key.repository_id] for key in entry.keys)
    }


def _time(entry: Entry, key: EntryName | None, first_at: int | None) -> int | None:
    """Return the time of an entry, as defined above, for one of its names or for none.

    It is in milliseconds since 1970, or None if the manifest has no file.
    """
    if entry.mtime is None:
        return None
    if key is not None and first_at is not None and key.since > first_at:
        return max(entry.mtime, key.since)
    return entry.mtime


def _is_old(entry: Entry, first_at: int | None, oldest: int) -> bool:
    return all((time := _time(entry, key, first_at)) is not None and time <= oldest for key in entry.keys or (None,))


def _ended(reader: Reader, store_id: int, entries: Sequence[Entry]) -> dict[int, int]:
    """Return when each content of a store lost its last name according to history, in milliseconds since 1970.

    Contents that have a name are left out.
    """
    named = {entry.content_id for entry in entries if entry.keys}
    found: dict[int, int] = {}
    for table in ("answer_span", "name_span"):
        for content_id, until in reader.select(_ENDED.format(table), {"store_id": store_id}):
            if content_id not in named:
                found[content_id] = max(until, found.get(content_id, 0))
    return found


class _Keep:
    """`--keep GLOB`. It matches canonical names as `query` does, names as Docker shows them, raw names, and tags."""

    def __init__(self, text: str) -> None:
        self._names = name_globs(text) if not text.startswith(":") else ()
        self._plain = Glob(text)
        self._tag = Glob(text.removeprefix(":"))

    def holds(self, entry: Entry) -> bool:
        """Return whether a name or tag of the entry matches."""
        if any(self._plain.matches(raw) for raw in (entry.ref_name, entry.image_name) if raw):
            return True
        return any(
            (key.tag is not None and self._tag.matches(key.tag))
            or (key.name is not None and any(glob.matches(key.name) for glob in (*self._names, self._plain)))
            or (key.familiar is not None and self._plain.matches(f"{key.familiar}:{key.tag or ''}"))
            for key in entry.keys
        )
