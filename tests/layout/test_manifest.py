"""What a document is: a manifest, an index, a config or none of them, read plainly and, if a field is odd, tolerantly."""

from __future__ import annotations

import json
from typing import Any

import pytest

from catalog.layout.config import parse_config
from catalog.layout.manifest import MAX_CHILDREN, AmbiguousManifest, Manifest, parse_both, parse_manifest
from catalog.names.media_types import DOCKER_SCHEMA_1, OCI_ARTIFACT, OCI_INDEX, OCI_MANIFEST

ONE, TWO, THREE = (f"sha256:{digit * 64}" for digit in "123")
WAYS: tuple[dict[str, Any], ...] = ({}, {"annotations": {"odd": 1}})
"""Fields that are added to a document: none, or one that makes it be read tolerantly and changes nothing else."""


def on(digest: str, **more: Any) -> dict[str, Any]:
    return {"digest": digest, "size": 3, **more}


def manifest(fields: dict[str, Any]) -> Manifest | None:
    return parse_manifest(json.dumps(fields).encode())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("fields", "is_index", "children", "config", "layers"),
    [
        ({"config": on(ONE), "layers": [on(TWO), on(THREE)]}, False, [], ONE, [TWO, THREE]),
        ({"mediaType": OCI_MANIFEST, "config": on(ONE), "layers": [on(TWO)]}, False, [], ONE, [TWO]),
        ({"mediaType": OCI_MANIFEST}, False, [], None, []),
        ({"layers": []}, False, [], None, []),
        ({"layers": [on(ONE)]}, False, [], None, [ONE]),
        ({"config": on(ONE)}, False, [], ONE, []),
        ({"manifests": [on(ONE), on(TWO)]}, True, [ONE, TWO], None, []),
        ({"manifests": []}, True, [], None, []),
        ({"mediaType": OCI_INDEX}, True, [], None, []),
        ({"mediaType": OCI_ARTIFACT, "blobs": [on(ONE)]}, False, [], None, [ONE]),
        # Docker's schema 1 lists the top layer first
        ({"mediaType": DOCKER_SCHEMA_1, "fsLayers": [{"blobSum": ONE}, {"blobSum": TWO}]}, False, [], None, [TWO, ONE]),
        # fields of two kinds, where no media type says which it is and readers agree
        ({"config": on(ONE), "layers": [on(TWO)], "blobs": []}, False, [], ONE, [TWO]),
        ({"manifests": [on(ONE)], "fsLayers": []}, True, [ONE], None, []),
    ],
)
def test_a_manifest_or_an_index(
    fields: dict[str, Any],
    is_index: bool,
    children: list[str],
    config: str | None,
    layers: list[str],
    way: dict[str, Any],
) -> None:
    found = manifest(fields | way)
    assert found is not None
    assert (found.is_index, found.media_type) == (is_index, fields.get("mediaType", ""))
    assert [one.digest for one in found.manifests] == children
    assert (None if found.config is None else found.config.digest) == config
    assert [one.digest for one in found.layers] == layers
    assert (found.annotations, list(found.flaws)) == ({}, [])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"os": "linux", "architecture": "amd64", "config": {"Env": ["A=1"]}},
        {"blobs": [on(ONE)]},
        {"fsLayers": [{"blobSum": ONE}]},
        {"layers": ["another", "format"]},
        {"mediaType": "application/json", "blobs": [on(ONE)]},
    ],
)
def test_neither(fields: dict[str, Any], way: dict[str, Any]) -> None:
    assert manifest(fields | way) is None


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "fields",
    [
        {"manifests": [on(ONE)], "layers": [on(TWO)]},
        {"manifests": [], "config": on(TWO)},
        {"mediaType": OCI_MANIFEST, "manifests": [on(ONE)]},
        {"mediaType": OCI_INDEX, "config": on(ONE), "layers": []},
        {"mediaType": OCI_ARTIFACT, "layers": []},
        {"mediaType": OCI_MANIFEST, "config": on(ONE), "layers": [], "blobs": []},
    ],
)
def test_a_document_that_means_two_things_is_refused(fields: dict[str, Any], way: dict[str, Any]) -> None:
    with pytest.raises(AmbiguousManifest, match="has the"):
        manifest(fields | way)


