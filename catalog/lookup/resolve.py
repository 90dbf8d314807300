"""Resolve a reference to one answer, or raise an error that explains why there is none (docs/resolution.md)."""

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
"""How many candidates of an ambiguous reference are listed (docs/scripts.md)."""

_STALE = ("invalid", "unreadable")


class Asking:
    """Answers references in the stores with the ids `stores` (all if None). `note` is called once for each note to the user.

    `strict` refuses buildx's single-entry rule, and the last entries of a store that cannot be read. With a reader of the
    past (`Reader.at`), the answers are those of that time. With `platform`, `resolve` returns the image of an index for
    that platform. With the attribute `needs`, it returns only complete images.
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
        """The time of the answers, in milliseconds since 1970, UTC; None for now."""
        return None if self.reader.past is None else self.reader.past.at

    @property
    def by_spans(self) -> bool:
        """Whether the time of the answers is so early that the catalog has only spans of names for it, and no rows of the past."""
        return self.reader.past is not None and self.reader.past.numbers is None

    def matches(self, query: Query) -> Iterator[Match]:
        """Yield every match that may be an answer, in order. Raises UsageError (such as UnknownStore) and CatalogUnavailable."""
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
        """Return the one answer, or with `first` the answer of the first store that has one.

        With `needs`, `shadowed` also tries the shadowed entries of a store if the entry that answers is not complete.
        Raises NotFound, Ambiguous, UsageError (such as UnknownStore), and NotInTime if the answer depends on content not read yet.
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
            found = next(matches, None)  # within one store, every form except `oci:PATH` means the first match
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
        """Yield the candidates from all stores: one match per store and digest."""
        found = self._answers(query) if query.kind == kinds.NAME else self._matches(query, None, digests=True)
        return self._near(found)

    def _complete(self, query: Query, needs: Needs, *, first: bool, shadowed: bool) -> Match:
        """Return the one answer among the complete images, and report a note for each incomplete image that was passed over.

        Raises NotFound if no image is complete, with the reason for the first one; other errors as in `resolve`.
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
        """Yield the matches in stores of this host or, if there are none, those of other hosts, which come later in `matches`.

        If several hosts have the same layout, only one of its copies counts.
        """
        is_near: bool | None = None
        # Read only once per question, because the copies depend on which host has read the newest file.
        copies: frozenset[int] | None = None
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
        """Return the matches, each replaced by its image for the requested platform, if any. Matches without one are left out."""
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
                    self.note(f"{shown(query.text)} in {shown(match.store)}, for {platform}: {why}")
                yield found
            else:
                self.note(f"{shown(query.text)} in {shown(match.store)} cannot be used for {platform}: {why}")

    def _itself(self, match: Match) -> Match:
        """Return the match itself, or a match for the manifest below its entry if that was found."""
        if match.below is None:
            return match
        from catalog.lookup.content import as_below

        return as_below(self.reader, match, match.below)

    def past(self, query: Query | None) -> Iterator[Match]:
        """Yield the matches of a query at the requested time, or everything if `query` is None."""
        from catalog.lookup.past import at

        return at(self.reader, query, self.moment or 0, self.stores)

    def missing(self, query: Query, place: NamedStore | None = None) -> NotFound | NotInTime:
        """Return the error for a reference that nothing matches, with a hint if there is one.

        Raises NotInTime if a digest may be below an entry whose manifests are not read yet.
        """
        if self.moment is not None:
            from catalog.lookup.advice import before_all
            from catalog.names.moment import rfc3339

            return NotFound(
                f"nothing matched {shown(query.text)} at {rfc3339(self.moment)}, as far back as history goes",
                before_all(self.reader),
            )
        from catalog.lookup.advice import name_hint, part_hint, pinned_hint

        text = shown(query.text)
        if self.platform is not None:
            text = f"{text} for {self.platform}"
        if query.digest is not None:
            from catalog.lookup.content import check_pending

            check_pending(self.reader, self.stores if place is None else frozenset((place.store_id,)), text)
            elsewhere = query.kind == kinds.NAME_DIGEST or place is not None
            if elsewhere and self._is_known(query.digest):
                return NotFound(f"nothing matches {text}", f"the digest exists elsewhere: ask for '@{query.digest}'")
            return NotFound(
                f"nothing matches {text}", pinned_hint(self.reader, query) or part_hint(self.reader, query.digest)
            )
        if self.platform is not None:
            return NotFound(f"no image {text}", pinned_hint(self.reader, query))
        if query.kind == kinds.NAME:
            return NotFound(
                f"no image {shown(query.name)}", pinned_hint(self.reader, query) or name_hint(self.reader, query)
            )
        if query.kind in (kinds.TAG, kinds.TAG_PATTERN):
            return NotFound(f"no entry has the tag {shown(query.tag or '')}", pinned_hint(self.reader, query))
        return NotFound(f"nothing matches {text}", pinned_hint(self.reader, query, place))

    def _note_pending(self, query: Query, place: NamedStore | None) -> None:
        """Report a note that there may be more matches if manifests are not read yet."""
        from catalog.lookup.content import is_pending

        if is_pending(self.reader, self.stores if place is None else frozenset((place.store_id,))):
            self.note(f"{shown(query.text)}: there may be more: manifests are still being read")

    def _is_known(self, digest: str) -> bool:
        """Return whether any store has an entry or another manifest with this digest."""
        rows: tuple[Name, ...] = ("BY_DIGEST", "REACHING", "LYING")
        return any(self.reader.row(statement, {"digest": digest}) is not None for statement in rows)

    def _place(self, query: Query) -> NamedStore | None:
        """Return the store that a query with a scheme names, or None. Reports a note if the store is missing or cannot be read."""
        if query.place is None:
            return None
        from catalog.lookup.stores import place_of

        place = place_of(self.reader, query)
        if place.state == "missing" or place.state in _STALE:
            self._note_state(place.store_id, place.name, place.state, place.since)
        return place

    def _answers(self, query: Query) -> Iterator[Match]:
        """Yield the answers for a name, one per store."""
        for row in self.reader.rows("ANSWERS_BY_NAME", {"name": query.name}):
            match = Match(self.reader, row)
            if (self.stores is None or match.store_id in self.stores) and self._serves(query, match):
                yield match

    def _serves(self, query: Query, match: Match) -> bool:
        """Return whether a match may be an answer, and report notes that the user should see."""
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
        """Report a note if the tag now points to another digest. As in Docker, the digest decides."""
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
            self.note(f"{shown(query.text)}: the tag {query.tag} is now {standing[0].digest}; the digest decides")

    def _note_state(self, store_id: int, store: str, state: str, since: int) -> None:
        if store_id in self._noted:
            return
        self._noted.add(store_id)
        if state == "missing":
            what = "answers nothing"
        else:
            what = "refused by --strict" if self.strict else "using its last entries"
        from catalog.names.moment import rfc3339

        self.note(f"store {shown(store)} has been {state} since {rfc3339(since)}: {what}")


def _only(
    query: Query, candidates: Iterable[Match], *, first: bool, used: Callable[[Match], object] | None = None
) -> Match | None:
    """Return the candidate from the first store in order if all candidates have the same digest. Raises Ambiguous otherwise.

    `first` considers only the first store. The candidates may come in any order of stores. `used` returns the value that must be
    equal for all candidates, if that is not the digest of the answer. Returns None if there are no candidates.
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
