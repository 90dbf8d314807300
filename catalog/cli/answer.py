"""The commands `query` and `resolve`, once their options are read: by click, or by `start` without click.

This module is longer than others because each module that an answer imports makes every answer slower.
"""

from __future__ import annotations

import sys

from catalog.cli import output
from catalog.cli.limits import ASK_SECONDS, LIST_SECONDS, Limits
from catalog.cli.messages import fail, note
from catalog.engine.location import catalog_path
from catalog.errors import InvalidReference, NotFound, OcicatError, UsageError
from catalog.lookup.match import FIELDS, Match, once
from catalog.lookup.resolve import Asking
from catalog.names.escape import shown
from catalog.names.query import Query, parse_query

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from catalog.engine.interface import Reader
    from catalog.lookup.filters import EntryFilters, Narrowing

QUERY_COLUMNS = ("store", "name", "tag", "ref_name", "digest", "media_type", "size")
PLACES = ("oci-layout", "oci-archive")
"""The formats of `resolve` that are references for another tool (catalog.cli.archive_place)."""
SPARE = ("media_type", "ref_name", "size")


_OF_CONTENT = ("total_size", "created", "labels", "platforms")
"""The fields that are asked of the content of an entry."""


class Options:
    """The command, references and options of a command line, however it was read."""

    __slots__ = (
        "at",
        "check",
        "command",
        "config",
        "count",
        "db",
        "filters",
        "first",
        "format",
        "fresh",
        "host",
        "limit",
        "platform",
        "quiet",
        "refs",
        "sort",
        "stores",
        "strict",
        "tag",
        "timeout",
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
        self.timeout: float | None = None
        self.quiet = False  # only without click, which sets it before
        # only resolve
        self.first = False
        self.strict = False
        self.platform: str | None = None
        # only query
        self.filters: EntryFilters | None = None
        self.host: str | None = None
        self.limit: int | None = None
        self.sort: str | None = None
        self.tag: str | None = None  # only without click: else it is in `filters`
        self.count = False
        # only status
        self.check = False


# --- resolve ----------------------------------------------------------------------------------------------------


def run_resolve(options: Options) -> int:
    """Print one answer per reference; return the highest exit status of all references."""
    if not options.refs:
        raise UsageError("resolve needs a reference: write one, or '-' to read them from stdin")
    with Limits(options.timeout, ASK_SECONDS) as limits:
        return _resolve(options, limits, limits.open_reader(catalog_path(options.db)))


def _resolve(options: Options, limits: Limits, reader: Reader) -> int:
    format_ = options.format
    try:
        show = _resolve_format(reader, format_)
        moment = _moment(options)
        then = reader if moment is None else reader.at(moment)
        asking = Asking(then, note, strict=options.strict)
        if options.platform is not None:
            from catalog.names.platform import Platform

            asking.platform = Platform.parse(options.platform)
        if _checks_blobs(options):
            from catalog.lookup.needed import Needs

            asking.needs = Needs(reader, (asking.platform,))
        freshen = _scoped(options, reader, asking)
        always = len(options.refs) > 1 or "-" in options.refs
        streamed = "-" in options.refs
        worst = 0
        for text in _references(options.refs, limits):
            try:
                query = parse_query(text)
                if streamed:
                    reader.check_current()
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
                show.flush()
        show.end()
    finally:
        reader.close()
    return worst


class _Shown:
    """How `resolve` prints: with a Format, or in one of its own forms (the digest alone, and a reference for another tool)."""

    def __init__(self, format_: output.Format | None, reader: Reader | None = None, scheme: str = "") -> None:
        self._format = format_
        self._reader = reader
        self._scheme = scheme

    def match(self, text: str, match: Match) -> None:
        """Print the answer for the reference `text`."""
        if self._format is not None:
            self._format.row(lambda field: text if field == "reference" else match.value(field))
        elif self._scheme == "oci-layout" and self._reader is not None:
            output.write(f"oci-layout://{directory_for(self._reader, match)}@{match.digest}\n")
        elif self._reader is not None:
            from catalog.cli.archive_place import archive_for

            output.write(
                f"{archive_for(self._reader, match, path_of(match), is_archive=is_archive(self._reader, match))}\n"
            )
        else:
            output.write(match.digest + "\n")

    def nothing(self) -> None:
        """Print the placeholder for a reference without an answer."""
        if self._format is not None:
            self._format.nothing()
        else:
            output.write("\n")

    def flush(self) -> None:
        """Flush what was printed so far."""
        if self._format is not None:
            self._format.flush()
        else:
            output.flush()

    def end(self) -> None:
        """Finish the output."""
        if self._format is not None:
            self._format.end()


def _checks_blobs(options: Options) -> bool:
    """Return whether an answer must have all of its blobs, which a build from the layout needs."""
    return options.strict and options.format in PLACES


def _resolve_format(reader: Reader, format_: str | None) -> _Shown:
    if format_ in (None, "tsv"):
        return _Shown(None)
    if format_ in PLACES:
        return _Shown(None, reader, format_)
    from catalog.cli import formats

    columns = ("reference", "store", "name", "digest") if format_ == "table" else ("digest",)
    return _Shown(formats.open_format(format_, columns, (*FIELDS, "reference"), header=False, also=PLACES))


def directory_for(reader: Reader, match: Match) -> str:
    """Return the path of the match's store for buildx. `reader` reads the present.

    Raises UsageError if the store is an archive, or `path_of` does.
    """
    path = path_of(match)
    if is_archive(reader, match):
        raise UsageError(
            f"store {shown(match.store)} is a tar archive, which buildx cannot read: use --format oci-archive for skopeo and podman"
        )
    return path


def is_archive(reader: Reader, match: Match) -> bool:
    """Return whether the match's store is an archive, as far as it was last read."""
    row = next(
        iter(reader.select("SELECT archive FROM store WHERE id = :store_id", {"store_id": match.store_id})), None
    )
    return row is not None and bool(row[0])


def path_of(match: Match) -> str:
    """Return the path of the match's store.

    Raises UsageError if the store is on another host, or if its path cannot be printed unchanged.
    """
    if (host := match.host) is not None:
        raise UsageError(
            f"store {shown(match.store)} is on the host {shown(host)}: run this there, or ask for the digest alone"
        )
    if match.path_bytes is not None or not match.path.isprintable():
        raise UsageError(f"the path of store {shown(match.store)} cannot be printed unchanged: use --format json")
    return match.path


def _is_about_one(error: OcicatError) -> bool:
    """Return whether an error with status 4 concerns one reference (pending content) and not the whole catalog."""
    from catalog.errors import NotInTime

    return isinstance(error, NotInTime)


# --- query ------------------------------------------------------------------------------------------------------


def run_query(options: Options) -> int:
    """Print every entry that matches; return the highest exit status of all references.

    That is 1 if a reference matched nothing, and 2 if one is malformed.
    """
    with Limits(options.timeout, LIST_SECONDS) as limits:
        return _query(options, limits, limits.open_reader(catalog_path(options.db)))


def _query(options: Options, limits: Limits, reader: Reader) -> int:
    try:
        moment = _moment(options)
        then = reader if moment is None else reader.at(moment)
        asking = Asking(then, note)
        freshen = _scoped(options, reader, asking)
        narrowing = None if options.filters is None else options.filters.narrowing(asking)
        also = ("how",) if options.filters is not None and options.filters.referrers_of is not None else ()
        worst = [0]
        fields = (*FIELDS, *also)
        cells = None if options.format is not None or options.count else for_people(then)
        show = None if options.count else query_format(options, also, fields, is_shown=cells is not None)
        count = None
        if options.refs:
            found = once(_all(options, limits, asking, narrowing, worst, freshen, show))
        else:
            from catalog.lookup import listing

            freshen(None)
            if options.count and options.sort is None:
                count = listing.counted(asking, narrowing)
            elif _is_all(options, narrowing, asking):
                count = _all_at_once(options, asking, show)
            found = iter(()) if count is not None else listing.without_ref(asking, narrowing)
            if narrowing is not None:
                found = listing.narrowed(found, narrowing)
            if also:
                found = once(found)
        labels = options.format in ("json", "jsonl") or "{labels}" in (options.format or "")
        if options.sort is not None:
            from catalog.lookup.listing import in_order, of_content

            if options.sort.removeprefix("-") in ("size", "total_size", "created"):
                found = of_content(then, found, labels=labels)
            found = iter(in_order(found, options.sort, fields, options.limit))
        if options.limit is not None:
            from catalog.lookup.listing import limited

            found = limited(found, options.limit)
        if count is None and _is_long(options) and _asks_content(options, is_shown=cells is not None):
            from catalog.lookup.listing import of_content

            found = of_content(then, found, labels=labels)
        count = 0 if count is None else count if options.limit is None else min(count, options.limit)
        for match in found:
            count += 1
            if show is not None:
                show.row(match.value if cells is None else cells(match))
        if show is None:
            output.write(f"{count}\n")
        else:
            show.end()
        if not count and not options.refs:
            from catalog.lookup.advice import before_all, beginning

            if hint := before_all(then) or beginning(reader):
                note(hint)
            elif show is not None and options.limit != 0:
                from catalog.cli.messages import remark

                remark("nothing refers to it" if also else "no entry matches: 'ocicat query' lists them all")
    finally:
        found = iter(())  # drops its cursor before the connection is closed
        reader.close()
    return worst[0]


def _is_long(options: Options) -> bool:
    """Return whether there may be many matches, and none is waited for: '-' reads a reference when the last one is answered."""
    refs = options.refs
    return options.sort is not None or not refs or ("-" not in refs and any(_may_list(ref) for ref in refs))


def _may_list(ref: str) -> bool:
    return ref[:1] == ":" or any(each in ref for each in "*?[")


def _asks_content(options: Options, *, is_shown: bool) -> bool:
    """Return whether the list shows what has to be asked of the images of the entries; `is_shown` says that it is for a person."""
    format_ = options.format or ""
    return is_shown or format_ in ("json", "jsonl") or any(f"{{{field}}}" in format_ for field in _OF_CONTENT)


def _is_all(options: Options, narrowing: Narrowing | None, asking: Asking) -> bool:
    """Return whether all entries are listed as they are."""
    return options.sort is None and (narrowing is None or narrowing.is_empty) and asking.reader.past is None


def _all_at_once(options: Options, asking: Asking, show: output.Format | None) -> int | None:
    """Print all entries in a format that is written in blocks, and return how many; None if the format is another one."""
    if options.format == "tsv" or (options.format is None and not sys.stdout.isatty()):
        from catalog.cli import lines

        return lines.write_all(asking, options.limit)
    if options.format in ("json", "jsonl"):
        from catalog.cli import objects
        from catalog.cli.formats import Objects

        return objects.write_all(asking, options.limit, show) if isinstance(show, Objects) else None
    return None


def for_people(reader: Reader) -> Callable[[Match], Callable[[str], object]] | None:
    """Return what makes the cells of a row for a person, if the listing goes to a terminal and is not of the past; else None."""
    if not sys.stdout.isatty() or reader.past is not None:
        return None
    from catalog.cli.for_people import cells

    return cells


def query_format(options: Options, also: tuple[str, ...], fields: tuple[str, ...], *, is_shown: bool) -> output.Format:
    """Return the format of a list of entries; `is_shown` says that it is a table for a person."""
    from catalog.cli import formats

    if not is_shown:
        return formats.open_format(options.format, (*QUERY_COLUMNS, *also), fields, spare=SPARE)
    from catalog.cli import for_people

    return formats.open_format("table", (*for_people.COLUMNS, *also), fields, spare=for_people.SPARE)


def _all(
    options: Options,
    limits: Limits,
    asking: Asking,
    narrowing: Narrowing | None,
    worst: list[int],
    freshen: Callable[[Query | None], None],
    show: output.Format | None,
) -> Iterator[Match]:
    """Yield the matches of each reference in turn.

    A reference that fails, or matches nothing, gets a line on stderr and raises the exit status in `worst`.
    """
    streamed = "-" in options.refs and options.sort is None
    for text in _references(options.refs, limits):
        found = False
        try:
            query = parse_query(text)
            if "-" in options.refs:
                asking.reader.check_current()
            freshen(query)
            matches = asking.matches(query)
            if narrowing is not None:
                from catalog.lookup.listing import narrowed

                matches = narrowed(matches, narrowing)
            for match in matches:
                found = True
                yield match
            if not found:
                raise asking.missing(query)
        except OcicatError as error:
            if error.status == 4 and not _is_about_one(error):
                raise
            worst[0] = max(worst[0], fail(_with_hint(asking, text, error)))
        if streamed and show is not None:
            show.flush()


# --- both -------------------------------------------------------------------------------------------------------


def _moment(options: Options) -> int | None:
    """Return the time of `--at`, in milliseconds since 1970, or None.

    Raises UsageError if it is malformed, or if there is a filter that history cannot answer.
    """
    if options.at is None:
        return None
    refused = "--platform" if options.platform else options.filters and options.filters.past_refuses()
    if refused:
        raise UsageError(
            f"{refused} cannot be combined with --at: get the digest with names, tags and stores, "
            "then ask about that digest without --at"
        )
    import time

    from catalog.names.moment import parse_moment

    return parse_moment(options.at, time.time_ns() // 1_000_000)


def _scoped(options: Options, reader: Reader, asking: Asking) -> Callable[[Query | None], None]:
    """Restrict `asking` to the stores that the options name; return a function to call before each reference is answered.

    `reader` reads the present, even if `asking` is about the past.
    """

    def scope() -> frozenset[int] | None:
        if not options.stores and options.host is None:
            return None
        from catalog.lookup.stores import ids_of_host, store_ids

        named = store_ids(asking.reader, options.stores) if options.stores else None
        if options.host is None:
            return named
        of_host = ids_of_host(asking.reader, options.host)
        return of_host if named is None else named & of_host

    if options.fresh:
        from catalog.cli.freshly import ask_freshly

        filtered = options.filters is not None and options.filters.content_option is not None
        content = options.platform is not None or filtered or _checks_blobs(options)
        return ask_freshly(options, reader, asking, scope, content=content, whole=_checks_blobs(options))
    asking.stores = scope()
    return _as_it_is


def _as_it_is(_query: Query | None) -> None:
    """Do nothing: without `--fresh`, the catalog answers as it is."""


def _references(refs: tuple[str, ...], limits: Limits) -> Iterator[str]:
    """Yield the references in order, and restart the time limit before each.

    `-` stands for those on stdin, one per line, which are read as they come.
    """
    if "-" in refs:
        output.unpaged()
    for text in refs:
        if text != "-":
            limits.restart()
            yield text
            continue
        while True:
            with output.waits:
                line = sys.stdin.buffer.readline()
            if not line:
                break
            limits.restart()
            yield line.decode("utf-8", "surrogateescape").removesuffix("\n")


def _with_hint(asking: Asking, text: str, error: OcicatError) -> OcicatError:
    """Return `error` with a hint about what to do next."""
    better = error
    if isinstance(error, InvalidReference):
        from catalog.lookup.advice import malformed_hint

        hint = malformed_hint(asking.reader, text)
        better = InvalidReference(f"{error}; {hint}") if hint else error
    elif isinstance(error, NotFound) and not error.hint and asking.moment is not None:
        better = NotFound(str(error), "'ocicat history' shows what names pointed to, and when")
    elif isinstance(error, NotFound) and not error.hint:
        from catalog.lookup.advice import last_hint

        better = NotFound(str(error), last_hint(asking.reader, text))
    return better.with_traceback(error.__traceback__)
