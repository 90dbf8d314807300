"""`ocicat find`. Used both by `start`, without click, and by the click command."""

from __future__ import annotations

from itertools import islice

from catalog.cli.limits import LIST_SECONDS, Limits
from catalog.cli.messages import note
from catalog.cli.queried import for_people, query_format
from catalog.engine.location import catalog_path
from catalog.errors import NotFound, UsageError
from catalog.lookup.match import FIELDS
from catalog.lookup.search import MOST, TextSearch
from catalog.names.escape import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from catalog.cli.answer import Options
    from catalog.engine.interface import Reader

_REPOSITORIES = 20_000
"""How many repositories are searched for a suggestion."""


def run_find(options: Options) -> int:
    """Print the entries that have all words. Raises NotFound if there is none, and UsageError if there is no word."""
    if not options.refs:
        raise UsageError("find needs a word: write a part of a name, tag, store or title")
    with Limits(options.timeout, LIST_SECONDS) as limits:
        reader = limits.open_reader(catalog_path(options.db))
        try:
            return _find(options, reader)
        finally:
            reader.close()


def _find(options: Options, reader: Reader) -> int:
    stores = None
    if options.stores:
        from catalog.lookup.stores import store_ids

        stores = store_ids(reader, options.stores)
    limit = MOST if options.limit is None else options.limit
    cells = None if options.format is not None else for_people(reader)
    show = query_format(options, (), FIELDS, is_shown=cells is not None)
    search = TextSearch(reader, options.refs, stores)
    found = list(search.matches(limit + 1))
    for match in found[:limit]:
        show.row(match.value if cells is None else cells(match))
    show.end()
    if not found:
        raise NotFound(f"no entry has {_listed(search.words)}", _advice(reader, search))
    if len(found) > limit:
        note(f"these are the best {limit} matches: add another word, or print more with --limit")
    return 0


def _listed(words: list[str]) -> str:
    named = [f"'{shown(word)}'" for word in words]
    return named[0] if len(named) == 1 else f"all of {', '.join(named)}"


def _advice(reader: Reader, search: TextSearch) -> str:
    """Return advice for a search that has found nothing."""
    from catalog.lookup.advice import beginning, digest_hint
    from catalog.names.pattern import has_wildcard

    if hint := beginning(reader):
        return hint
    for word in search.words:
        bare = word.removeprefix("@").partition(":")[2] or word
        if hint := digest_hint(reader, bare, command="ocicat query "):
            return hint
        if has_wildcard(word):
            return f"find looks for words anywhere in names, without wildcards: 'ocicat query \"{shown(word)}\"' takes a pattern"
    unknown = [word for number, word in enumerate(search.words) if not search.occurs(number)]
    if not unknown:
        return "each word occurs, but no entry has all of them: leave one out"
    from catalog.names.nearest import did_you_mean

    rows = islice(reader.rows("REPOSITORIES_WITH", {"part": "%", "low": "", "count": _REPOSITORIES}), _REPOSITORIES)
    known = {part for row in rows for part in row[1].split("/")}
    known |= {part for row in reader.rows("STORE_NAMES", {}) for part in row[1].split("/")}
    hint = did_you_mean(unknown[0], sorted(known))
    alone = f"'{shown(unknown[0])}' does not occur anywhere: " if len(search.words) > 1 else ""
    return f"{alone}{hint}'ocicat index' reads what has changed, 'ocicat add PATH' adds more layouts"
