"""Read the `index.json` of a store (image-spec, image-layout.md), which other programs may be writing and which is not trusted.

Writers rewrite the file in place while others read it. So a read is valid only if the file is a regular file in the
store's own directory, the stats before and after it agree in everything that a write changes, the number of bytes read is
the size in the stat, and the bytes are one JSON value. The caller decides whether the file has been unchanged for long
enough (settling). Nothing is locked, mapped or followed, and index.json.lock is never touched.

A small file is decoded at once. A larger file, or one with something odd in it, is decoded in batches (stream.py). A file
that is larger than `ListLimits.in_memory_bytes`, or whose objects would take many times as much memory as the text, is
streamed: the descriptors are decoded while the caller iterates, and errors in the file are raised on the way.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import NamedTuple, Self

import msgspec

from catalog.layout import gojson
from catalog.layout.descriptor import Descriptor, bad_digest, string_map
from catalog.layout.files import FileState, IndexChanged, IndexProblem, StoreFile, stat_index
from catalog.layout.list_limits import ListLimits
from catalog.layout.room import ensure_room
from catalog.layout.source import Malformed, TooDeep, check_json
from catalog.layout.stream import HISTORY, Parser, Problem, not_an_index, odd_problem
from catalog.layout.text import clean, loads
from catalog.names.limits import LAYOUT_VERSION

__all__ = [
    "FileState", "IndexChanged", "IndexContent", "IndexProblem", "ListLimits", "Marker", "Problem",
    "read_index", "read_marker", "stat_index",
]  # fmt: skip

MARKER_BYTES = 64 << 10
"""The largest `oci-layout` that is read, in bytes."""

HELD_DESCRIPTORS = 600_000
HELD_QUOTES = 8_000_000
"""Above these numbers of descriptors or quotes, a file is streamed. 64 MiB hold 190,000 ordinary descriptors with 7.5 million
quotes, but a text of that size can have seven times as many of either, and take 20 bytes of objects per byte of text."""


_CHECK_BYTES = 1 << 20
_ROOM = 24  # bytes of memory per byte of text (stream.py)


def _no_pause() -> None:
    pass


class Marker(NamedTuple):
    """The contents of `oci-layout`. `version` is None if there is none or readers may disagree about it; `problem` may be None."""

    version: str | None
    problem: Problem | None


_ABSENT = msgspec.Raw(b"")


class _Index(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """An ordinary index. An index with fields that the image-spec does not have goes through `Parser`."""

    manifests: list[Descriptor] | msgspec.UnsetType | None = msgspec.UNSET
    config: msgspec.Raw = msgspec.Raw(b"null")
    layers: msgspec.Raw = msgspec.Raw(b"null")
    annotations: msgspec.Raw = msgspec.Raw(b"null")
    history: msgspec.Raw = msgspec.field(name=HISTORY, default=_ABSENT)
    version: msgspec.Raw = msgspec.field(name="schemaVersion", default=_ABSENT)
    media_type: msgspec.Raw = msgspec.field(name="mediaType", default=_ABSENT)
    artifact_type: msgspec.Raw = msgspec.field(name="artifactType", default=_ABSENT)
    subject: msgspec.Raw = _ABSENT

    def other_quotes(self) -> int:
        """Return the number of quotes in the file outside its manifests, provided that each field occurs only once."""
        raws = [
            *(raw for raw in (self.config, self.layers, self.annotations) if bytes(raw) != b"null"),
            *(
                raw
                for raw in (self.history, self.version, self.media_type, self.artifact_type, self.subject)
                if bytes(raw)
            ),
        ]
        keys = len(raws) + (self.manifests is not msgspec.UNSET)
        return 2 * keys + sum(bytes(raw).count(b'"') for raw in raws)


_decode_index = msgspec.json.Decoder(_Index).decode


def read_index(
    store_path: str,
    limits: ListLimits = ListLimits(),  # noqa: B008 - a constant
    *,
    pause: Callable[[], None] = _no_pause,
    number: int = -1,
) -> IndexContent:
    """Read the store's `index.json`. Close the result, or use it in a `with`, because a streamed one keeps the file open.

    Raises IndexProblem, IndexChanged and Exhausted. So does iterating over a streamed result. `pause` is called between the pieces of a
    large file, or of an archive; exceptions from it are passed on. The element of `manifests` with the index `number` is kept as
    `numbered`.
    """
    opened = StoreFile(store_path, "index.json", limits, pause)
    try:
        if opened.size > limits.index_bytes:
            raise IndexProblem("invalid", f"{opened.size} bytes, more than the limit of {limits.index_bytes}")
        content = IndexContent(opened, limits, pause, number)
    except IndexProblem as problem:
        problem.file = opened.state
        opened.close()
        raise
    except BaseException:
        opened.close()
        raise
    if not content.streamed:
        opened.close()
    return content


def read_marker(
    store_path: str,
    limits: ListLimits = ListLimits(),  # noqa: B008 - a constant
    pause: Callable[[], None] = _no_pause,
) -> Marker:
    """Read the store's `oci-layout` (image-layout.md). No problem is reported for a file that is changing at this moment."""
    try:
        opened = StoreFile(store_path, "oci-layout", limits, pause)
        try:
            if opened.size > MARKER_BYTES:
                return _bad_marker(f"has {opened.size} bytes, more than {MARKER_BYTES}")
            text = opened.read(MARKER_BYTES, 0)
            plain = gojson.rewrite(text, gojson.MARKER)
            marker = loads(plain[0] if plain else text)
        finally:
            opened.close()
    except IndexChanged:
        return Marker(None, None)
    except IndexProblem as problem:
        if problem.reason != "no oci-layout":
            return _bad_marker(problem.reason)
        detail = 'is missing, so other tools do not accept this layout: write {"imageLayoutVersion": "1.0.0"} into it'
        return Marker(None, Problem("no-marker", "oci-layout", detail))
    except ValueError:
        return _bad_marker("is not JSON")
    version = marker.get("imageLayoutVersion") if isinstance(marker, dict) else None
    if not isinstance(version, str) or len(version) > 64:
        return _bad_marker("has no imageLayoutVersion")
    version = clean(version)
    if version == LAYOUT_VERSION and plain is not None:
        return Marker(None, odd_problem(plain[1], "oci-layout"))  # without a version, each pass reads it again
    if version == LAYOUT_VERSION:
        return Marker(version, None)
    return _bad_marker(
        f"imageLayoutVersion is {version!r}, which is unknown: the only known version is {LAYOUT_VERSION}", version
    )


