"""Keep the small members of a compressed archive while it is inflated once: index.json and similar lists, manifests and configs.

Which blobs are manifests is not known until all of them are read. So blobs that begin like JSON are kept, as far as there is room.
"""

from __future__ import annotations

from collections.abc import Callable

from catalog.layout.list_limits import ListLimits
from catalog.layout.member_names import digest_of, normal_name
from catalog.layout.tar_headers import FILE, Member

INDEX_BYTES = 4 << 20
"""The largest `index.json` of a compressed archive that is kept. If there are several, the limit applies to their sum."""
_BESIDE_BYTES = 4 << 20  # the same limit for `oci-layout` and for `manifest.json`
JSON_BYTES = 8 << 20
"""The most bytes of manifests and configs that are kept."""
_LARGE = 256 << 10  # Manifests and configs are smaller than this, but an SBOM may be larger.
_LARGE_BYTES = 4 << 20  # the most bytes of JSON_BYTES for such large blobs
_OTHER_BYTES = (
    2 << 20
)  # for blobs that are not JSON, and for members outside the layout, which may be targets of hard links in it
_TINY = 4 << 10
_BEGINNING = 64
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LISTS = {b"index.json": INDEX_BYTES, b"oci-layout": _BESIDE_BYTES, b"manifest.json": _BESIDE_BYTES}


class SmallMembers:
    """The bytes of small members, by the offset of the member in the inflated archive."""

    def __init__(self) -> None:
        self._by_offset: dict[int, bytes] = {}
        self._left_out: set[int] = set()
        self._lists = dict(_LISTS)  # how many bytes are left for each name
        self._json = self._large = self._other = 0
        self.bytes = 0
        """The number of bytes that are kept."""

    def get(self, offset: int) -> bytes | None:
        """Return the bytes of a member, or None if they are not kept."""
        return self._by_offset.get(offset)

    def is_left_out(self, offset: int) -> bool:
        """Return whether a member begins like JSON but was not kept, because it was too large or there was no room."""
        return offset in self._left_out

    def take(self, member: Member, read: Callable[[int, int], bytes]) -> None:
        """Keep the bytes of a member if they may be needed and there is room. Record a member that begins like JSON but is not kept.

        `read(size, offset)` reads the archive. Raises what `read` raises.
        """
        name = normal_name(member.name) if member.kind == FILE else None
        if name is None:
            return
        if name in _LISTS:
            if member.size <= self._lists[name]:
                self._lists[name] -= member.size
                self._keep(member, read)
            return
        if not _is_json(read(min(_BEGINNING, member.size), member.offset)):
            if member.size <= _TINY and self._other + member.size <= _OTHER_BYTES:
                self._other += member.size
                self._keep(member, read)
        elif member.size > ListLimits().descriptor_bytes or not self._has_room(name, member.size):
            self._left_out.add(member.offset)
        else:
            self._keep(member, read)

    def _has_room(self, name: bytes, size: int) -> bool:
        """Return whether there is room for a member that begins like JSON. If so, count its bytes."""
        if digest_of(name) is None:
            if self._other + size > _OTHER_BYTES:
                return False
            self._other += size
            return True
        is_large = size > _LARGE
        if self._json + size > JSON_BYTES or (is_large and self._large + size > _LARGE_BYTES):
            return False
        self._json += size
        self._large += size if is_large else 0
        return True

    def _keep(self, member: Member, read: Callable[[int, int], bytes]) -> None:
        data = read(member.size, member.offset)
        if len(data) == member.size:  # Otherwise the archive ends here, and reading the next header fails.
            self._by_offset[member.offset] = data
            self.bytes += member.size


def _is_json(beginning: bytes) -> bool:
    return beginning.removeprefix(_BYTE_ORDER_MARK).lstrip(b" \t\r\n")[:1] == b"{"
