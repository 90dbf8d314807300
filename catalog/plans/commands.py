"""A copy plan in a form for other programs: a list of files for rsync, or skopeo commands."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence

from catalog.errors import UsageError
from catalog.names.escape import shown
from catalog.names.paths import real_path
from catalog.names.platform import Platform
from catalog.plans.copy import Copied, CopyPlan, Listed
from catalog.plans.destination import Destination, elements, ref_name


def rsync_line(row: Copied) -> bytes:
    """Return a line for `rsync --files-from`, with `/` as the source and the destination's directory of blobs as the target.

    `/./` marks where the path below that directory begins. Raises UsageError for a path that contains a newline.
    """
    directory, algorithm, encoded = row.source.rsplit("/", 2)
    if "\n" in row.source or "\r" in row.source:
        raise UsageError(
            f"{shown(row.source)} contains a newline, so rsync cannot take it from a list: use --format json"
        )
    return os.fsencode(f"{directory}/./{algorithm}/{encoded}\n")


def skopeo_commands(plan: CopyPlan, rows: Sequence[Copied], to: Destination) -> Iterator[str]:
    """Yield a skopeo command for each entry, quoted for a shell. `rows` are the blobs of the plan.

    Raises UsageError if skopeo cannot carry out the plan.
    """
    entries = plan.wanted if rows else plan.entries
    if to.host is not None:
        raise UsageError(f"skopeo cannot write to a store of another host ({shown(to.host)}): use --format rsync")
    sources = {each.store.name for each in entries}
    if rows and (unlisted := plan.unlisted()) is not None:
        raise UsageError(f"skopeo cannot copy {unlisted}, which index.json does not list: use --format rsync")
    for row in rows:
        if row.source_store not in sources:
            raise UsageError(
                f"{row.digest} has to come from {shown(row.source_store)}, but skopeo would read it from the image's own store:"
                " use --format rsync"
            )
    names = _Names()
    for each in entries:
        yield _command(each, rows, to, names)


def _command(entry: Listed, rows: Sequence[Copied], to: Destination, names: _Names) -> str:
    if "data" in entry.descriptor:
        raise UsageError(
            f"skopeo does not read a manifest from the field data ({entry.descriptor['digest']}): use --format rsync"
        )
    words = ["skopeo", "copy", "--preserve-digests"]
    if entry.platform is not None:
        words += _override(entry.platform)
    elif entry.is_index:
        words.append("--all")
    shared = entry.store.standing.shared_blobs
    if shared is not None:
        top = real_path(shared)
        if any(row.source_store == entry.store.name and not row.source.startswith(f"{top}/") for row in rows):
            raise UsageError(
                f"{shown(entry.store.name)} has blobs in two directories, and skopeo reads only one of them: use --format rsync"
            )
        words += ["--src-shared-blob-dir", shared]
    if to.shared is not None:
        words += ["--dest-shared-blob-dir", to.shared]
    words += [_reference(entry.store.standing.path, names.of(entry)), _reference(to.path, entry.ref_name)]
    return shlex.join(words)


class _Names:
    """The names by which skopeo finds images in stores: their `ref.name`, if only one entry of the store has it."""

    def __init__(self) -> None:
        self._stores: dict[int, tuple[dict[str, list[str]], Counter[str], int]] = {}

    def of(self, entry: Listed) -> str | None:
        """Return the name of an entry, or None if it has none and is the only entry of its store. Raises UsageError."""
        if entry.store.id not in self._stores:
            self._stores[entry.store.id] = self._read(entry.store.opened)
        by_digest, counted, count = self._stores[entry.store.id]
        digest = entry.descriptor["digest"]
        names = [entry.ref_name] if entry.ref_name is not None else by_digest.get(digest, ()) if entry.is_entry else ()
        for name in names:
            if counted[name] == 1:
                return name
        if count == 1 and (entry.is_entry or entry.platform is not None) and not names:
            return None
        raise UsageError(
            f"skopeo cannot address {digest} among the entries of {shown(entry.store.name)}: use --format rsync"
        )

    @staticmethod
    def _read(opened: str) -> tuple[dict[str, list[str]], Counter[str], int]:
        listed = elements(opened)
        by_digest: dict[str, list[str]] = {}
        counted: Counter[str] = Counter()
        for each in listed:
            name = ref_name(each)
            if name is not None:
                by_digest.setdefault(str(each.get("digest")), []).append(name)
                counted[name] += 1
        return by_digest, counted, len(listed)


def _override(platform: Platform) -> list[str]:
    words = ["--override-os", platform.os, "--override-arch", platform.arch]
    return [*words, "--override-variant", platform.variant] if platform.variant else words


def _reference(path: str, name: str | None) -> str:
    if ":" in path:
        raise UsageError(f"skopeo cannot use a path with a colon ({shown(path)}): use --format rsync")
    return f"oci:{path}" if name is None else f"oci:{path}:{name}"
