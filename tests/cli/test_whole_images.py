"""`contexts` and `resolve --strict --format oci-layout` return only images that are complete for a build."""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from catalog.lookup.needed import this_machine
from tests import writers
from tests.cli.conftest import Own
from tests.cli.program import Ran, by_click, called, one_error

FLAG = "--build-context"
NAME = "docker.io/library/app"
FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
OTHER = "s390x" if this_machine().arch != "s390x" else "arm64"
"""An architecture that this machine does not have."""
HERE = this_machine().arch


def read(path: str, digest: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(blob(path, digest)).read_bytes())
    return found


def blob(path: str, digest: str) -> str:
    return f"{path}/blobs/sha256/{digest.removeprefix('sha256:')}"


def named(path: str, *descriptors: writers.Descriptor, tag: str = "1") -> None:
    entries = [writers.name_entry(each, "short", NAME, tag) for each in descriptors]
    writers.write_index(path, writers.empty_index(*entries))


def on(descriptor: writers.Descriptor, arch: str) -> writers.Descriptor:
    return descriptor | {"platform": writers.platform("linux", arch)}


def image_with(path: str, *layers: writers.Descriptor, config: writers.Descriptor | None = None) -> writers.Descriptor:
    """Write an image for this machine's platform with these layers."""
    made = read(path, writers.make_image(path, "base", arch=HERE)["digest"])
    manifest = made | {"layers": [*made["layers"], *layers], "config": config or made["config"]}
    return writers.write_blob(path, writers.dump(manifest), writers.MANIFEST_TYPE)


def contexts(cli: Own, *options: str, text: str = "FROM app:1") -> Ran:
    return cli("contexts", "-", *options, stdin=text.encode())


def left_out(cli: Own, *told: str) -> None:
    """Check that stderr names the image and the reason, and that `--strict` makes this an error."""
    result = contexts(cli)
    assert (result.status, result.out) == (0, "")
    assert len(result.said) == 1
    strict = contexts(cli, "--strict")
    assert (strict.status, strict.out) == (1, "")
    one_error(cli("resolve", "--strict", "--format", "oci-layout", "app:1"), 1, *told)
    for word in ("app:1 (line 1) is left to buildx", *told):
        assert word in result.said[0]
    for word in told:
        assert word in strict.err
    assert cli("resolve", "--strict", "app:1").status == 0
    assert cli("resolve", "--format", "oci-layout", "app:1").status == 0


@pytest.fixture
def store(tmp_path: Path, cli: Own) -> str:
    return writers.make_layout(str(tmp_path / "s"))


@pytest.mark.parametrize("role", ["config", "layer", "manifest"])
@pytest.mark.parametrize("how", ["absent", "empty", "truncated"])
def test_an_absent_or_damaged_blob(cli: Own, store: str, role: str, how: str) -> None:
    image = writers.make_image(store, "app", layers=3)
    manifest = read(store, image["digest"])
    hit = {"config": manifest["config"], "layer": manifest["layers"][1], "manifest": image}[role]["digest"]
    named(store, image)
    if how == "absent":
        os.unlink(blob(store, hit))
    else:
        os.truncate(blob(store, hit), 0 if how == "empty" else 20)
    assert cli("add", store).status == 0
    left_out(cli, hit)


def test_a_blob_with_other_bytes_counts_as_absent_once_known(cli: Own, store: str) -> None:
    image = writers.make_image(store, "app")
    layer = read(store, image["digest"])["layers"][0]
    named(store, image)
    Path(blob(store, layer["digest"])).write_bytes(bytes(layer["size"]))
    cli("add", store)
    assert len(contexts(cli, "--strict").lines) == 1
    cli("verify")
    left_out(cli, layer["digest"], "damaged")


def test_blobs_that_go_and_come_are_noticed_at_the_next_look(cli: Own, store: str) -> None:
    image = writers.make_image(store, "app")
    layer = read(store, image["digest"])["layers"][0]["digest"]
    named(store, image)
    cli.done("add", store)
    assert len(contexts(cli).lines) == 1
    os.rename(blob(store, layer), f"{store}/kept")
    cli("index", "--full")
    left_out(cli, layer)
    os.rename(f"{store}/kept", blob(store, layer))
    cli.done("index", "--full")
    assert contexts(cli, "--strict").status == 0


