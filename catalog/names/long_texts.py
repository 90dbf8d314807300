"""Match a glob against a long text, in time that does not grow with the product of their lengths.

A regular expression that tries each position of the text takes a number of steps in proportion to that product: a label of 4 MiB and
a pattern of 8,000 characters take half a minute, in which no other thread of the process runs. Here a part of the glob without
wildcards is found by `str.find`, which is linear. A part with `?` or classes is found by Shift-And (Baeza-Yates and Gonnet, 1992):
an integer has one bit for each prefix of the part that ends at the current character, and one arithmetic step advances all of them.
"""

from __future__ import annotations

from bisect import bisect_right

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Piece = tuple[str, bool]
    Ranges = Callable[[str], tuple[list[tuple[str, str]], bool]]
    """A function that parses a class and returns the ranges of its members, and whether the class is negated."""


class LongMatch:
    """A glob. `parts` are the parts between the stars, each a list of pieces as in catalog.names.pattern; `ranges` parses a class."""

    def __init__(self, parts: Sequence[Sequence[Piece]], ranges: Ranges) -> None:
        self._parts = [_Part(part, ranges) for part in parts]

    def __call__(self, text: str) -> bool:
        """Return whether all of `text` matches."""
        first, *others = self._parts
        if not others:
            return len(text) == first.length and first.is_at(text, 0)
        *middle, last = others
        end = len(text) - last.length
        if end < first.length or not first.is_at(text, 0) or not last.is_at(text, end):
            return False
        at = first.length
        for part in middle:
            at = part.behind(text, at, end)
            if at < 0:
                return False
        return True


class _Part:
    """A part of a glob without `*`, which therefore matches a fixed number of characters."""

    def __init__(self, pieces: Sequence[Piece], ranges: Ranges) -> None:
        self.length = len(pieces)
        self._literal = None if any(wild for _, wild in pieces) else "".join(token for token, _ in pieces)
        if self._literal is not None:
            return
        self._any = 0
        """The positions in the part that match any character, as bits."""
        self._single: dict[str, int] = {}
        """For each literal character, the positions that match it, as bits."""
        bounds = {"\0"}
        classes: list[tuple[int, list[tuple[str, str]], bool]] = []
        for place, (token, wild) in enumerate(pieces):
            if token == "?" and wild:  # noqa: S105 - a piece of a pattern
                self._any |= 1 << place
            elif not wild:
                self._single[token] = self._single.get(token, 0) | 1 << place
            else:
                found, negated = ranges(token)
                classes.append((place, found, negated))
                for low, high in found:
                    bounds |= {low, chr(min(ord(high) + 1, 0x10FFFF))}
        self._bounds = sorted(bounds)
        self._classes = classes
        self._known: dict[int, int] = {}

    def is_at(self, text: str, at: int) -> bool:
        """Return whether the part matches the text at position `at`."""
        if self._literal is not None:
            return text.startswith(self._literal, at)
        return all(self._places(text[at + place]) >> place & 1 for place in range(self.length))

    def behind(self, text: str, begin: int, end: int) -> int:
        """Return the end of the first match of the part between two positions in `text`, or -1 if there is none."""
        if self._literal is not None:
            found = text.find(self._literal, begin, end)
            return found if found < 0 else found + self.length
        whole = 1 << self.length - 1
        begun = 0
        for at in range(begin, end):
            begun = (begun << 1 | 1) & self._places(text[at])
            if begun & whole:
                return at + 1
        return -1

    def _places(self, character: str) -> int:
        """Return the positions in the part that match the character, as bits."""
        single = self._single.get(character, 0)
        if not self._classes:
            return self._any | single
        # All characters between two neighbouring bounds are in the same classes.
        between = bisect_right(self._bounds, character) - 1
        places = self._known.get(between)
        if places is None:
            low = self._bounds[between]
            places = self._any
            for place, ranges, negated in self._classes:
                places |= int(any(first <= low <= last for first, last in ranges) != negated) << place
            self._known[between] = places
        return places | single
