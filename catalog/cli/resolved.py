"""`ocicat resolve`. Used both by `start`, without click, and by the click command."""

from __future__ import annotations

from catalog.cli import output
from catalog.cli.answer import PLACES, Options, is_about_one, moment_of, references, scoped, with_hint
from catalog.cli.limits import ASK_SECONDS, Limits
from catalog.cli.messages import fail, note
from catalog.engine.location import catalog_path
from catalog.errors import OcicatError, UsageError
from catalog.lookup.match import FIELDS, Match
from catalog.lookup.resolve import Asking
from catalog.names.query import parse_query

TYPE_CHECKING = False
if TYPE_CHECKING:
    from catalog.engine.interface import Reader


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
        moment = moment_of(options)
        then = reader if moment is None else reader.at(moment)
        asking = Asking(then, note, strict=options.strict)
        if options.platform is not None:
            from catalog.names.platform import Platform

            asking.platform = Platform.parse(options.platform)
        if options.checks_blobs:
            from catalog.lookup.needed import Needs

            asking.needs = Needs(reader, (asking.platform,))
        freshen = scoped(options, reader, asking)
        always = len(options.refs) > 1 or "-" in options.refs
        streamed = "-" in options.refs
        worst = 0
        for text in references(options.refs, limits):
            try:
                query = parse_query(text)
                if streamed:
                    reader.check_current()
                freshen(query)
                match = asking.resolve(query, first=options.first)
                show.match(text, match)
            except OcicatError as error:
                if error.status == 4 and not is_about_one(error):
                    raise
                worst = max(worst, fail(with_hint(asking, text, error)))
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

    def __init__(self, format_: output.Format | None, reader: Reader | None = None, place: str = "") -> None:
        self._format = format_
        self._reader = reader
        self._place = place

    def match(self, text: str, match: Match) -> None:
        """Print the answer for the reference `text`."""
        if self._format is not None:
            self._format.row(lambda field: text if field == "reference" else match.value(field))
        elif self._reader is not None:
            from catalog.cli.image_places import place_of

            output.write(f"{place_of(self._reader, match, self._place)}\n")
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


def _resolve_format(reader: Reader, format_: str | None) -> _Shown:
    if format_ in (None, "tsv"):
        return _Shown(None)
    if format_ in PLACES:
        return _Shown(None, reader, format_)
    from catalog.cli import formats

    columns = ("reference", "store", "name", "digest") if format_ == "table" else ("digest",)
    return _Shown(formats.open_format(format_, columns, (*FIELDS, "reference"), header=False, also=PLACES))
