r"""Expand the words of a Dockerfile: quotes, escapes and variables, as in BuildKit's frontend/dockerfile/shell/lex.go.

    $x ${x}                     the value, or nothing if x is unset
    ${x:-w} ${x-w}              w if x is unset (with the colon: unset or empty)
    ${x:+w} ${x+w}              w if x is set (with the colon: set and not empty)
    ${x:?w} ${x?w}              an error with the message w if x is unset (with the colon: unset or empty)
    ${x#p} ${x##p}              x without the shortest or longest prefix that matches p
    ${x%p} ${x%%p}              x without the shortest or longest suffix that matches p
    ${x/p/r} ${x//p/r}          x with the first match or all matches of p replaced by r
    'literal' "with $x" \x      quotes and the escape character

A Dockerfile is not trusted, so the length and the nesting of all its expansions are limited.
"""

from __future__ import annotations

from catalog.dockerfile import wildcards

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_WORD = 64 * 1024
"""The maximum length of one expanded word, in characters."""
MAX_WORK = 4 * 1024 * 1024
"""The maximum length of all expansions of a Dockerfile together, in characters. Matching patterns counts as well."""
MAX_DEPTH = 50
"""The maximum nesting of `${x:-${y:-...}}`."""

SPACE = "\t\n\v\f\r \x85\xa0"
"""The characters of Latin-1 that Go's unicode.IsSpace accepts."""
_BYTE_ORDER_MARK = "\ufeff"
_SPECIAL = "@*#?-$!0"


class BadWord(ValueError):
    """A word that BuildKit refuses."""


class TooMuch(BadWord):
    """A word that exceeds a limit of ocicat."""


class Expander:
    """Expands the words of one Dockerfile, and counts their lengths against MAX_WORK."""

    def __init__(self, escape: str) -> None:
        self._escape = escape
        self._left = MAX_WORK

    def word(self, text: str, values: Mapping[str, str]) -> str:
        """Return `text` with quotes removed and variables replaced. Raises BadWord."""
        if not any(each in text for each in ("$", "'", '"', _BYTE_ORDER_MARK, self._escape)):
            return text
        lexer = _Lexer(text, values, self._escape, self._left)
        written = lexer.run(None)
        self._left = lexer.left
        if len(written) > MAX_WORD:
            raise TooMuch(f"its variables expand to more than {MAX_WORD} characters")
        return written


def heredoc_names(line: str) -> list[tuple[str, bool]]:
    """Return the heredocs that a line begins: the word that ends each, and whether the leading tabs of its lines are removed (`<<-`).

    As in BuildKit, a line with unbalanced quotes begins none. Raises BadWord.
    """
    try:
        words = _Lexer(line, {}, "\\", MAX_WORK, raw=True).words()
    except TooMuch:
        raise
    except BadWord:
        return []
    found = []
    for word in words:
        descriptor, mark, rest = word.partition("<<")
        if not mark or "<" in rest or (descriptor and not (descriptor.isascii() and descriptor.isdigit())):
            continue
        is_chomped = rest.startswith("-")
        rest = rest.removeprefix("-").lstrip(SPACE)
        names = _Lexer(rest, {}, "\\", MAX_WORK, keep_unset=True).words()
        if len(names) == 1:
            found.append((names[0], is_chomped))
    return found