@pytest.mark.parametrize(
    "layer",
    [
        writers.fake_descriptor("far") | {"mediaType": FOREIGN},
        writers.fake_descriptor("far") | {"mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"},
        writers.fake_descriptor("far") | {"mediaType": writers.LAYER_TYPE, "urls": ["https://example.com/far"]},
    ],
    ids=["docker", "oci", "urls"],
)
def test_a_layer_that_may_be_absent_is_not_needed(cli: Own, store: str, layer: writers.Descriptor) -> None:
    named(store, image_with(store, layer))
    cli("add", store)
    assert len(contexts(cli, "--strict").lines) == 1
    assert cli("resolve", "--strict", "--format", "oci-layout", "app:1").status == 0


def test_the_same_layer_is_needed_where_it_is_not_foreign(cli: Own, store: str) -> None:
    layer = writers.fake_descriptor("far") | {"mediaType": writers.LAYER_TYPE}
    named(store, image_with(store, layer))
    cli("add", store)
    left_out(cli, layer["digest"])


def test_data_in_the_descriptor_replaces_the_blob(cli: Own, store: str) -> None:
    config = writers.write_blob(store, b"{}", "application/vnd.oci.empty.v1+json")
    named(store, image_with(store, config=config | {"data": base64.b64encode(b"{}").decode()}))
    os.unlink(blob(store, config["digest"]))
    cli("add", store)
    assert len(contexts(cli, "--strict").lines) == 1


# --- platforms --------------------------------------------------------------------------------------------------


@pytest.fixture
def index(store: str) -> dict[str, str]:
    """Write an index of two platforms; return the digests of its images by architecture, and its own as `index`."""
    images = {arch: writers.make_image(store, f"app-{arch}", arch=arch) for arch in (HERE, OTHER)}
    whole = writers.make_index_image(store, [on(each, arch) for arch, each in images.items()])
    named(store, whole)
    return {arch: each["digest"] for arch, each in images.items()} | {"index": whole["digest"]}


def test_only_the_images_that_are_used_must_be_complete(cli: Own, store: str, index: dict[str, str]) -> None:
    layer = read(store, index[OTHER])["layers"][0]["digest"]
    os.unlink(blob(store, layer))
    cli("add", store)
    whole = [f"{FLAG} app:1=oci-layout://{store}@{index['index']}"]
    for options in ((), ("--platform", f"linux/{HERE}")):
        assert contexts(cli, "--strict", *options).lines == whole
    for wanted in (f"linux/{OTHER}", f"linux/{HERE},linux/{OTHER}"):
        result = contexts(cli, "--strict", "--platform", wanted)
        assert (result.status, result.out) == (1, "")
        assert layer in result.err
    one_error(contexts(cli, "--strict", text=f"FROM --platform=linux/{OTHER} app:1"), 1, layer)
    resolved = cli("resolve", "--strict", "--format", "oci-layout", "app:1", "--platform", f"linux/{HERE}")
    assert resolved.lines == [f"oci-layout://{store}@{index[HERE]}"]
    one_error(cli("resolve", "--strict", "--format", "oci-layout", "app:1", "--platform", f"linux/{OTHER}"), 1, layer)


def test_the_builder_is_this_machine_or_the_given_platform(cli: Own, store: str, index: dict[str, str]) -> None:
    os.unlink(blob(store, index[HERE]))
    cli("add", store)
    left_out(cli, index[HERE])
    assert contexts(cli, "--strict", "--build-arg", f"BUILDPLATFORM=linux/{OTHER}").status == 0


