"""Everything about one image, from every store, on one page (`ocicat inspect`).

Each section has a limited number of items, and the total number of items. Values that are not known are None.
"""

from __future__ import annotations

from catalog.lookup.below import ATTESTATION, INDEX, MANIFEST, config_of
from catalog.lookup.parts import MOST_ROWS, Images, total
from catalog.names.moment import rfc3339

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from catalog.engine.interface import Reader
    from catalog.lookup.match import Match

    Item = dict[str, object]
    Row = tuple[Any, ...]

LIMIT = 10
"""The default number of items per section."""
_COUNTED = MOST_ROWS
_SHARED_COUNTED = 1_000
"""Images that share a layer are counted up to this number, as in the statement SHARING."""
_EXAMPLES = 3
_KINDS = {MANIFEST: "manifest", INDEX: "index"}
_ROLES = ("manifest", "config", "layer")
_LAYER = 2

SECTIONS: dict[str, tuple[str, ...]] = {
    "names": ("store", "name", "tag", "shadowed", "ref_name", "image_name"),
    "stores": ("store", "path", "size", "is_good", "verified_at"),
    "indexes": ("store", "name", "tag", "digest"),
    "platforms": ("platform", "digest", "size", "media_type", "store"),
    "layers": ("digest", "size", "media_type", "manifest", "shared", "shared_with"),
    "labels": ("key", "value", "manifest"),
    "annotations": ("key", "value", "store"),
    "bases": ("name", "digest", "layers", "manifest"),
    "derived": ("name", "digest", "layers", "manifest"),
    "referrers": ("store", "how", "artifact_type", "digest"),
    "history": ("store", "name", "tag", "since", "until"),
    "problems": ("store", "kind", "subject", "detail"),
}
"""The sections of a page in order, each with the keys of its items."""
TITLES = {
    "names": "Names",
    "stores": "Where it is",
    "indexes": "In image indexes",
    "platforms": "Platforms",
    "layers": "Layers",
    "labels": "Labels",
    "annotations": "Annotations",
    "bases": "Built on",
    "derived": "Base of",
    "referrers": "Referrers",
    "history": "History",
    "problems": "Problems",
}
"""The heading of each section in text output."""

HEAD = (
    "digest", "kind", "media_type", "artifact_type", "size", "config", "subject", "created", "platform", "layer_count",
    "blob_count", "total_size",
)  # fmt: skip
"""The fields of a page before its sections, in order."""


class Section:
    """The first items of a section, and the total number. If `at_least` is true, counting stopped there and there are more."""

    __slots__ = ("at_least", "items", "total")

    def __init__(self, items: Iterable[Item], limit: int, counted: int = _COUNTED) -> None:
        self.items: list[Item] = []
        self.total = 0
        self.at_least = False
        for item in items:
            if self.total == counted:
                self.at_least = True
                return
            self.total += 1
            if len(self.items) < limit:
                self.items.append(item)

    def __repr__(self) -> str:
        return f"Section({self.items!r}, total={self.total}, at_least={self.at_least})"

    def as_object(self) -> dict[str, object]:
        """Return the section as in JSON."""
        return {"total": self.total, "at_least": self.at_least, "items": self.items}


