"""The code that `resolve`, `query`, `find`, `inspect` and `status` share once their options have been read, either by click or, without
click, by `start`. Each of these commands also has a module of its own beside this one.
"""

from __future__ import annotations

import sys

from catalog.cli import output
from catalog.errors import InvalidReference, NotFound, OcicatError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from catalog.cli.limits import Limits
    from catalog.engine.interface import Reader
    from catalog.lookup.filters import EntryFilters
    from catalog.lookup.resolve import Asking
    from catalog.names.query import Query

PLACES = ("oci-layout", "oci-archive")
"""The formats of `resolve` that are references for another tool (catalog.cli.image_places)."""


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
        self.quiet = False  # only without click: click's callback sets the volume itself
        # only resolve
        self.first = False
        self.strict = False
        self.platform: str | None = None
        # only query
        self.filters: EntryFilters | None = None
        self.host: str | None = None
        self.limit: int | None = None
        self.sort: str | None = None
        self.tag: str | None = None  # only without click: with click it is in `filters`
        self.count = False
        # only status
        self.check = False

    @property
    def checks_blobs(self) -> bool:
        """Whether an answer must have all of its blobs, because the tool that gets the reference needs them (`--strict`)."""
        return self.strict and self.format in PLACES


def moment_of(options: Options) -> int | None:
    """Return the time of `--at`, in milliseconds since 1970, or None.

    Raises UsageError if it is malformed, or combined with an option that cannot be used for the past.
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


def scoped(options: Options, reader: Reader, asking: Asking) -> Callable[[Query | None], None]:
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
        content = options.platform is not None or filtered or options.checks_blobs
        return ask_freshly(options, reader, asking, scope, content=content, whole=options.checks_blobs)
    asking.stores = scope()
    return _as_it_is


def _as_it_is(_query: Query | None) -> None:
    """Do nothing: without `--fresh`, the catalog answers as it is."""


def references(refs: tuple[str, ...], limits: Limits) -> Iterator[str]:
    """Yield the references in order, and restart the time limit before each.

    `-` stands for the references on stdin, one per line, which are read as they arrive.
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


def with_hint(asking: Asking, text: str, error: OcicatError) -> OcicatError:
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


def is_about_one(error: OcicatError) -> bool:
    """Return whether an error with status 4 concerns one reference (pending content) and not the whole catalog."""
    from catalog.errors import NotInTime

    return isinstance(error, NotInTime)
