"""A layout in a tar archive is served from where its bytes are."""

from __future__ import annotations

import gzip
import hashlib
import subprocess
import tarfile
from pathlib import Path

from tests import writers
from tests.cli.conftest import no_settling
from tests.cli.program import called
from tests.programs import needs
from tests.serve.served import serving


def archive(tmp_path: Path) -> tuple[str, str]:
    """A catalog with one archive, and the digest of its image."""
    layout = writers.make_layout(str(tmp_path / "d"))
    image = writers.name_entry(writers.make_image(layout, "one"), "containerd", "docker.io/acme/app", "v1")
    writers.write_index(layout, writers.empty_index(image))
    with tarfile.open(tmp_path / "app.tar", "w") as tar:
        tar.add(layout, ".")
    db = str(tmp_path / "own.db")
    assert (
        called("--config", no_settling(tmp_path), "add", str(tmp_path / "app.tar"), "--name", "app", db=db).status == 0
    )
    return db, str(image["digest"])


@needs("skopeo")
def test_blobs_ranges_and_a_whole_image(tmp_path: Path) -> None:
    db, digest = archive(tmp_path)
    with serving(db) as site:
        reply = site.get(f"/v2/acme/app/manifests/{digest}")
        assert (reply.status, "sha256:" + hashlib.sha256(reply.body).hexdigest()) == (200, digest)
        layer = reply.json["layers"][0]
        whole = site.get(f"/v2/acme/app/blobs/{layer['digest']}")
        assert (whole.status, len(whole.body)) == (200, layer["size"])
        assert "sha256:" + hashlib.sha256(whole.body).hexdigest() == layer["digest"]
        part = site.get(f"/v2/acme/app/blobs/{layer['digest']}", {"Range": "bytes=5-14"})
        assert (part.status, part.body) == (206, whole.body[5:15])
        to = tmp_path / "copy"
        host = site.url.removeprefix("http://")
        subprocess.run(
            ["skopeo", "copy", "-q", "--src-tls-verify=false", f"docker://{host}/acme/app:v1", f"oci:{to}:v1"],
            check=True,
        )
        assert writers.read_index(str(to))["manifests"][0]["digest"] == digest
        (tmp_path / "app.tar").write_bytes((tmp_path / "app.tar").read_bytes()[:3000])
        assert site.get(f"/v2/acme/app/blobs/{layer['digest']}").status == 404


def test_of_a_compressed_archive_nothing_is_sent_and_another_store_is(tmp_path: Path) -> None:
    db, digest = archive(tmp_path)
    path = tmp_path / "app.tar"
    path.write_bytes(gzip.compress(path.read_bytes()))
    settings = no_settling(tmp_path)
    assert called("--config", settings, "index", db=db).status == 0
    with serving(db) as site:
        for kind in ("manifests", "blobs"):
            reply = site.get(f"/v2/acme/app/{kind}/{digest}")
            assert reply.status == 404
            assert "in app it is in an archive compressed with gzip" in reply.json["errors"][0]["message"]
        assert called("--config", settings, "add", str(tmp_path / "d"), "--name", "d", db=db).status == 0
        for kind in ("manifests", "blobs"):
            assert site.get(f"/v2/acme/app/{kind}/{digest}").status == 200
