"""`ocicat serve` with a catalog on PostgreSQL that two hosts share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.program import called
from tests.postgres import Server
from tests.serve.served import build, serving
from tests.writers import empty_index, make_image, make_layout, name_entry, write_index


@pytest.mark.parametrize("engine", ["postgresql"])
def test_the_stores_of_this_host_are_served(server: Server, tmp_path: Path, engine: str) -> None:
    url = server.new_catalog()
    layouts = build(str(tmp_path / "here"), url)
    elsewhere = make_layout(f"{tmp_path}/there")
    image = make_image(elsewhere, "there")
    write_index(elsewhere, empty_index(name_entry(image, "containerd", "docker.io/acme/there", "1")))
    env = {"OCICAT_HOST": "there", "XDG_STATE_HOME": str(tmp_path)}
    done = called("--config", layouts.config, "add", elsewhere, db=url, env=env)
    assert done.status == 0, done
    with serving(url, env={"XDG_STATE_HOME": str(tmp_path)}) as site:
        digest = layouts.ocicat("resolve", "acme/app:1.0").strip()
        assert site.get("/v2/acme/app/manifests/1.0").headers["Docker-Content-Digest"] == digest
        assert site.get(f"/v2/acme/app/blobs/{digest}", {"Range": "bytes=0-3"}).status == 206
        assert site.get("/v2/library/alpine/manifests/3.16").status == 409
        assert site.get("/v2/library/alpine/tags/list").json["tags"] == ["3.16", "3.17"]
        assert site.get("/v2/library/alpine/tags/list?n=1&last=3.16").json["tags"] == ["3.17"]
        assert site.get("/v2/_catalog").json["repositories"] == [
            "docker.io/acme/app", "docker.io/library/alpine", "registry.example.com/team/tool", "stores.localhost/bare",
        ]  # fmt: skip
        assert site.get("/v2/stores.localhost/bare/manifests/7").status == 200
        assert len(site.get(f"/v2/team/tool/referrers/{layouts.digests['signed']}").json["manifests"]) == 2
        # What another host has can be resolved, but not read from here.
        assert site.get("/api/resolve?ref=acme/there:1").json["digest"] == image["digest"]
        got = site.get("/v2/acme/there/manifests/1")
        assert (got.status, got.code) == (404, "MANIFEST_UNKNOWN")
        assert "there" in got.json["errors"][0]["message"]
        assert site.get(f"/v2/acme/there/blobs/{image['digest']}").status == 404
        assert site.get("/v2/acme/there/tags/list").status == 404
