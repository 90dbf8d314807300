"""`query` and `resolve`, whichever way their options were read: by `start` without click, or by click."""

from __future__ import annotations

import sys

from catalog.cli import formats
from catalog.cli.messages import fail, note
from catalog.db.location import catalog_path
from catalog.errors import InvalidReference, NotFound, OcicatError, UsageError
from catalog.lookup import frozen
from catalog.lookup.match import FIELDS, Match, rfc3339
from catalog.lookup.reader import Reader
from catalog.lookup.resolve import Asking
from catalog.lookup.stores import store_ids
from catalog.names import query as kinds
from catalog.names.escape import shown
from catalog.names.query import Query, parse_digest, parse_query
from catalog.names.reference import is_tag, split_repository

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

QUERY_COLUMNS = ("store", "name", "tag", "ref_name", "digest", "media_type", "size")


class Options:
    """What was asked, as both ways of reading the command line leave it."""

    __slots__ = (
        "at",
        "command",
        "config",
        "count",
        "db",
        "digest",
        "first",
        "format",
        "fresh",
        "limit",
        "media_type",
        "refs",
        "repository",
        "sort",
        "stores",
        "strict",
        "tag",
        "unnamed",
    )

    def __init__(self, command: str, refs: tuple[str, ...] = ()) -> None:
        self.command = command
        self.refs = refs
        self.db: str | None = None
        self.format: str | None = None
        self.stores: tuple[str, ...] = ()
        self.fresh = False
        self.at: str | None = None
        self.config: str | None = None
        # of resolve
        self.first = False
        self.strict = False
        # of query
        self.tag: str | None = None
        self.digest: str | None = None
        self.repository: str | None = None
        self.media_type: str | None = None
        self.unnamed = False
        self.limit: int | None = None
        self.sort: str | None = None
        self.count = False


# --- resolve ----------------------------------------------------------------------------------------------------


def run_resolve(options: Options) -> int:
    """Print one answer a reference; returns the highest exit status of them all."""
    if not options.refs:
        raise UsageError("resolve needs a reference: write one, or '-' to read them from stdin")
    asked = options.format
    reader = Reader(catalog_path(options.db))
    try:
        show = _resolve_format(asked)
        scope = _scope(reader, options.stores)
        asking = Asking(reader, note, stores=scope, strict=options.strict, moment=_moment(options))
        freshen = _freshener(options, reader, scope)
        always = len(options.refs) > 1 or "-" in options.refs
        worst = 0
        for text in _references(options.refs):
            try:
                query = parse_query(text)
                freshen(query)
                match = asking.resolve(query, first=options.first)
                show.match(text, match)
            except OcicatError as error:
                if error.status == 4 and not _is_about_one(error):
                    raise
                worst = max(worst, fail(_with_hint(asking, text, error)))
                if always:
                    show.nothing()
            if always:
                formats.flush()
        show.end()
    finally:
        reader.close()
    return worst


class _Shown:
    """How `resolve` prints: by a format, or its own two (the digest, and buildx's form)."""

    def __init__(self, by: formats.Format | None, *, layout: bool = False) -> None:
        self._by = by
        self._layout = layout

    def match(self, text: str, match: Match) -> None:
        """Print the answer for the reference `text`."""
        if self._by is not None:
            self._by.row(lambda field: text if field == "reference" else match.value(field))
        elif self._layout:
            formats.write(f"oci-layout://{_buildx_path(match)}@{match.digest}\n")
        else:
            formats.write(match.digest + "\n")

    def nothing(self) -> None:
        """Print what stands for a reference without an answer."""
        if self._by is not None:
            self._by.nothing()
        else:
            formats.write("\n")

    def end(self) -> None:
        """Finish."""
        if self._by is not None:
            self._by.end()


def _resolve_format(asked: str | None) -> _Shown:
    if asked in (None, "tsv"):
        return _Shown(None)
    if asked == "oci-layout":
        return _Shown(None, layout=True)
    columns = ("reference", "store", "name", "digest") if asked == "table" else ("digest",)
    return _Shown(formats.open_format(asked, columns, (*FIELDS, "reference"), header=False))


