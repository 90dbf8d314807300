"""Derive the lookup keys of a descriptor (docs/resolution.md, "From an entry to its keys"), by a store's naming policy.

Keys are derived when `index.json`, the naming policy or these rules change. Other tools repeat this work in each lookup.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import NamedTuple

from catalog.errors import UsageError
from catalog.names.digest import is_docker_digest
from catalog.names.escape import shown
from catalog.names.limits import KEY_BYTES, MAX_NAMES, is_long
from catalog.names.reference import is_tag, repository_name, split_reference, split_repository

RULES_VERSION = 2
"""Increment this when the rules below change: the keys of every store are then derived again (`store.keyed_by`)."""

CONTAINERD = 0
"""The source of a key from `io.containerd.image.name` or the annotation of a naming policy. Such a key precedes one from `ref.name`."""
REF = 1
"""The source of a key from `org.opencontainers.image.ref.name`, or from the path of the store."""
DOCKER_SAVE = 2
"""The source of a key from the RepoTags that `docker save` writes beside a layout (catalog.layout.docker_save)."""
SOURCES = 3
"""The number of sources, each of which precedes the next one."""


_REMEMBERED = 300
"""The longest name whose parts are cached, in characters. Longer ones are rarely repositories, and a thousand would take much memory."""

REPO_TAGS = "RepoTags"
"""The subject of a problem with a name whose source is DOCKER_SAVE: the field that contains the name."""


class Key(NamedTuple):
    """A way to find a descriptor by name. `repository` is canonical (`docker.io/library/alpine`)."""

    repository: str | None
    tag: str | None
    source: int

    @property
    def name(self) -> str | None:
        """The full canonical name, `docker.io/library/alpine:3.16`; None if the repository or the tag is missing."""
        return None if self.repository is None or self.tag is None else f"{self.repository}:{self.tag}"


class NameProblem(NamedTuple):
    """A name that cannot be used, which `ocicat check` reports. `subject` is the field, setting or name, and `detail` the reason."""

    kind: str
    subject: str
    detail: str


# image-spec annotations.md: the grammar of org.opencontainers.image.ref.name.
# Possessive quantifiers match the same texts, because no part can match in two ways, but keep no state for backtracking. Without
# them, matching a name of 4 MiB takes 600 MiB.
_ALNUM = r"[A-Za-z0-9]++"
_COMPONENT = rf"{_ALNUM}(?:(?:--|[-._:@+]){_ALNUM})*+"
_REF_NAME = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*+\Z", re.ASCII)


def is_ref_name(text: str) -> bool:
    """Return whether `text` is a legal `org.opencontainers.image.ref.name` (image-spec annotations.md, as umoci checks it)."""
    return _REF_NAME.match(text) is not None


class Unnamed(NamedTuple):
    """The source of a name for an entry without one: another annotation, or the repository and tag in the path of its store.

    If `alone` is true, an entry gets that repository and tag only if it is the only entry of its layout.
    """

    annotation: str | None = None
    repository: str | None = None
    tag: str | None = None
    alone: bool = False


def derive_keys(
    ref_name: str | None,
    image_name: str | None,
    digest: str,
    repository: str | None,
    unnamed: Unnamed = Unnamed(),  # noqa: B008 - a constant
    other: str | None = None,
    saved_names: Sequence[str] = (),
) -> tuple[list[Key], list[NameProblem]]:
    """Return the keys of a descriptor, in the order of their sources, and the problems of its names.

    `digest` is the descriptor's digest. The store's naming policy provides `repository`, for a bare tag, and `unnamed`,
    for an entry without a name. `other` is the value of the annotation `unnamed.annotation`. `saved_names` are the names
    that `docker save` wrote beside the layout; each is read as `io.containerd.image.name` is.
    """
    keys = _Keys()
    problems = keys.problems
    if image_name is not None:
        _from_image_name(image_name, digest, keys)
    if ref_name is not None:
        if not ref_name:
            problems.append(NameProblem("unusable-name", "org.opencontainers.image.ref.name", "is empty"))
        # Old BuildKit joined several names with commas, which no grammar of names allows.
        for part in _parts(ref_name, problems) if "," in ref_name else (ref_name,):
            if part:
                _from_ref_name(part, digest, repository, keys)
    if other is not None and not keys.found:
        _from_image_name(other, digest, keys, unnamed.annotation or "")
    for name in saved_names:
        _from_image_name(name, digest, keys, REPO_TAGS, DOCKER_SAVE)
    if unnamed.tag is not None and ref_name is None and image_name is None and not keys.found:
        keys.add(Key(unnamed.repository, unnamed.tag, REF))
    return keys.found, problems


class _Keys:
    """Collects the keys of one descriptor, and its problems."""

    __slots__ = ("_tags", "_with_repository", "found", "problems")

    def __init__(self) -> None:
        self.found: list[Key] = []
        self.problems: list[NameProblem] = []

    def add(self, key: Key) -> None:
        """Add a key, unless it is too long or an earlier key already finds the same name."""
        repository, tag, _ = key
        text = f"{repository or ''}:{tag or ''}"
        if is_long(text):
            why = f"is longer than {KEY_BYTES} bytes and cannot be looked up"
            self.problems.append(NameProblem("long-name", shown(text, 60), why))
            return
        if not self.found:  # Hardly any entry has more than one key, so the sets are made only for the second.
            self.found.append(key)
            return
        if len(self.found) == 1:
            self._begin_sets(self.found[0])
        if (tag in self._tags) if repository is None else ((repository, tag) in self._with_repository):
            return
        self._tags.add(tag)
        self._with_repository.add((repository, tag))
        self.found.append(key)

    def _begin_sets(self, first: Key) -> None:
        # Sets, because comparing each name of a long list with all earlier keys would be quadratic.
        self._tags: set[str | None] = {first.tag}
        self._with_repository: set[tuple[str | None, str | None]] = {first[:2]}


def _parts(ref_name: str, problems: list[NameProblem]) -> list[str]:
    """Return the first MAX_NAMES names of a list, and append a problem if there are more."""
    parts = ref_name.split(",", MAX_NAMES)
    if len(parts) > MAX_NAMES and parts.pop():
        why = f"has more than {MAX_NAMES} names: only the first {MAX_NAMES} can be looked up"
        problems.append(NameProblem("long-name", "org.opencontainers.image.ref.name", why))
    return parts


def _from_image_name(
    text: str,
    digest: str,
    keys: _Keys,
    subject: str = "io.containerd.image.name",
    source: int = CONTAINERD,
) -> None:
    parts = split_named(text)
    if parts is None:
        why = f"is not an image reference: {shown(text)}" if text else "is empty"
        keys.problems.append(NameProblem("unusable-name", subject, why))
        return
    domain, path, tag, named_digest = parts
    if named_digest is not None and named_digest != digest:
        keys.problems.append(
            NameProblem("name-digest", subject, f"names a digest other than its descriptor's: {shown(text)}")
        )
        return
    if tag is None and named_digest is None:
        tag = "latest"
    keys.add(Key(repository_name(domain, path), tag, source))


def split_named(text: str) -> tuple[str, str, str | None, str | None] | None:
    """Return the result of `split_reference`, but faster if the repository of a tagged name was seen recently, as is usual in a layout."""
    name, colon, tag = text.rpartition(":")
    # Without its tag, a name of 64 hex digits would be taken for the id of an image. Another colon in `name` begins a port, or a tag,
    # which `split_repository` does not accept.
    if not colon or len(name) > _REMEMBERED or len(name) == 64 or "/" in tag or "@" in text:
        return split_reference(text)
    parts = remembered(name)
    return (*parts, tag, None) if parts is not None and is_tag(tag) else None


remembered = functools.lru_cache(maxsize=1024)(split_repository)


def _from_ref_name(text: str, digest: str, repository: str | None, keys: _Keys) -> None:
    subject = "org.opencontainers.image.ref.name"
    base, at, suffix = text.rpartition("@")
    pinned = bool(at) and (suffix == digest or is_docker_digest(suffix))
    if pinned and suffix != digest:
        keys.problems.append(
            NameProblem("name-digest", subject, f"names a digest other than its descriptor's: {shown(text)}")
        )
        return
    if not pinned:
        base = text
    elif not base:
        return  # containerd writes a bare `@sha256:...` for a name without a tag; the image name has the full name
    if is_tag(base):
        key = Key(repository, base, REF)
    elif (parts := split_named(base)) is not None and parts[3] is None:
        domain, path, tag, _ = parts
        # Docker adds `latest` only if there is neither a tag nor a digest (TagNameOnly).
        key = Key(repository_name(domain, path), tag or (None if pinned else "latest"), REF)
    else:
        key = Key(repository, base, REF)
        if not is_ref_name(text):
            keys.problems.append(NameProblem("unusable-name", subject, f"is not a legal ref.name: {shown(text)}"))
    keys.add(key)


class Naming(NamedTuple):
    """A store's naming policy (docs/resolution.md, "Naming policy: where the name is in the path").

    `kind` is `annotations`, `path`, `path:tag`, `fixed` or `annotation`. `name` is the repository of `fixed`, or the key
    of `annotation`.
    """

    kind: str
    name: str | None = None

    @classmethod
    def parse(cls, text: str) -> Naming:
        """Parse `annotations`, `path`, `path:tag`, `fixed=NAME` or `annotation=KEY`.

        Raises UsageError, which lists these, for anything else.
        """
        if text in ("annotations", "path", "path:tag"):
            return cls(text)
        kind, equals, name = text.partition("=")
        if kind == "annotation" and name and name.isprintable():
            return cls(kind, name)
        if kind != "fixed" or not equals:
            raise UsageError(
                f"unknown naming policy '{shown(text)}': "
                "use one of annotations, path, path:tag, fixed=NAME, annotation=KEY"
            )
        parts = split_repository(name)
        if parts is None:
            raise UsageError(
                f"fixed={shown(name)} is not a repository: write a name without tag or digest, as in fixed=alpine"
            )
        return cls("fixed", "/".join(part for part in parts if part))

    def __str__(self) -> str:
        return self.kind if self.name is None else f"{self.kind}={self.name}"

    @property
    def by_path(self) -> bool:
        """Whether this policy takes names from the path of the store."""
        return self.kind in ("path", "path:tag")

    def unnamed(self, relative_path: str | None, prefix: str | None) -> Unnamed:
        """Return the source of a name for an entry without one. Takes the same arguments as `repository`."""
        if self.kind == "annotation":
            return Unnamed(annotation=self.name)
        above, _, tag = (relative_path or "").rpartition("/")
        if not self.by_path or not above or not is_tag(tag):
            return Unnamed()
        repository, _ = Naming("path").repository(above, prefix)
        return Unnamed(None, repository, tag, self.kind == "path") if repository is not None else Unnamed()

    def repository(self, relative_path: str | None, prefix: str | None) -> tuple[str | None, NameProblem | None]:
        """Return the canonical repository for the bare tags of a store, and the problem if this policy should provide one but cannot.

        At least one of the two is None; both are None if the policy provides no repository. `relative_path` is the path of the
        store below its root, or None for a store that was added by itself. `prefix` is the registry to put in front of that path.
        """
        if self.kind in ("annotations", "annotation"):
            return None, None
        if self.kind == "fixed":
            return self.name, None
        if relative_path is None:
            return None, NameProblem(
                "no-repository", f"naming={self.kind}", "the store was added by itself and has no path below a root"
            )
        named = relative_path
        if self.kind == "path:tag":
            named, _, tag = relative_path.rpartition("/")
            if not named or not is_tag(tag):
                why = f"{shown(relative_path)} is not a repository followed by a tag"
                return None, NameProblem("no-repository", "naming=path:tag", why)
        parts = split_repository(f"{prefix}/{named}" if prefix else named)
        if parts is None:
            return None, NameProblem(
                "no-repository", f"naming={self.kind}", f"{shown(named)} is not a valid repository"
            )
        return "/".join(part for part in parts if part), None
