"""Media types and what they mean for a blob: whether it can be a manifest, and whether a layer may be absent.

Sources: image-spec media-types.md and layer.md, Docker's schemas 1 and 2, and BuildKit's cache format.
"""

from __future__ import annotations

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_ARTIFACT = "application/vnd.oci.artifact.manifest.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+json"
DOCKER_SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"

IMAGES = frozenset({OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST})
"""Image manifests and indexes: the entries that containers/image accepts (oci_src.go, `supportedManifestMIMETypes`)."""
MANIFESTS = IMAGES | {OCI_ARTIFACT, DOCKER_SCHEMA_1, DOCKER_SIGNED}
"""Every type that ocicat can parse and that refers to other blobs."""
INDEXES = frozenset({OCI_INDEX, DOCKER_LIST})
CONFIGS = frozenset({OCI_CONFIG, DOCKER_CONFIG})

_LEAVES = CONFIGS | {
    "application/vnd.buildkit.cacheconfig.v0",  # refers to layers, but the index above lists all of them too
    "application/vnd.oci.empty.v1+json",
    "application/vnd.in-toto+json",
    "application/octet-stream",
    "application/x-tar",
    "application/gzip",
    "application/zstd",
}
_LEAF_PREFIXES = (
    "application/vnd.oci.image.layer.",
    "application/vnd.docker.image.rootfs.",
)
_FOREIGN_PREFIXES = (
    "application/vnd.oci.image.layer.nondistributable.",
    "application/vnd.docker.image.rootfs.foreign.",
)


def is_leaf(media_type: str) -> bool:
    """Return whether blobs of this media type need not be followed: they are not manifests, and what they refer to is listed elsewhere."""
    return media_type in _LEAVES or media_type.startswith(_LEAF_PREFIXES)


def is_foreign(media_type: str) -> bool:
    """Return whether a layer of this media type may be absent (image-spec, layer.md, "Non-Distributable Layers")."""
    return media_type.startswith(_FOREIGN_PREFIXES)
