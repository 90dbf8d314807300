"""`ocicat wait`."""

from __future__ import annotations

import time

import click

from catalog.cli import messages
from catalog.cli.limits import Limits
from catalog.cli.main import Globals
from catalog.cli.time_limit import Seconds
from catalog.engine.interface import Reader
from catalog.engine.location import catalog_path
from catalog.engine.locks import DAEMON, is_held
from catalog.engine.open import beside
from catalog.errors import (
    Ambiguous,
    CatalogUnreachable,
    NotFound,
    NotInTime,
    OcicatError,
    UnknownStore,
)
from catalog.lookup.resolve import Asking
from catalog.names.age import in_seconds
from catalog.names.escape import shown
from catalog.names.query import Query, parse_digest, parse_query

_DEFAULT_SECONDS = 60.0
_GRACE_SECONDS = 5.0
"""How long after the time limit an unfinished query is given up."""
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.5, 5.0  # seconds between two attempts to reach a server


@click.command(name="wait")
@click.argument("ref", metavar="REF")
@click.option("--digest", metavar="D", help="Wait until REF resolves to this digest, or one that begins with D.")
@click.option(
    "--timeout",
    type=Seconds(zero=True),
    default=_DEFAULT_SECONDS,
    metavar="S",
    help="Give up after S seconds, with status 1. [default: 60]",
)
@click.pass_obj
def command(globals_: Globals, ref: str, digest: str | None, timeout: float) -> int:
    """Wait until REF resolves, or resolves to the digest D.

    Changes come into the catalog through the daemon or 'ocicat index'.
    """
    query = parse_query(ref)
    wanted = None if digest is None else parse_digest(digest)
    words = ", and the catalog has not answered yet: run it again, or allow more with --timeout"
    with Limits(None, timeout + _GRACE_SECONDS, words=words) as limits:
        return _wait(limits, catalog_path(globals_.db), query, wanted, timeout)


def _wait(limits: Limits, path: str, query: Query, wanted: Query | None, timeout: float) -> int:
    """Return 0 once REF resolves as wanted. If the server is away, wait for it to come back.

    Raises NotFound after the time limit, and CatalogUnreachable if the server is still away then.
    """
    deadline = time.monotonic() + timeout
    reader: Reader | None = limits.open_reader(path)
    if not is_held(beside(path) + DAEMON):
        messages.note("no daemon runs, so only 'ocicat index' brings changes: start 'ocicat watch'")
    pause = _SHORTEST_PAUSE
    while True:
        try:
            if reader is None:
                reader = limits.open_reader(path)
            return _follow(reader, query, wanted, timeout, deadline)
        except CatalogUnreachable as error:
            left = deadline - time.monotonic()
            if left <= 0:
                raise
            if pause == _SHORTEST_PAUSE:
                messages.note(f"{error}; waiting for it to come back")
            time.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE)
        finally:
            if reader is not None:
                reader.close()
            reader = None


def _follow(reader: Reader, query: Query, wanted: Query | None, timeout: float, deadline: float) -> int:
    """Resolve REF, again after each commit to the catalog, and return 0 once it resolves as wanted.

    Raises NotFound after the time limit.
    """
    reader.listen()
    while (last := _ask(reader, query, wanted)) is not None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise NotFound(f"gave up after {in_seconds(timeout)}: {last}")
        reader.wait_for_change(left)
    return 0


def _ask(reader: Reader, query: Query, wanted: Query | None) -> OcicatError | None:
    """Return None if REF resolves as wanted, else the error that says why it does not."""
    try:
        found = Asking(reader, messages.detail).resolve(query)
    except (NotFound, Ambiguous, UnknownStore, NotInTime) as error:
        return error
    if wanted is not None and not found.digest.startswith(wanted.digest or ""):
        return NotFound(f"{shown(query.text)} is {found.digest}")
    return None
