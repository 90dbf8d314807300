"""The expected answers of views and reports, computed from the files of layouts with only json and hashlib.

This uses nothing of the catalog. A digest is read from a layout in which the bytes match it: first the entries of the layout
and the children and configs of everything read, and then each blob that nothing in the layout points to and that begins like
JSON. What a digest contains counts for every layout.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

NAMES = ("org.opencontainers.image.ref.name", "io.containerd.image.name")
CONTAINERD = "io.containerd.manifest.subject"
COSIGN = "dev.cosignproject.cosign"
BUILDKIT = "vnd.docker.reference.digest"

Document = dict[str, Any]
Row = tuple[Any, ...]


class Layout:
    """A layout: the elements of `manifests`, and the digest and size of each file in `blobs`."""

    def __init__(self, name: str, path: str) -> None:
        self.name = name
        self.path = path
        with open(f"{path}/index.json", "rb") as file:
            self.entries: list[Document] = json.load(file).get("manifests") or []
        self.digests = {each["digest"] for each in self.entries}
        self.blobs: dict[str, int] = {}
        for directory, _, files in os.walk(f"{path}/blobs"):
            for each in files:
                self.blobs[f"{os.path.basename(directory)}:{each}"] = os.path.getsize(f"{directory}/{each}")

    def modified(self, digest: str) -> str:
        """Return when the file of a blob was last written, in the form that the views use."""
        found = os.stat(f"{self.path}/blobs/{digest.replace(':', '/')}").st_mtime_ns // 1_000_000
        return f"{datetime.fromtimestamp(found // 1000, UTC):%Y-%m-%dT%H:%M:%S}.{found % 1000:03d}Z"

    def read(self, digest: str) -> bytes | None:
        """Return the bytes of a blob, or None if they do not match its digest."""
        algorithm, _, name = digest.partition(":")
        with open(f"{self.path}/blobs/{algorithm}/{name}", "rb") as file:
            data = file.read()
        return data if hashlib.new(algorithm, data).hexdigest() == name else None


class Disk:
    """Layouts by name, and what is known about digests, also from `before`, because the content of a digest never changes."""

    def __init__(self, layouts: Mapping[str, str], before: Disk | None = None) -> None:
        self.layouts = [Layout(name, path) for name, path in sorted(layouts.items())]
        self.read: dict[str, bytes] = {} if before is None else dict(before.read)
        self.manifests: dict[str, Document] = {} if before is None else dict(before.manifests)
        self.configs: dict[str, Document] = {} if before is None else dict(before.configs)
        pointed = {each for digest in self.manifests for each in (*self.children(digest), *self.config(digest))}
        while True:
            wanted = [(each, d) for each in self.layouts for d in (each.digests | pointed) & set(each.blobs)]
            fresh = {d: data for each, d in wanted if d not in self.read and (data := each.read(d)) is not None}
            if not fresh:
                unlisted = [
                    (each, d) for each in self.layouts for d in set(each.blobs) - each.digests - self._pointed(each)
                ]
                fresh = {
                    d: data
                    for each, d in unlisted
                    if d not in self.read and (data := each.read(d)) is not None and data.startswith(b"{")
                }
            if not fresh:
                break
            self.read |= fresh
            for digest, data in fresh.items():
                pointed |= self._know(digest, data)

    def _know(self, digest: str, data: bytes) -> set[str]:
        """Record the content of a blob; return the digests to read next."""
        try:
            document = json.loads(data)
        except ValueError:
            return set()
        if not isinstance(document, dict):
            return set()
        if document.get("os") and document.get("architecture"):
            self.configs[digest] = document
        elif any(isinstance(document.get(key), list | dict) for key in ("manifests", "layers", "config")):
            self.manifests[digest] = document
        return {*self.children(digest), *self.config(digest)}

    def _pointed(self, layout: Layout) -> set[str]:
        """Return what the manifests in a layout point to, without their subjects."""
        here = set(layout.blobs) & set(self.manifests)
        return {one for each in here for one in (*self.children(each), *self.parts(each))}

    # --- contents of a digest -------------------------------------------------------------------------------------

    def is_index(self, digest: str) -> bool:
        return isinstance(self.manifests.get(digest, {}).get("manifests"), list)

    def children(self, digest: str) -> list[str]:
        return [each["digest"] for each in self.manifests.get(digest, {}).get("manifests") or []]

    def config(self, digest: str) -> list[str]:
        config = self.manifests.get(digest, {}).get("config")
        return [config["digest"]] if config and not self.is_index(digest) else []

    def layers(self, digest: str) -> list[Document]:
        return [] if self.is_index(digest) else self.manifests.get(digest, {}).get("layers") or []

    def parts(self, digest: str) -> set[str]:
        return {*self.config(digest), *(each["digest"] for each in self.layers(digest))}

    def platform(self, digest: str) -> str | None:
        """Return the platform of an image that is not an index."""
        return next((platform(self.configs[each]) for each in self.config(digest) if each in self.configs), None)

    def platforms(self, layout: Layout, digest: str, seen: frozenset[str] = frozenset()) -> set[str]:
        """Return the platforms of an image. An index's descriptor of an absent image counts too."""
        if not self.is_index(digest):
            return {found for found in [self.platform(digest)] if found}
        found: set[str] = set()
        for child in self.manifests[digest]["manifests"]:
            opened = child["digest"] in layout.blobs and self.is_index(child["digest"])
            if child.get("platform", {}).get("os") and not opened:
                found.add(platform(child["platform"]))
            elif child["digest"] not in seen:
                found |= self.platforms(layout, child["digest"], seen | {digest})
        return found - {"unknown/unknown"}

    def created(self, digest: str) -> str | None:
        times = [self.created(child) for child in self.children(digest)]
        times += [moment(self.configs[each].get("created")) for each in self.config(digest) if each in self.configs]
        return max((each for each in times if each), default=None)

    def artifact_type(self, digest: str) -> str | None:
        document = self.manifests.get(digest, {})
        return document.get("artifactType") or (document.get("config") or {}).get("mediaType") or None

    # --- what a layout reaches ----------------------------------------------------------------------------------

    def below(self, layout: Layout, digests: set[str]) -> set[str]:
        """Return these manifests, and those of the indexes among them that are in the layout."""
        found: set[str] = set()
        while digests:
            found |= digests
            digests = {child for each in digests & set(layout.blobs) for child in self.children(each)} - found
        return found

    def reached(self, layout: Layout, digests: set[str]) -> set[str]:
        """Return what `below` returns, with the configs and layers of the manifests that are in the layout."""
        manifests = self.below(layout, digests)
        return manifests.union(*(self.parts(each) for each in manifests & set(layout.blobs)))

    def is_judged(self, layout: Layout) -> bool:
        """Return whether every manifest on the way from the entries is in the layout, is complete, and was read."""
        return all(
            digest in layout.blobs and layout.read(digest) is not None for digest in self.below(layout, layout.digests)
        )

    def in_use(self, layout: Layout) -> set[str]:
        """Return what the entries reach, and the layout's referrers of any of that, with what these reach."""
        used = self.reached(layout, layout.digests)
        while True:
            about = {
                each
                for each in set(layout.blobs) & set(self.manifests) - used
                if (self.manifests[each].get("subject") or {}).get("digest") in used
            }
            if not about:
                return used
            used |= self.reached(layout, about)

    def needed(self, digest: str) -> dict[str, int]:
        """Return the size of the config and each layer of an image that a layout has to have, by digest."""
        config = [] if self.is_index(digest) else [self.manifests[digest].get("config")]
        layers = [each for each in self.layers(digest) if not is_foreign(each)]
        return {each["digest"]: each["size"] for each in (*config, *layers) if each}

    def is_complete(self, layout: Layout, digest: str) -> bool | None:
        """Return whether a layout lacks nothing of an image that its entries lead to; None for what is no such image."""
        if digest not in self.manifests or self.is_index(digest) or digest not in self.below(layout, layout.digests):
            return None
        there = {digest: len(self.read[digest]), **self.needed(digest)}
        return all(layout.blobs.get(each) == size for each, size in there.items())

    def total_size(self, layout: Layout, digest: str) -> int | None:
        if digest not in layout.blobs or not (self.below(layout, {digest}) & set(layout.blobs) <= set(self.read)):
            return None
        return sum(layout.blobs[each] for each in self.reached(layout, {digest}) & set(layout.blobs))

    def held(self) -> Iterator[tuple[str, Document]]:
        """Return the manifests and indexes that are in some layout."""
        for digest, document in self.manifests.items():
            if any(digest in each.blobs for each in self.layouts):
                yield digest, document

    # --- rows of the views --------------------------------------------------------------------------------------

    def reached_columns(self) -> dict[tuple[str, str], Row]:
        """Return total_size, platforms and created, by the store and digest of an entry."""
        return {
            (layout.name, digest): (
                self.total_size(layout, digest),
                ",".join(sorted(self.platforms(layout, digest))) or None,
                self.created(digest),
            )
            for layout in self.layouts
            for digest in layout.digests
        }

    def manifest_rows(self) -> Iterator[Row]:
        for digest, document in self.held():
            config = {} if self.is_index(digest) else document.get("config") or {}
            layers = self.layers(digest)
            yield (
                digest,
                "index" if self.is_index(digest) else "manifest",
                document.get("mediaType"),
                document.get("artifactType"),
                len(self.read[digest]),
                config.get("digest"),
                config.get("mediaType"),
                config.get("size"),
                (document.get("subject") or {}).get("digest"),
                self.platform(digest),
                None if self.is_index(digest) else self.created(digest),
                len(layers),
                sum(each["size"] for each in layers),
                any(digest in self.below(each, each.digests) & set(each.blobs) for each in self.layouts),
            )

    def platform_rows(self) -> Iterator[Row]:
        for digest, document in self.held():
            for position, child in enumerate(document.get("manifests") or []):
                said = child.get("platform") or {}
                name = platform(said) if said.get("os") else self.platform(child["digest"])
                yield digest, position, child["digest"], name, child.get("mediaType"), child.get("size")

    def layer_rows(self) -> Iterator[Row]:
        for digest, _ in self.held():
            for position, layer in enumerate(self.layers(digest)):
                title = (layer.get("annotations") or {}).get("org.opencontainers.image.title")
                row = (digest, position, layer["digest"], layer.get("mediaType"), layer.get("size"), title)
                yield *row, is_foreign(layer)

    def blob_rows(self) -> Iterator[Row]:
        for layout in self.layouts:
            used = self.in_use(layout)
            judged = self.is_judged(layout)
            for digest, size in layout.blobs.items():
                reachable = digest in used if judged else None
                row = (layout.name, layout.path, digest, size, reachable, None, None, layout.modified(digest))
                yield *row, self.is_complete(layout, digest)

    def label_rows(self) -> Iterator[Row]:
        for digest, _ in self.held():
            for config in self.config(digest):
                labels = (self.configs.get(config, {}).get("config") or {}).get("Labels") or {}
                yield from ((digest, config, key, value, value[:128]) for key, value in labels.items())

    def annotation_rows(self) -> Iterator[Row]:
        for layout in self.layouts:
            for entry in layout.entries:
                for key, value in (entry.get("annotations") or {}).items():
                    if key not in NAMES:
                        yield layout.name, entry["digest"], key, value, "entry", value[:128]
            for digest in set(layout.blobs) & set(self.manifests):
                for key, value in (self.manifests[digest].get("annotations") or {}).items():
                    yield layout.name, digest, key, value, "manifest", value[:128]
                for origin, each in self.described(digest):
                    for key, value in (each.get("annotations") or {}).items():
                        yield layout.name, each["digest"], key, value, origin, value[:128]

    def described(self, digest: str) -> Iterator[tuple[str, Document]]:
        """Return the descriptors of a manifest's layers and of an index's children."""
        yield from (("layer", each) for each in self.layers(digest))
        yield from (("child", each) for each in self.manifests[digest].get("manifests") or [])

    def referrer_rows(self) -> set[Row]:
        rows = (row for row in self._referrers() if row[0].startswith(("sha256:", "sha512:")) and row[0] != row[1])
        return {(*row, self.artifact_type(row[1])) for row in rows}

    def _referrers(self) -> Iterator[tuple[str, str, str]]:
        for digest, document in self.held():
            if document.get("subject"):
                yield document["subject"]["digest"], digest, "subject"
            if CONTAINERD in (document.get("annotations") or {}):
                yield document["annotations"][CONTAINERD], digest, "containerd"
            for child in document.get("manifests") or []:
                for key, how in ((BUILDKIT, "buildkit"), (CONTAINERD, "containerd")):
                    if key in (child.get("annotations") or {}):
                        yield child["annotations"][key], child["digest"], how
        for entry in (entry for layout in self.layouts for entry in layout.entries):
            annotations = entry.get("annotations") or {}
            tag = re.fullmatch(r"(?:.*:)?sha256-([0-9a-f]{64})(\.sig|\.att|\.sbom)?", annotations.get(NAMES[0], ""))
            if tag and tag[2]:
                yield f"sha256:{tag[1]}", entry["digest"], "cosign"
            elif tag:
                about = [child for child in self.children(entry["digest"]) if self.subject(child) == f"sha256:{tag[1]}"]
                yield from ((f"sha256:{tag[1]}", child, "fallback") for child in about)
            if CONTAINERD in annotations:
                yield annotations[CONTAINERD], entry["digest"], "containerd"
            if BUILDKIT in annotations:
                yield annotations[BUILDKIT], entry["digest"], "buildkit"
        for layout in self.layouts:
            yield from self._said_beside_others(layout)

    def _said_beside_others(self, layout: Layout) -> Iterator[tuple[str, str, str]]:
        """Return the referrers that only the rest of the layout shows: by cut fallback tags, and as `cosign save` writes them."""
        of = [(each["digest"], each.get("annotations") or {}) for each in layout.entries]
        for place, (digest, said) in enumerate(of):
            name, kind = said.get(NAMES[0], ""), said.get("kind", "")
            if kind in (f"{COSIGN}/sigs", f"{COSIGN}/atts"):
                same = [(at, d, a.get("kind")) for at, (d, a) in enumerate(of) if a.get(NAMES[0], "") == name]
                images = [(at, d) for at, d, k in same if k == f"{COSIGN}/image"] or [
                    (at, d) for at, d, k in same if k is None
                ]
                before = [d for at, d in images if at < place]
                yield from ((subject, digest, "kind") for subject in (before[-1:] or [d for _, d in images[:1]]))
            tag = re.fullmatch(r"(?:.*:)?sha512-([0-9a-f]{64})", name)
            meant = {d for d in (*layout.digests, *layout.blobs) if tag and d.startswith(f"sha512:{tag[1]}")}
            for subject in meant - {digest, *self.children(digest)}:
                for child in self.children(digest):
                    if child in self.manifests and self.subject(child) in (None, subject):
                        yield subject, child, "fallback"

    def subject(self, digest: str) -> str | None:
        """Return the subject that a manifest names."""
        found: str | None = (self.manifests.get(digest, {}).get("subject") or {}).get("digest")
        return found

    def missing_rows(self) -> Iterator[Row]:
        """Return rows of store, digest, role, and the manifest and the position in it that need the digest."""
        for layout in self.layouts:
            for digest in layout.digests - set(layout.blobs):
                yield layout.name, digest, "manifest", None, None
            for manifest in self.below(layout, layout.digests) & set(layout.blobs):
                for digest in self.config(manifest):
                    if digest not in layout.blobs:
                        yield layout.name, digest, "config", manifest, None
                for position, layer in enumerate(self.layers(manifest)):
                    if layer["digest"] not in layout.blobs:
                        yield layout.name, layer["digest"], "layer", manifest, position


def is_foreign(layer: Document) -> bool:
    """Return whether a layout may lack a layer."""
    kind = layer.get("mediaType") or ""
    return bool(layer.get("urls")) or "nondistributable" in kind or "foreign" in kind


def platform(said: Document) -> str:
    """Return os[(version)]/arch[/variant] as containerd writes it, as far as the layouts of the tests need it."""
    variant = said.get("variant") or ("v7" if said["architecture"] == "arm" else "")
    if (said["architecture"], variant) in (("arm64", "v8"), ("amd64", "v1")):
        variant = ""
    system = said["os"] + (f"({said['os.version']})" if said.get("os.version") else "")
    return "/".join(each for each in (system, said["architecture"], variant) if each)


def moment(text: str | None) -> str | None:
    """Return the time in RFC 3339, in UTC with milliseconds."""
    if not text or text.startswith("0001"):
        return None
    found = datetime.fromisoformat(text).astimezone(UTC)
    return f"{found:%Y-%m-%dT%H:%M:%S}.{found.microsecond // 1000:03}Z"