def test_an_index_without_an_image_for_the_builder_needs_one_complete_image(cli: Own, store: str) -> None:
    images = [on(writers.make_image(store, arch, arch=arch), arch) for arch in ("ppc64le", "riscv64")]
    named(store, writers.make_index_image(store, images))
    os.unlink(blob(store, images[0]["digest"]))
    cli("add", store)
    assert len(contexts(cli, "--strict").lines) == 1
    os.unlink(blob(store, images[1]["digest"]))
    cli("index", "--full")
    left_out(cli, images[0]["digest"])


def test_an_incomplete_image_that_is_passed_over_is_noted_once(cli: Own, store: str, tmp_path: Path) -> None:
    """A name leads to two images, of which one is complete; `--strict` takes that one, and says why it is not the other."""
    whole, broken = image_with(store), image_with(store, writers.fake_descriptor("gone"))
    other = writers.make_layout(str(tmp_path / "other"))
    shutil.copytree(f"{store}/blobs", f"{other}/blobs", dirs_exist_ok=True)
    named(store, whole)
    named(other, broken)
    for path in (store, other):
        cli("add", path)
    result = cli("resolve", "--strict", "--format", "oci-layout", "app:1", "app:1")
    assert result.status == 0
    assert [line.rpartition("@")[2] for line in result.lines] == [whole["digest"]] * 2
    assert len(result.said) == 1
    assert str(writers.fake_descriptor("gone")["digest"]) in result.said[0]


def test_a_platform_that_an_image_does_not_have_is_named(cli: Own, store: str) -> None:
    image = on(writers.make_image(store, "app", arch=HERE), HERE)
    named(store, writers.make_index_image(store, [image]))
    cli("add", store)
    for ref in ("app:1", f"@{image['digest']}", f"app:2@{writers.fake_descriptor('x')['digest']}"):
        result = cli("resolve", "--platform", f"linux/{OTHER}", ref)
        assert result.status == 1
        assert f"{ref} for linux/{OTHER}" in result.said[-1]


def test_attestations_are_not_needed(cli: Own, store: str) -> None:
    image = on(writers.make_image(store, "app", arch=HERE), HERE)
    attestation = writers.fake_descriptor("attestation") | {"platform": writers.platform("unknown", "unknown")}
    named(store, writers.make_index_image(store, [image, attestation]))
    cli("add", store)
    assert len(contexts(cli, "--strict").lines) == 1


def test_a_manifest_that_nobody_can_read_is_not_offered(cli: Own, store: str) -> None:
    named(store, writers.write_blob(store, b"no JSON", writers.MANIFEST_TYPE))
    cli("add", store)
    left_out(cli, "cannot be read")


def test_one_entry_that_has_all_platforms_comes_before_those_that_have_one(cli: Own, tmp_path: Path) -> None:
    both = f"linux/{HERE},linux/{OTHER}"
    for arch in (HERE, OTHER):
        path = writers.make_layout(str(tmp_path / f"a-{arch}"))
        named(path, writers.make_image(path, "own", arch=arch))
        cli.done("add", path)
    assert contexts(cli, "--platform", both).status == 3
    path = writers.make_layout(str(tmp_path / "z"))
    whole = writers.make_index_image(
        path, [on(writers.make_image(path, f"z{arch}", arch=arch), arch) for arch in (HERE, OTHER)]
    )
    named(path, whole)
    cli.done("add", path)
    for options in (("--strict",), ("--first",)):
        result = contexts(cli, "--platform", both, *options)
        assert (result.status, result.lines) == (0, [f"{FLAG} app:1=oci-layout://{path}@{whole['digest']}"])
    text = f"FROM --platform=linux/{HERE} app:1 AS a\nFROM --platform=linux/{OTHER} app:1\nCOPY --from=a a b"
    assert contexts(cli, text=text).lines == result.lines
    assert contexts(cli, "--platform", f"linux/{HERE}").status == 3


