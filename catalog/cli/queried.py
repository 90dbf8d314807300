"""`ocicat query`. Used both by `start`, without click, and by the click command."""

from __future__ import annotations

import sys

from catalog.cli import output
from catalog.cli.answer import Options, is_about_one, moment_of, references, scoped, with_hint
from catalog.cli.limits import LIST_SECONDS, Limits
from catalog.cli.messages import fail, note
from catalog.engine.location import catalog_path
from catalog.errors import OcicatError
from catalog.lookup.match import FIELDS, Match, once
from catalog.lookup.resolve import Asking
from catalog.names.query import Query, parse_query

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from catalog.engine.interface import Reader
    from catalog.lookup.filters import Narrowing

QUERY_COLUMNS = ("store", "name", "tag", "ref_name", "digest", "media_type", "size")
SPARE = ("media_type", "ref_name", "size")


_OF_CONTENT = ("total_size", "created", "labels", "platforms")
"""The fields that come from the content of an entry."""


def run_query(options: Options) -> int:
    """Print every entry that matches; return the highest exit status of all references.

    The status of a reference is 0 if it matched something, 1 if it matched nothing, 2 if it is malformed or names an unknown store, and
    4 if content is pending.
    """
    with Limits(options.timeout, LIST_SECONDS) as limits:
        return _query(options, limits, limits.open_reader(catalog_path(options.db)))


def _query(options: Options, limits: Limits, reader: Reader) -> int:
    try:
        moment = moment_of(options)
        then = reader if moment is None else reader.at(moment)
        asking = Asking(then, note)
        freshen = scoped(options, reader, asking)
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
            if show is None:
                continue
            if cells is None:
                show.match(match)
            else:
                show.row(cells(match))
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

                remark("no referrer matches" if also else "no entry matches: 'ocicat query' lists all entries")
    finally:
        found = iter(())  # drops its cursor before the connection is closed
        reader.close()
    return worst[0]


def _is_long(options: Options) -> bool:
    """Return whether there may be many matches, and nobody waits for the first. With '-', a caller may wait for each answer."""
    refs = options.refs
    return options.sort is not None or not refs or ("-" not in refs and any(_may_list(ref) for ref in refs))


def _may_list(ref: str) -> bool:
    return ref[:1] == ":" or any(each in ref for each in "*?[")


def _asks_content(options: Options, *, is_shown: bool) -> bool:
    """Return whether the list shows fields that come from content. `is_shown` is true if the list is a table for a person."""
    format_ = options.format or ""
    return is_shown or format_ in ("json", "jsonl") or any(f"{{{field}}}" in format_ for field in _OF_CONTENT)


def _is_all(options: Options, narrowing: Narrowing | None, asking: Asking) -> bool:
    """Return whether all entries of the present are listed, without a filter or an order."""
    return options.sort is None and (narrowing is None or narrowing.is_empty) and asking.reader.past is None


def _all_at_once(options: Options, asking: Asking, show: output.Format | None) -> int | None:
    """Print all entries and return how many, if the format is one that is written in blocks; else return None."""
    if options.format == "tsv" or (options.format is None and not sys.stdout.isatty()):
        from catalog.cli import lines

        return lines.write_all(asking, options.limit)
    if options.format in ("json", "jsonl"):
        from catalog.cli import objects
        from catalog.cli.formats import Objects

        return objects.write_all(asking, options.limit, show) if isinstance(show, Objects) else None
    return None


def for_people(reader: Reader) -> Callable[[Match], Callable[[str], object]] | None:
    """Return the function that makes the cells of a row for a person, or None if stdout is not a terminal or the list is of the past."""
    if not sys.stdout.isatty() or reader.past is not None:
        return None
    from catalog.cli.for_people import cells

    return cells


def query_format(options: Options, also: tuple[str, ...], fields: tuple[str, ...], *, is_shown: bool) -> output.Format:
    """Return the format of a list of entries. `is_shown` is true if the list is a table for a person."""
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
    for text in references(options.refs, limits):
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
            if error.status == 4 and not is_about_one(error):
                raise
            worst[0] = max(worst[0], fail(with_hint(asking, text, error)))
        if streamed and show is not None:
            show.flush()
