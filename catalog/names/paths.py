"""Paths and names of stores as the catalog keeps them (docs/scripts.md)."""

from __future__ import annotations

import os

from catalog.errors import UsageError
from catalog.names.escape import shown
from catalog.names.limits import KEY_BYTES, PATH_BYTES

MAX_PATH = 4096
"""Bytes of a path that the kernel takes (PATH_MAX)."""
MAX_LINKS = 40
"""Links in one path that the kernel follows."""


def encode_path(path: str) -> tuple[str, bytes | None]:
    """`path` as text, and its bytes where it is not UTF-8: such a path is kept percent-encoded, to be printed and bound."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        raw = os.fsencode(path)
        return "".join(chr(b) if 0x20 <= b < 0x7F and b != 0x25 else f"%{b:02X}" for b in raw), raw
    return path, None


def decode_path(path: str, path_bytes: bytes | None) -> str:
    """The path to open: what `encode_path` was given."""
    return path if path_bytes is None else os.fsdecode(path_bytes)


def is_too_long(path: str) -> bool:
    """Whether `path`, as the catalog keeps it, or a name made of it would take more than PATH_BYTES."""
    if len(path) <= PATH_BYTES // 12:  # four bytes a character, three for each of them
        return False
    # Of a path below a root the name has less: the rest is the root's own name, of at most KEY_BYTES.
    return max(len(text.encode("utf-8", "replace")) for text in (encode_path(path)[0], _encoded(path))) > PATH_BYTES


def kept_path(path: str) -> str:
    """The absolute path under which `path` is registered: its parents resolved, a link as its last component kept.

    `link/.` is the directory that the link leads to. Raises UsageError for a path that is too long to be opened: each of its
    components would be looked up on its own.
    """
    if len(path) > MAX_PATH:
        raise UsageError(f"too long a path: {shown(path, 60)}: it has at most {MAX_PATH} bytes")
    head, tail = os.path.split(path.rstrip("/"))
    if tail in ("", ".", ".."):
        return os.path.realpath(path)
    return os.path.join(os.path.realpath(head), tail)


def registered_as(path: str) -> list[str]:
    """The paths under which the directory `path` may be registered, that with the most links in it first.

    A store or a root is registered with one link, its last component, and a store that was found below such a root has it
    in the middle of its path. Where no link is in `path` there is one answer; there is none for a path that is too long to
    be opened.
    """
    found = prefixes_registered_as(path)
    return found[-1][1] if found and found[-1][0] == len(path) else []


def prefixes_registered_as(path: str) -> list[tuple[int, list[str]]]:
    """What `registered_as` returns for each beginning of `path` that ends before a slash or at the end, the shortest first.

    Each comes as its length and those paths. All of them take one walk along `path`. Beginnings that are too long to be
    opened are left out; links behind the first MAX_LINKS are not followed.
    """
    spelt = ["/"] if path.startswith("/") else [os.getcwd()]
    found: list[tuple[int, list[str]]] = []
    length = links = 0
    for number, part in enumerate(path.split("/")):
        length += len(part) + (number > 0)
        if length > MAX_PATH:
            break  # however short it is without '..' and empty parts, the kernel takes no such path
        if part == "..":
            spelt = [os.path.dirname(spelt[-1])]
        elif part not in ("", "."):
            spelt = [f"/{part}" if each == "/" else f"{each}/{part}" for each in spelt]
            real = spelt[-1]
            if len(real) > MAX_PATH:
                break
            if links < MAX_LINKS and os.path.islink(real):
                links += 1
                real = os.path.realpath(real)
                spelt = list(dict.fromkeys((*spelt, real)))
                spelt.append(spelt.pop(spelt.index(real)))
        found.append((length, spelt))
    return found


def derived_name(path: str, root_path: str | None = None, root_name: str | None = None) -> str:
    """The name of a layout: its directory's, or `ROOT/relative/path` where it was found below a root.

    `:`, `@`, `%`, white space and control characters are percent-encoded, and a leading dot, which would read as a path.
    """
    if root_path is not None and root_name is not None:
        relative = os.path.relpath(path, root_path)
        return root_name if relative == "." else f"{root_name}/{_encoded(relative)}"
    name = _encoded(os.path.basename(path)) or "root"
    return f"%2E{name[1:]}" if name.startswith(".") else name


def checked_name(name: str) -> str:
    """`name` as `--name` takes it; raises UsageError with the rule it breaks."""
    if not name or name[0] in "/." or any(c in ":@" or c.isspace() or not c.isprintable() for c in name):
        raise UsageError(
            f"no name: {shown(name)}: it has no ':', '@', white space or control character, "
            "and begins with neither '/' nor '.'"
        )
    if len(name.encode("utf-8", "replace")) > KEY_BYTES:
        raise UsageError(f"too long a name: {shown(name, 60)}: it has at most {KEY_BYTES} bytes")
    return name


def _encoded(text: str) -> str:
    pieces: list[str] = []
    for character in text:
        if character in ":@%" or character.isspace() or not character.isprintable():
            pieces += [f"%{byte:02X}" for byte in os.fsencode(character)]
        else:
            pieces.append(character)
    return "".join(pieces)