def _buildx_path(match: Match) -> str:
    """The store's path as buildx can read it back; raises UsageError where no text can say it."""
    if match.path_bytes is not None or not match.path.isprintable():
        raise UsageError(f"the path of store {shown(match.store)} cannot be printed as it is: use --format json")
    return match.path


def _is_about_one(error: OcicatError) -> bool:
    """Whether a status of 4 is that of one reference (content pending) and no failure of the catalog."""
    from catalog.errors import NotInTime

    return isinstance(error, NotInTime)


# --- query ------------------------------------------------------------------------------------------------------


def run_query(options: Options) -> int:
    """Print every entry that matches; returns 1 where a reference matched nothing, 2 where one is malformed."""
    reader = Reader(catalog_path(options.db))
    try:
        scope = _scope(reader, options.stores)
        accept = _filter(options)
        asking = Asking(reader, note, stores=scope, moment=_moment(options))
        freshen = _freshener(options, reader, scope)
        worst = [0]
        if options.refs:
            found = _once(_all(options, asking, accept, worst, freshen))
        else:
            freshen(None)
            found = (match for match in _without_ref(options, reader, asking, scope) if accept(match))
        if options.sort is not None:
            found = iter(_sorted(found, options.sort))
        if options.limit is not None:
            found = _limited(found, options.limit)
        if options.count:
            formats.write(f"{sum(1 for _ in found)}\n")
        else:
            show = formats.open_format(options.format, QUERY_COLUMNS, FIELDS)
            for match in found:
                show.row(match.value)
            show.end()
    finally:
        found = iter(())  # its cursor goes before its connection does
        reader.close()
    return worst[0]


def _all(
    options: Options,
    asking: Asking,
    accept: Callable[[Match], bool],
    worst: list[int],
    freshen: Callable[[Query | None], None],
) -> Iterator[Match]:
    """The matches of each reference in turn; what matches nothing is told, and counts in `worst`."""
    streamed = "-" in options.refs and options.sort is None and not options.count
    for text in _references(options.refs):
        found = False
        try:
            query = parse_query(text)
            freshen(query)
            for match in asking.matches(query):
                if accept(match):
                    found = True
                    yield match
            if not found:
                raise asking.missing(query)
        except OcicatError as error:
            if error.status == 4 and not _is_about_one(error):
                raise
            worst[0] = max(worst[0], fail(_with_hint(asking, text, error)))
        if streamed:
            formats.flush()


def _without_ref(options: Options, reader: Reader, asking: Asking, scope: frozenset[int] | None) -> Iterator[Match]:
    """Every entry, by the index of the narrowest filter."""
    if asking.moment is not None:
        return asking.past(None)
    if options.digest is not None:
        return asking.matches(parse_digest(options.digest))
    if options.repository is not None:
        rows = reader.rows(frozen.BY_REPOSITORY, {"repository": _repository(options.repository)})
        in_scope = (Match(reader, row) for row in rows)
        return _once(_noted(match for match in in_scope if scope is None or match.store_id in scope))
    if options.tag is not None:
        return asking.matches(Query(f":{options.tag}", kinds.TAG, tag=options.tag))
    stores = (row[0] for row in list(reader.rows(frozen.STORES, {})) if scope is None or row[0] in scope)
    return _noted(Match(reader, row) for id_ in stores for row in reader.rows(frozen.STORE_ENTRIES, {"store_id": id_}))


def _noted(matches: Iterable[Match]) -> Iterator[Match]:
    """The matches, and a line for each store that only says what it said last (resolution.md section 10)."""
    noted: set[int] = set()
    for match in matches:
        if match.state in ("invalid", "unreadable") and match.store_id not in noted:
            noted.add(match.store_id)
            since = rfc3339(match.state_since)
            note(f"store {shown(match.store)} is {match.state} since {since}: answers with what it last said")
        yield match


def _filter(options: Options) -> Callable[[Match], bool]:
    """Whether a match passes all filters. Those of names hold where one key of the entry has all that is asked."""
    tag, media_type, unnamed = options.tag, options.media_type, options.unnamed
    repository = None if options.repository is None else _repository(options.repository)
    digest = None if options.digest is None else parse_digest(options.digest)

    def accept(match: Match) -> bool:
        if media_type is not None and match.value("media_type") != media_type:
            return False
        if digest is not None and not (
            match.digest == digest.digest
            if digest.kind == kinds.DIGEST
            else match.digest.startswith(digest.digest or "")
        ):
            return False
        if not unnamed and tag is None and repository is None:
            return True
        keys = match.keys()
        if unnamed and keys:
            return False
        if tag is None and repository is None:
            return True
        return any(repository in (None, r) and tag in (None, t) for r, t, _ in keys)

    return accept


