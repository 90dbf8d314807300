"""Which of some known words a mistyped one probably means. Loaded only for a message about an error."""

from __future__ import annotations

from catalog.names.escape import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


_LONGEST = 200


def nearest(text: str, known: Iterable[str]) -> str | None:
    """Return the known word that is most like `text`, or None if none is like it. The letter case does not matter."""
    import difflib  # The configuration needs this module, and hardly ever a message.

    words = {word.lower(): word for word in known}
    found = difflib.get_close_matches(text.lower(), words, 1)
    return words[found[0]] if found and words[found[0]] != text else None


def nearest_option(text: str, known: Iterable[str]) -> str | None:
    """Return the known option that is most like `text`. The dashes do not count: they would make all options alike."""
    names = {word.lstrip("-"): word for word in known}
    found = nearest(text.lstrip("-")[:_LONGEST], names)
    return None if found is None else names[found]


def did_you_mean(text: str, known: Iterable[str]) -> str:
    """Return `did you mean 'WORD'? ` for the nearest known word, with a space at the end; empty if there is none."""
    word = nearest(text[:_LONGEST], known)
    return "" if word is None else f"did you mean '{shown(word)}'? "