@pytest.mark.parametrize("first", [HERE, OTHER])
def test_a_shadowed_entry_is_used_if_only_it_has_all_platforms(cli: Own, store: str, first: str) -> None:
    images = {arch: writers.make_image(store, arch, arch=arch) for arch in (HERE, OTHER)}
    whole = writers.make_index_image(store, [on(each, arch) for arch, each in images.items()])
    named(store, images[first], whole)
    cli.done("add", store)
    result = contexts(cli, "--platform", f"linux/{HERE},linux/{OTHER}", "--strict")
    assert (result.status, result.lines) == (0, [f"{FLAG} app:1=oci-layout://{store}@{whole['digest']}"])
    assert contexts(cli).lines == [f"{FLAG} app:1=oci-layout://{store}@{images[first]['digest']}"]


def test_an_index_and_its_image_alone_are_one_answer_for_a_platform(cli: Own, tmp_path: Path) -> None:
    path = writers.make_layout(str(tmp_path / "a"))
    image = writers.make_image(path, "app", arch=HERE)
    whole = writers.make_index_image(path, [on(image, HERE)])
    named(path, whole)
    shutil.copytree(path, tmp_path / "b")
    named(str(tmp_path / "b"), image)
    cli.done("add", path, str(tmp_path / "b"))
    result = contexts(cli, "--platform", f"linux/{HERE}", "--strict")
    assert (result.status, result.lines) == (0, [f"{FLAG} app:1=oci-layout://{path}@{whole['digest']}"])
    assert contexts(cli).status == 3


# --- several stores ---------------------------------------------------------------------------------------------


def test_a_complete_copy_in_another_store_is_used(cli: Own, store: str, tmp_path: Path) -> None:
    image = writers.make_image(store, "app")
    named(store, image)
    shutil.copytree(store, tmp_path / "z")
    layer = read(store, image["digest"])["layers"][0]["digest"]
    os.unlink(blob(store, layer))
    cli("add", store, str(tmp_path / "z"))
    source = f"oci-layout://{tmp_path}/z@{image['digest']}"
    result = contexts(cli, "--strict")
    assert (result.status, result.out, result.err) == (0, f"{FLAG} app:1={source}\n", "")
    resolved = cli("resolve", "--strict", "--format", "oci-layout", "app:1")
    assert (resolved.status, resolved.out) == (0, source + "\n")
    # Without --strict the digest is what counts, and the first store has it.
    assert cli("resolve", "--format", "oci-layout", "app:1").out == f"oci-layout://{store}@{image['digest']}\n"


def test_complete_images_come_first_and_a_note_says_so(cli: Own, store: str, tmp_path: Path) -> None:
    image = writers.make_image(store, "app")
    named(store, image)
    os.unlink(blob(store, read(store, image["digest"])["layers"][0]["digest"]))
    path = writers.make_layout(str(tmp_path / "z"))
    named(path, writers.make_image(path, "other"))
    cli("add", store, path)
    for options in ((), ("--first",)):
        result = contexts(cli, *options)
        assert f"oci-layout://{path}@" in result.out
        assert result.status == 0
        assert len(result.said) == 1
        assert "in s is not complete" in result.said[0]


def test_layers_only_in_a_shared_directory_are_not_offered_to_buildx(cli: Own, store: str) -> None:
    image = writers.make_image(store, "app")
    layer = read(store, image["digest"])["layers"][0]["digest"]
    named(store, image)
    shutil.copytree(f"{store}/blobs", f"{store}-shared")
    os.unlink(blob(store, layer))
    cli.done("add", store, "--shared-blob-dir", f"{store}-shared")
    one_error(contexts(cli, "--strict"), 1, layer, "shared", "another layout")


# --- resolve ----------------------------------------------------------------------------------------------------


