"""A match: an entry, and the key by which it was found (docs/scripts.md)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from catalog.engine.interface import Reader

COLUMNS = (
    "entry_id", "store_id", "sort", "source", "state", "state_since", "priority", "store", "path", "path_bytes",
    "name", "repository", "tag", "shadowed", "ref_name", "image_name", "digest", "media_type", "size",
    "artifact_type", "platform", "indexed_at", "content_id", "content_kind", "since",
    "answers_from",
)  # fmt: skip
"""The columns of a row, in the order of MATCH in catalog/db/statements.py; tests/db/test_schema.py compares the two."""
_AT = {column: place for place, column in enumerate(COLUMNS)}
ENTRY_ID = _AT["entry_id"]
STORE_ID = _AT["store_id"]
DIGEST = _AT["digest"]
CONTENT_ID = _AT["content_id"]
CONTENT_KIND = _AT["content_kind"]
PLATFORM = _AT["platform"]
SOURCE = _AT["source"]
"""The position in a row of the source of the key that is shown for an entry. The source is null if the entry has no key."""
_STATE = _AT["state"]
_SINCE = _AT["state_since"]

FIELDS = (
    "store",
    "path",
    "name",
    "names",
    "repository",
    "tag",
    "ref_name",
    "image_name",
    "digest",
    "media_type",
    "size",
    "artifact_type",
    "platforms",
    "annotations",
    "listed",
    "shadowed",
    "fallback",
    "indexed_at",
    "total_size",
    "created",
    "labels",
)
"""The keys of a JSON object, in order. Keys are never removed or renamed, only added."""

_RAW = (("image_name", "io.containerd.image.name"), ("ref_name", "org.opencontainers.image.ref.name"))


_FACTS = frozenset(("total_size", "created", "labels"))
HELD = frozenset(
    ("store", "path", "name", "names", "repository", "tag", "ref_name", "image_name", "digest", "media_type", "size",
     "artifact_type", "listed", "shadowed", "fallback")
)  # fmt: skip
"""The keys that have values in answers about the past. The other keys are null there."""
STORED = {field: _AT[field] for field in HELD if field in _AT and field != "shadowed"}
"""The position in a row of each key whose value is printed as it is stored, for the present and for the past."""


class Match:
    """One entry that matches. `row` has the columns of COLUMNS.

    `fallback` is true if buildx's single-entry rule found the entry. `below` is the digest of the requested manifest if it is
    below the entry, else None. `how` is the way in which a referrer refers to its subject, or None if referrers were not requested.
    `names`, `platforms` and `annotations` are read from the catalog on access, so the catalog must still be open.
    """

    __slots__ = ("_reader", "below", "fallback", "how", "row")

    def __init__(
        self, reader: Reader, row: tuple[Any, ...], *, fallback: bool = False, below: str | None = None
    ) -> None:
        self._reader = reader
        self.row = row
        self.fallback = fallback
        self.below = below
        self.how: str | None = None

    def __repr__(self) -> str:
        return f"Match({self.store!r}, {self.name or self.tag!r}, {self.digest!r})"

    @property
    def entry_id(self) -> int:
        """The id of the entry, which is unique; negative if there is no entry (`listed`)."""
        found: int = self.row[ENTRY_ID]
        return found

    @property
    def store_id(self) -> int:
        """The id of the store."""
        found: int = self.row[STORE_ID]
        return found

    @property
    def digest(self) -> str:
        """The digest of the descriptor."""
        found: str = self.row[DIGEST]
        return found

    @property
    def answered(self) -> str:
        """The digest that `resolve` prints: the digest of the entry, or of the requested manifest below it."""
        return self.below or self.digest

    @property
    def store(self) -> str:
        """The name of the store."""
        found: str = self.row[_AT["store"]]
        return found

    @property
    def order(self) -> tuple[bool, int, str]:
        """The sort key of its store: the lowest priority number first, then by name (docs/resolution.md).

        Manifests that no entry reaches come last.
        """
        return not self.listed, self.row[_AT["priority"]], self.row[_AT["store"]]

    @property
    def listed(self) -> bool:
        """False for a manifest that is in the store although no entry reaches it."""
        return self.entry_id >= 0

    @property
    def host(self) -> str | None:
        """The name of the host of its store; None for this host."""
        return self._reader.host_of(self.store_id)

    @property
    def path(self) -> str:
        """The absolute path of the store, percent-encoded if it is not UTF-8."""
        found: str = self.row[_AT["path"]]
        return found

    @property
    def path_bytes(self) -> bytes | None:
        """The raw path of the store if it is not UTF-8, else None."""
        found: bytes | None = self.row[_AT["path_bytes"]]
        return found

    @property
    def name(self) -> str | None:
        """The canonical name with tag, or None."""
        found: str | None = self.row[_AT["name"]]
        return found

    @property
    def names(self) -> list[str]:
        """All names of the entry, containerd's first."""
        return [name for _, _, name in self.lookup_keys() if name is not None]

    @property
    def repository(self) -> str | None:
        """The canonical repository, or None."""
        found: str | None = self.row[_AT["repository"]]
        return found

    @property
    def tag(self) -> str | None:
        """The tag, or None."""
        found: str | None = self.row[_AT["tag"]]
        return found

    @property
    def ref_name(self) -> str | None:
        """The raw `org.opencontainers.image.ref.name`, or None."""
        found: str | None = self.row[_AT["ref_name"]]
        return found

    @property
    def image_name(self) -> str | None:
        """The raw `io.containerd.image.name`, or None."""
        found: str | None = self.row[_AT["image_name"]]
        return found

    @property
    def media_type(self) -> str | None:
        """The media type in the descriptor; None if it has none, or for a time of which only spans of names are known."""
        found: str | None = self.row[_AT["media_type"]]
        return found

    @property
    def size(self) -> int | None:
        """The size of the manifest in bytes according to the descriptor; None in the same cases as `media_type`."""
        found: int | None = self.row[_AT["size"]]
        return found

    @property
    def artifact_type(self) -> str | None:
        """The artifact type in the descriptor, or None."""
        found: str | None = self.row[_AT["artifact_type"]]
        return found

    @property
    def platforms(self) -> list[str]:
        """`os/arch[/variant]` of each image; empty if not known yet."""
        return self._platforms()

    @property
    def annotations(self) -> dict[str, str]:
        """The annotations of the descriptor."""
        return self._annotations()

    @property
    def shadowed(self) -> bool:
        """Whether another entry of the store answers for this name."""
        return bool(self.row[_AT["shadowed"]])

    @property
    def indexed_at(self) -> str | None:
        """When the catalog last read the store, in RFC 3339, UTC."""
        from catalog.names.moment import rfc3339

        return rfc3339(self.row[_AT["indexed_at"]])

    @property
    def sort(self) -> int:
        """The sort key of the entry within its store."""
        found: int = self.row[_AT["sort"]]
        return found

    @property
    def state(self) -> str:
        """The state of the store."""
        found: str = self.row[_STATE]
        return found

    @property
    def state_since(self) -> int:
        """When the store entered that state, in milliseconds since 1970, UTC."""
        found: int = self.row[_SINCE]
        return found

    def lookup_keys(self) -> list[tuple[str | None, str | None, str | None]]:
        """Return all keys of the entry as (repository, tag, name), containerd's first."""
        return list(self._reader.rows("ENTRY_KEYS", {"entry_id": self.entry_id}))

    def value(self, field: str) -> object:
        """Return the value of one of FIELDS, or of `how`, as in JSON."""
        place = STORED.get(field)
        if place is not None:
            return self.row[place]
        if field == "fallback":
            return self.fallback
        if field == "how":
            return self.how
        if field == "listed":
            return self.listed
        if field == "names":
            return self.names
        if field in ("annotations", "platforms") and self._reader.past is None:
            return self._annotations() if field == "annotations" else self._platforms()
        if self._reader.past is not None and field not in HELD:
            return None
        if field in _FACTS:
            return self._fact(field)
        found = self.row[_AT[field]]
        if field == "shadowed":
            return bool(found)
        if field == "indexed_at":
            from catalog.names.moment import rfc3339

            return rfc3339(found)
        return found

    def as_object(self) -> dict[str, object]:
        """Return all fields, as in JSON."""
        return {field: self.value(field) for field in FIELDS}

    def replaced(self, **values: object) -> Match:
        """Return a copy of the match with other values in some columns."""
        row = list(self.row)
        for column, value in values.items():
            row[_AT[column]] = value
        return Match(self._reader, tuple(row), fallback=self.fallback)

    def _platforms(self) -> list[str]:
        """Return the platform in the row, if any, else the platforms that the content of the entry has."""
        platform: str | None = self.row[_AT["platform"]]
        if platform is not None:
            return [platform]
        from catalog.lookup.below import platforms_of

        return platforms_of(self._reader, self.store_id, self.row[CONTENT_ID], self.row[CONTENT_KIND])

    @property
    def total_size(self) -> int | None:
        """The total bytes of all blobs of the image, including layers, each counted once; None if not all were read."""
        found = self._fact("total_size")
        return found if isinstance(found, int) else None

    @property
    def created(self) -> str | None:
        """When the image, or the newest image of an index, was created according to its config, in RFC 3339, UTC; or None."""
        found = self._fact("created")
        return found if isinstance(found, str) else None

    @property
    def labels(self) -> dict[str, str]:
        """The labels of the image, or of all images of an index; the first image that has a label determines its value."""
        found = self._fact("labels")
        return found if isinstance(found, dict) else {}

    def _fact(self, field: str) -> object:
        content_id: int | None = self.row[CONTENT_ID]
        if self._reader.past is not None:
            return None
        if content_id is None:
            return {} if field == "labels" else None
        from catalog.lookup import facts

        if field == "labels":
            return facts.labels(self._reader, self.store_id, content_id, self.row[CONTENT_KIND])
        if field == "total_size":
            return facts.total_size(self._reader, self.store_id, content_id, self.row[CONTENT_KIND])
        from catalog.names.moment import rfc3339

        return rfc3339(facts.created(self._reader, self.store_id, content_id, self.row[CONTENT_KIND]))

    def _annotations(self) -> dict[str, str]:
        found = dict(self._reader.rows("ENTRY_ANNOTATIONS", {"entry_id": self.entry_id}))
        for field, key in _RAW:
            raw = self.row[_AT[field]]
            if raw is not None:
                found[key] = raw
        return dict(sorted(found.items()))


def once(matches: Iterable[Match]) -> Iterator[Match]:
    """Yield each entry once. Yield each referrer once per store, because several entries may be or reach it."""
    seen: set[int | tuple[int, str]] = set()
    for match in matches:
        key = match.entry_id if match.how is None else (match.store_id, match.digest)
        if key not in seen:
            seen.add(key)
            yield match
