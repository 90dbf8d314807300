"""Decode the descriptors of an `index.json` of any size in bounded memory.

msgspec is several times faster than an event-based parser, but needs a whole document. So the list `manifests` is read in
batches: about 256 KiB of it, up to a comma that looks like one between two elements, are put between brackets and given
to msgspec. If `[` text `]` is one array, then the comma after the text really separates two elements, because a parser's
result for a text does not depend on what follows. If the comma was a wrong one (in a string, or nested), `[` text `]` is
not JSON. So msgspec checks every cut, and every byte is parsed as strictly as if msgspec got the whole file. If no cut is found,
the end of the next value is found by its brackets and strings (source.py), and msgspec checks that value.

ijson was tried and rejected. Its lexer is quadratic in the length of a string (16 MiB take 0.8 s, 64 MiB 12 s). It refuses
a whole file for one byte that is not UTF-8. It reads half a surrogate pair as `?`, as another character or not at all. A
number of 4,301 digits makes it raise SystemError. Its bare events take 2.5 times as long as the descriptors do here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from operator import attrgetter
from typing import NamedTuple

import msgspec

from catalog.exhausted import give_back
from catalog.layout import gojson
from catalog.layout.descriptor import Descriptor, bad_digest, decode, string_map
from catalog.layout.list_limits import ListLimits
from catalog.layout.room import ensure_room
from catalog.layout.source import WINDOW, Malformed, Source, TooDeep
from catalog.layout.text import kind_of, loads, mend, shorten
from catalog.names.sizes import counted

_SEAM = re.compile(rb"\}[ \t\n\r]*+(,)[ \t\n\r]*+\{")
_TAIL = 8 << 10
_TRIES = 4
_MAX_PAUSE = 1024

HISTORY = "org.olareg.history"
"""A top-level field that olareg writes. Its raw bytes are kept for catalog.layout.history."""

_canonical = re.compile(r"(?:sha256:[0-9a-f]{64}\n)*+").fullmatch
_CANONICAL_LENGTH = len("sha256:") + 64 + 1
_digest_of = attrgetter("digest")
_FOLDED = {gojson.fold(name): name for name in gojson.INDEX}
_MAX_ODD = 10
_decode_batch = msgspec.json.Decoder(list[Descriptor]).decode
_decode_raws = msgspec.json.Decoder(list[msgspec.Raw]).decode


_ROOM = 24
"""Bytes of memory per byte of text: the decoded objects take up to 20, and encoding them again up to 4."""


class Problem(NamedTuple):
    """A problem in a store. `subject` is the place and `detail` the description, each of at most 200 characters."""

    kind: str
    subject: str
    detail: str


def not_an_index(manifests: bytes, others: Collection[str]) -> Problem | None:
    """Return the problem of an `index.json` that is not an index, or None.

    `manifests` is the first byte of that field, or b"" if it is absent; `others` are the fields of an image manifest that
    the file has. `"manifests": null` is accepted, because umoci writes it into a new layout.
    """
    if others and manifests != b"[":
        detail = (
            f"is an image manifest (it has {', '.join(sorted(others))}): move it to blobs and list it in an index.json"
        )
    elif not manifests:
        detail = "has no manifests: write the layout again"
    elif "layers" in others:
        detail = "has manifests and layers, so readers disagree about what it is"
    else:
        return None
    return Problem("not-an-index", "index.json", detail)


def odd_problem(lines: list[str], file: str = "index.json") -> Problem:
    """Return the problem of a file with odd fields (gojson.py), each described by one of `lines`."""
    return Problem("odd-json", file, shorten("; ".join(lines)))


class Parser:
    """One pass over an `index.json`. Its attributes are complete when `batches` has ended.

    `restart` is called if the field `manifests` is repeated. The last one counts, as in Go, so the caller has to discard
    the descriptors of the previous one, or raise Malformed if it cannot. The element with the index `number`, counted from 0,
    is kept as `numbered`.
    """

    def __init__(
        self, read: Callable[[int], bytes], limits: ListLimits, restart: Callable[[], None], number: int = -1
    ) -> None:
        self._source = Source(read)
        self._limits = limits
        self._restart = restart
        self._number = number
        self._unreported = 0
        self._history_is_large = False
        self._manifests_begin = b""
        self._others: list[str] = []
        self._seen: set[str] = set()
        self.odd: list[str] = []
        """One line per field whose value depends on the reader (gojson.py), at most ten."""
        self.elements = 0
        self.skipped: list[Problem] = []
        self.annotations: dict[str, str] = {}
        self.history = b""
        self.numbered: Descriptor | None = None
        """The element with the index `number`; None if there is no such element or it is not usable."""

    def batches(self) -> Iterator[list[Descriptor]]:
        """Yield the usable descriptors in order. Raises Malformed. After that, the descriptors yielded before must not be used."""
        source = self._source
        self._open()
        if source.peek() == ord("}"):
            source.take(b"}")
        else:
            yield from self._field()
            while source.take(b",}") == ord(","):
                yield from self._field()
        if source.peek() >= 0:
            raise Malformed(f"trailing data from byte {source.offset}")
        if self._history_is_large:
            detail = f"larger than {self._limits.descriptor_bytes} bytes"
            self.skipped.append(Problem("bad-history", HISTORY, detail))
        if self.odd:
            self.skipped.append(odd_problem(self.odd))
        if self._unreported:
            self.skipped.append(
                Problem(
                    "bad-descriptor",
                    "manifests",
                    f"{counted(self._unreported, 'more element is', 'more elements are')} unusable",
                )
            )
        problem = not_an_index(self._manifests_begin, self._others)
        if problem is not None:
            self.skipped.append(problem)

    def _open(self) -> None:
        first = self._source.peek()
        if first < 0:
            raise Malformed("the file contains only white space" if self._source.offset else "the file is empty")
        if first == 0xEF:
            raise Malformed("not JSON: the file begins with a byte order mark")
        if first != ord("{") and kind_of(first):
            raise Malformed(f"the top level is {kind_of(first)}, not an object")
        self._source.take(b"{")

    def _field(self) -> Iterator[list[Descriptor]]:
        source = self._source
        source.take(b'"')
        source.at -= 1
        key = source.value(self._limits.descriptor_bytes)
        source.take(b":")
        name = self._name(loads(key)) if key else ""
        if name == "manifests":
            yield from self._manifests()
            return
        value = source.value(self._limits.descriptor_bytes)
        if name == "annotations":
            # Go merges maps, and null clears them.
            if value == b"null":
                self.annotations = {}
            else:
                self.annotations.update(string_map(value or b""))
        elif name in ("config", "layers") and value != b"null":
            self._others.append(name)
        elif name == HISTORY:
            self.history = value if value is not None else b""
            self._history_is_large = value is None

    def _name(self, spelt: str) -> str:
        """Return the name of the index field that Go takes `spelt` for, or `spelt` itself if there is none."""
        name = _FOLDED.get(gojson.fold(spelt), spelt)
        if name != spelt:
            self.odd.append(shorten(f"{spelt} is read as {name}", 80))
        elif name in gojson.INDEX and name in self._seen:
            self.odd.append(f"{name} occurs more than once")
        if name in gojson.INDEX:
            self._seen.add(name)
        del self.odd[_MAX_ODD:]
        return name

    def _manifests(self) -> Iterator[list[Descriptor]]:
        again = self.elements > 0
        if self.elements:
            self._restart()
            self.elements = self._unreported = 0
            self.numbered = None
            self.skipped.clear()
        source = self._source
        first = source.peek()
        self._manifests_begin = bytes((first,)) if first >= 0 else b""
        if first != ord("["):
            if source.value(self._limits.descriptor_bytes) != b"null":
                raise Malformed(f"manifests is {kind_of(first)}, not an array")
            return
        source.take(b"[")
        if source.peek() == ord("]"):
            source.take(b"]")
            return
        # If `manifests` is repeated many times, an attempt at a batch in each would read the next 256 KiB each time.
        pause = _MAX_PAUSE if again else 0
        longer = 1  # a failed attempt costs as much as many single elements, so the pause before the next one doubles
        more = True
        while more:
            batch = None if pause else self._batch()
            if batch is not None:
                longer = 1
            else:
                pause, longer = (pause - 1, longer) if pause else (longer, min(longer * 2, _MAX_PAUSE))
                batch = self._single()
                more = source.take(b",]") == ord(",")
            if self.elements > self._limits.elements:
                raise Malformed(f"more than {self._limits.elements} elements in manifests")
            yield batch

    def _single(self) -> list[Descriptor]:
        try:
            raw = self._source.value(self._limits.descriptor_bytes)
        except TooDeep as error:
            return self._sift((str(error),))
        return self._sift((self._decode_one(raw) if raw else f"larger than {self._limits.descriptor_bytes} bytes",))

    def _batch(self) -> list[Descriptor] | None:
        """Decode many elements and move past the comma after them. Returns None, without moving, if no cut was found."""
        source = self._source
        size = min(WINDOW, self._limits.descriptor_bytes)  # so that no element in the batch exceeds the limit
        while len(source.buffer) - source.at < size and source.more():
            pass
        begin = source.at
        for cut in _cuts(source.buffer, begin, min(begin + size, len(source.buffer))):
            found = self._decode(b"[%b]" % source.buffer[begin:cut])
            if found is not None:
                source.at = cut + 1
                return found
        return None

    def _decode(self, text: bytes) -> list[Descriptor] | None:
        """Return the usable descriptors of an array, or None if `text` is not an array or is empty."""
        if b"\\" not in text or b"\\u0000" not in text:
            ensure_room(_ROOM * len(text))
            try:
                found = _decode_batch(text)
            except MemoryError:
                give_back()
                raise
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                pass
            else:
                if not gojson.is_plain(text, found) and (gojson.is_escaped(text) or gojson.repeats(text, found, {})):
                    return self._sift(self._decode_one(bytes(raw)) for raw in _decode_raws(text))
                if _are_canonical(found):
                    if 0 <= self._number - self.elements < len(found):
                        self.numbered = found[self._number - self.elements]
                    self.elements += len(found)
                    return found or None
                return self._sift(bad_digest(one.digest) or one for one in found)
        try:
            raws = _decode_raws(mend(text))
        except (msgspec.MsgspecError, RecursionError):
            return None
        return self._sift(self._decode_one(bytes(raw)) for raw in raws) if raws else None

    def _decode_one(self, raw: bytes) -> Descriptor | str:
        found = decode(raw, self.odd)
        del self.odd[_MAX_ODD:]
        return found

    def _sift(self, decoded: Iterable[Descriptor | str]) -> list[Descriptor]:
        usable = []
        for one in decoded:
            if isinstance(one, Descriptor):
                usable.append(one)
                if self.elements == self._number:
                    self.numbered = one
            elif len(self.skipped) < self._limits.problems:
                self.skipped.append(Problem("bad-descriptor", f"manifests[{self.elements}]", shorten(one)))
            else:
                self._unreported += 1
            self.elements += 1
        return usable


def _are_canonical(found: Collection[Descriptor]) -> bool:
    """Return whether all digests are SHA-256 in lower case, so that they need no further check.

    One search for all takes a third of the time of one search per digest.
    """
    lines = "\n".join(map(_digest_of, found)) + "\n"
    # If the length is right, no digest contains a line break.
    return not found or (len(lines) == _CANONICAL_LENGTH * len(found) and _canonical(lines) is not None)


def _cuts(buffer: bytes, begin: int, end: int) -> list[int]:
    """Return the positions of commas that may separate two elements, the last ones first."""
    for start in (max(begin, end - _TAIL), begin):
        seams = [found.start(1) for found in _SEAM.finditer(buffer, start, end)]
        if seams:
            return seams[: -_TRIES - 1 : -1]
    commas = []
    for _ in range(2):
        end = buffer.rfind(b",", begin, end)
        if end < 0:
            break
        commas.append(end)
    return commas
