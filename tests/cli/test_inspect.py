"""`ocicat inspect`: one page about one image, as text and as JSON, read with click and without."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from catalog.lookup.inspect import HEAD, SECTIONS, Page
from catalog.lookup.resolve import Asking
from catalog.names.query import parse_query
from tests import writers
from tests.cli.conftest import NASTY, SHOWN, Own, Shelf, retag
from tests.cli.program import by_click, called, on_a_terminal, one_error
from tests.conftest import Catalogue
from tests.lookup.test_past_steps import counted
from tests.writers import Descriptor


def page(cli: Own, *arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(cli.done("inspect", *arguments, "--format", "json").out)
    assert tuple(found) == ("reference", *HEAD, *SECTIONS)
    return found


def items(found: dict[str, Any], section: str) -> list[dict[str, Any]]:
    """The items of a section that lists all it has."""
    assert found[section]["total"] == len(found[section]["items"])
    assert not found[section]["at_least"]
    assert all(tuple(item) == SECTIONS[section] or section == "history" for item in found[section]["items"])
    listed: list[dict[str, Any]] = found[section]["items"]
    return listed


class World(NamedTuple):
    """A layout with a base and an image on top of it for two platforms, an index of both images, and a signature."""

    path: str
    base: Descriptor
    images: list[Descriptor]
    image_index: Descriptor
    signature: Descriptor


@pytest.fixture
def world(cli: Own) -> World:
    path = writers.make_layout(f"{cli.directory}/s")
    layers = [writers.write_blob(path, each, writers.LAYER_TYPE) for each in (b"1", b"22", b"333")]

    def image(arch: str, *which: int) -> Descriptor:
        config = {
            "os": "linux",
            "architecture": arch,
            "created": writers.CREATED,
            "config": {"Labels": {"version": "7"}},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": writers.MANIFEST_TYPE,
            "config": writers.write_blob(path, writers.dump(config), writers.CONFIG_TYPE),
            "layers": [layers[n] for n in which],
            "annotations": {"in": "manifest"},
        }
        return writers.write_blob(path, writers.dump(manifest), writers.MANIFEST_TYPE)

    base = image("amd64", 0)
    images = [
        image(arch, 0, n) | {"platform": writers.platform("linux", arch)} for n, arch in ((1, "amd64"), (2, "arm64"))
    ]
    index = writers.make_index_image(path, images)
    signature = writers.write_blob(
        path,
        writers.dump({"schemaVersion": 2, "mediaType": writers.MANIFEST_TYPE, "artifactType": "application/sig",
                      "config": writers.write_blob(path, b"{}", "application/vnd.oci.empty.v1+json"), "layers": [],
                      "subject": {key: index[key] for key in ("mediaType", "digest", "size")}}),
        writers.MANIFEST_TYPE,
    )  # fmt: skip
    entries = [
        writers.name_entry(base, "short", "docker.io/library/base", "1"),
        writers.name_entry(index, "short", "docker.io/library/app", "1"),
        writers.name_entry(index, "tag", "", "latest"),
        signature,
    ]
    entries[1]["annotations"]["in"] = "entry"
    writers.write_index(path, writers.empty_index(*entries))
    cli.done("add", path)
    return World(path, base, images, index, signature)


def test_all_about_an_index(cli: Own, world: World) -> None:
    found = page(cli, "app:1")
    assert {key: found[key] for key in ("digest", "kind", "media_type", "size", "layer_count")} == {
        "digest": world.image_index["digest"], "kind": "index", "media_type": writers.INDEX_TYPE, "size": world.image_index["size"], "layer_count": 3,
    }  # fmt: skip
    blobs = list(Path(world.path, "blobs/sha256").iterdir())
    apart = {
        world.base["digest"],
        world.signature["digest"],
        "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
    }
    sizes = [each.stat().st_size for each in blobs if f"sha256:{each.name}" not in apart]
    assert (found["blob_count"], found["total_size"]) == (len(sizes), sum(sizes))
    assert [(item["name"], item["tag"], item["store"]) for item in items(found, "names")] == [
        ("docker.io/library/app:1", "1", "s"),
        (None, "latest", "s"),
    ]
    assert [(item["platform"], item["digest"], item["store"]) for item in items(found, "platforms")] == [
        (f"linux/{arch}", image["digest"], "s") for arch, image in zip(("amd64", "arm64"), world.images, strict=True)
    ]
    assert [(item["store"], item["path"], item["size"]) for item in items(found, "stores")] == [
        ("s", world.path, world.image_index["size"])
    ]
    layers = items(found, "layers")
    assert [(item["size"], item["manifest"], item["shared"]) for item in layers] == [
        (1, world.images[0]["digest"], 2), (2, world.images[0]["digest"], 0),
        (1, world.images[1]["digest"], 2), (3, world.images[1]["digest"], 0),
    ]  # fmt: skip
    assert {"digest": world.base["digest"], "name": "docker.io/library/base:1"} in layers[0]["shared_with"]
    assert [(item["key"], item["value"]) for item in items(found, "labels")] == [("version", "7")]
    assert [(item["key"], item["value"], item["store"]) for item in items(found, "annotations")] == [
        ("in", "entry", "s")
    ]
    assert {(item["name"], item["digest"], item["manifest"]) for item in items(found, "bases")} == {
        ("docker.io/library/base:1", world.base["digest"], image["digest"]) for image in world.images
    }
    assert [(item["how"], item["digest"], item["artifact_type"]) for item in items(found, "referrers")] == [
        ("subject", world.signature["digest"], "application/sig")
    ]
    assert [(item["name"], item["until"]) for item in items(found, "history")] == [
        (None, None),
        ("docker.io/library/app:1", None),
    ]
    assert items(found, "derived") == items(found, "problems") == items(found, "indexes") == []


def test_all_about_a_manifest_below_it_and_about_its_base(cli: Own, world: World) -> None:
    image = world.images[1]["digest"]
    for arguments in ((image,), ("app:1", "--platform", "linux/arm64"), (image[:20],)):
        found = page(cli, *arguments)
        assert (found["digest"], found["platform"], found["created"]) == (
            image,
            "linux/arm64",
            "2024-01-02T03:04:05.000Z",
        )
        assert {(item["name"], item["tag"], item["digest"]) for item in items(found, "indexes")} == {
            ("docker.io/library/app:1", "1", world.image_index["digest"]), (None, "latest", world.image_index["digest"]),
        }  # fmt: skip
        assert [item["value"] for item in items(found, "annotations")] == ["manifest"]
        assert items(found, "names") == items(found, "platforms") == []
    base = page(cli, "base:1")
    assert {item["digest"] for item in items(base, "derived")} == {each["digest"] for each in world.images}
    assert items(base, "bases") == []
    signature = page(cli, world.signature["digest"])
    assert (signature["subject"], signature["artifact_type"]) == (world.image_index["digest"], "application/sig")


def test_what_is_the_matter_with_it(cli: Own, world: World) -> None:
    lost = page(cli, "base:1")["layers"]["items"][0]["digest"]
    os.unlink(f"{world.path}/blobs/{lost.replace(':', '/')}")
    cli("index", "--full")
    assert [(item["store"], item["kind"], item["subject"]) for item in items(page(cli, "base:1"), "problems")] == [
        ("s", "missing-blob", lost)
    ]
    assert {item["subject"] for item in items(page(cli, "app:1"), "problems")} == {lost}


def test_the_past_of_a_digest(cli: Own, world: World) -> None:
    retag(world.path, "app:1", "new")
    cli.done("index")
    found = items(page(cli, world.image_index["digest"]), "history")
    assert [(item["name"], item["until"] is None) for item in found] == [
        (None, True),
        ("docker.io/library/app:1", False),
    ]


def test_each_section_has_a_limit_and_tells_its_total(cli: Own, world: World) -> None:
    found = page(cli, "app:1", "--limit", "1")
    assert (len(found["names"]["items"]), found["names"]["total"]) == (1, 2)
    assert (len(found["platforms"]["items"]), found["platforms"]["total"]) == (1, 2)
    text = cli.done("inspect", "app:1", "--limit", "1").lines
    assert "Names (1 of 2)" in text
    assert "Referrers (1)" in text


def test_both_ways_of_reading_the_command_line(shelf: Shelf) -> None:
    for arguments in (("multi:1",), ("ctr:3.16", "--store", "images/ctr"), ("nosuch:1",), (":3.16",), (":3.16", "--first"), ("UPPER",),
                      ("multi:1", "--format", "json"), ("multi:1", "--format", "tsv"), ("multi:1", "ctr:3.16"), ()):  # fmt: skip
        plain = shelf.ask("inspect", *arguments)
        assert plain == called("inspect", *arguments, db=shelf.db, run=by_click), arguments


def test_what_is_asked_wrongly(shelf: Shelf) -> None:
    one_error(shelf.ask("inspect", "nosuch:1"), 1, "nosuch:1", "ocicat index")
    one_error(shelf.ask("inspect", "UPPER"), 2, "UPPER")
    one_error(shelf.ask("inspect", "multi:1", "--format", "table"), 2, "text, json")
    one_error(shelf.ask("inspect", "multi:1", "--store", "nosuch"), 2, "nosuch")
    assert shelf.ask("inspect", ":3.16").status == 3
    one_error(called("inspect", "x", db="/nowhere/catalog.db"), 4, "/nowhere/catalog.db")


def test_what_a_layout_holds_is_never_printed_raw(shelf: Shelf) -> None:
    text = shelf.ask("inspect", shelf.digests["odd", ""])
    assert text.status == 0
    assert NASTY not in text.out
    assert SHOWN in text.out
    assert all(line.isprintable() for line in text.lines)


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_it_is_never_wider_than_the_terminal(shelf: Shelf, width: int) -> None:
    for ref in ("multi:1", "ctr:3.16", shelf.digests["odd", ""]):
        lines = on_a_terminal("inspect", ref, db=shelf.db, columns=width)
        assert max(map(len, lines)) <= width
        assert any(line.startswith("Names (") for line in lines)


def test_its_cost_does_not_grow_with_the_catalog(tmp_path: Path, sized: Callable[[int], Any]) -> None:
    """Each statement is a search of an index."""
    steps = []
    for size in (1_000, 8_000):
        made = sized(size)
        reader = made.catalogue.reader
        match = Asking(reader, lambda _: None).resolve(parse_query(made.elements[2]["digest"]))
        with counted(reader) as counter:
            Page(reader, match)
        steps.append(counter.steps)
    assert steps[1] <= 1.3 * steps[0] + 10, steps


def test_its_cost_is_bounded_by_its_limits(catalogue: Catalogue, tmp_path: Path) -> None:
    """Of 30 stores that have an image, and 30 names, ten are listed; all are counted."""
    for number in range(30):
        path = writers.make_layout(f"{tmp_path}/all/{number}")
        image = writers.make_image(path, "same")
        writers.write_index(path, writers.empty_index(writers.name_entry(image, "tag", "", f"{number}")))
    catalogue.add(f"{tmp_path}/all")
    match = Asking(catalogue.reader, lambda _: None).resolve(parse_query(":0"))
    found = Page(catalogue.reader, match)
    for section in ("names", "stores", "history"):
        assert (len(found.sections[section].items), found.sections[section].total) == (10, 30)