def _repository(text: str) -> str:
    parts = split_repository(text)
    if parts is None:
        raise UsageError(f"no repository: {shown(text)}: write a name without tag or digest, as in alpine")
    return f"{parts[0]}/{parts[1]}" if parts[0] else parts[1]


def _once(matches: Iterable[Match]) -> Iterator[Match]:
    seen: set[int] = set()
    for match in matches:
        if match.entry_id not in seen:
            seen.add(match.entry_id)
            yield match


def _sorted(matches: Iterable[Match], key: str) -> list[Match]:
    field = key.removeprefix("-")
    if field not in FIELDS or field in ("names", "annotations", "platforms"):
        raise UsageError(
            f"no key to sort by: {shown(key)}: a key of an object, such as name, tag, size; '-size' turns it round"
        )

    def value(match: Match) -> tuple[bool, object]:
        found = match.value(field)
        return found is not None, found if found is not None else 0

    return sorted(matches, key=value, reverse=key.startswith("-"))


def _limited(matches: Iterable[Match], limit: int) -> Iterator[Match]:
    if limit <= 0:
        return
    for number, match in enumerate(matches, 1):
        yield match
        if number >= limit:
            return


# --- both -------------------------------------------------------------------------------------------------------


def _moment(options: Options) -> int | None:
    """The moment that `--at` asks for; raises UsageError for a filter that history cannot answer."""
    if options.at is None:
        return None
    others = {"--digest": options.digest, "--media-type": options.media_type, "--unnamed": options.unnamed}
    refused = [name for name, value in others.items() if value]
    if refused:
        raise UsageError(f"{refused[0]} cannot be asked of the past: --at answers by name and tag alone")
    import time

    from catalog.names.moment import parse_moment

    return parse_moment(options.at, time.time_ns() // 1_000_000)


def _freshener(options: Options, reader: Reader, scope: frozenset[int] | None) -> Callable[[Query | None], None]:
    """What to do before a reference is answered: with `--fresh` and `-`, make the catalog true for it.

    References that are all known are made true here, in one go.
    """
    if not options.fresh:
        return _as_it_is
    from catalog.cli.config import load_settings
    from catalog.ingest.fresh import make_fresh

    settings = load_settings(options.config)
    if "-" in options.refs:
        return lambda query: make_fresh(reader, [] if query is None else [query], scope, settings)
    queries = []
    for text in options.refs:
        try:
            queries.append(parse_query(text))
        except InvalidReference:
            continue  # said when its turn comes
    if queries or not options.refs:
        make_fresh(reader, queries, scope, settings)
    return _as_it_is


def _as_it_is(_query: Query | None) -> None:
    """Answer from the catalog as it is."""


def _scope(reader: Reader, stores: tuple[str, ...]) -> frozenset[int] | None:
    return store_ids(reader, stores) if stores else None


def _references(refs: tuple[str, ...]) -> Iterator[str]:
    """The references in order; `-` stands for those on stdin, one a line, read as they come."""
    for text in refs:
        if text != "-":
            yield text
            continue
        for line in sys.stdin.buffer:
            yield line.decode("utf-8", "surrogateescape").removesuffix("\n")


def _with_hint(asking: Asking, text: str, error: OcicatError) -> OcicatError:
    """A malformed reference that is a good tag says how a tag is asked for (section 5); every error, what to do next."""
    better = error
    if isinstance(error, InvalidReference) and is_tag(text):
        hint = asking.tag_hint(text) or f"a tag is asked for as ':{text}'"
        better = InvalidReference(f"{error}; {hint}")
    elif isinstance(error, NotFound) and not error.hint and asking.moment is not None:
        better = NotFound(str(error), "'ocicat history' tells what there was, and when")
    elif isinstance(error, NotFound) and not error.hint:
        better = NotFound(str(error), "'ocicat index' reads what has changed, 'ocicat add PATH' adds more layouts")
    return better.with_traceback(error.__traceback__)
