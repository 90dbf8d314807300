"""The endpoints of a registry, as the OCI distribution-spec describes them: pull and content discovery."""

from __future__ import annotations

import asyncio
import os
import re
import urllib.parse
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from catalog.engine.interface import Reader
from catalog.errors import Incomplete, InvalidReference, NotInTime, OcicatError
from catalog.names.digest import is_digest
from catalog.names.escape import shown
from catalog.names.media_types import OCI_INDEX
from catalog.serve import finding
from catalog.serve.answers import (
    BLOBS,
    JSON,
    MANIFESTS,
    NAMES,
    Codes,
    Headers,
    Response,
    give,
    json_answer,
    of_error,
    refusal,
    retry_later,
)
from catalog.serve.blobs import Opened, open_blob, read_manifest
from catalog.serve.conditions import Part, Unsatisfiable, etag_of, is_held, part_of
from catalog.serve.finding import Serving
from catalog.serve.naming import Asked, asked_for, is_manifest_digest, registry_of
from catalog.serve.recent import Key, RecentManifests
from catalog.serve.threads import CatalogThreads
from catalog.serve.transfers import Transfers
from catalog.web.asgi import Message, Scope, Send

MOST_LISTED = 1000
"""How many tags, repositories or referrers are in one response; `Link` leads to the next ones."""
_FILE_SECONDS = 30.0
"""How long opening a file, or reading a manifest, may take. A network file system may hang."""
_PATH = re.compile(
    r"/v2/(?P<name>.+)/(?:(?P<kind>manifests|blobs|referrers)/(?P<reference>[^/]+)|(?P<tags>tags)/list)/?"
)
_WARNING_BYTES = 1000
_VERSION = ((b"docker-distribution-api-version", b"registry/2.0"),)  # old clients look for it

T = TypeVar("T")
Parameters = dict[str, list[str]]


