"""What a repository in the path of a request means in the catalog (docs/serve.md, "Names")."""

from __future__ import annotations

from typing import NamedTuple

from catalog.errors import InvalidReference
from catalog.names import query as kinds
from catalog.names.digest import is_digest
from catalog.names.escape import shown
from catalog.names.query import Query
from catalog.names.reference import DEFAULT_DOMAIN, is_domain, is_tag, repository_name, split_repository

STORES = "stores.localhost"
"""The registry whose repositories are the stores: `stores.localhost/STORE:TAG` means what `oci-layout://STORE:TAG` does."""
_HUB = frozenset({DEFAULT_DOMAIN, "index.docker.io", "registry-1.docker.io"})
"""The names of Docker Hub: in references, in old configurations, and of the host that clients connect to."""
LONGEST_NAME = 1024
"""The longest name of a repository that is looked up. Clients accept 255 characters; names of stores may be longer."""


class Asked(NamedTuple):
    """The repository in a request: a canonical `repository`, or a `store`; the other one is None."""

    repository: str | None
    store: str | None

    def tagged(self, tag: str) -> Query:
        """Return the query for a tag of the repository."""
        if self.store is not None:
            return Query(f"oci-layout://{self.store}:{tag}", kinds.OCI_LAYOUT, place=self.store, tag=tag)
        return Query(f"{self.repository}:{tag}", kinds.NAME, repository=self.repository, tag=tag)

    @property
    def text(self) -> str:
        """The repository as a person writes it."""
        return f"{STORES}/{self.store}" if self.repository is None else self.repository


def asked_for(name: str, namespace: str | None) -> Asked:
    """Return what `name` means, with the registry `namespace` of the parameter `ns` if it was given.

    Raises InvalidReference if it is not the name of a repository.
    """
    if len(name) > LONGEST_NAME:
        raise InvalidReference(f"the name has {len(name)} characters: at most {LONGEST_NAME} are allowed")
    if namespace is not None:
        if not is_domain(namespace):
            raise InvalidReference(f"ns={shown(namespace)} is not a registry: write HOST or HOST:PORT")
        if namespace in _HUB:
            return _canonical(f"{DEFAULT_DOMAIN}/{name}", name)
        if namespace == STORES:
            return _store(name)
        if not ("." in namespace or ":" in namespace or namespace == "localhost"):
            # Docker would read HOST/NAME as a name of Docker Hub, so nothing in the catalog can have this name.
            raise InvalidReference(
                f"ns={shown(namespace)} is not a registry: write one with a '.' or a port, or localhost"
            )
        return _canonical(f"{namespace}/{name}", name)
    first, slash, rest = name.partition("/")
    if slash and first == STORES:
        return _store(rest)
    return _canonical(f"{DEFAULT_DOMAIN}/{rest}" if slash and first in _HUB else name, name)


def _canonical(text: str, name: str) -> Asked:
    parts = split_repository(text)
    if parts is None:
        raise InvalidReference(f"{shown(name)} is not the name of a repository: write one as in library/alpine")
    return Asked(repository_name(*parts), None)


def _store(name: str) -> Asked:
    # A name that begins like a path would be looked up on the disk.
    if not name or name[0] in "/." or "\0" in name:
        raise InvalidReference(f"{shown(name)} is not the name of a store: 'ocicat stores' lists them")
    return Asked(None, name)


def is_manifest_digest(reference: str) -> bool:
    """Return whether a reference is a digest and not a tag. Raises InvalidReference if it is neither."""
    if ":" in reference:
        if not is_digest(reference):
            raise InvalidReference(f"{shown(reference)} is not a digest: write sha256: and 64 hex digits")
        return True
    if not is_tag(reference):
        raise InvalidReference(f"{shown(reference)} is not a tag")
    return False


def registry_of(namespace: str | None) -> str | None:
    """Return the registry that a parameter `ns` means, as the catalog writes it, or None without `ns`. Raises InvalidReference."""
    if namespace is not None and not is_domain(namespace):
        raise InvalidReference(f"ns={shown(namespace)} is not a registry: write HOST or HOST:PORT")
    return DEFAULT_DOMAIN if namespace in _HUB else namespace
