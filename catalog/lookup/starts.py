"""The filters of `query` that can start from a database index (docs/scripts.md).

Each can do two things: test one match, and find all entries that may pass, without reading the others. The first matches are
tested by one query each. After TRIED tests, the set of all contents that pass is read at once, so that testing many matches
costs no more than looking them up in a set, no matter whether a reference or another filter found them. Sets are kept until the
next question (`Reader.known`), because the catalog may change between two questions.
"""

from __future__ import annotations

from catalog.lookup import content
from catalog.lookup.below import ATTESTATION, MANIFEST, UNREAD
from catalog.lookup.ids import Ids, ids_text
from catalog.lookup.match import CONTENT_ID, CONTENT_KIND, ENTRY_ID, PLATFORM, SOURCE, Match
from catalog.names.limits import KEY_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, TypeVar

    from catalog.engine.interface import Reader
    from catalog.engine.names import Name
    from catalog.names.pattern import Wanted
    from catalog.names.platform import Platform

    Made = TypeVar("Made")
    Row = tuple[Any, ...]
    Entries = Iterator[tuple[int, int]]
    """The ids of entries and of their stores, grouped by store and in the order of the store's list."""

TRIED = 500
"""After this many tests of single matches, the set of all contents that pass is read."""
_INDEXED = 128
"""How many characters of a value are in its index: INDEXED of catalog.db.filtering."""
_LAST = "\U0010ffff" * KEY_BYTES
"""A text that sorts after every text in an index."""
_IMAGE_NAME, _REF_NAME = "io.containerd.image.name", "org.opencontainers.image.ref.name"


class Start:
    """A filter with an index.

    `is_exact` is true if all of `entries` pass, so that they need no test. `reads_all` is true if there is no real index, so that
    every entry is read once.
    """

    is_exact = True
    reads_all = False

    def __init__(self, reader: Reader) -> None:
        self.reader = reader

    def passes(self, match: Match) -> bool:
        """Return whether a match passes."""
        tried = self.reader.known.get(self, 0)
        if tried < TRIED:
            self.reader.known[self] = tried + 1
            return self.passes_alone(match)
        return self.passes_by_set(match)

    def once(self, what: str, make: Callable[[], Made]) -> Made:
        """Return the result of `make`, which is kept until the next question (catalog.lookup.below)."""
        key = self, what
        if key not in self.reader.known:
            self.reader.known[key] = make()
        found: Made = self.reader.known[key]
        return found

    def passes_alone(self, match: Match) -> bool:
        """Return whether a match passes, by a query about this match."""
        raise NotImplementedError

    def passes_by_set(self, match: Match) -> bool:
        """Return whether a match passes, by a lookup in the set of everything that passes."""
        return self.passes_alone(match)

    def seeds(self) -> Iterator[Row]:
        """Yield the rows of the index that meet the filter. Their number shows how many entries the filter selects."""
        raise NotImplementedError

    def entries(self) -> Entries:
        """Yield each entry that may pass once."""
        raise NotImplementedError


class _OfContents(Start):
    """A filter on the contents themselves, independent of the store that they are in."""

    @property
    def contents(self) -> Ids:
        """The contents that pass."""
        return self.once("contents", lambda: Ids(row[0] for row in self.find()))

    def find(self) -> Iterable[Row]:
        """Yield the ids of the contents that pass, in order."""
        raise NotImplementedError

    def passes_by_set(self, match: Match) -> bool:
        return match.row[CONTENT_ID] in self.contents

    def entries(self) -> Entries:
        return _entries_of(self.reader, self.contents)


class _Pairs:
    """The annotations or labels whose key matches `key` and, if `value` is given, whose value matches it."""

    def __init__(self, reader: Reader, key: Wanted, value: Wanted | None) -> None:
        self._reader = reader
        self.key = key
        self.value = value

    def keys(self) -> str:
        """Return the ids of the matching keys, as the parameter `ids` of a statement."""
        if self.key.glob is None:
            rows = self._reader.rows("KEY_OF_ANNOTATIONS", {"key": _storable(self.key.text)})
        else:
            rows = self._reader.rows("KEYS_OF_ANNOTATIONS", {})
        return ids_text([row[0] for row in rows if self.key(row[1])])

    def rows(self, statement: Name) -> Iterator[Row]:
        """Yield the id of the owner and the value of each matching annotation or label."""
        for row in self._reader.rows(statement, {"ids": self.keys(), **self.bounds()}):
            if self.value is None or self.value(row[1]):
                yield row

    def bounds(self) -> dict[str, str]:
        """Return, as parameters, the closed range in which the first _INDEXED characters of the values lie."""
        if self.value is None:
            return {"low": "", "high": _LAST}
        if self.value.glob is None:
            beginning = _storable(self.value.text)[:_INDEXED]
            return {"low": beginning, "high": beginning}
        prefix = _storable(self.value.glob.prefix)[:_INDEXED]
        return {"low": prefix, "high": prefix + _LAST}


