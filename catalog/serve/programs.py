"""JSON for programs: the objects of docs/scripts.md, the health and the metrics of the server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from catalog.engine.interface import Reader
from catalog.errors import CatalogUnavailable, NotFound, OcicatError, UsageError
from catalog.lookup import listing, past
from catalog.lookup.filters import EntryFilters
from catalog.lookup.match import Match, once
from catalog.lookup.resolve import Asking
from catalog.lookup.stores import store_ids
from catalog.names import query as kinds
from catalog.names.escape import shown
from catalog.names.platform import Platform
from catalog.names.query import parse_query
from catalog.serve.answers import JSON, PROGRAMS, TEXT, Response, give, json_answer, of_error, refusal
from catalog.serve.counts import Counts
from catalog.serve.finding import Serving
from catalog.serve.threads import CatalogThreads
from catalog.web.asgi import Scope, Send

USUAL_LIMIT = 100
MOST_LIMIT = 1000
_ANSWER_BYTES = 8 << 20
"""A response with more bytes of objects than this gets no further object."""

ONE, SEVERAL, FLAG, NUMBER = "one", "several", "flag", "number"
PARAMETERS: dict[str, dict[str, str]] = {
    "resolve": {"ref": ONE, "store": SEVERAL, "platform": ONE, "first": FLAG, "strict": FLAG},
    "query": {
        "ref": SEVERAL, "store": SEVERAL, "tag": ONE, "digest": ONE, "repository": ONE, "media_type": ONE,
        "unnamed": FLAG, "platform": ONE, "artifact_type": ONE, "annotation": SEVERAL, "label": SEVERAL,
        "contains": ONE, "referrers_of": ONE, "since": ONE, "limit": NUMBER,
    },
    "history": {"ref": ONE, "store": SEVERAL, "limit": NUMBER},
    "status": {},
}  # fmt: skip
"""The parameters of each path below /api/, which are the options of the command, and how each is written."""
REQUIRED = {"resolve": "ref", "history": "ref"}
_METRICS = b"text/plain; version=0.0.4; charset=utf-8"

Parameters = dict[str, list[str]]


class Programs:
    """Answers requests outside of /v2/. `status` returns the object of `ocicat status`; `document` is the OpenAPI document."""

    def __init__(
        self,
        questions: CatalogThreads,
        rules: Serving,
        counts: Counts,
        status: Callable[[Reader], dict[str, object]],
        document: dict[str, Any],
    ) -> None:
        self._questions = questions
        self._rules = rules
        self._counts = counts
        self._status = status
        self._document = json.dumps(document, indent=1).encode()

    async def answer(self, scope: Scope, send: Send, parameters: Parameters) -> None:
        """Answer a GET or HEAD."""
        await give(send, await self._answer(scope["path"], parameters))

    async def _answer(self, path: str, parameters: Parameters) -> Response:
        if path == "/healthz":
            return await self._health()
        if path == "/metrics":
            return Response(200, _METRICS, self._counts.text().encode())
        if path == "/api/openapi.json":
            return Response(200, JSON, self._document)
        name = path.removeprefix("/api/")
        if not path.startswith("/api/") or name not in PARAMETERS:
            return refusal(404, "UNSUPPORTED", "there is nothing at this path: see 'ocicat help serve'")
        try:
            asked = _Asked(name, parameters)
            return await self._questions.ask(partial(self._question(name), asked=asked))
        except OcicatError as error:
            return of_error(error, PROGRAMS)

    def _question(self, name: str) -> Callable[..., Response]:
        return {"resolve": self._resolve, "query": self._query, "history": self._history, "status": self._tell}[name]

    async def _health(self) -> Response:
        try:
            await self._questions.ask(lambda reader: reader.row("SCHEMA_VERSION", {}))
        except CatalogUnavailable as error:
            return Response(503, TEXT, f"{error}\n".encode(), ((b"retry-after", b"5"),))
        return Response(200, TEXT, b"ok\n")

    def _asking(self, reader: Reader, asked: _Asked, notes: list[str]) -> Asking:
        served = self._rules.scope(reader)
        named = store_ids(reader, asked.several("store")) if asked.several("store") else None
        stores = served if named is None else named if served is None else named & served
        strict = self._rules.strict or asked.flag("strict")
        asking = Asking(reader, notes.append, stores=stores, strict=strict)
        platform = asked.one("platform") if asked.name == "resolve" else None
        asking.platform = None if platform is None else Platform.parse(platform)
        return asking

    def _resolve(self, reader: Reader, *, asked: _Asked) -> Response:
        notes: list[str] = []
        text = asked.one("ref") or ""
        query = parse_query(text)
        match = self._asking(reader, asked, notes).resolve(query, first=asked.flag("first"))
        return json_answer({**match.as_object(), "reference": text, "notes": notes})

    def _query(self, reader: Reader, *, asked: _Asked) -> Response:
        notes: list[str] = []
        asking = self._asking(reader, asked, notes)
        filters = asked.filters()
        narrowing = None if filters is None else filters.narrowing(asking)
        texts = asked.several("ref")
        found = listing.without_ref(asking, narrowing)
        if texts:
            found = (match for text in texts for match in asking.matches(parse_query(text)))
        if narrowing is not None:
            found = listing.narrowed(found, narrowing)
        first = listing.of_content(reader, listing.limited(once(found), asked.limit() + 1))
        return _items((_entry(match) for match in first), asked.limit(), notes)

    def _history(self, reader: Reader, *, asked: _Asked) -> Response:
        text = asked.one("ref") or ""
        query = parse_query(text)
        is_digest = query.kind in (kinds.DIGEST, kinds.DIGEST_PREFIX)
        found = past.spans_of_digest(reader, query.digest or "") if is_digest else past.spans(reader, query)
        tests = [past.in_stores(reader, some) for some in (asked.several("store"), self._rules.stores) if some]
        wanted = (span.as_object() for span in found if all(test(span) for test in tests))
        answer, count = _counted(wanted, asked.limit(), [])
        if not count:
            raise NotFound(f"there is no history of {shown(text)}")
        return answer

    def _tell(self, reader: Reader, *, asked: _Asked) -> Response:  # noqa: ARG002 - it has no parameters
        return json_answer(self._status(reader))


def _entry(match: Match) -> dict[str, object]:
    return match.as_object() if match.how is None else {**match.as_object(), "how": match.how}


def _items(found: Iterable[dict[str, object]], limit: int, notes: list[str]) -> Response:
    return _counted(found, limit, notes)[0]


def _counted(found: Iterable[dict[str, object]], limit: int, notes: list[str]) -> tuple[Response, int]:
    """Return the response with the first objects, at most `limit`, and the number of objects in it."""
    texts: list[str] = []
    size = 0
    more = False
    for each in found:
        if len(texts) == limit or size > _ANSWER_BYTES:
            more = True
            break
        texts.append(json.dumps(each, separators=(",", ":"), default=bytes.hex))
        size += len(texts[-1])
    body = f'{{"items":[{",".join(texts)}],"more":{json.dumps(more)},"notes":{json.dumps(notes)}}}'
    return Response(200, JSON, body.encode()), len(texts)


class _Asked:
    """The parameters of a request. Raises UsageError for an unknown, repeated or missing parameter, and for an invalid value."""

    def __init__(self, name: str, parameters: Parameters) -> None:
        self.name = name
        self._known = PARAMETERS[name]
        self._given = parameters
        for key, values in parameters.items():
            if key not in self._known:
                known = ", ".join(self._known) or "none"
                raise UsageError(f"unknown parameter {shown(key)}: /api/{name} has {known}")
            if len(values) > 1 and self._known[key] != SEVERAL:
                raise UsageError(f"{key} can be given only once")
        required = REQUIRED.get(name)
        if required is not None and required not in parameters:
            raise UsageError(f"{required} is missing: write /api/{name}?{required}=REFERENCE")

    def one(self, key: str) -> str | None:
        """Return the value of a parameter, or None if it is not given."""
        return self._given[key][0] if key in self._given else None

    def several(self, key: str) -> tuple[str, ...]:
        """Return all values of a parameter."""
        return tuple(self._given.get(key, ()))

    def flag(self, key: str) -> bool:
        """Return whether a flag is set: `key=true`, `key=1`, or `key` alone."""
        text = self.one(key)
        if text is None:
            return False
        if text.lower() in ("", "1", "true"):
            return True
        if text.lower() in ("0", "false"):
            return False
        raise UsageError(f"{key}={shown(text)} is neither true nor false")

    def limit(self) -> int:
        """Return how many objects are requested."""
        text = self.one("limit")
        if text is None:
            return USUAL_LIMIT
        if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text) <= MOST_LIMIT):
            raise UsageError(f"limit={shown(text)} is not a number from 0 to {MOST_LIMIT}")
        return int(text)

    def filters(self) -> EntryFilters | None:
        """Return the filters of a query, or None if there are none."""
        same = (
            "tag",
            "digest",
            "repository",
            "media_type",
            "platform",
            "artifact_type",
            "contains",
            "referrers_of",
            "since",
        )
        given: dict[str, Any] = {key: self._given[key][0] for key in same if key in self._given}
        given |= {f"{key}s": self.several(key) for key in ("annotation", "label") if key in self._given}
        if self.flag("unnamed"):
            given["unnamed"] = True
        return EntryFilters(**given) if given else None
