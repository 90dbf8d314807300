"""Search for entries by any part of a repository, tag, name, store or title, for `find` and the browser (docs/scripts.md).

All words must occur, in any letter case. The best matches come first, in the order of the constants below.

The cost depends on the numbers of repositories, stores and titles, which are small, and on the number of keys that one word selects.
The repositories are searched for as few words as possible: the longest words, which probably select the fewest keys, come first, and a
word that cannot select fewer keys than an earlier one is skipped. For a word that is in very many repositories, the repositories that
have it as a whole component come first, then the others in the order of their names. Only the search for a word inside a tag reads all
different tags, and only if there are not enough results without it.
"""

from __future__ import annotations

from itertools import islice

from catalog.errors import UsageError
from catalog.lookup.match import ENTRY_ID, Match
from catalog.names.limits import MOST_TAGS
from catalog.names.pattern import upper_bound
from catalog.names.query import clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from catalog.engine.interface import Reader
    from catalog.engine.names import Name

    Group = tuple[int, Iterator["_Key"]]

MOST = 50
"""How many results `find` prints by default."""
_ENOUGH = 2_000
"""Once there are enough results, the search ends after this many keys in total, even if others might be better."""
_COMMON = 2_000
"""If a word is in this many repositories or more, they are not all read at once."""
_ALL = 1 << 62
"""No limit on the number of repositories."""
_BATCH = 100
"""The number of repositories whose keys are read at once, and the number of results that are read at once."""
_MOST_WORDS = 32

_WHOLE, _COMPONENT, _BEGINNING, _PART = range(4)
_REPOSITORY = 0, 3, 4, 6
_STORE = 2, 2, 5, 8
_TAG, _BEGINNING_OF_TAG, _TITLE, _PART_OF_TAG = 1, 7, 9, 10
"""The rank of a word by where it occurs, and for repositories and stores also by how well it matches. A lower rank is better."""
_NOWHERE = 99
_SEPARATORS = frozenset("/:@._- ~+")
_HUB = ("docker.io/library/", "docker.io/")


class _Key:
    """A candidate: a key of an entry, or an entry without a key if `key_id` is None."""

    __slots__ = ("entry_id", "key_id", "repository", "store_id", "tag")

    def __init__(
        self, key_id: int | None, entry_id: int, store_id: int, repository: str | None, tag: str | None
    ) -> None:
        self.key_id = key_id
        self.entry_id = entry_id
        self.store_id = store_id
        self.repository = repository
        self.tag = tag