FORMS: list[Callable[[str, str], str]] = [
    lambda _path, _digest: "app:1",
    lambda _path, _digest: ":1",
    lambda _path, _digest: "app:*",
    lambda path, _digest: f"oci-layout://{path}/app:1",
    lambda path, _digest: f"oci:{path}:app:1",
    lambda path, _digest: f"ocidir://{path}:1",
    lambda _path, digest: digest,
    lambda _path, digest: f"app@{digest}",
    lambda path, digest: f"oci-layout://{path}@{digest}",
]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_reference_is_checked(cli: Own, store: str, form: Callable[[str, str], str]) -> None:
    image = writers.make_image(store, "app")
    layer = read(store, image["digest"])["layers"][0]["digest"]
    named(store, image)
    cli.done("add", store)
    asked = "resolve", "--strict", "--format", "oci-layout", form(store, image["digest"])
    assert cli.done(*asked).lines == [f"oci-layout://{store}@{image['digest']}"]
    os.unlink(blob(store, layer))
    cli("index", "--full")
    for said in (called(*asked, db=cli.db), called(*asked, db=cli.db, run=by_click)):
        one_error(said, 1, layer, "is missing")
    if form in FORMS[:3]:
        one_error(called(*asked, "--at", "2100-01-01", db=cli.db), 1, layer)
    assert called(*asked[:2], asked[-1], db=cli.db).status == 0  # without the format, --strict does not check blobs


def test_fresh_waits_for_what_the_check_needs(cli: Own, store: str) -> None:
    cli.done("add", store)
    named(store, writers.make_image(store, "app"))
    asked = "resolve", "--fresh", "--strict", "--format", "oci-layout", "app:1"
    assert len(cli.done(*asked).lines) == 1


def test_each_of_several_references_has_its_line(cli: Own, store: str) -> None:
    image = writers.make_image(store, "app")
    whole = writers.make_image(store, "whole")
    entries = [writers.name_entry(each, "short", NAME, tag) for tag, each in (("1", image), ("2", whole))]
    writers.write_index(store, writers.empty_index(*entries))
    os.unlink(blob(store, read(store, image["digest"])["layers"][0]["digest"]))
    cli("add", store)
    result = cli("resolve", "--strict", "--format", "oci-layout", "app:1", "app:2")
    assert (result.status, result.lines) == (1, ["", f"oci-layout://{store}@{whole['digest']}"])


# --- paths, and contexts given elsewhere ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a@b", "@", "a@sha256", "a@sha256-b"])
@pytest.mark.parametrize("form", ["flags", "bake"])
def test_an_at_sign_in_a_path_is_allowed_because_buildx_splits_at_the_last(
    cli: Own, tmp_path: Path, name: str, form: str
) -> None:
    path = writers.make_layout(str(tmp_path / name / "s"))
    image = writers.make_image(path, "app")
    named(path, image)
    cli("add", path)
    result = contexts(cli, "--format", form)
    assert (result.status, result.err) == (0, "")
    assert f"oci-layout://{path}@{image['digest']}" in result.out


@pytest.mark.parametrize("name", ["app:1", "docker.io/library/app:1", "index.docker.io/app:1"])
def test_a_context_that_is_given_elsewhere_is_skipped(cli: Own, store: str, name: str) -> None:
    named(store, writers.make_image(store, "app"))
    cli("add", store)
    text = "FROM app:1\nCOPY --from=nothing a b"
    assert contexts(cli, "--skip", name, "--skip", "nothing:latest", "--strict", text=text) == Ran(0, "", "")
    assert contexts(cli, "--skip", name, "--format", "json", text="FROM app:1").out == "[]\n"
    assert len(contexts(cli, "--skip", "app").lines) == 1
    assert len(contexts(cli, "--skip", "app:2").lines) == 1


def test_a_stage_that_is_given_elsewhere_needs_nothing(cli: Own, store: str) -> None:
    named(store, writers.make_image(store, "app"))
    cli("add", store)
    text = "FROM nothing AS base\nCOPY --from=nowhere a b\nONBUILD COPY --from=nobody a b\nFROM base\nCOPY --from=app:1 a b"
    result = contexts(cli, "--skip", "base", "--strict", text=text)
    assert (result.status, len(result.lines)) == (0, 1)
    assert contexts(cli, "--strict", text=text).status == 1
    assert contexts(cli, "--skip", "app", "--strict", text="FROM app AS app\nRUN true") == Ran(0, "", "")


def test_an_invalid_name_has_status_2(cli: Own, store: str) -> None:
    cli.done("add", store)
    one_error(contexts(cli, "--skip", "UPPER"), 2, "UPPER")
    one_error(contexts(cli, "--skip", ""), 2)