class _Lexer:
    """Expands one text. `raw` keeps quotes, escapes and unset variables as written; `keep_unset` only unset variables."""

    def __init__(
        self,
        text: str,
        values: Mapping[str, str],
        escape: str,
        left: int,
        *,
        raw: bool = False,
        keep_unset: bool = False,
    ) -> None:
        self._text = text.removeprefix(_BYTE_ORDER_MARK)  # as Go's text/scanner does
        self._values = values
        self._escape = escape
        self._raw_quotes = raw
        self._raw_escapes = raw
        self._keep_unset = raw or keep_unset
        self._at = 0
        self._depth = 0
        self.left = left
        self._pieces: list[tuple[str, bool]] = []

    def run(self, stop: str | None) -> str:
        """Return the expanded text up to `stop`, or all of it if `stop` is None (BuildKit's processStopOn). Raises BadWord."""
        written: list[str] = []
        special = {"'": self._single, '"': self._double, "$": self._dollar, "<": self._less}
        while self._at < len(self._text):
            character = self._text[self._at]
            if character == stop:
                self._at += 1
                return "".join(written)
            do = special.get(character)
            if do is not None:
                piece = do()
                splits = character == "$"
            else:
                self._at += 1
                piece, splits = character, True
                if character == self._escape:
                    piece = self._next()
                    if not piece:
                        if self._raw_escapes:
                            written.append(self._spend(character))
                        break
                    piece, splits = (character if self._raw_escapes else "") + piece, False
            written.append(self._spend(piece))
            if not self._depth:
                self._pieces.append((piece, splits))
        if stop is not None:
            raise BadWord(f"a {stop} is missing")
        return "".join(written)

    def words(self) -> list[str]:
        """Return the words of the text, split at spaces that are neither quoted nor escaped."""
        self.run(None)
        found: list[str] = []
        word: list[str] = []
        for piece, splits in self._pieces:
            if not splits:
                word += piece
                continue
            for character in piece:
                if character not in SPACE:
                    word.append(character)
                elif word:
                    found.append("".join(word))
                    word = []
        return [*found, "".join(word)] if word else found

    def _next(self) -> str:
        """Return the next character and move past it; "" at the end."""
        character = self._text[self._at : self._at + 1]
        self._at += len(character)
        return character

    def _spend(self, text: str, work: int = 0) -> str:
        self.left -= max(len(text), work)
        if self.left < 0:
            raise TooMuch(f"the variables of this Dockerfile expand to more than {MAX_WORK} characters in all")
        return text

    def _single(self) -> str:
        end = self._text.find("'", self._at + 1)
        if end < 0:
            raise BadWord("a ' is missing")
        inside = self._text[self._at + 1 : end]
        self._at = end + 1
        return f"'{inside}'" if self._raw_quotes else inside

    def _double(self) -> str:
        quote = self._next() if self._raw_quotes else self._next()[:0]
        written = [quote]
        while True:
            character = self._text[self._at : self._at + 1]
            if not character:
                raise BadWord('a " is missing')
            if character == '"':
                self._at += 1
                return "".join((*written, quote))
            if character == "$":
                written.append(self._spend(self._dollar()))
                continue
            self._at += 1
            if character == self._escape:
                if self._raw_escapes:
                    written.append(character)
                following = self._text[self._at : self._at + 1]
                if not following:
                    continue
                if following in ('"', "$", self._escape):
                    character = self._next()
            written.append(character)

    def _less(self) -> str:
        """Consume and return `<`, or `<<` and the spaces after it, which may separate it from the word of a heredoc."""
        begin = self._at
        self._at += 1
        if self._text[self._at : self._at + 1] == "<":
            self._at += 1
            while self._at < len(self._text) and self._text[self._at] in SPACE:
                self._at += 1
        return self._text[begin : self._at]

    def _dollar(self) -> str:
        self._at += 1
        if self._text[self._at : self._at + 1] != "{":
            name = self._name()
            if not name:
                return "$"
            return f"${name}" if self._keep_unset and name not in self._values else self._values.get(name, "")
        self._at += 1
        following = self._text[self._at : self._at + 1]
        if not following:
            raise BadWord("a } is missing")
        if following in "{}:":
            raise BadWord("${ is not followed by a name")
        if self._depth >= MAX_DEPTH:
            raise TooMuch(f"its variables are nested deeper than {MAX_DEPTH}")
        self._depth += 1
        try:
            return self._braces()
        finally:
            self._depth -= 1

    def _braces(self) -> str:
        name = self._name()
        modifier = self._next()
        value = self._values.get(name)
        if modifier == "}":
            return f"${{{name}}}" if self._keep_unset and value is None else value or ""
        if modifier == "/":
            return self._replacement(name, value)
        colon = ""
        if modifier == ":":
            colon, modifier = modifier, self._next()
        if not modifier:
            raise BadWord("a } is missing")
        if not colon and modifier not in "+-?#%":
            raise BadWord(f"${{{name}{modifier} is not supported by BuildKit")
        word = self._inside("}", raw=modifier in "#%")
        if self._keep_unset and value is None:
            return f"${{{name}{colon}{modifier}{word}}}"
        is_absent = value is None or (bool(colon) and not value)
        if modifier == "-":
            return word if is_absent else value or ""
        if modifier == "+":
            return "" if is_absent else word
        if modifier == "?":
            if is_absent:
                raise BadWord(f"{name}: {word or 'it has no value'}; give it with --build-arg {name}=VALUE")
            return value or ""
        if modifier not in "#%":
            raise BadWord(f"${{{name}:{modifier} is not supported by BuildKit")
        is_longest = word.startswith(modifier)
        pattern = word[1:] if is_longest else word
        trim = wildcards.trim_prefix if modifier == "#" else wildcards.trim_suffix
        self._spend("", len(value or "") * (1 + len(pattern)))
        try:
            return trim(value or "", pattern, longest=is_longest)
        except wildcards.BadPattern as error:
            raise BadWord(str(error)) from error

    def _replacement(self, name: str, value: str | None) -> str:
        every = self._text.startswith("/", self._at)
        self._at += every
        pattern = self._inside("/", raw=True)
        replacement = self._inside("}", raw=True)
        if self._keep_unset and value is None:
            return f"${{{name}/{pattern}/{replacement}}}"
        value = value or ""
        self._spend("", len(value) * (1 + len(pattern)) + (len(value) + 1) * len(replacement))
        try:
            return wildcards.replace(value, pattern, replacement, every=every)
        except wildcards.BadPattern as error:
            raise BadWord(str(error)) from error

    def _inside(self, stop: str, *, raw: bool) -> str:
        before, self._raw_escapes = self._raw_escapes, raw
        try:
            return self.run(stop)
        finally:
            self._raw_escapes = before

    def _name(self) -> str:
        """Consume and return the name of a variable, "" if there is none.

        It consists of letters, digits and `_`, or of digits alone, or is a special parameter of the shell, which has no value here.
        """
        text, begin = self._text, self._at
        first = text[begin : begin + 1]
        end = begin
        if first.isdecimal():
            while end < len(text) and text[end].isdecimal():
                end += 1
        elif first and first in _SPECIAL:
            end += 1
        else:
            while end < len(text) and (text[end].isalpha() or text[end].isdecimal() or text[end] == "_"):
                end += 1
        self._at = end
        return text[begin:end]
