"""`ocicat inspect`: one page about an image, as text or JSON. Used both by `start`, without click, and by the click command."""

from __future__ import annotations

from catalog.cli import output
from catalog.cli.limits import ASK_SECONDS, Limits
from catalog.cli.messages import note
from catalog.engine.location import catalog_path
from catalog.errors import NotFound, UsageError
from catalog.lookup.inspect import LIMIT, SECTIONS, TITLES, Page
from catalog.lookup.resolve import Asking
from catalog.names.escape import shown
from catalog.names.query import parse_query

TYPE_CHECKING = False
if TYPE_CHECKING:
    from catalog.cli.answer import Options
    from catalog.engine.interface import Reader
    from catalog.lookup.inspect import Section
    from catalog.names.query import Query

FORMATS = ("text", "json", "jsonl")
_INDENT = "  "
_GAP = "  "
_COLUMNS = {
    "names": ("store", "name", "tag"),
    "stores": ("store", "size", "path"),
    "indexes": ("store", "name", "tag", "digest"),
    "platforms": ("platform", "digest", "size", "store"),
    "layers": ("digest", "size", "shared"),
    "labels": ("key", "value"),
    "annotations": ("key", "value", "store"),
    "bases": ("layers", "digest", "name"),
    "derived": ("layers", "digest", "name"),
    "referrers": ("store", "how", "artifact_type", "digest"),
    "history": ("since", "until", "store", "name", "tag"),
    "problems": ("store", "kind", "subject", "detail"),
}
"""The fields of a line in each section of the text."""


def run_inspect(options: Options) -> int:
    """Print the page of one image. Raises NotFound, Ambiguous, UsageError and CatalogUnavailable."""
    if len(options.refs) != 1:
        raise UsageError("inspect takes one reference: write REF, or ask 'ocicat query' for a list")
    if options.format not in (None, *FORMATS):
        raise UsageError(
            f"inspect has no format {shown(options.format or '')}: use {', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
        )
    query = parse_query(options.refs[0])
    with Limits(options.timeout, ASK_SECONDS) as limits:
        reader = limits.open_reader(catalog_path(options.db))
        try:
            _print(reader, _asking(reader, options), options, query)
        finally:
            reader.close()
    return 0


def _asking(reader: Reader, options: Options) -> Asking:
    asking = Asking(reader, note)
    if options.stores:
        from catalog.lookup.stores import store_ids

        asking.stores = store_ids(reader, options.stores)
    if options.platform is not None:
        from catalog.names.platform import Platform

        asking.platform = Platform.parse(options.platform)
    return asking


def _print(reader: Reader, asking: Asking, options: Options, query: Query) -> None:
    try:
        match = asking.resolve(query, first=options.first)
    except NotFound as error:
        if error.hint:
            raise
        from catalog.lookup.advice import last_hint

        raise NotFound(str(error), last_hint(reader, query.text)) from None
    page = Page(reader, match, LIMIT if options.limit is None else options.limit)
    if options.format in ("json", "jsonl"):
        output.write(output.json_text({"reference": options.refs[0], **page.as_object()}) + "\n")
    else:
        _Text().page(page)


class _Text:
    """Writes the page as lines. If stdout is a terminal, they are truncated to its width."""

    def __init__(self) -> None:
        from catalog.cli.widths import terminal_width

        self._width = terminal_width()

    def page(self, page: Page) -> None:
        """Write the page."""
        head = dict(page.head)
        counts = [(head.pop("layer_count"), "layer"), (head.pop("blob_count"), "blob")]
        size = head.pop("total_size")
        head = {key.replace("_", " "): value for key, value in head.items() if value is not None}
        head["size"] = _size(page.head["size"])
        of = ", ".join(_many(count, word) for count, word in counts if isinstance(count, int))
        if self._width is not None and "created" in head:
            head["created"] = _created(head["created"])
        head["total"] = (
            f"{_size(size)} in {of}"
            if of and size is not None
            else of or "unknown: not all of its content has been read"
        )
        self._table([[key, output.cell(value)] for key, value in head.items()], "")
        for name in SECTIONS:
            section = page.sections[name]
            if section.total:
                self._section(name, section)

    def _section(self, name: str, section: Section) -> None:
        more = "+" if section.at_least else ""
        count = f"{section.total}{more}"
        if len(section.items) < section.total:
            count = f"{len(section.items)} of {count}"
        self._line(f"\n{TITLES[name]} ({count})")
        items = section.items
        if name == "history" and self._width is not None:
            from catalog.cli.times import local

            items = [item | {"since": local(item["since"]), "until": local(item["until"])} for item in items]
        self._table([[_cell(name, item, key) for key in _COLUMNS[name]] for item in items], _INDENT)

    def _table(self, lines: list[list[str]], indent: str) -> None:
        from catalog.cli.widths import short, width_of

        if self._width is not None:
            lines = [[short(text) for text in line] for line in lines]
        used = [place for place in range(len(lines[0])) if any(line[place] for line in lines)]
        widths = {place: max(width_of(line[place]) for line in lines) for place in used}
        for line in lines:
            cells = [line[place] + " " * (widths[place] - width_of(line[place])) for place in used]
            self._line(indent + _GAP.join(cells).rstrip())

    def _line(self, text: str) -> None:
        from catalog.cli.widths import first_of, width_of

        if self._width is not None and width_of(text) > self._width:
            text = first_of(text, self._width - 1) + "…"
        output.write(text + "\n")


def _created(moment: object) -> object:
    """Return when an image was made, relative to now and in local time; with --utc, only in UTC."""
    from catalog.cli.times import chosen, local, relative

    return moment if chosen.is_utc else f"{relative(moment)} ({local(moment)})"


def _cell(section: str, item: dict[str, object], key: str) -> str:
    value = item[key]
    if key == "size":
        return _size(value)
    if section == "names" and key == "tag" and item["shadowed"]:
        return f"{output.cell(value)} (shadowed)"
    if section == "names" and key == "name" and value is None:
        return "-" if item["tag"] is None else f":{output.cell(item['tag'])}"
    if section == "layers" and key == "shared":
        return _shared(item)
    if section == "platforms" and key == "store":
        return "" if value else "not here"
    return output.cell(value)


def _shared(item: dict[str, object]) -> str:
    """Return, in words, how many other images share a layer, and the names or digests of some of them."""
    others, examples = item["shared"], item["shared_with"]
    if not others or not isinstance(examples, list):
        return "in no other image"
    names = [str(other["name"] or other["digest"]) for other in examples]
    return f"shared with {_many(others, 'image')}: {', '.join(map(output.cell, names))}"


def _many(count: object, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def _size(value: object) -> str:
    from catalog.names.sizes import human

    return human(value) if isinstance(value, int) else ""
