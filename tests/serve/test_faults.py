"""Stores that are incomplete, hostile or vanish: a clear status, another store that has the blob, and nothing else disturbed."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import shutil
import socket
from pathlib import Path

import pytest

from tests.cli.program import called
from tests.conftest import stamp
from tests.serve.served import APP, Layouts, build, serving
from tests.watch.harness import wait_for
from tests.writers import (
    CONFIG_TYPE,
    INDEX_TYPE,
    MANIFEST_TYPE,
    dump,
    empty_index,
    make_image,
    make_layout,
    name_entry,
    write_blob,
    write_index,
)

LARGE = 64 << 20


def test_a_blob_that_is_bad_comes_from_the_next_store(own: Layouts) -> None:
    """One store has it as a FIFO, a link, truncated, or as `verify` found it bad; the other one is asked."""
    digest = own.digests["one:3.17"]
    assert digest == own.digests["two:3.17"]
    path, good = own.blob("one", digest), Path(own.blob("two", digest)).read_bytes()
    secret = Path(own.root, "secret")
    secret.write_bytes(b"secret")

    def fifo() -> None:
        os.mkfifo(path)

    def link() -> None:
        os.symlink(secret, path)

    def truncated() -> None:
        Path(path).write_bytes(good[:10])

    with serving(own.db) as site:
        for spoil in (fifo, link, truncated, lambda: None):
            os.unlink(path) if os.path.lexists(path) else None
            spoil()
            got = site.get(f"/v2/library/alpine/manifests/{digest}")
            assert (got.status, got.body) == (200, good), spoil
            assert site.get("/v2/library/alpine/manifests/3.17").body == good
            if spoil is not truncated:  # only the client can know, unless ocicat has looked
                assert site.get(f"/v2/library/alpine/blobs/{digest}").body == good
        Path(path).write_bytes(bytes(len(good)))
        assert called("--config", own.config, "verify", "one", db=own.db).status == 1
        assert site.get(f"/v2/library/alpine/blobs/{digest}").body == good
        os.unlink(own.blob("two", digest))
        got = site.get(f"/v2/library/alpine/blobs/{digest}")
        assert (got.status, got.code) == (404, "BLOB_UNKNOWN")
        assert "one its bytes do not match" in got.json["errors"][0]["message"]
        Path(path).write_bytes(good)  # another file than the one that was found bad
        assert site.get(f"/v2/library/alpine/blobs/{digest}").body == good


def test_an_index_without_a_child_and_a_layout_without_layers(own: Layouts) -> None:
    os.unlink(own.blob("many", own.digests["arm64"]))
    with serving(own.db) as site:
        index = site.get("/v2/acme/app/manifests/1.0")
        assert index.status == 200
        assert site.get(f"/v2/acme/app/manifests/{own.digests['child']}").status == 200
        got = site.get(f"/v2/acme/app/manifests/{own.digests['arm64']}")
        assert (got.status, got.code) == (404, "MANIFEST_UNKNOWN")
        manifest = site.get(f"/v2/acme/app/manifests/{own.digests['child']}").json
        layer = manifest["layers"][0]["digest"]
        os.unlink(own.blob("many", layer))
        own.ocicat("index", "--full")
        got = site.get(f"/v2/acme/app/blobs/{layer}")
        assert (got.status, got.code) == (404, "BLOB_UNKNOWN")
        assert site.get(f"/v2/acme/app/blobs/{manifest['layers'][1]['digest']}").status == 200


def test_a_blob_that_only_a_descriptor_has(own: Layouts) -> None:
    """The field `data` has a config in a manifest, which is itself in an index, which is in the list of the layout."""
    layout = make_layout(f"{own.root}/embedded")

    def embedded(value: object, media_type: str) -> dict[str, object]:
        data = dump(value)
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        return {"mediaType": media_type, "digest": digest, "size": len(data), "data": base64.b64encode(data).decode()}

    config = embedded({"os": "linux", "architecture": "s390x"}, CONFIG_TYPE)
    lying = write_blob(
        layout, dump({"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": config, "layers": []}), MANIFEST_TYPE
    )
    other = embedded({"os": "linux", "architecture": "riscv64"}, CONFIG_TYPE)
    child = embedded({"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": other, "layers": []}, MANIFEST_TYPE)
    index = embedded({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [child]}, INDEX_TYPE)
    claimed = embedded({"os": "linux", "architecture": "claimed"}, CONFIG_TYPE) | {"data": "AAAA"}
    false = write_blob(
        layout, dump({"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": claimed, "layers": []}), MANIFEST_TYPE
    )
    entries = [
        name_entry(each, "containerd", APP, tag)
        for tag, each in (("lying", lying), ("in-list", index), ("false", false))
    ]
    write_index(layout, empty_index(*entries))
    own.ocicat("add", layout)
    with serving(own.db) as site:
        for each, kind in (
            (config, "blobs"),
            (other, "blobs"),
            (child, "manifests"),
            (index, "manifests"),
            (child, "blobs"),
        ):
            data = base64.b64decode(str(each["data"]))
            got = site.get(f"/v2/acme/app/{kind}/{each['digest']}")
            assert (got.status, got.body) == (200, data), each
        assert site.get("/v2/acme/app/manifests/in-list").headers["Docker-Content-Digest"] == index["digest"]
        part = site.get(f"/v2/acme/app/blobs/{config['digest']}", {"Range": "bytes=2-5"})
        assert (part.status, part.body) == (206, base64.b64decode(str(config["data"]))[2:6])
        assert site.get(f"/v2/acme/app/blobs/{claimed['digest']}").status == 404  # its bytes are others
        write_index(layout, empty_index(*entries[::2]))  # the catalog does not know that yet
        got = site.get(f"/v2/acme/app/blobs/{child['digest']}")
        assert (got.status, got.code) == (404, "BLOB_UNKNOWN")


def large_blob(own: Layouts) -> str:
    """Make a store `large` with a blob of 64 MiB; return its digest."""
    layout = make_layout(f"{own.root}/large")
    data = os.urandom(1 << 20) * (LARGE >> 20)
    layer = write_blob(layout, data, "application/vnd.oci.image.layer.v1.tar")
    config = write_blob(layout, b'{"os":"linux","architecture":"amd64"}', "application/vnd.oci.image.config.v1+json")
    kind = "application/vnd.oci.image.manifest.v1+json"
    text = f'{{"schemaVersion":2,"mediaType":"{kind}","config":{json.dumps(config)},"layers":[{json.dumps(layer)}]}}'
    image = write_blob(layout, text.encode(), kind)
    write_index(layout, empty_index(name_entry(image, "containerd", APP, "large")))
    own.ocicat("add", layout, "--name", "large")
    return str(layer["digest"])


def begin(site_connection: socket.socket, digest: str) -> bytes:
    """Ask for a blob and read the first bytes of the response."""
    site_connection.sendall(f"GET /v2/acme/app/blobs/{digest} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return site_connection.recv(1000)


def rest(connection: socket.socket) -> int:
    """Read until the server closes; return how many bytes came."""
    count = 0
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(1 << 20):
            count += len(piece)
    return count


def test_a_file_that_gets_shorter_and_a_store_that_vanishes_in_the_middle_of_a_pull(own: Layouts) -> None:
    digest = large_blob(own)
    with serving(own.db) as site:
        with site.connect() as cut, site.connect() as whole:
            assert begin(cut, digest).startswith(b"HTTP/1.1 200")
            assert begin(whole, digest).startswith(b"HTTP/1.1 200")
            os.rename(f"{own.root}/large", f"{own.root}/gone")  # the open file is still there
            got = site.get(f"/v2/acme/app/blobs/{digest}")
            assert (got.status, got.code) == (404, "BLOB_UNKNOWN")
            assert site.get("/v2/acme/app/manifests/large").status == 404
            assert site.get("/v2/acme/app/manifests/1.0").status == 200
            os.truncate(f"{own.root}/gone/blobs/{digest.replace(':', '/')}", LARGE // 2)
            assert rest(cut) < LARGE // 2 + 2000  # nothing is padded, and the connection is cut
        assert site.get("/v2/acme/app/manifests/1.0").status == 200


@pytest.mark.whole_start  # a fork has all modules in memory
def test_as_many_slow_readers_as_there_are_places_cost_little_memory_and_disturb_nobody(own: Layouts) -> None:
    """One more reader gets status 503 with Retry-After. Meanwhile thousands of requests are answered."""
    digest = large_blob(own)
    with serving(own.db) as site:
        slow: list[socket.socket] = []
        try:
            for _ in range(256):
                slow.append(site.connect())  # not before: a connection without a request is closed after a while
                assert begin(slow[-1], digest).startswith(b"HTTP/1.1 200")
            wait_for(lambda: b"ocicat_serve_transfers 256" in site.get("/metrics").body)
            got = site.get(f"/v2/acme/app/blobs/{own.digests['index']}")
            assert (got.status, got.code, got.headers["Retry-After"]) == (503, "UNAVAILABLE", "1")
            slow.pop().close()
            wait_for(lambda: site.get(f"/v2/acme/app/blobs/{own.digests['index']}").status == 200)
            for kind in ("manifests/1.0", f"manifests/{own.digests['child']}", "tags/list"):
                request = f"GET /v2/acme/app/{kind} HTTP/1.1\r\nHost: localhost\r\n"
                for _ in range(70):  # with at most as many requests on a connection as may wait there
                    answered = site.raw(f"{request}\r\n".encode() * 15 + f"{request}Connection: close\r\n\r\n".encode())
                    assert answered.count(b"HTTP/1.1 200") == 16
            assert site.memory_mib() < 150
        finally:
            for each in slow:
                each.close()
        wait_for(lambda: b"ocicat_serve_transfers 0" in site.get("/metrics").body)


def test_a_catalog_that_is_away_is_503_and_another_one_is_taken(own: Layouts, tmp_path: Path) -> None:
    other = build(f"{tmp_path}/other")
    with serving(own.db) as site:
        assert site.get("/v2/acme/app/manifests/1.0").status == 200
        assert site.get("/healthz").status == 200
        os.rename(own.db, f"{own.db}.away")
        got = site.get("/v2/acme/app/manifests/1.0")
        assert (got.status, got.code, got.headers["Retry-After"]) == (503, "UNAVAILABLE", "5")
        assert site.get("/healthz").status == 503
        for end in ("-wal", "-shm"):
            Path(own.db + end).unlink(missing_ok=True)
        shutil.rmtree(f"{other.root}/many")
        other.ocicat("index")
        for end in ("", "-wal"):
            if os.path.exists(other.db + end):
                os.rename(other.db + end, own.db + end)
        wait_for(lambda: site.get("/healthz").status == 200)
        assert site.get("/v2/acme/app/manifests/1.0").status == 404
        assert site.get("/v2/library/alpine/manifests/3.17").status == 200


def test_fresh_looks_at_the_layout_before_a_tag_is_looked_up(own: Layouts) -> None:
    layout = f"{own.root}/many"

    def move(seed: str) -> str:
        image = make_image(layout, seed)
        write_index(layout, empty_index(name_entry(image, "containerd", APP, "1.0")))
        stamp(f"{layout}/index.json")
        return str(image["digest"])

    with serving(own.db, config=own.config) as plain, serving(own.db, "--fresh", config=own.config) as fresh:
        first = plain.get("/v2/acme/app/manifests/1.0").headers["Docker-Content-Digest"]
        for seed in ("new", "newer"):
            moved = move(seed)
            old = plain.get("/v2/acme/app/manifests/1.0").headers["Docker-Content-Digest"]
            assert old == first  # what the catalog says
            for _ in range(2):
                assert fresh.get("/v2/acme/app/manifests/1.0").headers["Docker-Content-Digest"] == moved
            first = moved
            assert plain.get("/v2/acme/app/manifests/1.0").headers["Docker-Content-Digest"] == moved


def test_a_tag_that_has_moved_is_served_as_the_catalog_says_at_once(own: Layouts) -> None:
    """Answers are kept for a moment, but not beyond a commit, and not for a file that is gone."""
    layout = f"{own.root}/many"
    with serving(own.db) as site:
        for number in range(5):
            image = make_image(layout, f"moved-{number}")
            write_index(layout, empty_index(name_entry(image, "containerd", APP, "1.0")))
            stamp(f"{layout}/index.json")
            own.ocicat("index")
            for _ in range(2):
                got = site.get("/v2/acme/app/manifests/1.0")
                assert (got.status, got.headers["Docker-Content-Digest"]) == (200, image["digest"])
        shutil.rmtree(layout)
        wait_for(lambda: site.get("/v2/acme/app/manifests/1.0").status == 404)