@pytest.mark.parametrize("data", [b"[]", b'"text"', b"1", b"null"])
def test_json_that_is_no_object(data: bytes) -> None:
    assert (parse_manifest(data), parse_config(data)) == (None, None)


@pytest.mark.parametrize("data", [b"", b"{", b'{"config":', b'{"layers":' + b"[" * 100_000 + b"]" * 100_000 + b"}"])
def test_what_is_not_json_or_nested_too_deep(data: bytes) -> None:
    with pytest.raises(ValueError):
        parse_manifest(data)


def test_parts_that_cannot_be_used_are_flaws() -> None:
    found = manifest(
        {
            "mediaType": OCI_MANIFEST,
            "artifactType": 5,
            "config": "text",
            "layers": [on(ONE, urls=["https://a/", 5]), on("sha256:"), 7, on(TWO, urls="https://b/")],
            "subject": on("no digest"),
            "blobs": "text",
            "annotations": {"kept": "1", "dropped": 2},
        }
    )
    assert found is not None
    assert (found.artifact_type, found.config, found.subject) == (None, None, None)
    assert [(one.digest, list(one.urls or ())) for one in found.layers] == [(ONE, ["https://a/"]), (TWO, [])]
    assert found.annotations == {"kept": "1"}
    flaws = [each.partition(": ") for each in found.flaws]
    assert [where for where, *_ in flaws] == ["layers[1]", "layers[2]", "subject", "blobs", "config"]
    assert [reason for *_, reason in flaws[3:]] == ["not a list", "not an object"]


def test_a_list_that_is_too_long_is_cut_and_reported() -> None:
    found = manifest({"manifests": [on(ONE)] * (MAX_CHILDREN + 1)})
    assert found is not None
    assert len(found.manifests) == MAX_CHILDREN
    assert list(found.flaws) == [
        f"manifests has {MAX_CHILDREN + 1} elements, of which only the first {MAX_CHILDREN} are kept"
    ]
    whole = manifest({"manifests": [on(ONE)] * MAX_CHILDREN})
    assert whole is not None
    assert (len(whole.manifests), whole.flaws) == (MAX_CHILDREN, [])


CONFIG = {
    "os": "linux",
    "architecture": "arm64",
    "variant": "v8",
    "created": "2026-01-02T03:04:05Z",
    "os.version": "10",
    "os.features": ["win32k"],
    "config": {"Labels": {"k": "v"}, "Env": ["SECRET=1"]},
}


@pytest.mark.parametrize("way", [{}, {"rootfs": "\0"}])
def test_a_config(way: dict[str, Any]) -> None:
    data = json.dumps(CONFIG | way).encode()
    config = parse_config(data)
    assert config is not None
    assert (config.os, config.architecture, config.variant) == ("linux", "arm64", "v8")
    assert (config.created, config.os_version) == ("2026-01-02T03:04:05Z", "10")
    assert (list(config.os_features), config.labels, list(config.odd)) == (["win32k"], {"k": "v"}, [])
    assert parse_both(data) == (None, config)
    least = parse_config(json.dumps({"os": "linux", "architecture": "arm64", **way}).encode())
    assert least is not None
    assert (least.variant, least.created, least.labels) == ("", None, {})
    assert (least.os_version, list(least.os_features)) == ("", [])


@pytest.mark.parametrize("way", [{}, {"rootfs": "\0"}])
@pytest.mark.parametrize("missing", ["os", "architecture"])
def test_a_config_has_a_platform(missing: str, way: dict[str, Any]) -> None:
    without = {key: value for key, value in CONFIG.items() if key != missing}
    for fields in (without, without | {missing: ""}):
        assert parse_config(json.dumps(fields | way).encode()) is None


def test_parts_of_a_config_of_another_type_are_left_out() -> None:
    fields = {
        "variant": 1,
        "created": 2,
        "os.version": 3,
        "os.features": ["a", 4],
        "config": {"Labels": {"k": "v", "n": 5}},
    }
    config = parse_config(json.dumps(CONFIG | fields).encode())
    assert config is not None
    assert (config.variant, config.created, config.os_version) == ("", None, "")
    assert (list(config.os_features), config.labels) == (["a"], {"k": "v"})
    for odd in ("text", {"Labels": "text"}):
        config = parse_config(json.dumps(CONFIG | {"config": odd, "variant": 1}).encode())
        assert config is not None
        assert config.labels == {}
