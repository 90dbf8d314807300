"""`ocicat add --shared-blob-dir`: layouts that keep their blobs in a shared directory (an option of podman and skopeo)."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from pathlib import Path

import pytest

from catalog.engine.open import open_reader
from tests import writers
from tests.cli.conftest import Own
from tests.cli.program import one_error
from tests.forking import CLEAN
from tests.programs import needs

FIXTURES = Path(__file__).parents[2].parent / "shared" / "fixtures"
SHARED = "container-libs/image/oci/layout/fixtures/delete_image_shared_blobs_dir"

needs_skopeo = needs("skopeo")


def held(cli: Own) -> dict[str, set[str]]:
    """Return the digests of the blobs in each store, according to the catalog."""
    with contextlib.closing(open_reader(cli.db)) as reader:
        rows = reader.select(
            "SELECT store.name, content.digest FROM store_blob JOIN store ON store.id = store_blob.store_id"
            " JOIN content ON content.id = store_blob.content_id",
            {},
        )
        found: dict[str, set[str]] = {}
        for store, digest in rows:
            found.setdefault(store, set()).add(digest)
        return found


def reached(path: str, descriptor: writers.Descriptor) -> set[str]:
    """Return the digests of a manifest, its config and its layers; `path` is the directory that contains `sha256`."""
    manifest = json.loads(Path(path, "sha256", descriptor["digest"].partition(":")[2]).read_bytes())
    return {descriptor["digest"], manifest["config"]["digest"], *(each["digest"] for each in manifest["layers"])}


def share(path: str, shared: str) -> None:
    """Move a layout's blobs into the shared directory, which may contain other layouts' blobs."""
    os.makedirs(f"{shared}/sha256", exist_ok=True)
    for name in os.listdir(f"{path}/blobs/sha256"):
        os.rename(f"{path}/blobs/sha256/{name}", f"{shared}/sha256/{name}")


def image_layout(path: str, *seeds: str) -> list[writers.Descriptor]:
    """Make a layout with an image for each seed, which is also its tag; return the entries."""
    writers.make_layout(path)
    entries = [writers.name_entry(writers.make_image(path, seed, layers=2), "tag", "", seed) for seed in seeds]
    writers.write_index(path, writers.empty_index(*entries))
    return entries


def test_the_fixture_of_containers_image(cli: Own) -> None:
    path = FIXTURES / SHARED
    if not path.exists():
        pytest.skip(f"{path} is not there: the shared fixtures are not part of the repository")
    cli.done("add", str(path))
    assert cli.done("query", "--platform", "linux/amd64").out == ""
    (digest,) = (each["digest"] for each in writers.read_index(str(path))["manifests"])
    cli.done("add", str(path), "--shared-blob-dir", str(path / "shared_blobs"))
    assert cli.done("query", "--platform", "linux/amd64", "--format", "{digest}").out == f"{digest}\n"
    assert held(cli) == {path.name: {f"sha256:{each.name}" for each in path.rglob("sha256/*")}}
    assert cli.done("verify").out == ""


@needs_skopeo
def test_what_skopeo_writes(cli: Own, tmp_path: Path) -> None:
    source = str(tmp_path / "source")
    entries = image_layout(source, "one", "two")
    (tmp_path / "images").mkdir()
    shared = str(tmp_path / "blobs")
    for tag in ("one", "two"):
        subprocess.run(
            ["skopeo", "copy", "--quiet", "--insecure-policy", "--dest-shared-blob-dir", shared,
             f"oci:{source}:{tag}", f"oci:{tmp_path}/images/{tag}:{tag}"],
            check=True, env=CLEAN, capture_output=True,
        )  # fmt: skip
    cli.done("add", str(tmp_path / "images"), "--shared-blob-dir", shared)
    expected = {f"images/{entry['annotations'][writers.REF_NAME]}": reached(shared, entry) for entry in entries}
    assert held(cli) == expected, "each has the blobs that it reaches, and none of the other's"
    assert len(cli.done("query", "--platform", "linux/amd64").lines) == 2
    assert cli.done("verify").out == ""
    assert cli("check").out == ""


def test_an_empty_value_takes_it_away(cli: Own, tmp_path: Path) -> None:
    path, shared = str(tmp_path / "a"), str(tmp_path / "blobs")
    (entry,) = image_layout(path, "1")
    share(path, shared)
    cli.done("add", path, "--shared-blob-dir", shared)
    assert held(cli) == {"a": reached(shared, entry)}
    cli.done("add", path)
    assert held(cli) == {"a": reached(shared, entry)}, "adding again changes only what is given"
    cli.done("add", path, "--shared-blob-dir", "")
    assert held(cli) == {}


def test_the_setting_of_a_root_applies_to_all_its_layouts(cli: Own, tmp_path: Path) -> None:
    root, shared = str(tmp_path / "images"), str(tmp_path / "blobs")
    expected = {}
    for name in ("a", "b/c"):
        (entry,) = image_layout(f"{root}/{name}", name[-1])
        share(f"{root}/{name}", shared)
        expected[f"images/{name}"] = reached(shared, entry)
    cli.done("add", root)
    assert held(cli) == {}
    cli.done("add", root, "--shared-blob-dir", shared)
    assert held(cli) == expected
    (entry,) = image_layout(f"{root}/later", "later")
    share(f"{root}/later", shared)
    cli.done("index")
    assert held(cli) == expected | {"images/later": reached(shared, entry)}
    own = str(tmp_path / "own")
    os.makedirs(own)
    cli.done("add", f"{root}/later", "--shared-blob-dir", own)  # a store's own setting
    cli.done("add", root, "--priority", "1")
    assert held(cli) == expected
    cli.done("add", root, "--shared-blob-dir", "")
    assert held(cli) == {}


def test_layouts_have_the_blobs_of_both_directories(cli: Own, tmp_path: Path) -> None:
    path, shared = str(tmp_path / "a"), str(tmp_path / "blobs")
    (entry,) = image_layout(path, "1")
    digests = reached(f"{path}/blobs", entry)
    moved = min(digests).partition(":")[2]
    os.makedirs(f"{shared}/sha256")
    os.rename(f"{path}/blobs/sha256/{moved}", f"{shared}/sha256/{moved}")
    writers.write_blob(path, b"nothing points here", "text/plain")
    cli.done("add", path, "--shared-blob-dir", shared)
    assert len(held(cli)["a"]) == len(digests) + 1, "blobs in its own directory belong to it, reached or not"
    assert digests < held(cli)["a"]


def test_a_blob_that_comes_later_is_found(cli: Own, tmp_path: Path) -> None:
    path, shared = str(tmp_path / "a"), str(tmp_path / "blobs")
    (entry,) = image_layout(path, "1")
    share(path, f"{shared}-later")
    os.makedirs(f"{shared}/sha256")
    cli.done("add", path, "--shared-blob-dir", shared)
    assert held(cli) == {}
    for name in os.listdir(f"{shared}-later/sha256"):
        os.rename(f"{shared}-later/sha256/{name}", f"{shared}/sha256/{name}")
    cli.done("index")
    assert held(cli) == {"a": reached(shared, entry)}
    assert len(cli.done("query", "--platform", "linux/amd64").lines) == 1


def test_a_shared_directory_that_is_not_utf_8(cli: Own, tmp_path: Path) -> None:
    path, shared = str(tmp_path / "a"), os.fsdecode(os.fsencode(str(tmp_path)) + b"/\xff%")
    (entry,) = image_layout(path, "1")
    share(path, shared)
    cli.done("add", path, "--shared-blob-dir", shared)
    assert held(cli) == {"a": reached(shared, entry)}


def test_a_relative_path_and_a_link_are_followed_once(
    cli: Own, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, shared = str(tmp_path / "a"), str(tmp_path / "blobs")
    (entry,) = image_layout(path, "1")
    share(path, shared)
    os.symlink("blobs", tmp_path / "link")
    monkeypatch.chdir(tmp_path)
    cli.done("add", "a", "--shared-blob-dir", "link")
    assert held(cli) == {"a": reached(shared, entry)}


def test_a_link_in_a_layout_hides_nothing_of_the_shared_directory(cli: Own, tmp_path: Path) -> None:
    path, shared = str(tmp_path / "a"), str(tmp_path / "blobs")
    (entry,) = image_layout(path, "1")
    share(path, shared)
    for name in os.listdir(f"{shared}/sha256"):
        os.symlink(f"{shared}/sha256/{name}", f"{path}/blobs/sha256/{name}")
    cli.done("add", path)
    assert held(cli) == {}, "a layout's own links are not followed"
    cli.done("add", path, "--shared-blob-dir", shared)
    assert held(cli) == {"a": reached(shared, entry)}


@pytest.mark.parametrize("wrong", ["nowhere", "file"])
@pytest.mark.without_catalog
def test_a_path_that_is_not_a_directory_is_refused(cli: Own, tmp_path: Path, wrong: str) -> None:
    image_layout(str(tmp_path / "a"), "1")
    (tmp_path / "file").touch()
    result = cli("add", str(tmp_path / "a"), "--shared-blob-dir", str(tmp_path / wrong))
    one_error(result, 2, wrong, "a directory of blobs")
    assert not os.path.exists(cli.db)


def test_a_shared_directory_that_is_gone_is_a_problem(cli: Own, tmp_path: Path) -> None:
    path, shared = str(tmp_path / "a"), str(tmp_path / "blobs")
    (entry,) = image_layout(path, "1")
    share(path, shared)
    cli.done("add", path, "--shared-blob-dir", shared)
    os.rename(shared, f"{shared}-away")
    cli.done("index")
    result = cli("check")
    assert result.status == 1
    assert ["a", "unreadable-blob", shared] in [line.split("\t")[:3] for line in result.lines]
    assert held(cli) == {"a": reached(f"{shared}-away", entry)}, "it may be a mount that comes back"
    os.rename(f"{shared}-away", shared)
    cli.done("index")
    assert cli.done("check").out == ""
