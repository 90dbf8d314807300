"""Find the known word that a mistyped one probably means. Loaded only for an error message."""

from __future__ import annotations

from catalog.names.escape import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


_LONGEST = 100
"""The longest word that is compared, in characters. Comparing takes cubic time at worst, and some words come from layouts."""


def nearest(text: str, known: Iterable[str]) -> str | None:
    """Return the known word most similar to `text`, ignoring case, or None if no word is similar or `text` is too long."""
    import difflib  # Imported here, because the configuration imports this module but hardly ever needs the message.

    if len(text) > _LONGEST:
        return None
    words = {word.lower(): word for word in known if len(word) <= _LONGEST}
    found = difflib.get_close_matches(text.lower(), words, 1)
    return words[found[0]] if found and words[found[0]] != text else None


def nearest_option(text: str, known: Iterable[str]) -> str | None:
    """Return the known option most similar to `text`, or None. Dashes are ignored, because they make all options similar."""
    names = {word.lstrip("-"): word for word in known}
    found = nearest(text.lstrip("-"), names)
    return None if found is None else names[found]


def did_you_mean(text: str, known: Iterable[str]) -> str:
    """Return `did you mean 'WORD'? ` for the nearest known word, with a space at the end, or "" if there is none."""
    word = nearest(text, known)
    return "" if word is None else f"did you mean '{shown(word)}'? "
