"""Print the list of all entries as JSON, in blocks. This takes a fifth of the time that `catalog.cli.queried` takes object by object.

One statement reads the names of a block, another one its annotations, and a few the facts about its images
(catalog.lookup.blocks). If the content of an entry was not read, as in a layout that has only descriptors, its object needs no further statement.
"""

from __future__ import annotations

from itertools import islice
from json.encoder import encode_basestring_ascii as quoted

from catalog.cli import output
from catalog.lookup.below import UNREAD, platforms_of
from catalog.lookup.ids import ids_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from catalog.cli.formats import Objects
    from catalog.engine.interface import Reader
    from catalog.lookup.blocks import Blocks
    from catalog.lookup.resolve import Asking

    Row = tuple[Any, ...]

_BLOCK = 1_000
_CONTENT_ID, _KIND = 12, 13
_IMAGE_NAME = '"io.containerd.image.name":'
_REF_NAME = '"org.opencontainers.image.ref.name":'
"""These two keys as JSON, in the order in which they sort."""
_UNKNOWN = ',"total_size":null,"created":null,"labels":{}}'


def write_all(asking: Asking, limit: int | None, show: Objects) -> int:
    """Print one object per entry, at most `limit` objects; return how many."""
    from catalog.lookup.listing import note_stale
    from catalog.names.moment import rfc3339

    reader, count = asking.reader, 0
    for row in list(reader.rows("STORES", {})):
        store_id, name, path, state, indexed_at = row[0], row[1], row[2], row[3], row[9]
        if state == "missing" or (asking.stores is not None and store_id not in asking.stores):
            continue
        rows = reader.rows("STORE_OBJECTS", {"store_id": store_id})
        head = f'{{"store":{quoted(name)},"path":{quoted(path)},"name":'
        block: list[Row]
        texts: _Texts | None = None
        while block := list(islice(rows, _BLOCK if limit is None else min(_BLOCK, limit - count))):
            if texts is None:
                note_stale(asking, name, state, row[4])
                texts = _Texts(reader, store_id, head, f',"indexed_at":{_text(rfc3339(indexed_at))}')
            count += len(block)
            show.objects(list(texts.of(block)))
        if count == limit:
            break
    return count


class _Texts:
    """Makes the objects of a store's entries. Each begins with `head`, and has `indexed` after the fields of the entry itself."""

    def __init__(self, reader: Reader, store_id: int, head: str, indexed: str) -> None:
        self._reader = reader
        self._store_id = store_id
        self._head = head
        self._listed = f',"listed":true,"shadowed":false,"fallback":false{indexed}'
        self._shadowed = f',"listed":true,"shadowed":true,"fallback":false{indexed}'
        self._has_blobs = reader.row("HAS_BLOBS", {"store_id": store_id}) is not None
        self._blocks: Blocks | None = None

    def _content_of(self, row: Row) -> tuple[int, int | None, int]:
        return self._store_id, row[_CONTENT_ID], row[_KIND]

    def of(self, block: list[Row]) -> Iterator[str]:
        """Yield the objects of some entries."""
        ids = {"ids": ids_text([row[0] for row in block])}
        names: dict[int, str] = {}
        for entry_id, name in list(self._reader.rows("NAMES_OF_ENTRIES", ids)):
            names[entry_id] = f"{names[entry_id]},{quoted(name)}" if entry_id in names else quoted(name)
        others: dict[int, dict[str, str]] = {}
        for entry_id, key, value in list(self._reader.rows("ANNOTATIONS_OF_ENTRIES", ids)):
            others.setdefault(entry_id, {})[key] = value
        rows: Iterable[Row] = block
        if self._has_blobs or any(row[_KIND] != UNREAD for row in block):
            rows = self._learned(block)
        # The columns of STORE_OBJECTS in catalog/db/statements.py.
        for (entry_id, name, repository, tag, shadowed, ref_name, image_name, digest, media_type, size, artifact_type,
             platform, content_id, kind) in rows:  # fmt: skip
            platforms, facts = "" if platform is None else quoted(platform), _UNKNOWN
            if self._has_blobs or kind != UNREAD:
                if platform is None:
                    platforms = ",".join(map(quoted, platforms_of(self._reader, self._store_id, content_id, kind)))
                facts = self._facts(content_id, kind)
            yield (
                f'{self._head}{_text(name)},"names":[{names.get(entry_id, "")}],"repository":{_text(repository)}'
                f',"tag":{_text(tag)},"ref_name":{_text(ref_name)},"image_name":{_text(image_name)},"digest":"{digest}"'
                f',"media_type":{_text(media_type)},"size":{"null" if size is None else size}'
                f',"artifact_type":{_text(artifact_type)},"platforms":[{platforms}]'
                f',"annotations":{_annotations(image_name, ref_name, others.get(entry_id))}'
                f"{self._shadowed if shadowed else self._listed}{facts}"
            )

    def _learned(self, block: list[Row]) -> Iterable[Row]:
        if self._blocks is None:
            from catalog.lookup.blocks import Blocks

            self._blocks = Blocks(self._reader, self._content_of, first=_BLOCK)
        return self._blocks.learned(block)

    def _facts(self, content_id: int, kind: int) -> str:
        """Return the end of the object of an entry whose content may have been read."""
        from catalog.lookup import facts
        from catalog.names.moment import rfc3339

        total = facts.total_size(self._reader, self._store_id, content_id, kind)
        created = rfc3339(facts.created(self._reader, self._store_id, content_id, kind))
        labels = facts.labels(self._reader, self._store_id, content_id, kind)
        return (
            f',"total_size":{"null" if total is None else total},"created":{_text(created)}'
            f',"labels":{output.json_text(labels)}}}'
        )


def _text(value: str | None) -> str:
    return "null" if value is None else quoted(value)


def _annotations(image_name: str | None, ref_name: str | None, others: dict[str, str] | None) -> str:
    """Return the annotations of an entry, sorted by their keys."""
    pairs = [] if image_name is None else [f"{_IMAGE_NAME}{quoted(image_name)}"]
    if ref_name is not None:
        pairs.append(f"{_REF_NAME}{quoted(ref_name)}")
    if others is None:
        return f"{{{','.join(pairs)}}}"
    found = dict(others)
    if image_name is not None:
        found["io.containerd.image.name"] = image_name
    if ref_name is not None:
        found["org.opencontainers.image.ref.name"] = ref_name
    return f"{{{','.join([f'{quoted(key)}:{quoted(found[key])}' for key in sorted(found)])}}}"