def _bad_marker(detail: str, version: str | None = None) -> Marker:
    return Marker(version, Problem("bad-marker", "oci-layout", detail))


class IndexContent:
    """The contents of one `index.json`. Iterating yields its usable descriptors in order.

    Unless it is `streamed`, it has been read and checked completely. Each iteration over a streamed one reads the same
    file again, and may raise IndexProblem and IndexChanged. `sha256`, `elements`, `skipped`, `annotations`, `history` and
    `numbered` are complete when an iteration has ended; until then, the descriptors that it yielded may still turn out to
    be wrong.
    """

    def __init__(self, opened: StoreFile, limits: ListLimits, pause: Callable[[], None], number: int) -> None:
        self._opened = opened
        self._limits = limits
        self._pause = pause
        self._number = number
        self._held: list[Descriptor] = []
        self.file = opened.state
        self.size = opened.size
        """The size of the file in bytes. In an archive, `file` is the state of the archive."""
        self.sha256 = ""
        """The SHA-256 of the file, in hex."""
        self.elements = 0
        """The number of elements of `manifests`, including the skipped ones."""
        self.skipped: list[Problem] = []
        """The problems of skipped elements and of the file itself."""
        self.troubles: list[Problem] = []
        """The problems of `manifest.json`, which may add names (docker_save.py)."""
        self.annotations: dict[str, str] = {}
        """The annotations of the index itself whose values are strings."""
        self.history = b""
        """The raw history that the layout records (catalog.layout.history); b"" if it has none."""
        self.numbered: Descriptor | None = None
        """The element with the index `number`; None if there is no such element or it is not usable."""
        self.streamed = self.size > limits.in_memory_bytes
        if not self.streamed:
            if self.size <= limits.descriptor_bytes:
                self._load_at_once()
            else:
                self._load_in_batches()

    def __iter__(self) -> Iterator[Descriptor]:
        return self._stream() if self.streamed else iter(self._held)

    def replace(self, place: int, descriptor: Descriptor) -> None:
        """Replace the usable descriptor at index `place`. The content must not be streamed."""
        self._held[place] = descriptor

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. Unless it is streamed, the content can still be used."""
        self._opened.close()

    def _load_at_once(self) -> None:
        data = self._opened.read(self.size + 1, 0)
        self._opened.check(len(data))
        self.sha256 = hashlib.sha256(data).hexdigest()
        index = None
        if b"\\u0000" not in data:
            ensure_room(_ROOM * len(data))
            try:
                index = _decode_index(data)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                index = None
        odd = _odd(data, index)
        if odd is None and index is not None:
            found = index.manifests if isinstance(index.manifests, list) else []
            if len(found) <= self._limits.elements and not any(bad_digest(one.digest) for one in found):
                self._held = found
                self.elements = len(found)
                self.numbered = found[self._number] if 0 <= self._number < len(found) else None
                self.annotations = string_map(bytes(index.annotations))
                self.history = bytes(index.history)
                begin = b"" if index.manifests is msgspec.UNSET else b"n" if index.manifests is None else b"["
                others = [n for n, one in (("config", index.config), ("layers", index.layers)) if bytes(one) != b"null"]
                problem = not_an_index(begin, others)
                self.skipped = [] if problem is None else [problem]
                return
        if odd is not None:
            data = odd[0]
        parser = Parser(io.BytesIO(data).read, self._limits, self._held.clear, self._number)
        try:
            for batch in parser.batches():
                self._held += batch
        except Malformed as error:
            raise IndexProblem("invalid", _reason(data, str(error))) from None
        self._take(parser)
        if odd is not None:
            self.skipped.append(odd_problem(odd[1]))

    def _load_in_batches(self) -> None:
        reader = _Reader(self._opened, self._pause, count_quotes=True)
        parser = Parser(reader.read, self._limits, self._held.clear, self._number)
        for batch in self._proved(reader, parser):
            self._held += batch
            if len(self._held) > HELD_DESCRIPTORS or reader.quotes > HELD_QUOTES:
                self.streamed = True
                self._held = []
                self.sha256 = ""
                return

    def _stream(self) -> Iterator[Descriptor]:
        def twice() -> None:
            raise Malformed("manifests occurs twice, in a file that is too large to keep in memory")

        reader = _Reader(self._opened, self._pause)
        for batch in self._proved(reader, Parser(reader.read, self._limits, twice, self._number)):
            yield from batch

    def _proved(self, reader: _Reader, parser: Parser) -> Iterator[list[Descriptor]]:
        try:
            yield from parser.batches()
        except Malformed as error:
            self._opened.check()  # raises IndexChanged: a file that is being written is not invalid
            raise IndexProblem("invalid", str(error)) from None
        self._opened.check(reader.offset)
        self.sha256 = reader.sha256.hexdigest()
        self._take(parser)

    def _take(self, parser: Parser) -> None:
        self.elements = parser.elements
        self.skipped = parser.skipped
        self.annotations = parser.annotations
        self.history = parser.history
        self.numbered = parser.numbered


class _Reader:
    """Reads a file from its beginning and hashes it."""

    def __init__(self, opened: StoreFile, pause: Callable[[], None], *, count_quotes: bool = False) -> None:
        self._opened = opened
        self._pause = pause
        self._count_quotes = count_quotes
        self.sha256 = hashlib.sha256()
        self.offset = 0
        self.quotes = 0
        self._checked = 0

    def read(self, size: int) -> bytes:
        self._pause()
        if self.offset - self._checked >= _CHECK_BYTES:
            self._checked = self.offset
            self._opened.check()  # stop early if the file is being rewritten
        data = self._opened.read(size, self.offset)
        self.offset += len(data)
        if self.offset > self._opened.size:
            raise IndexChanged("index.json grows while it is read")  # and may never stop growing
        self.sha256.update(data)
        if self._count_quotes:
            self.quotes += data.count(b'"')
        return data


def _odd(data: bytes, index: _Index | None) -> tuple[bytes, list[str]] | None:
    """Return the index as Go reads it, and what is odd in it, or None if Go reads it like everyone else (gojson.py)."""
    if index is not None:
        found = index.manifests if isinstance(index.manifests, list) else []
        if gojson.is_plain(data, found, index.other_quotes()):
            return None
        also = {"manifests": 1, "config": 1, "layers": 1, "annotations": int(bytes(index.annotations) != b"null")}
        also |= {"mediaType": int(bool(bytes(index.media_type))), "artifactType": int(bool(bytes(index.artifact_type)))}
        if not gojson.repeats(data, found, also) and not gojson.is_escaped(data):
            return None
    try:
        return gojson.rewrite(data, gojson.INDEX)
    except ValueError:
        return None  # the parser reports what is wrong, and where


def _reason(data: bytes, reason: str) -> str:
    """Return `reason`, or msgspec's, which includes the position, if the error was only noticed at the end (a missing quote)."""
    if not reason.startswith("torn"):
        return reason
    try:
        check_json(data)
    except TooDeep:
        return reason
    except Malformed as error:
        return str(error)
    return reason