class Page:
    """Everything about the digest of `match`. Each section has at most `limit` items. Raises CatalogUnavailable."""

    def __init__(self, reader: Reader, match: Match, limit: int = LIMIT) -> None:
        self._reader = reader
        self._limit = limit
        self._match = match
        self.digest = match.digest
        row = reader.row("ABOUT", {"digest": match.digest})
        self._id, self._kind, size, media_type, artifact_type, subject, config, platform, created = row or (None,) * 9
        parts = Images(reader).of(match.digest)
        self.head: dict[str, object] = {
            "digest": match.digest,
            "kind": _KINDS.get(self._kind),
            "media_type": media_type or match.value("media_type"),
            "artifact_type": artifact_type or match.value("artifact_type"),
            "size": match.value("size") if size is None else size,
            "config": config,
            "subject": subject,
            "created": rfc3339(created),
            "platform": platform,
            "layer_count": None if parts.layers is None else len(parts.layers),
            "blob_count": None if parts.blobs is None else len(parts.blobs),
            "total_size": total(parts.blobs),
        }
        self._children = list(self._all_children())
        self.sections: dict[str, Section] = {name: Section(getattr(self, f"_{name}")(), limit) for name in SECTIONS}

    def __repr__(self) -> str:
        totals = (f", {name}={section.total}" for name, section in self.sections.items() if section.total)
        return f"Page({self.digest!r}{''.join(totals)})"

    def as_object(self) -> dict[str, object]:
        """Return the page as in JSON."""
        return {**self.head, **{name: section.as_object() for name, section in self.sections.items()}}

    # --- the sections -------------------------------------------------------------------------------------------

    def _names(self) -> Iterator[Item]:
        for store, repository, tag, shadowed, ref_name, image_name, _ in self._rows("NAMES_OF"):
            yield {
                "store": store,
                "name": f"{repository}:{tag}" if repository is not None and tag is not None else None,
                "tag": tag,
                "shadowed": bool(shadowed),
                "ref_name": ref_name,
                "image_name": image_name,
            }

    def _stores(self) -> Iterator[Item]:
        for _, store, path, size, is_good, verified_at, *_ in self._rows("HOLDERS_OF"):
            yield {
                "store": store,
                "path": path,
                "size": size,
                "is_good": None if is_good is None else bool(is_good),
                "verified_at": rfc3339(verified_at),
            }

    def _indexes(self) -> Iterator[Item]:
        from catalog.lookup.match import Match

        for row in self._reader.rows("REACHING", {"digest": self.digest}):
            above = Match(self._reader, row)
            yield {"store": above.store, "name": above.name, "tag": above.tag, "digest": above.digest}

    def _platforms(self) -> Iterator[Item]:
        for content_id, digest, kind, platform, media_type, size, is_here in self._children:
            name = platform
            if name is None and kind == MANIFEST:
                own = config_of(self._reader, content_id, self._match.store_id)
                name = None if own is None else own[0]
            yield {
                "platform": name,
                "digest": digest,
                "size": size,
                "media_type": media_type,
                "store": self._match.store if is_here else None,
            }

    def _layers(self) -> Iterator[Item]:
        number = 0
        for manifest, content_id in self._manifests():
            for _, digest, media_type, size, layer_id in self._reader.rows("LAYERS_OF", {"content_id": content_id}):
                number += 1
                if number > self._limit:  # only counted
                    yield {}
                    continue
                others = [row for row in self._reader.rows("SHARING", {"content_id": layer_id}) if row[0] != manifest]
                others.sort(key=lambda row: (row[1] is None, row[1] or "", row[0]))
                yield {
                    "digest": digest,
                    "size": size,
                    "media_type": media_type,
                    "manifest": manifest,
                    "shared": len(others),
                    "shared_with": [{"digest": other, "name": name} for other, name in others[:_EXAMPLES]],
                }

    def _labels(self) -> Iterator[Item]:
        told: set[tuple[str, str]] = set()
        for manifest, content_id in self._manifests():
            for key, value in sorted(self._reader.rows("LABELS_OF", {"content_id": content_id})):
                if (key, value) not in told:  # images of an index have most in common
                    told.add((key, value))
                    yield {"key": key, "value": value, "manifest": manifest}

    def _annotations(self) -> Iterator[Item]:
        for key, value in sorted(self._rows("CONTENT_ANNOTATIONS")):
            yield {"key": key, "value": value, "store": None}
        stores = {row[-1]: row[0] for row in list(self._rows("NAMES_OF"))}
        for entry_id, store in list(stores.items())[: self._limit]:
            for key, value in self._reader.rows("ENTRY_ANNOTATIONS", {"entry_id": entry_id}):
                yield {"key": key, "value": value, "store": store}

    def _bases(self) -> Iterator[Item]:
        return self._related("BASES_OF")

    def _derived(self) -> Iterator[Item]:
        return self._related("DERIVED_FROM")

    def _referrers(self) -> Iterator[Item]:
        if self._reader.row("REFERRERS_OF", {"digest": self.digest}) is None:
            return
        from catalog.lookup.match import once
        from catalog.lookup.referrers import Referrers

        for match in once(Referrers(self._reader, self.digest, lambda _: True).everywhere()):
            artifact_type = self._reader.row("ARTIFACT_TYPE_OF", {"content_id": self._content_of(match.digest)})
            yield {
                "store": match.store,
                "how": match.how,
                "artifact_type": None if artifact_type is None else artifact_type[0],
                "digest": match.digest,
            }

    def _history(self) -> Iterator[Item]:
        from catalog.lookup.past import spans_of_digest

        for span in spans_of_digest(self._reader, self.digest):
            yield {key: span.value(key) for key in SECTIONS["history"]}

    def _problems(self) -> Iterator[Item]:
        keys = SECTIONS["problems"]
        told: set[Row] = set()
        noted = self._reader.rows("PROBLEMS_OF", {"content_id": self._id, "digest": self.digest})
        for row in [*noted, *self._blob_problems()]:
            if row not in told:
                told.add(row)
                yield dict(zip(keys, row, strict=True))

    # --- below --------------------------------------------------------------------------------------------------

    def _blob_problems(self) -> Iterator[Row]:
        """Yield the blobs of the image that are absent or damaged, for the first stores that have the image."""
        for store_id, store, *_, is_unjudged, is_sparse in list(self._rows("HOLDERS_OF"))[: self._limit]:
            for manifest, _ in self._manifests():
                for role, _, digest, _, expected, held, is_good, _ in list(
                    self._reader.rows("NEEDED", {"digest": manifest, "store_id": store_id})
                ):
                    what = f"the {_ROLES[role]}" + ("" if digest == manifest else f" of {manifest}")
                    if held is None:
                        # A store need not have every manifest of an index, and a sparse store need not have the layers.
                        if manifest == digest or is_unjudged or (is_sparse and role == _LAYER):
                            continue
                        yield store, "missing-blob", digest, what
                    elif is_good is not None and not is_good:
                        yield store, "digest-differs", digest, f"{what}: its bytes do not match its digest"
                    elif expected is not None and held != expected:
                        from catalog.names.sizes import in_bytes

                        yield store, "truncated-blob", digest, f"{what}: {in_bytes(held)} instead of {expected}"

    def _related(self, statement: Any) -> Iterator[Item]:
        for manifest, content_id in self._manifests():
            rows = self._reader.rows(statement, {"content_id": content_id})
            for digest, name, layers in sorted(rows, key=lambda row: (row[2], row[1] or "", row[0])):
                yield {"name": name, "digest": digest, "layers": layers, "manifest": manifest}

    def _manifests(self) -> Iterator[tuple[str, int]]:
        """Yield the digests and content ids of the manifests of the image: itself, or the first images of the index."""
        if self._kind == MANIFEST and self._id is not None:
            yield self.digest, self._id
        for content_id, digest, kind, platform, *_ in self._children[: self._limit]:
            if kind == MANIFEST and platform != ATTESTATION:
                yield digest, content_id

    def _all_children(self) -> Iterator[Row]:
        if self._kind == INDEX:
            yield from self._reader.rows("CHILDREN", {"content_id": self._id, "store_id": self._match.store_id})

    def _content_of(self, digest: str) -> int | None:
        row = self._reader.row("ABOUT", {"digest": digest})
        return None if row is None else row[0]

    def _rows(self, statement: Any) -> Iterator[Row]:
        return self._reader.rows(statement, {"content_id": self._id})