class Labelled(_OfContents):
    """`--label KEY[=VALUE]`."""

    def __init__(self, reader: Reader, key: Wanted, value: Wanted | None) -> None:
        super().__init__(reader)
        self._pairs = _Pairs(reader, key, value)

    def passes_alone(self, match: Match) -> bool:
        return content.has_label(self.reader, match, self._pairs.key, self._pairs.value)

    def seeds(self) -> Iterator[Row]:
        return self._pairs.rows("LABELLED")

    def find(self) -> Iterable[Row]:
        return _from(self.reader, "ABOVE_CONFIGS", self.seeds())


class Annotated(_OfContents):
    """`--annotation KEY[=VALUE]`. The annotations of an entry count, and those of the contents that it reaches."""

    def __init__(self, reader: Reader, key: Wanted, value: Wanted | None) -> None:
        super().__init__(reader)
        self._pairs = _Pairs(reader, key, value)

    def passes_alone(self, match: Match) -> bool:
        return content.has_annotation(self.reader, match, self._pairs.key, self._pairs.value)

    def passes_by_set(self, match: Match) -> bool:
        if super().passes_by_set(match):
            return True
        if match.how is not None and match.below is not None:
            return False
        return match.row[ENTRY_ID] in self.once("entries", lambda: Ids(sorted({row[0] for row in self._of_entries()})))

    def seeds(self) -> Iterator[Row]:
        yield from self._of_contents()
        yield from self._of_entries()

    def find(self) -> Iterable[Row]:
        return _from(self.reader, "ABOVE_CONTENTS", self._of_contents())

    def entries(self) -> Entries:
        found = {row[0] for row in self._of_entries()}
        if not found:
            return super().entries()
        found.update(id_ for id_, _ in super().entries())
        return in_order(self.reader, found)

    def _of_contents(self) -> Iterator[Row]:
        yield from self._pairs.rows("ANNOTATED")
        yield from self._pairs.rows("ANNOTATED_BELOW")

    def _of_entries(self) -> Iterator[Row]:
        """Yield entries with such an annotation. The two names of an entry are searched too: they have columns of their own."""
        yield from self._pairs.rows("ANNOTATED_ENTRIES")
        pairs = self._pairs
        by_ref, by_image = pairs.key(_REF_NAME), pairs.key(_IMAGE_NAME)
        names: list[Name] = [*(["NAMED_BY_REF"] if by_ref else []), *(["NAMED_BY_IMAGE"] if by_image else [])]  # type: ignore[list-item]
        bounds = pairs.bounds()
        if pairs.value is not None and pairs.value.glob is None:
            bounds = dict.fromkeys(bounds, _storable(pairs.value.text))
        for statement in names:
            for row in self.reader.rows(statement, bounds):
                if pairs.value is None or pairs.value(row[1]):
                    yield row
        for row in self.reader.rows("NAMED_AT_LENGTH", {}) if names else ():
            said = [*([row[1]] if by_ref else []), *([row[2]] if by_image else [])]
            if any(text is not None and (pairs.value is None or pairs.value(text)) for text in said):
                yield row


class OfArtifactType(_OfContents):
    """`--artifact-type A`: the type in the descriptor, else the type according to the manifest."""

    is_exact = False

    def __init__(self, reader: Reader, wanted: Wanted) -> None:
        super().__init__(reader)
        self._wanted = wanted

    def passes_alone(self, match: Match) -> bool:
        return self._wanted(content.artifact_type(self.reader, match))

    def passes_by_set(self, match: Match) -> bool:
        claimed = match.artifact_type
        return super().passes_by_set(match) if claimed is None else self._wanted(claimed)

    def seeds(self) -> Iterator[Row]:
        yield from self.reader.rows("OF_ARTIFACT_TYPES", {"ids": self._ids()})
        yield from self._claiming()

    def find(self) -> Iterable[Row]:
        return sorted(self.reader.rows("OF_ARTIFACT_TYPES", {"ids": self._ids()}))

    def entries(self) -> Entries:
        claiming = {row[0] for row in self._claiming()}
        if not claiming:
            return super().entries()
        claiming.update(id_ for id_, _ in super().entries())
        return in_order(self.reader, claiming)

    def _claiming(self) -> Iterator[Row]:
        return self.reader.rows("CLAIMING_ARTIFACT_TYPES", {"ids": self._ids()})

    def _ids(self) -> str:
        return self.once("types", lambda: _media_types(self.reader, self._wanted))