class Distribution:
    """Answers requests below /v2/. If `freshen` is given, it is called before a tag is looked up."""

    def __init__(
        self,
        questions: CatalogThreads,
        files: ThreadPoolExecutor,
        transfers: Transfers,
        rules: Serving,
        recent: RecentManifests,
        freshen: Callable[[Reader, Asked, str], None] | None = None,
    ) -> None:
        self._questions = questions
        self._files = files
        self._transfers = transfers
        self._rules = rules
        self._recent = recent
        self._freshen = freshen

    def recent(self, scope: Scope) -> tuple[Message, Message] | None:
        """Return the messages of a recent response to the same request, which must have no query, or None if there is none."""
        found = None if self._freshen is not None else self._recent.find((scope["path"], None))
        return None if found is None or is_held(scope, found.etag) else found.messages

    async def answer(self, scope: Scope, send: Send, parameters: Parameters) -> None:
        """Answer a GET or HEAD of a path below /v2/. Errors of ocicat become responses; other exceptions are raised."""
        path = scope["path"]
        if path in ("/v2/", "/v2"):
            await give(send, json_answer({}, _VERSION))
            return
        namespace = parameters.get("ns", [None])[-1] or None
        recent = self._recent.find((path, namespace))
        if recent is not None and self._freshen is None:
            await give(send, _unless_held(scope, recent.response, recent.etag))
            return
        codes = NAMES
        headers: Headers = ()
        try:
            if path.rstrip("/") == "/v2/_catalog":
                await give(send, await self._catalog(parameters, namespace))
                return
            found = _PATH.fullmatch(path)
            if found is None:
                await give(send, refusal(404, "UNSUPPORTED", "there is nothing at this path: see 'ocicat help serve'"))
                return
            asked = asked_for(found["name"], namespace)
            headers = () if namespace is None else ((b"oci-namespace", namespace.encode()),)
            if found["tags"]:
                await give(send, await self._tags(asked, found["name"], parameters, headers))
            elif found["kind"] == "manifests":
                codes = MANIFESTS
                await give(send, await self._new_manifest(scope, asked, found["reference"], headers, (path, namespace)))
            elif found["kind"] == "referrers":
                codes = BLOBS
                await give(send, await self._referrers(found, parameters, headers))
            else:
                codes = BLOBS
                await self._blob(scope, send, asked, found["reference"], headers)
        except OcicatError as error:
            await give(send, of_error(error, codes, headers))

    async def _new_manifest(self, scope: Scope, asked: Asked, reference: str, headers: Headers, key: Key) -> Response:
        state = self._recent.state()
        response, etag = await self._manifest(asked, reference, headers)
        if response.status == 200:
            self._recent.keep(key, response, etag, state)
        return _unless_held(scope, response, etag)

    async def _manifest(self, asked: Asked, reference: str, headers: Headers) -> tuple[Response, bytes]:
        """Return the response for a manifest and its entity tag, or an error and b"" if the reference is malformed."""
        try:
            is_by_digest = is_manifest_digest(reference)
        except InvalidReference as error:
            if ":" in reference:
                return of_error(error, Codes("DIGEST_INVALID", "MANIFEST_UNKNOWN"), headers), b""
            return refusal(404, "MANIFEST_UNKNOWN", str(error), headers), b""  # no tag of that form can exist
        if is_by_digest:
            question = partial(finding.by_digest, asked=asked, digest=reference, rules=self._rules)
        else:
            question = partial(self._tagged, asked=asked, tag=reference)
        found = await self._questions.ask(question)
        etag = etag_of(found.digest)
        about = [
            (b"docker-content-digest", found.digest.encode()),
            (b"etag", etag),
            *((b"warning", _warning(note)) for note in found.notes),
            *headers,
        ]
        try:
            read = await self._in_file_thread(
                read_manifest, found.digest, found.places, found.media_type, found.carried
            )
        except Incomplete as error:
            raise _unless_unsure(error, is_unsure=found.is_unsure) from error
        return Response(200, _header(read.media_type), read.data, about), etag

    def _tagged(self, reader: Reader, *, asked: Asked, tag: str) -> finding.FoundManifest:
        if self._freshen is not None:
            self._freshen(reader, asked, tag)
        return finding.tagged(reader, asked, tag, self._rules)

    async def _blob(self, scope: Scope, send: Send, asked: Asked, digest: str, headers: Headers) -> None:
        _check_digest(digest)
        if self._transfers.is_full:
            await give(send, retry_later("too many blobs are being sent: ask again"))
            return
        found = await self._questions.ask(partial(finding.blob, asked=asked, digest=digest, rules=self._rules))
        try:
            opened = await self._in_file_thread(open_blob, digest, found.holders, found.carried)
        except Incomplete as error:
            raise _unless_unsure(error, is_unsure=found.is_unsure) from error
        etag = etag_of(digest)
        about = [
            (b"content-type", b"application/octet-stream"),
            (b"docker-content-digest", digest.encode()),
            (b"etag", etag),
            (b"accept-ranges", b"bytes"),
            *headers,
        ]
        try:
            part = None if is_held(scope, etag) else part_of(scope, opened.size, etag)
        except Unsatisfiable:
            os.close(opened.descriptor)
            size = (b"content-range", b"bytes */%d" % opened.size)
            await give(send, refusal(416, "SIZE_INVALID", "no byte of the blob is in that range", (*headers, size)))
            return
        if is_held(scope, etag):
            os.close(opened.descriptor)
            await give(send, Response(304, b"application/octet-stream", b"", about[1:]))
            return
        if scope["method"] == "HEAD":
            await self._transfers.tell(send, opened, about)
        elif part is None:
            await self._transfers.give(scope, send, opened, Part(0, opened.size), 200, about)
        else:
            last = part.begin + part.length - 1
            about.append((b"content-range", b"bytes %d-%d/%d" % (part.begin, last, opened.size)))
            await self._transfers.give(scope, send, opened, part, 206, about)

    async def _tags(self, asked: Asked, name: str, parameters: Parameters, headers: Headers) -> Response:
        count, last = _page(parameters)
        found = await self._questions.ask(
            partial(finding.tags, asked=asked, last=last, count=count + 1 if count else 0, rules=self._rules)
        )
        path = f"/v2/{urllib.parse.quote(name, safe='/:')}/tags/list"
        link = _link(path, parameters, count, found[count - 1]) if 0 < count < len(found) else ()
        return json_answer({"name": name, "tags": found[:count]}, (*headers, *link))

    async def _catalog(self, parameters: Parameters, namespace: str | None) -> Response:
        count, last = _page(parameters)
        registry = registry_of(namespace)
        before = "" if registry is None else f"{registry}/"
        question = partial(
            finding.repositories,
            last=f"{before}{last}",
            count=count + 1 if count else 0,
            rules=self._rules,
            registry=registry,
        )
        found = [name[len(before) :] for name in await self._questions.ask(question)]
        link = _link("/v2/_catalog", parameters, count, found[count - 1]) if 0 < count < len(found) else ()
        return json_answer({"repositories": found[:count]}, link)

    async def _referrers(self, found: re.Match[str], parameters: Parameters, headers: Headers) -> Response:
        digest = found["reference"]
        _check_digest(digest)
        count, last = _page(parameters)
        kinds = parameters.get("artifactType", [])
        listed = await self._questions.ask(
            partial(
                finding.referrers, digest=digest, last=last, count=count + 1, kinds=frozenset(kinds), rules=self._rules
            )
        )
        path = f"/v2/{urllib.parse.quote(found['name'], safe='/:')}/referrers/{urllib.parse.quote(digest, safe=':')}"
        link = _link(path, parameters, count, str(listed[count - 1]["digest"])) if 0 < count < len(listed) else ()
        applied: Headers = ((b"oci-filters-applied", b"artifactType"),) if kinds else ()
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed[:count]}
        return json_answer(index, (*headers, *applied, *link), content_type=OCI_INDEX.encode())

    async def _in_file_thread(self, work: Callable[..., T], *arguments: object) -> T:
        """Run `work` in one of the threads for files, and return its result. Raises NotInTime if that takes too long."""
        working = asyncio.get_running_loop().run_in_executor(self._files, work, *arguments)
        done, _ = await asyncio.wait((working,), timeout=_FILE_SECONDS)
        if not done:
            working.add_done_callback(_close_late)
            raise NotInTime("the file system of a store does not answer: ask again later")
        return working.result()


