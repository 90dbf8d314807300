"""Who may ask an answerer: those who may read the file of its catalog, by the permissions of the file and its directories."""

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
    """Who has connected, according to the kernel: user, group and supplementary groups at that moment."""

    user: int
    group: int
    groups: frozenset[int]

    @property
    def is_us(self) -> bool:
        """Whether it is the user of this process."""
        return self.user == os.geteuid()


def peer_of(connection: socket.socket) -> Peer:
    """Return who is at the other end of a UNIX socket. Raises OSError."""
    _, user, group = _CREDENTIALS.unpack(
        connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    )
    if user == os.geteuid():
        return Peer(user, group, frozenset())  # nothing else will be asked about it
    size = 64 * 4
    try:
        found = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, size)
    except OSError:  # more groups than that
        found = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _MOST_GROUPS * 4)
    return Peer(user, group, frozenset(struct.unpack(f"={len(found) // 4}I", found)))


def may_read(peer: Peer, file: str | None) -> bool:
    """Return whether a peer may read the catalog whose file is at a path; None means that it is on a server.

    That is the user of this process, and root; and for a file those whom its mode and that of each directory above it let
    read it. Where an access control list says more than the mode, only its owner is let in.
    """
    if peer.is_us or peer.user == 0:
        return True
    if file is None:
        return False  # the server knows who may read it, and this process logs in as its own user
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
    """Return whether the mode of a file grants `bit`, given as that of others, to a peer. Raises OSError."""
    found = os.stat(path)
    if found.st_uid == peer.user:
        return bool(found.st_mode & bit << 6)
    if set(_ACLS) & set(os.listxattr(path)):
        return False
    if found.st_gid == peer.group or found.st_gid in peer.groups:
        return bool(found.st_mode & bit << 3)
    return bool(found.st_mode & bit)


def socket_mode(file: str | None) -> int:
    """Return the mode for the socket of a catalog: whoever may read its file may connect; if there is no file, the owner alone."""
    try:
        readable = 0 if file is None else stat.S_IMODE(os.stat(file).st_mode) & 0o444
    except OSError:
        readable = 0
    return 0o600 | readable | readable >> 1
