"""Split the text of a Dockerfile into instructions, as BuildKit's frontend/dockerfile/parser does.

Parser directives (`# escape=`) are at the top. A line is continued if it ends with a single escape character; comments and
empty lines in between are skipped. Only RUN, COPY and ADD can have heredocs, even after ONBUILD, and only in their shell form.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from catalog.dockerfile.expand import SPACE, BadWord, heredoc_names
from catalog.errors import InvalidDockerfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_LINE = 65535
"""The maximum length of a line in bytes, which is BuildKit's own limit (bufio.MaxScanTokenSize)."""

NAMES = frozenset(
    (
        "add", "arg", "cmd", "copy", "entrypoint", "env", "expose", "from", "healthcheck", "label", "maintainer",
        "onbuild", "run", "shell", "stopsignal", "user", "volume", "workdir",
    )
)  # fmt: skip
_WITH_HEREDOCS = ("add", "copy", "run")
_DIRECTIVES = ("syntax", "escape", "check")
_BLANKS = "\t\v\f\r "
"""reWhitespace: the separators of words in an instruction."""
_ASCII_SPACE = "\t\n\f\r "
"""The characters that `\\s` matches in Go's regular expressions."""
_BLANKS_TO_SPACES = dict.fromkeys(map(ord, _BLANKS), " ")


class Instruction(NamedTuple):
    """An instruction: the number of its first line, its name in lower case, its flags as written, and the rest."""

    line: int
    name: str
    flags: list[str]
    rest: str

    def values(self, flag: str) -> list[str]:
        """Return the values of a flag (`--from=x`), in order. Raises InvalidDockerfile if one has no value."""
        found = []
        for each in self.flags:
            name, equals, value = each.partition("=")
            if name == f"--{flag}":
                if not equals:
                    raise invalid(self.line, f"--{flag} has no value")
                found.append(value)
        return found

    def value(self, flag: str) -> str:
        """Return the value of a flag, or "" if it is not given. Raises InvalidDockerfile if it is given twice."""
        found = self.values(flag)
        if len(found) > 1:
            raise invalid(self.line, f"--{flag} is given twice")
        return found[0] if found else ""

    def words(self) -> list[str]:
        """Return the words after the flags, split at white space."""
        return [word for word in self.rest.translate(_BLANKS_TO_SPACES).split(" ") if word]


def invalid(line: int, what: str) -> InvalidDockerfile:
    """Return the error for a line of the Dockerfile."""
    return InvalidDockerfile(f"line {line} of the Dockerfile: {what}")


def parse(text: str) -> tuple[list[Instruction], str]:
    """Return the instructions of a Dockerfile and its escape character. Raises InvalidDockerfile."""
    lines = text.removeprefix("\ufeff").split("\n")
    if lines[-1] == "":
        lines.pop()
    escape = _directives(lines)
    found: list[Instruction] = []
    numbered = iter(enumerate(map(_cut, lines), 1))
    for number, line in numbered:
        _check_length(number, line)
        first = line.lstrip(SPACE)
        whole = _logical("" if first.startswith("#") else first, numbered, escape)
        if whole is None:
            continue
        instruction = split(number, whole)
        if instruction.name not in NAMES:
            raise invalid(number, "this is not an instruction that BuildKit knows")
        if "<<" in whole and _can_have_heredocs(instruction):
            _skip_heredocs(number, whole, numbered)
        found.append(instruction)
    return found, escape


def split(number: int, line: str) -> Instruction:
    """Parse a logical line into an instruction (split_command.go)."""
    line = line.strip(SPACE)
    end = next((place for place, each in enumerate(line) if each in _BLANKS), len(line))
    flags, rest = _flags(line[end:])
    return Instruction(number, line[:end].lower(), flags, rest.strip(SPACE))


def quoted_words(text: str, escape: str) -> list[str]:
    """Return the words of an ARG (line_parsers.go, `parseWords`). Quoted spaces do not separate words; quotes are kept."""
    words: list[str] = []
    word: list[str] = []
    quote = ""
    characters = iter(text)
    for each in characters:
        if not quote and each in SPACE:
            if word:
                words.append("".join(word))
                word = []
            continue
        if each == escape and quote != "'":
            following = next(characters, "")
            if following:  # at the end of the line, the escape character is dropped
                word += (each, following)
            continue
        if quote:
            quote = "" if each == quote else quote
        elif each in "'\"":
            quote = each
        word.append(each)
    return [*words, "".join(word)] if word else words


