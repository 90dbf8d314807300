"""One answer a reference, or the error that says why there is none (docs/resolution.md)."""

from __future__ import annotations

from itertools import islice

from catalog.errors import NotFound, NotInTime
from catalog.lookup.find import find
from catalog.lookup.match import ENTRY_ID, STORE_ID, Match
from catalog.names import query as kinds
from catalog.names.escape import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from catalog.engine.interface import Reader
    from catalog.engine.names import Name
    from catalog.lookup.needed import Needs
    from catalog.lookup.stores import NamedStore
    from catalog.names.platform import Platform
    from catalog.names.query import Query

CANDIDATES = 20
"""So many candidates of an ambiguous reference are named (docs/scripts.md)."""

_STALE = ("invalid", "unreadable")


class Asking:
    """How references are asked: in which stores (None: all), and what is refused. Notes go to `note`, each once.

    `strict` refuses buildx's single-entry rule and what a store that cannot be read said last. A reader of the past
    (`Reader.at`) has all of it asked of then. `platform` has `resolve` answer with an index's child for it. `needs` has it answer with
    what is complete alone.
    """

    def __init__(
        self,
        reader: Reader,
        note: Callable[[str], None],
        *,
        stores: frozenset[int] | None = None,
        strict: bool = False,
        platform: Platform | None = None,
    ) -> None:
        self.reader = reader
        reader.known.clear()
        self.stores = stores
        self.strict = strict
        self.platform = platform
        self.needs: Needs | None = None
        self.note = note
        self._noted: set[int] = set()
        self._passed_over: set[str] = set()

    @property
    def moment(self) -> int | None:
        """The time that is asked about, in milliseconds since 1970, UTC; None for now."""
        return None if self.reader.past is None else self.reader.past.at

    @property
    def by_spans(self) -> bool:
        """Whether that is before all that the catalog keeps row by row: names alone are known then, by their spans."""
        return self.reader.past is not None and self.reader.past.numbers is None

    def matches(self, query: Query) -> Iterator[Match]:
        """Every match that may be answered with, in order; raises UnknownStore."""
        self.reader.known.clear()
        if self.by_spans:
            yield from self.past(query)
            return
        yield from self._matches(query, self._place(query))

    def _matches(self, query: Query, place: NamedStore | None, *, digests: bool = False) -> Iterator[Match]:
        found = False
        for match in find(self.reader, query, place, self.stores, digests=digests):
            if self._serves(query, match):
                found = True
                yield match
        if found and query.digest is not None:
            self._note_pending(query, place)

    def resolve(self, query: Query, *, first: bool = False, shadowed: bool = False) -> Match:
        """The one answer; raises NotFound, Ambiguous, UnknownStore, or NotInTime where only content could tell.

        With `needs`, `shadowed` tries the other entries of a store too, where the one that answers for it does not serve.
        """
        self.reader.known.clear()
        if self.by_spans:
            found = _only(query, self.past(query), first=first)
            if found is None:
                raise self.missing(query)
            if self.needs is not None:
                self.needs.images(found)
            return found
        place = self._place(query)
        if place is None and self.needs is not None:
            found = self._complete(query, self.needs, first=first, shadowed=shadowed)
            found = next(iter(self._for_platform(query, [found])), None)
        elif place is None:
            found = _only(query, self._for_platform(query, self._candidates(query)), first=first)
        else:
            matches = (match for match in find(self.reader, query, place, self.stores) if self._serves(query, match))
            found = next(matches, None)  # every form but one inside a store means the first that it finds
            if found is not None and query.kind == kinds.OCI and query.tag is None and place.entries > 1:
                from catalog.lookup.advice import ambiguous

                raise ambiguous(query, [found, *islice(matches, CANDIDATES - 1)], place.entries, 1)
            if found is not None and self.needs is not None:
                self.needs.images(self._itself(found))
            if found is not None:
                found = next(iter(self._for_platform(query, [found])), None)
        if found is None:
            raise self.missing(query, place)
        if query.digest is not None and query.tag is not None:
            self._note_moved_tag(query, place)
        return self._itself(found)

    def _candidates(self, query: Query) -> Iterator[Match]:
        """What answers over all stores, one match for each store and digest."""
        found = self._answers(query) if query.kind == kinds.NAME else self._matches(query, None, digests=True)
        return self._near(found)

    def _complete(self, query: Query, needs: Needs, *, first: bool, shadowed: bool) -> Match:
        """The one answer among those that are complete; a line for each other one that it is given before.

        Raises NotFound that says why the first one is not, where none is; else as `resolve`.
        """
        refused: list[tuple[str, NotFound]] = []
        used: dict[tuple[int, str], object] = {}

        def complete() -> Iterator[Match]:
            served: set[int] = set()
            matches = self._near(self._matches(query, None)) if shadowed else self._candidates(query)
            for match in matches:
                if shadowed and match.store_id in served:
                    continue
                try:
                    used[match.entry_id, match.answered] = needs.images(self._itself(match))
                except NotFound as error:
                    refused.append((match.answered, error))
                else:
                    served.add(match.store_id)
                    yield match

        found = _only(query, complete(), first=first, used=lambda match: used[match.entry_id, match.answered])
        if found is None and not refused:
            raise self.missing(query)
        others = refused[1:] if found is None else refused
        for digest, error in others:
            if (found is None or digest != found.answered) and str(error) not in self._passed_over:
                self._passed_over.add(str(error))
                self.note(str(error))
        if found is None:
            raise refused[0][1]
        return found

    def _near(self, matches: Iterable[Match]) -> Iterator[Match]:
        """Those in stores of this host; only where it has none, those of others, which come after.

        Of a layout that several hosts see, one of them speaks.
        """
        is_near: bool | None = None
        copies: frozenset[int] | None = None  # asked for once a question: who saw a layout change last may change
        for match in matches:
            near = self.reader.host_of(match.store_id) is None
            if not near:
                copies = self.reader.copies() if copies is None else copies
                if match.store_id in copies:
                    continue
            if is_near and not near:
                return
            is_near = near
            yield match

    def _for_platform(self, query: Query, matches: Iterable[Match]) -> Iterable[Match]:
        """The matches, or what each has for the platform that is asked for; one that has none is no answer."""
        if self.platform is None:
            return matches
        return self._children(query, matches, self.platform)

    def _children(self, query: Query, matches: Iterable[Match], platform: Platform) -> Iterator[Match]:
        from catalog.lookup.content import check_pending, for_platform

        for match in matches:
            check_pending(self.reader, frozenset((match.store_id,)), f"{shown(query.text)} for {platform}")
            found, why = for_platform(self.reader, self._itself(match), platform)
            if found is not None:
                if why:
                    self.note(f"{shown(query.text)} in {shown(match.store)} is asked for {platform}, {why}")
                yield found
            else:
                self.note(f"{shown(query.text)} in {shown(match.store)} is no answer for {platform}: {why}")

    def _itself(self, match: Match) -> Match:
        """The answer where it is a manifest below the entry that matched."""
        if match.below is None:
            return match
        from catalog.lookup.content import as_below

        return as_below(self.reader, match, match.below)

    def past(self, query: Query | None) -> Iterator[Match]:
        """What a query, or everything, matched at the moment that is asked for."""
        from catalog.lookup.past import at

        return at(self.reader, query, self.moment or 0, self.stores)

    def missing(self, query: Query, place: NamedStore | None = None) -> NotFound | NotInTime:
        """The error for a reference that nothing matches, with the hint that helps.

        Raises NotInTime where a digest may be below an entry whose manifests are not read yet.
        """
        if self.moment is not None:
            from catalog.names.moment import rfc3339

            return NotFound(f"nothing was {shown(query.text)} at {rfc3339(self.moment)}, as far as history goes back")
        from catalog.lookup.advice import part_hint, pinned_hint, tag_hint

        text = shown(query.text)
        if self.platform is not None:
            text = f"{text} for {self.platform}"
        if query.digest is not None:
            from catalog.lookup.content import check_pending

            check_pending(self.reader, self.stores if place is None else frozenset((place.store_id,)), text)
            elsewhere = query.kind == kinds.NAME_DIGEST or place is not None
            if elsewhere and self._stands(query.digest):
                return NotFound(f"nothing is {text}", f"the digest stands elsewhere: ask for '@{query.digest}'")
            return NotFound(
                f"nothing is {text}", pinned_hint(self.reader, query) or part_hint(self.reader, query.digest)
            )
        if self.platform is not None:
            return NotFound(f"no image {text}", pinned_hint(self.reader, query))
        if query.kind == kinds.NAME:
            return NotFound(
                f"no image {shown(query.name)}", pinned_hint(self.reader, query) or tag_hint(self.reader, query.text)
            )
        if query.kind in (kinds.TAG, kinds.TAG_PATTERN):
            return NotFound(f"no entry has the tag {shown(query.tag or '')}", pinned_hint(self.reader, query))
        return NotFound(f"nothing matches {text}", pinned_hint(self.reader, query, place))

    def _note_pending(self, query: Query, place: NamedStore | None) -> None:
        """What was found is right, and perhaps not all that there is."""
        from catalog.lookup.content import is_pending

        if is_pending(self.reader, self.stores if place is None else frozenset((place.store_id,))):
            self.note(f"{shown(query.text)}: there may be more: manifests are still being read")

    def _stands(self, digest: str) -> bool:
        """Whether a digest is an entry's in some store, or that of a manifest below one."""
        rows: tuple[Name, ...] = ("BY_DIGEST", "REACHING", "LYING")
        return any(self.reader.row(statement, {"digest": digest}) is not None for statement in rows)

    def _place(self, query: Query) -> NamedStore | None:
        """The store that a query of a scheme names; a line where it is not well."""
        if query.place is None:
            return None
        from catalog.lookup.stores import place_of

        place = place_of(self.reader, query)
        if place.state == "missing" or place.state in _STALE:
            self._note_state(place.store_id, place.name, place.state, place.since)
        return place

    def _answers(self, query: Query) -> Iterator[Match]:
        """The plain way: a name, over all stores, one answer a store."""
        for row in self.reader.rows("ANSWERS_BY_NAME", {"name": query.name}):
            match = Match(self.reader, row)
            if (self.stores is None or match.store_id in self.stores) and self._serves(query, match):
                yield match

    def _serves(self, query: Query, match: Match) -> bool:
        """Whether a match may be answered with; a line where a person should know how it came about."""
        if match.state in _STALE:
            self._note_state(match.store_id, match.store, match.state, match.state_since)
            if self.strict:
                return False
        if match.fallback:
            store, text = shown(match.store), shown(query.text)
            if self.strict:
                self.note(f"{text}: no such tag, and --strict refuses the only entry of {store}")
                return False
            self.note(f"{text}: no such tag, took the only entry of {store} as buildx does")
        return True

    def _note_moved_tag(self, query: Query, place: NamedStore | None) -> None:
        """Docker lets the digest decide; say so where the tag points elsewhere by now (section 5)."""
        from catalog.lookup.content import reaching

        digest = query.digest or ""
        if place is None:
            rows = self.reader.rows("ANSWERS_BY_NAME", {"name": query.name})
            standing = [Match(self.reader, row) for row in rows if self.stores is None or row[STORE_ID] in self.stores]
        else:
            bare = kinds.Query(query.text, query.kind, tag=query.tag, place=query.place)
            standing = [match for match in islice(find(self.reader, bare, place, None), 1) if not match.fallback]
        if not standing or any(match.digest == digest for match in standing):
            return
        above = {row[ENTRY_ID] for row in reaching(self.reader, digest, None if place is None else place.store_id)}
        if not any(match.entry_id in above for match in standing):
            self.note(f"{shown(query.text)}: the tag {query.tag} is {standing[0].digest} by now; the digest decides")

    def _note_state(self, store_id: int, store: str, state: str, since: int) -> None:
        if store_id in self._noted:
            return
        self._noted.add(store_id)
        if state == "missing":
            what = "answers nothing"
        else:
            what = "refused by --strict" if self.strict else "answers with what it last said"
        from catalog.names.moment import rfc3339

        self.note(f"store {shown(store)} is {state} since {rfc3339(since)}: {what}")


def _only(
    query: Query, candidates: Iterable[Match], *, first: bool, used: Callable[[Match], object] | None = None
) -> Match | None:
    """The answer where all candidates have one digest, from the first store in order; raises Ambiguous where not.

    `first` looks at the first store alone. The candidates may come in any order of stores. `used` says what of a candidate
    has to be the same, where that is not the digest it answers with.
    """
    answer: Match | None = None
    several: list[Match] = []
    digests: set[object] = set()
    stores: set[int] = set()
    total = 0
    for match in candidates:
        if answer is None or match.order < answer.order:
            answer = match
            if first:
                several, digests, stores, total = [], set(), set(), 0
        elif first and match.store_id != answer.store_id:
            continue
        total += 1
        digests.add(match.answered if used is None else used(match))
        stores.add(match.store_id)
        if len(several) < CANDIDATES:
            several.append(match)
    if len(digests) > 1:
        from catalog.lookup.advice import ambiguous

        raise ambiguous(query, several, total, len(stores))
    return answer
