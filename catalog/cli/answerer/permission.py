"""Check who may ask an answerer: the users who may read the catalog's file, by its permissions and those of its directories."""

from __future__ import annotations

import os
import socket
import stat
import struct
from typing import NamedTuple

from catalog.names.paths import real_path

_SO_PEERGROUPS = 59
_CREDENTIALS = struct.Struct("=iII")
_MOST_GROUPS = 65_536
_ACLS = ("system.posix_acl_access", "system.nfs4_acl")


class Peer(NamedTuple):
    """The user, group and supplementary groups of a client when it connected, according to the kernel."""

    user: int
    group: int
    groups: frozenset[int]

    @property
    def is_us(self) -> bool:
        """Whether the client is the user of this process."""
        return self.user == os.geteuid()


def peer_of(connection: socket.socket) -> Peer:
    """Return the client at the other end of a UNIX socket. Raises OSError."""
    _, user, group = _CREDENTIALS.unpack(
        connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    )
    if user == os.geteuid():
        return Peer(user, group, frozenset())  # `may_read` does not look at the groups of this user
    size = 64 * 4
    try:
        found = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, size)
    except OSError:  # more groups than that
        found = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _MOST_GROUPS * 4)
    return Peer(user, group, frozenset(struct.unpack(f"={len(found) // 4}I", found)))


def may_read(peer: Peer, file: str | None) -> bool:
    """Return whether a peer may read the catalog whose file is `file`; None means that the catalog is on a server.

    The user of this process and root may always read it. Another user may if the modes of the file and of each directory above it
    permit it; the mode of one that has an access control list counts only for its owner.
    """
    if peer.is_us or peer.user == 0:
        return True
    if file is None:
        return False  # only the server knows who may read it, and this process logs in as its own user
    path = real_path(file)
    try:
        if not _lets(path, peer, stat.S_IROTH):
            return False
        while path != "/":
            path = os.path.dirname(path)
            if not _lets(path, peer, stat.S_IXOTH):
                return False
    except OSError:
        return False
    return True


def _lets(path: str, peer: Peer, bit: int) -> bool:
    """Return whether the mode of a file grants a permission to a peer. `bit` is the bit of that permission for other users. Raises OSError."""
    found = os.stat(path)
    if found.st_uid == peer.user:
        return bool(found.st_mode & bit << 6)
    if set(_ACLS) & set(os.listxattr(path)):
        return False
    if found.st_gid == peer.group or found.st_gid in peer.groups:
        return bool(found.st_mode & bit << 3)
    return bool(found.st_mode & bit)


def socket_mode(file: str | None) -> int:
    """Return the mode of a catalog's socket: whoever may read the catalog's file may connect; without such a file, only the owner."""
    try:
        readable = 0 if file is None else stat.S_IMODE(os.stat(file).st_mode) & 0o444
    except OSError:
        readable = 0
    return 0o600 | readable | readable >> 1
