"""Cuts an `index.json` of any size into its descriptors, in bounded memory.

msgspec is several times faster than a parser that gives events, but takes a whole document. So the list `manifests` is
read in batches: some 256 KiB of it, up to a comma that looks like one between two elements, are put between brackets and
given to msgspec. What a JSON parser does with a text depends on nothing behind it. So where `[` text `]` is one array,
the comma behind the text does stand between two elements; and where the comma was a wrong one (in a string, or deeper),
`[` text `]` is no JSON. msgspec proves each cut that way, and every byte is parsed as strictly as in one go. Where no
cut is found, one value is walked over by its brackets and strings (source.py), and msgspec proves that one.

ijson was tried and left: its lexer is quadratic in the length of a string (16 MiB take 0.8 s, 64 MiB 12 s), it refuses a
whole file for one byte that is no UTF-8, it reads half a surrogate pair as `?`, as another character or not at all, a
number of 4,301 digits ends in a SystemError, and its bare events take 2.5 times as long as the descriptors do here.
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
from catalog.layout.room import ensure_room
from catalog.layout.source import WINDOW, Malformed, Source, TooDeep
from catalog.layout.text import kind_of, loads, mend, shorten

_SEAM = re.compile(rb"\}[ \t\n\r]*+(,)[ \t\n\r]*+\{")
_TAIL = 8 << 10
_TRIES = 4
_MAX_PAUSE = 1024

HISTORY = "org.olareg.history"
"""A top-level field of olareg's, of which the bytes are handed over (catalog.layout.history)."""

_canonical = re.compile(r"sha256:[0-9a-f]{64}").fullmatch
_digest_of = attrgetter("digest")
_FOLDED = {gojson.fold(name): name for name in gojson.INDEX}
_MAX_ODD = 10
_decode_batch = msgspec.json.Decoder(list[Descriptor]).decode
_decode_raws = msgspec.json.Decoder(list[msgspec.Raw]).decode


_ROOM = 24
"""Bytes of memory for one of text: what is decoded takes up to 20, and encoding it again up to 4."""


class ListLimits(NamedTuple):
    """What is read at most."""

    index_bytes: int = 512 << 20
    """Bytes of an `index.json`; a larger one is invalid."""
    descriptor_bytes: int = 4 << 20
    """Bytes of one element of `manifests`; a larger one is skipped."""
    in_memory_bytes: int = 64 << 20
    """Bytes of an `index.json` up to which all its descriptors are held at once."""
    problems: int = 1000
    """Skipped elements that are told one by one; of the others there is a number."""
    elements: int = 10_000_000
    """Elements of `manifests`; a file with more is invalid. 512 MiB hold six million of the shortest with a sha256."""


class Problem(NamedTuple):
    """Something in a store to tell its owner: `subject` says where, `detail` why, in 200 characters each at most."""

    kind: str
    subject: str
    detail: str


def not_an_index(manifests: bytes, others: Collection[str]) -> Problem | None:
    """The problem of an `index.json` that is none. `manifests` is how that field begins, empty if it is not there.

    `others` are the fields of an image manifest that it has. `"manifests": null` is what umoci writes into a new layout.
    """
    if others and manifests != b"[":
        detail = (
            f"is an image manifest (it has {', '.join(sorted(others))}): put it into blobs and list it in an index.json"
        )
    elif not manifests:
        detail = "has no manifests: write the layout again"
    elif "layers" in others:
        detail = "has manifests and layers, so that readers disagree what it is"
    else:
        return None
    return Problem("not-an-index", "index.json", detail)


def odd_problem(lines: list[str], file: str = "index.json") -> Problem:
    """Return the problem of a store's file that has odd fields, each described by one of `lines`."""
    return Problem("odd-json", file, shorten("; ".join(lines)))


class Parser:
    """One pass over an `index.json`. What it has as attributes is complete when `batches` has ended.

    `restart` is called when `manifests` comes a second time: the last one counts, as in Go, and what the first one gave
    has to be forgotten. Where that is impossible it raises Malformed.
    """

    def __init__(self, read: Callable[[int], bytes], limits: ListLimits, restart: Callable[[], None]) -> None:
        self._source = Source(read)
        self._limits = limits
        self._restart = restart
        self._untold = 0
        self._history_is_large = False
        self._manifests_begin = b""
        self._others: list[str] = []
        self._seen: set[str] = set()
        self.odd: list[str] = []
        """What Go alone reads as it is read here (gojson.py); only the first lines are of use."""
        self.elements = 0
        self.skipped: list[Problem] = []
        self.annotations: dict[str, str] = {}
        self.history = b""

    def batches(self) -> Iterator[list[Descriptor]]:
        """The usable descriptors, in order. Raises Malformed; what came before that must not be used then."""
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
        if self._untold:
            self.skipped.append(Problem("bad-descriptor", "manifests", f"{self._untold} more elements are unusable"))
        problem = not_an_index(self._manifests_begin, self._others)
        if problem is not None:
            self.skipped.append(problem)

    def _open(self) -> None:
        first = self._source.peek()
        if first < 0:
            raise Malformed("the file holds only white space" if self._source.offset else "the file is empty")
        if first == 0xEF:
            raise Malformed("no JSON: the file begins with a byte order mark")
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
        """The field of an index that Go takes `spelt` for, or `spelt`."""
        name = _FOLDED.get(gojson.fold(spelt), spelt)
        if name != spelt:
            self.odd.append(shorten(f"{spelt} stands for {name}", 80))
        elif name in gojson.INDEX and name in self._seen:
            self.odd.append(f"{name} is there more than once")
        if name in gojson.INDEX:
            self._seen.add(name)
        del self.odd[_MAX_ODD:]
        return name

    def _manifests(self) -> Iterator[list[Descriptor]]:
        again = self.elements > 0
        if self.elements:
            self._restart()
            self.elements = self._untold = 0
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
        # Of a list that is there again and again, a try for each would read the next 256 KiB each time.
        pause = _MAX_PAUSE if again else 0
        longer = 1  # a try that fails costs as much as walking over many elements: twice as many before the next one
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
        """Many elements and the comma behind them; None, and nothing has moved, where no cut was found."""
        source = self._source
        size = min(WINDOW, self._limits.descriptor_bytes)  # so no element in it is larger than the limit
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
        """The usable descriptors of an array; None where `text` is no array, or an empty one."""
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
                if all(map(_canonical, map(_digest_of, found))):
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
            elif len(self.skipped) < self._limits.problems:
                self.skipped.append(Problem("bad-descriptor", f"manifests[{self.elements}]", shorten(one)))
            else:
                self._untold += 1
            self.elements += 1
        return usable


def _cuts(buffer: bytes, begin: int, end: int) -> list[int]:
    """Where commas stand that may be between two elements, the last ones first."""
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
