"""The form in which the catalog stores paths and names of stores (docs/scripts.md)."""

from __future__ import annotations

import os

from catalog.errors import UsageError
from catalog.names.escape import shown
from catalog.names.limits import KEY_BYTES, PATH_BYTES

MAX_PATH = 4096
"""The longest path that the kernel accepts, in bytes (PATH_MAX)."""
MAX_LINKS = 40
"""How many symbolic links the kernel follows in one path."""


def encode_path(path: str) -> tuple[str, bytes | None]:
    """Return `path` as text that can be stored, and None. If it is not UTF-8, return it percent-encoded, and its bytes."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        raw = os.fsencode(path)
        return "".join(chr(b) if 0x20 <= b < 0x7F and b != 0x25 else f"%{b:02X}" for b in raw), raw
    return path, None


def decode_path(path: str, path_bytes: bytes | None) -> str:
    """Return the path to open: the inverse of `encode_path`."""
    return path if path_bytes is None else os.fsdecode(path_bytes)


def is_too_long(path: str) -> bool:
    """Return whether `path` takes more than PATH_BYTES in the catalog, either as a path or as encoded in a name."""
    if len(path) <= PATH_BYTES // 12:  # at most four bytes per character, each percent-encoded as three
        return False
    # The name of a store below a root is the root's own name, of at most KEY_BYTES, followed by part of this path.
    return max(len(text.encode("utf-8", "replace")) for text in (encode_path(path)[0], _encoded(path))) > PATH_BYTES


def real_path(path: str) -> str:
    """Return the absolute form of `path` with all symbolic links resolved. The path need not exist.

    If a link in it cannot be read (such as `/proc/1/root`, which most users cannot read), no link is resolved.
    """
    try:
        return os.path.realpath(path)  # noqa: TID251 - errors are caught here
    except OSError:
        return os.path.abspath(path)


def kept_path(path: str) -> str:
    """Return the absolute path under which `path` is registered.

    Links in its parents are resolved; a link as the last component is kept. `link/.` is the target of the link. Raises
    UsageError for a path that is too long to be opened; resolving it would mean looking up each of its components.
    """
    if len(path) > MAX_PATH:
        raise UsageError(f"the path {shown(path, 60)} is too long: it may have at most {MAX_PATH} bytes")
    head, tail = os.path.split(path.rstrip("/"))
    if tail in ("", ".", ".."):
        return real_path(path)
    return os.path.join(real_path(head), tail)


def registered_as(path: str) -> list[str]:
    """Return the paths under which the directory `path` may be registered, the one with the most links first.

    A store or root may be registered as a link (its last component), and a store found below such a root has that link
    in the middle of its path. The list has one path if there are no links, and is empty if `path` is too long to be opened.
    """
    found = prefixes_registered_as(path)
    return found[-1][1] if found and found[-1][0] == len(path) else []


def prefixes_registered_as(path: str) -> list[tuple[int, list[str]]]:
    """Return what `registered_as` returns for `path` and each parent directory of it, the shortest first.

    Each item is the length of that prefix of `path`, and its list of paths. One walk along `path` finds them all.
    Prefixes that are too long to be opened are left out, and links after the first MAX_LINKS are not followed.
    """
    spelt = ["/"] if path.startswith("/") else [os.getcwd()]
    found: list[tuple[int, list[str]]] = []
    length = links = 0
    for number, part in enumerate(path.split("/")):
        length += len(part) + (number > 0)
        if length > MAX_PATH:
            break  # the kernel refuses such a path, even if it would be short without '..' and empty parts
        if part == "..":
            spelt = [os.path.dirname(spelt[-1])]
        elif part not in ("", "."):
            spelt = [f"/{part}" if each == "/" else f"{each}/{part}" for each in spelt]
            real = spelt[-1]
            if len(real) > MAX_PATH:
                break
            if links < MAX_LINKS and os.path.islink(real):
                links += 1
                real = real_path(real)
                spelt = list(dict.fromkeys((*spelt, real)))
        found.append((length, spelt))
    return found


def derived_name(path: str, root_path: str | None = None, root_name: str | None = None) -> str:
    """Return the default name of a layout: its directory's name, or `ROOT/relative/path` if it was found below a root.

    `:`, `@`, `%`, white space and unprintable characters are percent-encoded. So is a leading dot, because a reference
    that begins with one is a path.
    """
    if root_path is not None and root_name is not None:
        relative = os.path.relpath(path, root_path)
        return root_name if relative == "." else f"{root_name}/{_encoded(relative)}"
    name = _encoded(os.path.basename(path)) or "root"
    return f"%2E{name[1:]}" if name.startswith(".") else name


def checked_name(name: str) -> str:
    """Return `name` if it is valid for `--name`. Raises UsageError, which states the rule that `name` breaks."""
    if not name or name[0] in "/." or any(c in ":@" or c.isspace() or not c.isprintable() for c in name):
        raise UsageError(
            f"invalid name '{shown(name)}': a name must not contain ':', '@', white space or control characters, "
            "or begin with '/' or '.'"
        )
    if len(name.encode("utf-8", "replace")) > KEY_BYTES:
        raise UsageError(f"the name {shown(name, 60)} is too long: it may have at most {KEY_BYTES} bytes")
    return name


def _encoded(text: str) -> str:
    pieces: list[str] = []
    for character in text:
        if character in ":@%" or character.isspace() or not character.isprintable():
            pieces += [f"%{byte:02X}" for byte in os.fsencode(character)]
        else:
            pieces.append(character)
    return "".join(pieces)