class ForPlatform(_OfContents):
    """`--platform P`. `contents` have an image for the platform in every store. Other contents have one only in some stores."""

    is_exact = False

    def __init__(self, reader: Reader, wanted: Platform) -> None:
        super().__init__(reader)
        self._wanted = wanted

    def passes_alone(self, match: Match) -> bool:
        return content.has_platform(self.reader, match, self._wanted)

    def passes_by_set(self, match: Match) -> bool:
        kind = match.row[CONTENT_KIND]
        if kind == UNREAD and (claimed := match.row[PLATFORM]) is not None:
            return self._wanted.rank(claimed) is not None
        if super().passes_by_set(match):
            return True
        return kind != MANIFEST and match.row[CONTENT_ID] in self._in_some_store and self.passes_alone(match)

    def seeds(self) -> Iterator[Row]:
        yield from self.reader.rows("OF_PLATFORMS", {"ids": self._ids()})
        yield from self._claiming()

    def find(self) -> Iterable[Row]:
        return self.reader.rows("SURELY_FOR_PLATFORMS", {"ids": self._ids()})

    def entries(self) -> Entries:
        claiming = {row[0] for row in self._claiming()}
        found = _entries_of(self.reader, self._in_some_store)
        if not claiming:
            return found
        claiming.update(id_ for id_, _ in found)
        return in_order(self.reader, claiming)

    @property
    def _in_some_store(self) -> Ids:
        found = self._ids
        return self.once(
            "perhaps", lambda: Ids(row[0] for row in self.reader.rows("PERHAPS_FOR_PLATFORMS", {"ids": found()}))
        )

    def _claiming(self) -> Iterator[Row]:
        return self.reader.rows("CLAIMING_PLATFORMS", {"ids": self._ids(claimed=True)})

    def _ids(self, *, claimed: bool = False) -> str:
        """Return the ids of the platforms that fit. The platform of an attestation counts only in descriptors (`claimed`)."""
        rows = self.once("platforms", lambda: list(self.reader.rows("PLATFORMS", {})))
        return ids_text(
            [row[0] for row in rows if (claimed or row[1] != ATTESTATION) and self._wanted.rank(row[1]) is not None]
        )


class OfMediaType(Start):
    """`--media-type M`. It has no index, because there are so few media types that each would select very many entries."""

    reads_all = True

    def __init__(self, reader: Reader, wanted: Wanted) -> None:
        super().__init__(reader)
        self._wanted = wanted

    def passes_alone(self, match: Match) -> bool:
        return self._wanted(match.media_type)

    def seeds(self) -> Iterator[Row]:
        return self.entries()

    def entries(self) -> Entries:
        return self.reader.rows("OF_MEDIA_TYPES", {"ids": _media_types(self.reader, self._wanted)})


class WithoutKeys(Start):
    """`--unnamed`: the entries that have no lookup key."""

    reads_all = True

    def passes_alone(self, match: Match) -> bool:
        return match.row[SOURCE] is None

    def seeds(self) -> Iterator[Row]:
        return self.entries()

    def entries(self) -> Entries:
        return self.reader.rows("WITHOUT_KEYS", {})


def _media_types(reader: Reader, wanted: Wanted) -> str:
    return ids_text([row[0] for row in reader.rows("MEDIA_TYPES", {}) if row[1] and wanted(row[1])])


def _from(reader: Reader, statement: Name, seeds: Iterable[Row]) -> Iterator[Row]:
    """Return the rows of a statement that starts from the ids in the first column of `seeds`."""
    return reader.rows(statement, {"ids": ids_text(sorted({row[0] for row in seeds}))})


def _entries_of(reader: Reader, contents: Ids) -> Entries:
    return reader.rows("ENTRIES_OF", {"ids": contents.text()})


def in_order(reader: Reader, entries: set[int]) -> Entries:
    """Return each of the entries with its store, in the order of the lists."""
    return reader.rows("ENTRIES_IN_ORDER", {"ids": ids_text(sorted(entries))})


def _storable(text: str) -> str:
    """Return a text with its lone surrogates replaced, because no database accepts them and so no catalog contains them."""
    return text.encode("utf-8", "replace").decode("utf-8")
