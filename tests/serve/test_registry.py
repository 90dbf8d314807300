"""The endpoints of the distribution-spec, asked over HTTP, compared with `ocicat resolve` and with the files."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

from tests.cli.program import called
from tests.serve.served import Layouts, Registry, Reply, serving
from tests.writers import INDEX_TYPE, MANIFEST_TYPE

SBOM = "application/vnd.example.sbom"


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("alpine:3.17", "alpine/manifests/3.17"),
        ("alpine:3.17", "library/alpine/manifests/3.17"),
        ("alpine:3.17", "docker.io/library/alpine/manifests/3.17"),
        ("alpine:3.17", "docker.io/alpine/manifests/3.17"),
        ("alpine:3.17", "index.docker.io/library/alpine/manifests/3.17"),
        ("alpine:3.17", "library/alpine/manifests/3.17?ns=docker.io"),
        ("alpine:3.17", "library/alpine/manifests/3.17?ns=registry-1.docker.io"),
        ("alpine:3.17", "library/alpine/manifests/3.17?ns=index.docker.io"),
        ("acme/app", "acme/app/manifests/latest"),
        ("registry.example.com/team/tool:2.0", "registry.example.com/team/tool/manifests/2.0"),
        ("registry.example.com/team/tool:2.0", "team/tool/manifests/2.0?ns=registry.example.com"),
        ("oci-layout://bare:7", "stores.localhost/bare/manifests/7"),
        ("oci-layout://bare:7", "bare/manifests/7?ns=stores.localhost"),
        ("oci-layout://one:3.16", "stores.localhost/one/manifests/3.16"),
    ],
)
def test_a_name_is_what_resolve_answers(layouts: Layouts, site: Registry, name: str, reference: str) -> None:
    digest = layouts.ocicat("resolve", name).strip()
    got = site.get(f"/v2/{reference}")
    assert (got.status, got.headers["Docker-Content-Digest"]) == (200, digest)
    assert f"sha256:{hashlib.sha256(got.body).hexdigest()}" == digest
    assert got.headers["Content-Type"] == json.loads(got.body)["mediaType"]
    assert got.headers.get("OCI-Namespace") == (reference.partition("?ns=")[2] or None)
    head = site.get(f"/v2/{reference}", method="HEAD")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Length"] == str(len(got.body))
    assert head.headers["Docker-Content-Digest"] == digest
    again = site.get(f"/v2/{reference}", {"If-None-Match": got.headers["ETag"]})
    assert (again.status, again.body) == (304, b"")


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v2/nosuch/manifests/1", 404, "MANIFEST_UNKNOWN"),
        ("/v2/alpine/manifests/9", 404, "MANIFEST_UNKNOWN"),
        ("/v2/alpine/manifests/.INVALID", 404, "MANIFEST_UNKNOWN"),
        ("/v2/library/alpine/manifests/3.17?ns=registry.example.com", 404, "MANIFEST_UNKNOWN"),
        ("/v2/stores.localhost/bare/manifests/8", 404, "MANIFEST_UNKNOWN"),  # not buildx's only entry
        ("/v2/stores.localhost/nosuch/manifests/8", 404, "NAME_UNKNOWN"),
        ("/v2/stores.localhost//etc/manifests/8", 400, "NAME_INVALID"),
        ("/v2/stores.localhost/../one/manifests/3.16", 400, "NAME_INVALID"),
        ("/v2/UPPER/manifests/1", 400, "NAME_INVALID"),
        ("/v2/alpine/tags/list?ns=host", 400, "NAME_INVALID"),
        ("/v2/alpine/manifests/sha256:00", 400, "DIGEST_INVALID"),
        (f"/v2/alpine/manifests/sha256:{'0' * 64}", 404, "MANIFEST_UNKNOWN"),
        (f"/v2/alpine/blobs/sha256:{'0' * 64}", 404, "BLOB_UNKNOWN"),
        ("/v2/alpine/blobs/sha256:00", 400, "DIGEST_INVALID"),
        ("/v2/alpine/blobs/3.17", 400, "DIGEST_INVALID"),
        ("/v2/nosuch/tags/list", 404, "NAME_UNKNOWN"),
        ("/v2/a%00b/tags/list", 400, "NAME_INVALID"),
        ("/v2/a/b", 404, "UNSUPPORTED"),
        ("/etc/passwd", 404, "UNSUPPORTED"),
    ],
)
def test_an_error_has_a_code_of_the_specification(site: Registry, path: str, status: int, code: str) -> None:
    got = site.get(path)
    assert (got.status, got.code) == (status, code), got
    head = site.get(path, method="HEAD")
    assert (head.status, head.body) == (status, b"")


def test_ambiguous_is_a_conflict_with_every_candidate(layouts: Layouts, site: Registry) -> None:
    got = site.get("/v2/alpine/manifests/3.16")
    assert got.status == 409
    for store in ("one", "two"):
        assert layouts.digests[f"{store}:3.16"] in got.json["errors"][0]["message"]
    with serving(layouts.db, "--ambiguous", "skip") as skipping:
        assert skipping.get("/v2/alpine/manifests/3.16").status == 404
        assert skipping.get("/v2/alpine/manifests/3.17").status == 200
    with serving(layouts.db, "--ambiguous", "first") as first:
        got = first.get("/v2/alpine/manifests/3.16")
        assert (got.status, got.headers["Docker-Content-Digest"]) == (200, layouts.digests["one:3.16"])
        assert re.fullmatch(r'299 - ".*ambiguous.*took the first store, one"', got.headers["Warning"])
    with serving(layouts.db, "--store", "two") as two:
        assert two.get("/v2/alpine/manifests/3.16").headers["Docker-Content-Digest"] == layouts.digests["two:3.16"]
        assert two.get("/v2/_catalog").json == {"repositories": ["docker.io/library/alpine"]}
        assert two.get(f"/v2/alpine/manifests/{layouts.digests['one:3.16']}").status == 404
        assert two.get("/v2/acme/app/tags/list").code == "NAME_UNKNOWN"
        assert two.get(f"/v2/alpine/blobs/{layouts.digests['bare']}").status == 404
    done = called("serve", "--store", "nosuch", db=layouts.db)
    assert (done.status, done.out) == (2, "")


def test_manifests_below_an_index_and_unlisted_ones_are_served_by_digest(layouts: Layouts, site: Registry) -> None:
    index = site.get("/v2/acme/app/manifests/1.0")
    assert index.headers["Content-Type"] == INDEX_TYPE
    for child in index.json["manifests"]:
        got = site.get(f"/v2/acme/app/manifests/{child['digest']}")
        assert (got.status, got.headers["Content-Type"]) == (200, MANIFEST_TYPE)
        assert len(got.body) == child["size"]
    blob = site.get(f"/v2/acme/app/blobs/{layouts.digests['child']}")  # a manifest is a blob, too
    assert (blob.status, blob.headers["Content-Type"]) == (200, "application/octet-stream")
    config = json.loads(blob.body)["config"]["digest"]
    assert site.get(f"/v2/acme/app/manifests/{config}").code == "MANIFEST_UNKNOWN"
    assert site.get(f"/v2/acme/app/blobs/{config}").status == 200


def test_ranges_and_conditions(layouts: Layouts, site: Registry) -> None:
    digest = layouts.digests["index"]
    data = Path(layouts.blob("many", digest)).read_bytes()
    path = f"/v2/acme/app/blobs/{digest}"
    size = len(data)
    whole = site.get(path)
    assert (whole.status, whole.body, whole.headers["Accept-Ranges"]) == (200, data, "bytes")
    for asked, begin, end in (
        ("0-9", 0, 10), ("5-", 5, size), ("-7", size - 7, size), (f"3-{size * 9}", 3, size), (f"-{size * 9}", 0, size),
    ):  # fmt: skip
        got = site.get(path, {"Range": f"bytes={asked}"})
        assert (got.status, got.body) == (206, data[begin:end]), asked
        assert got.headers["Content-Range"] == f"bytes {begin}-{end - 1}/{size}"
    for asked in (f"{size}-", "-0", f"{size + 5}-{size + 9}"):
        got = site.get(path, {"Range": f"bytes={asked}"})
        assert (got.status, got.headers["Content-Range"]) == (416, f"bytes */{size}"), asked
    ranges = ",".join("0-0" for _ in range(2000))
    for asked in ("bytes=9-2", "bytes=", "bytes=-", "bytes=a-b", "lines=0-1", "0-1", f"bytes={ranges}", "bytes=0-1, 4-5",
                  f"bytes={'9' * 30}-", "bytes=+1-2", "bytes=\xb2-\xb3"):  # fmt: skip
        got = site.get(path, {"Range": asked})
        assert (got.status, got.body) == (200, data), asked
    etag = whole.headers["ETag"]
    assert etag == f'"{digest}"'
    assert site.get(path, {"If-None-Match": f'"x", W/{etag}'}).status == 304
    assert site.get(path, {"If-None-Match": "*"}).status == 304
    assert site.get(path, {"If-None-Match": '"x"'}).status == 200
    assert site.get(path, {"Range": "bytes=0-1", "If-Range": etag}).status == 206
    assert site.get(path, {"Range": "bytes=0-1", "If-Range": '"x"'}).status == 200
    head = site.get(path, {"Range": "bytes=0-1"}, method="HEAD")
    assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", str(size))


def following(got: Reply) -> str:
    """Return the target of the next page; empty if this is the last."""
    found = re.fullmatch(r'<(.*)>; rel="next"', got.headers.get("Link", ""))
    return found[1] if found else ""


def test_lists_are_read_in_pages(layouts: Layouts, site: Registry) -> None:
    whole = site.get("/v2/_catalog").json["repositories"]
    assert whole == [
        "docker.io/acme/app", "docker.io/library/alpine", "registry.example.com/team/tool", "stores.localhost/bare",
    ]  # fmt: skip
    for path, key, expected in (
        ("/v2/_catalog", "repositories", whole),
        ("/v2/_catalog?ns=docker.io", "repositories", ["acme/app", "library/alpine"]),
        ("/v2/_catalog?ns=stores.localhost", "repositories", ["bare"]),
        ("/v2/library/alpine/tags/list", "tags", ["3.16", "3.17"]),
        ("/v2/acme/app/tags/list?ns=docker.io", "tags", ["1.0", "latest"]),
        ("/v2/stores.localhost/bare/tags/list", "tags", ["7"]),
    ):
        found = []
        next_path = f"{path}{'&' if '?' in path else '?'}n=1"
        while next_path:
            got = site.get(next_path)
            assert got.status == 200
            found += got.json[key]
            next_path = following(got)
        assert found == expected, path
    assert site.get("/v2/library/alpine/tags/list?n=0").json == {"name": "library/alpine", "tags": []}
    assert site.get("/v2/library/alpine/tags/list?last=3.17").json["tags"] == []
    assert site.get("/v2/library/alpine/tags/list?n=-1").status == 400
    assert site.get("/v2/library/alpine/tags/list?n=99999999").json["tags"] == ["3.16", "3.17"]
    for name in whole:
        for tag in site.get(f"/v2/{name}/tags/list").json["tags"]:
            assert site.get(f"/v2/{name}/manifests/{tag}").status == (409 if tag == "3.16" else 200), (name, tag)
    assert layouts.ocicat("resolve", "oci-layout://bare:7")


def test_referrers(layouts: Layouts, site: Registry) -> None:
    digest = layouts.digests["signed"]
    path = f"/v2/registry.example.com/team/tool/referrers/{digest}"
    got = site.get(path)
    assert (got.status, got.headers["Content-Type"]) == (200, INDEX_TYPE)
    assert got.headers.get("OCI-Filters-Applied") is None
    by_digest = {each["digest"]: each for each in got.json["manifests"]}
    assert set(by_digest) == {layouts.digests[SBOM], layouts.digests[SBOM.replace("sbom", "signature")]}
    for found in by_digest.values():
        manifest = site.get(f"/v2/registry.example.com/team/tool/manifests/{found['digest']}")
        assert len(manifest.body) == found["size"]
        assert manifest.json["artifactType"] == found["artifactType"]
        assert manifest.json["annotations"] == found["annotations"]
        assert found["mediaType"] == MANIFEST_TYPE
    filtered = site.get(f"{path}?artifactType={SBOM.replace('/', '%2F')}")
    assert filtered.headers["OCI-Filters-Applied"] == "artifactType"
    assert [each["digest"] for each in filtered.json["manifests"]] == [layouts.digests[SBOM]]
    page = site.get(f"{path}?n=1")
    assert page.json["manifests"] + site.get(following(page)).json["manifests"] == got.json["manifests"]
    assert site.get(f"/v2/alpine/referrers/sha256:{'0' * 64}").json["manifests"] == []
    assert site.get("/v2/alpine/referrers/3.17").status == 400


def test_whatever_writes_is_refused(site: Registry) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"):
        for path in ("/v2/", "/v2/acme/app/blobs/uploads/", "/v2/acme/app/manifests/1.0", "/healthz"):
            got = site.get(path, method=method)
            assert (got.status, got.code, got.headers["Allow"]) == (405, "UNSUPPORTED", "GET, HEAD")