def _close_late(working: asyncio.Future[Any]) -> None:
    """Close a file that was opened too late, when the request no longer waited for it."""
    if not working.cancelled() and working.exception() is None and isinstance(working.result(), Opened):
        os.close(working.result().descriptor)


def _unless_held(scope: Scope, response: Response, etag: bytes) -> Response:
    """Return the response, or 304 if the client already has its content."""
    if response.status == 200 and is_held(scope, etag):
        return response._replace(status=304, body=b"")
    return response


def _check_digest(text: str) -> None:
    if not is_digest(text):
        raise InvalidReference(f"{shown(text)} is not a digest: write sha256: and 64 hex digits")


def _unless_unsure(error: Incomplete, *, is_unsure: bool) -> OcicatError:
    """Return the error for a blob that no store has: NotInTime if `is_unsure`, because a store may have it nevertheless."""
    return NotInTime("the digest is not known yet: manifests are still being read; ask again") if is_unsure else error


def _page(parameters: Parameters) -> tuple[int, str]:
    """Return how many items are requested, at most MOST_LISTED, and the item after which they begin. Raises InvalidReference."""
    text = parameters.get("n", [str(MOST_LISTED)])[-1]
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise InvalidReference(f"n={shown(text)} is not a number of items")
    return min(int(text), MOST_LISTED), parameters.get("last", [""])[-1]


def _link(path: str, parameters: Parameters, count: int, last: str) -> Headers:
    """Return the header that leads to the next page (RFC 8288), with all parameters of this one."""
    more = [(key, value) for key in ("ns", "artifactType") for value in parameters.get(key, [])]
    query = urllib.parse.urlencode([("n", str(count)), ("last", last), *more])
    return ((b"link", f'<{path}?{query}>; rel="next"'.encode()),)


def _header(text: str) -> bytes:
    """Return a media type as the value of a header, or JSON if it is not valid or a browser might show the manifest as a page."""
    is_safe = text.isascii() and text.isprintable() and text.startswith("application/") and len(text) < 256
    is_shown = any(word in text for word in ("xml", "html", "script", "pdf"))
    return text.encode() if is_safe and not is_shown else JSON


def _warning(text: str) -> bytes:
    """Return a note as the value of a Warning header (distribution-spec, "Warnings")."""
    plain = text.encode("ascii", "replace").decode().replace("\\", "/").replace('"', "'")
    return f'299 - "{plain[:_WARNING_BYTES]}"'.encode()
