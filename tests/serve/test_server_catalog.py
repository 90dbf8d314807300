"""`ocicat serve` with a catalog on PostgreSQL that two hosts share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.program import called
from tests.postgres import Server
from tests.serve import test_faults, test_programs, test_registry
from tests.serve.served import Layouts, Registry, build, serving
from tests.writers import empty_index, make_image, make_layout, name_entry, write_index


@pytest.fixture(scope="module")
def layouts(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Layouts:
    """The layouts of the other tests, in a catalog on a server."""
    return build(str(tmp_path_factory.mktemp("serve-server")), server.new_catalog())


@pytest.fixture(scope="module")
def site(layouts: Layouts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with serving(layouts.db, env={"XDG_STATE_HOME": str(tmp_path_factory.mktemp("state"))}) as running:
        yield running


@pytest.mark.parametrize("engine", ["postgresql"])
def test_it_answers_as_with_a_file(layouts: Layouts, site: Registry, engine: str) -> None:
    """The tests of the endpoints, again: names, pages, referrers, digests, ranges and the objects for programs."""
    for name, reference in (
        ("alpine:3.17", "library/alpine/manifests/3.17?ns=docker.io"),
        ("oci-layout://bare:7", "stores.localhost/bare/manifests/7"),
        ("registry.example.com/team/tool:2.0", "team/tool/manifests/2.0?ns=registry.example.com"),
    ):
        test_registry.test_a_name_is_what_resolve_answers(layouts, site, name, reference)
    test_registry.test_ambiguous_is_a_conflict_with_every_candidate(layouts, site)
    test_registry.test_manifests_below_an_index_and_unlisted_ones_are_served_by_digest(layouts, site)
    test_registry.test_ranges_and_conditions(layouts, site)
    test_registry.test_lists_are_read_in_pages(layouts, site)
    test_registry.test_referrers(layouts, site)
    test_programs.test_resolve_and_query_are_those_of_the_commands(layouts, site, "acme/app:1.0")
    test_programs.test_filters_and_limits(layouts, site)


@pytest.mark.parametrize("engine", ["postgresql"])
def test_a_blob_that_only_a_descriptor_has(server: Server, tmp_path: Path, engine: str) -> None:
    test_faults.test_a_blob_that_only_a_descriptor_has(build(str(tmp_path), server.new_catalog()))


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
