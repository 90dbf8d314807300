"""A Datasette plugin for the pages of search results and of one image: `ocicat find` and `ocicat inspect` as HTML."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from datasette import Request, Response, hookimpl
from datasette.app import Datasette
from markupsafe import Markup

from catalog.browse.asking import AMBIGUOUS, Answered, ask
from catalog.browse.cells import digest_of, link, safe, size_of
from catalog.browse.description import DATABASE, FOUND, IMAGE, STORE
from catalog.browse.questions import PAST, WHERE
from catalog.lookup.inspect import TITLES
from catalog.names.digest import HEX_LENGTHS, is_digest
from catalog.names.sizes import counted

RESULTS = 100
"""How many search results a page shows."""
ITEMS = 50
"""How many items of each section of an image a page shows."""

_COLUMNS = {
    "names": ("store", "name", "tag"),
    "stores": ("store", "size", "path"),
    "indexes": ("store", "name", "tag", "digest"),
    "platforms": ("platform", "digest", "size", "store"),
    "layers": ("digest", "size", "shared", "media_type"),
    "labels": ("key", "value"),
    "annotations": ("key", "value", "store"),
    "bases": ("name", "digest", "layers"),
    "derived": ("name", "digest", "layers"),
    "referrers": ("digest", "how", "artifact_type", "store"),
    "history": ("since", "until", "store", "name", "tag"),
    "problems": ("store", "kind", "subject", "detail"),
}


@hookimpl  # type: ignore[untyped-decorator]  # Datasette has no types
def register_routes() -> list[tuple[str, Callable[..., Any]]]:
    """Return the addresses of the pages."""
    return [(rf"^{FOUND}$", _found), (rf"^{IMAGE}$", _image)]


async def _found(datasette: Datasette, request: Request) -> Response:
    text = request.args.get("text") or ""
    answered = Answered(0, [], [])
    if text.strip():
        answered = await ask(datasette, "find", "--limit", str(RESULTS), words=text.replace("\0", " ").split())
    rows = [
        {
            "name": _named(each),
            "store": link(STORE, {"name": each["store"]}, each["store"]),
            "platforms": safe(", ".join(each["platforms"])),
            "digest": digest_of(each["digest"]),
            "size": "" if each["total_size"] is None else size_of(each["total_size"]),
        }
        for each in answered.objects or ()
    ]
    shown = {"text": safe(text), "rows": rows, "lines": [safe(line) for line in answered.lines], "address": FOUND}
    return await _page(datasette, request, "ocicat-found.html", shown, answered)


async def _image(datasette: Datasette, request: Request) -> Response:
    ref = (request.args.get("ref") or "").replace("\0", " ")
    answered = await ask(datasette, "inspect", "--limit", str(ITEMS), words=[ref])
    is_ambiguous = answered.status == AMBIGUOUS
    if is_ambiguous:
        answered = await ask(datasette, "inspect", "--first", "--limit", str(ITEMS), words=[ref])
    where = f"/{DATABASE}/{WHERE}?{urlencode({'digest': ref})}"
    algorithm, _, _ = ref.partition(":")
    if answered.objects is None and algorithm in HEX_LENGTHS and is_digest(ref):
        return Response.redirect(where)  # a config, a layer, or a digest that the catalog does not have
    found: dict[str, Any] | None = answered.objects
    name = next((each["name"] for each in found["names"]["items"] if each["name"]), None) if found else None
    shown = {
        "title": safe(name or ref),
        "lines": [safe(line) for line in answered.lines],
        "others": f"{FOUND}?{urlencode({'text': ref})}" if is_ambiguous else "",
        "page": None if found is None else {"head": _head(found), "bar": _bar(found), "sections": _sections(found)},
        "where": where if found is None else f"/{DATABASE}/{WHERE}?{urlencode({'digest': found['digest']})}",
    }
    return await _page(datasette, request, "ocicat-image.html", shown, answered)


async def _page(
    datasette: Datasette, request: Request, template: str, shown: Mapping[str, Any], answered: Answered
) -> Response:
    status = {0: 200, 1: 404}.get(answered.status, 400)
    return Response.html(await datasette.render_template(template, shown, request=request), status=status)


def _named(item: Mapping[str, Any]) -> Markup | str:
    """Return a name or tag, linked to its image by digest, because the name may mean another image in another store."""
    shown = item["name"] or (None if item["tag"] is None else f":{item['tag']}")
    return "" if shown is None else link(IMAGE, {"ref": item["digest"]}, shown)


def _head(found: Mapping[str, Any]) -> list[tuple[str, Markup | str]]:
    """Return the facts at the top of the page, as pairs of a title and a value."""
    facts: list[tuple[str, Markup | str]] = []
    for key in (
        "digest",
        "kind",
        "platform",
        "total_size",
        "layer_count",
        "created",
        "artifact_type",
        "media_type",
        "config",
        "subject",
    ):
        value = found[key]
        if value is not None:
            facts.append((key.replace("_", " "), _cell(key, value)))
    if found["total_size"] is None:
        facts.insert(3, ("total size", "unknown: not all of its content has been read"))
    return facts


def _bar(found: Mapping[str, Any]) -> list[dict[str, object]]:
    """Return the sizes of the layers for the bar, or an empty list if the layers belong to several images."""
    layers = found["layers"]["items"]
    if len({each["manifest"] for each in layers}) > 1:
        return []
    return [
        {"size": max(1, each["size"] or 0), "tip": f"{each['digest']}: {counted(each['size'] or 0, 'byte')}"}
        for each in layers
    ]


def _sections(found: Mapping[str, Any]) -> list[dict[str, object]]:
    sections: list[dict[str, object]] = []
    for name, columns in _COLUMNS.items():
        section = found[name]
        if section["items"]:
            rows = [[_of(name, column, item) for column in columns] for item in section["items"]]
            sections.append(
                {"name": name, "title": TITLES[name], "columns": columns, "rows": rows,
                 "total": section["total"], "at_least": section["at_least"]}
            )  # fmt: skip
    return sections


def _of(section: str, column: str, item: Mapping[str, Any]) -> Markup | str:
    if section == "layers" and column == "shared":
        return f"in {counted(item['shared'], 'other image')}" if item["shared"] else "in no other image"
    if section == "names" and column == "name" and item["name"] is not None:
        return link(f"/{DATABASE}/{PAST}", {"name": item["name"]}, item["name"])
    if section == "names" and column == "name" and item["tag"] is not None:
        return link(f"/{DATABASE}/{PAST}", {"name": item["tag"]}, f":{item['tag']}")
    return _cell(column, item[column])


def _cell(column: str, value: object) -> Markup | str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return size_of(value) if column in ("size", "total_size") else f"{value:,}"
    text = str(value)
    if is_digest(text) and column != "value":
        return digest_of(text)
    if column == "store":
        return link(STORE, {"name": text}, text)
    if column == "name":
        return link(IMAGE, {"ref": text}, text)
    return safe(text)