def _cut(line: str) -> str:
    return line.rstrip("\r")


def _check_length(number: int, line: str) -> None:
    if len(line) > MAX_LINE or len(line.encode("utf-8", "surrogateescape")) > MAX_LINE:
        raise invalid(number, f"it is longer than {MAX_LINE} bytes, which is BuildKit's limit")


def _directives(lines: list[str]) -> str:
    """Return the escape character from the directives at the top (directives.go). Any other line ends the directives."""
    escape = "\\"
    seen: set[str] = set()
    for number, line in enumerate(lines, 1):
        text = _cut(line).lstrip(SPACE)
        name, equals, value = text[1:].partition("=")
        name, value = name.lstrip(SPACE).rstrip(_ASCII_SPACE).lower(), value.strip(_ASCII_SPACE)
        if not text.startswith("#") or not equals or not value or name not in _DIRECTIVES:
            break
        if name in seen:
            raise invalid(number, f"the directive {name} is given twice")
        seen.add(name)
        if name == "escape":
            if value not in ("\\", "`"):
                raise invalid(number, "the escape character must be \\ or `")
            escape = value
    return escape


def _logical(first: str, numbered: Iterator[tuple[int, str]], escape: str) -> str | None:
    """Return the line `first` joined with its continuation lines, or None if it is empty."""
    line, goes_on = _continues(first, escape)
    if not goes_on:
        return line or None
    parts = [line]
    for number, more in numbered:
        _check_length(number, more)
        bare = more.lstrip(SPACE)
        if not bare or bare.startswith("#"):
            continue
        line, goes_on = _continues(more, escape)
        parts.append(line)
        if not goes_on:
            break
    return "".join(parts)


def _continues(line: str, escape: str) -> tuple[str, bool]:
    """Return the line without a trailing escape character, and whether it had one."""
    bare = line.rstrip(" \t")
    if bare.endswith(escape) and not bare[:-1].endswith(escape):
        return bare[:-1], True
    return line, False


def _flags(text: str) -> tuple[list[str], str]:
    """Return the leading words that begin with `--`, without quotes and backslashes, and the text after them.

    BuildKit treats each byte as a character here.
    """
    if not text.isascii():
        flags, rest = _flags_of_bytes(text.encode("utf-8", "surrogateescape").decode("latin-1"))
        return flags, rest.encode("latin-1").decode("utf-8", "surrogateescape")
    return _flags_of_bytes(text)


def _flags_of_bytes(text: str) -> tuple[list[str], str]:
    flags: list[str] = []
    word: list[str] = []
    position, quote, is_quoted, inside = 0, "", False, False
    while position < len(text):
        character = text[position]
        if not inside:
            if character in SPACE:
                position += 1
                continue
            if not text.startswith("--", position):
                return flags, text[position:]
            inside, is_quoted, word = True, False, []
        if not quote and character in SPACE:
            if "".join(word) == "--":
                return flags, text[position:]
            if word or is_quoted:
                flags.append("".join(word))
            inside = False
        elif quote and character == quote:
            quote = ""
        elif not quote and character in "'\"":
            quote, is_quoted = character, True
        elif character != "\\":
            word.append(character)
        elif position + 1 < len(text):
            position += 1
            word.append(text[position])
        position += 1
    if inside and "".join(word) != "--" and (word or is_quoted):
        flags.append("".join(word))
    return flags, ""


def _can_have_heredocs(instruction: Instruction) -> bool:
    if instruction.name == "onbuild":
        instruction = split(instruction.line, instruction.rest)
    return instruction.name in _WITH_HEREDOCS and not _is_json(instruction.rest)


def _is_json(text: str) -> bool:
    """Return whether the text after an instruction's name is a list of strings (the exec form)."""
    if not text.startswith("["):
        return False
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return all(isinstance(each, str) for each in found)


def _skip_heredocs(number: int, line: str, numbered: Iterator[tuple[int, str]]) -> None:
    """Skip the heredocs that a line begins, one after the other."""
    try:
        names = heredoc_names(line)
    except BadWord as error:
        raise invalid(number, f"its heredoc cannot be parsed: {error}") from error
    for name, is_chomped in names:
        for where, each in numbered:
            _check_length(where, each)
            if (each.lstrip("\t") if is_chomped else each) == name:
                break
        else:
            raise invalid(number, "its heredoc never ends")
