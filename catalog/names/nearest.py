"""Which of some known words a mistyped one probably means. Loaded only for a message about an error."""

from __future__ import annotations

from catalog.names.escape import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


_LONGEST = 100
"""Characters of a word that is compared. Comparing takes up to the third power of that, and words come from layouts, too."""


def nearest(text: str, known: Iterable[str]) -> str | None:
    """Return the known word that is most like `text`, or None if none is like it, or it is too long. The case does not matter."""
    import difflib  # The configuration needs this module, and hardly ever a message.

    if len(text) > _LONGEST:
        return None
    words = {word.lower(): word for word in known if len(word) <= _LONGEST}
    found = difflib.get_close_matches(text.lower(), words, 1)
    return words[found[0]] if found and words[found[0]] != text else None


def nearest_option(text: str, known: Iterable[str]) -> str | None:
    """Return the known option that is most like `text`. The dashes do not count: they would make all options alike."""
    names = {word.lstrip("-"): word for word in known}
    found = nearest(text.lstrip("-"), names)
    return None if found is None else names[found]


def did_you_mean(text: str, known: Iterable[str]) -> str:
    """Return `did you mean 'WORD'? ` for the nearest known word, with a space at the end; empty if there is none."""
    word = nearest(text, known)
    return "" if word is None else f"did you mean '{shown(word)}'? "