class TextSearch:
    """A search for `words` in the stores with the ids `stores`, or in all stores if that is None.

    Raises UsageError if there is no word, or more than _MOST_WORDS.
    """

    def __init__(self, reader: Reader, words: Iterable[str], stores: frozenset[int] | None = None) -> None:
        self._reader = reader
        self.words = list(dict.fromkeys(piece for word in words for piece in clean(word).lower().split()))
        if not self.words:
            raise UsageError("there is nothing to find: write a part of a name, tag, store or title")
        if len(self.words) > _MOST_WORDS:
            raise UsageError(f"find takes at most {_MOST_WORDS} words: leave some out")
        rows = [row for row in reader.rows("SEARCHED_STORES", {}) if stores is None or row[0] in stores]
        self._stores: dict[int, str] = {row[0]: row[1].lower() for row in rows}
        self._entries: dict[int, int] = {row[0]: row[2] for row in rows}
        self._order = {row[0]: place for place, row in enumerate(rows)}
        self._pages: dict[int, list[tuple[int, str]]] = {}
        self._titles = [self._titled(word) for word in self.words]
        self._known: dict[tuple[str, str], int] = {}
        self._has_capitals: bool | None = None

    def matches(self, limit: int | None = MOST) -> Iterator[Match]:
        """Yield the entries that contain all words, each once, the best first: at most `limit`, or all if `limit` is None."""
        found: dict[int, tuple[tuple[int, bool, str, int, int], _Key]] = {}
        looked = before = 0
        for least, keys in self._groups():
            if limit is not None and len(found) >= limit and (least > before or looked > _ENOUGH):
                break
            before = least
            for key in keys:
                looked += 1
                rank = self._rank(key)
                if rank is None:
                    continue
                name = f"{key.repository or ''}:{key.tag or ''}"
                order = rank, name == ":", name, self._order[key.store_id], key.entry_id
                known = found.get(key.entry_id)
                if known is None or order < known[0]:
                    found[key.entry_id] = order, key
                if limit is not None and looked > _ENOUGH and len(found) >= limit:
                    break
        best = iter([key for _, key in sorted(found.values(), key=lambda each: each[0])[:limit]])
        while some := list(islice(best, _BATCH)):
            yield from self._matches_of(some)

    def _matches_of(self, keys: list[_Key]) -> Iterator[Match]:
        """Yield the entries of some keys, in the same order."""
        by_key = [key.key_id for key in keys if key.key_id is not None]
        by_entry = [key.entry_id for key in keys if key.key_id is None]
        asked: tuple[tuple[Name, list[int]], ...] = ("BY_KEYS", by_key), ("BY_ENTRIES", by_entry)
        rows = {
            row[ENTRY_ID]: row
            for statement, ids in asked
            if ids
            for row in self._reader.rows(statement, {"ids": _ids_text(ids)})
        }
        return (Match(self._reader, rows[key.entry_id]) for key in keys if key.entry_id in rows)

    def occurs(self, number: int) -> bool:
        """Return whether the word with this number occurs in a repository, tag, store or title at all."""
        return any(True for _, keys in self._groups_of(number) for _ in keys)

    # --- candidates -----------------------------------------------------------------------------------------------

    def _groups(self) -> Iterator[Group]:
        """Yield groups of the keys that contain one word: the word that is estimated to select the fewest keys."""
        if len(self.words) == 1:
            return self._groups_of(0)
        total = sum(self._entries.values())
        last = self._reader.row("LAST_REPOSITORY", {})
        count = max(1, (last and last[0]) or 1)
        chosen, least = -1, 0
        for number in sorted(range(len(self.words)), key=lambda each: -len(self.words[each])):
            word = self.words[number]
            tags = self._reader.row("COUNT_TAGS", {"low": word, "high": upper_bound(word)})
            keys = tags[0] if tags else 0
            keys += sum(self._entries[id_] for id_, name in self._stores.items() if word in name)
            if chosen >= 0 and keys >= least:
                continue  # its repositories can only add to that
            repositories = count if self._is_common(number) else len(self._page_of(number))
            keys = keys + repositories * total // count or total // 100
            if chosen < 0 or keys < least:
                chosen, least = number, keys
            if least <= _ENOUGH:
                break
        return self._groups_of(chosen)

    def _groups_of(self, number: int) -> Iterator[Group]:
        """Yield groups of keys that contain the word with this number, best first, each with the lowest rank of its keys."""
        word = self.words[number]
        named = self._repositories_of(number)
        repositories: dict[int, list[int]] = {}
        for id_, name in named.items():
            # If the repository contains only the part of the word before a colon, the tag decides.
            rank = self._in_name(word, name) if word in name else 0
            repositories.setdefault(rank, []).append(id_)
        stores: dict[int, list[int]] = {}
        for id_, name in self._stores.items():
            if word in name:
                stores.setdefault(_STORE[_quality(word, name)], []).append(id_)
        for rank in range(_PART_OF_TAG + 1):
            if rank in repositories:
                yield rank, self._keys_of(repositories[rank])
            if rank == _REPOSITORY[_BEGINNING] and self._is_common(number):
                yield rank, self._keys_of(self._other_repositories(number, named))
            for id_ in stores.get(rank, ()):
                yield rank, self._keys("KEYS_OF_STORE", store_id=id_)
            if rank == _TAG:
                for tag in dict.fromkeys((word, word.upper(), word.capitalize())):
                    yield rank, self._keys("KEYS_OF_TAG", tag=tag)
            elif rank == _BEGINNING_OF_TAG:
                yield rank, self._keys("KEYS_OF_TAGS", low=word, high=upper_bound(word))
            elif rank == _TITLE:
                for entry_id in self._titles[number]:
                    yield rank, self._keys("KEYS_OF_ENTRY", entry_id=entry_id)
            elif rank == _PART_OF_TAG:
                yield rank, self._keys_with(word)

    def _keys_of(self, repositories: Iterable[int]) -> Iterator[_Key]:
        ids = iter(repositories)
        while some := list(islice(ids, _BATCH)):
            yield from self._keys("KEYS_OF_REPOSITORIES", ids=_ids_text(some))

    def _keys_with(self, word: str) -> Iterator[_Key]:
        """Yield the keys whose tag contains the word."""
        part = f"%{_pattern(word)}%"
        last = None
        for tag, number in list(self._reader.rows("TAGS_WITH", {"part": part})):
            if word in tag.lower():
                yield from self._keys("KEYS_OF_TAG", tag=tag)
            if number == MOST_TAGS:
                last = tag
        if last is not None:
            yield from self._keys("KEYS_WITH", part=part, low=last)

    def _keys(self, statement: Name, **parameters: object) -> Iterator[_Key]:
        return (_Key(*row) for row in self._reader.rows(statement, parameters) if row[2] in self._stores)

    def _is_common(self, number: int) -> bool:
        """Return whether the word with this number is in so many repositories that they are not all read at once."""
        return len(self._page_of(number)) == _COMMON

    def _page_of(self, number: int) -> list[tuple[int, str]]:
        """Return the id and name of the first repositories that contain a word."""
        if number not in self._pages:
            self._pages[number] = self._page(self.words[number], "")
        return self._pages[number]

    def _page(self, word: str, low: str) -> list[tuple[int, str]]:
        """Return the id and name of the first repositories after `low` that contain a word, at most _COMMON."""
        return self._repositories("REPOSITORIES_WITH", f"%{_pattern(word)}%", low, _COMMON)

    def _repositories(self, statement: Name, part: str, low: str, most: int) -> list[tuple[int, str]]:
        """Return the id and name of the first repositories after `low` that contain a part, at most `most`."""
        asked = {"part": part, "low": low, "count": most}
        found: dict[int, str] = dict(self._reader.rows(statement, asked))
        if self._has_capitals is None:
            any_at_all = {"part": "%", "low": "", "count": 1}
            self._has_capitals = self._reader.row("CAPITAL_REPOSITORIES_WITH", any_at_all) is not None
        if self._has_capitals:  # this statement compares the pattern with `/NAME/`
            asked["part"] = (
                f"%/{part}/%"
                if statement == "REPOSITORIES_WITH_COMPONENT"
                else part
                if part.endswith("%")
                else f"{part}/"
            )
            found |= dict(self._reader.rows("CAPITAL_REPOSITORIES_WITH", asked))
        return sorted(found.items(), key=lambda each: each[1])[:most]

    def _repositories_of(self, number: int) -> dict[int, str]:
        """Return the id and lower-case name of the repositories that contain a word, or end with its part before the last colon.

        If too many contain the word, only the first of them are returned, and those that have it as a component.
        """
        word = self.words[number]
        head, colon, _ = word.rpartition(":")
        rows = list(self._page_of(number))
        if self._is_common(number):
            rows += self._repositories("REPOSITORIES_WITH_COMPONENT", _pattern(word), "", _COMMON)
        if colon and head:
            rows += self._repositories("REPOSITORIES_WITH", f"%{_pattern(head)}", "", _ALL)
        names = {row[0]: row[1].lower() for row in rows}
        return {id_: name for id_, name in names.items() if word in name or (colon and name.endswith(head))}

    def _other_repositories(self, number: int, named: dict[int, str]) -> Iterator[int]:
        """Yield the ids of the repositories that contain a word and are not in `named`, the result of `_repositories_of`."""
        word, low = self.words[number], self._page_of(number)[-1][1]
        while rows := self._page(word, low):
            low = rows[-1][1]
            yield from (row[0] for row in rows if row[0] not in named and word in row[1].lower())

    def _titled(self, word: str) -> frozenset[int]:
        """Return the ids of the entries that have a title with the word."""
        found: set[int] = set()
        for title, entry_id, digest in list(self._reader.rows("TITLES_WITH", {"part": f"%{_pattern(word)}%"})):
            if word in title.lower():
                found.update([entry_id] if entry_id is not None else self._above(digest))
        return frozenset(found)

    def _above(self, digest: str) -> list[int]:
        """Return the ids of the entries that have or reach a digest."""
        statements: tuple[Name, ...] = ("BY_DIGEST", "CONTAINING")
        return [row[0] for statement in statements for row in self._reader.rows(statement, {"digest": digest})]

    # --- ranks ----------------------------------------------------------------------------------------------------

    def _rank(self, key: _Key) -> int | None:
        """Return the sum of the ranks of all words in a key; None if a word does not occur."""
        total = 0
        for word, titles in zip(self.words, self._titles, strict=True):
            rank = _TITLE if key.entry_id in titles else _NOWHERE
            store = self._stores[key.store_id]
            if word in store:
                rank = min(rank, _STORE[_quality(word, store)])
            tag = None if key.tag is None else key.tag.lower()
            if tag is not None and word in tag:
                rank = min(rank, _TAG if word == tag else _BEGINNING_OF_TAG if tag.startswith(word) else _PART_OF_TAG)
            if key.repository is not None:
                name = key.repository.lower()
                if word in name:
                    rank = min(rank, self._in_name(word, name))
                elif tag is not None and ":" in word and word in (whole := f"{name}:{tag}"):
                    rank = min(rank, _in_short_form(word, whole))
            if rank == _NOWHERE:
                return None
            total += rank
        return total

    def _in_name(self, word: str, name: str) -> int:
        """Return the rank of a word in the name of a repository that contains it."""
        rank = self._known.get((word, name))
        if rank is None:
            rank = self._known[word, name] = _in_short_form(word, name)
        return rank


def _in_short_form(word: str, name: str) -> int:
    """Return the best rank of a word in a canonical name or in one of its short forms, such as `alpine`."""
    shorter = (name[len(prefix) :] for prefix in _HUB if name.startswith(prefix))
    return _REPOSITORY[min(_quality(word, each) for each in (name, *shorter))]


def _quality(word: str, text: str) -> int:
    """Return how well the word matches `text`, which contains it: one of _WHOLE, _COMPONENT, _BEGINNING and _PART."""
    if word == text:
        return _WHOLE
    if word in text.replace(":", "/").split("/"):
        return _COMPONENT
    at = text.find(word)
    while at >= 0:
        if at == 0 or text[at - 1] in _SEPARATORS:
            return _BEGINNING
        at = text.find(word, at + 1)
    return _PART


def _ids_text(ids: Iterable[int]) -> str:
    """Return the same text as catalog.lookup.ids does. That module would load more than is needed here."""
    return f"[{','.join(map(str, ids))}]"


def _pattern(word: str) -> str:
    """Return a word as a part of a LIKE pattern. Characters outside ASCII become `%`, because LIKE does not ignore their case."""
    return "".join(f"\\{c}" if c in "%_\\" else c if c.isascii() else "%" for c in word)
