"""What skopeo and umoci write is seen by a running daemon, and by `--fresh` with one and without."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cli.program import Ran
from tests.programs import needs
from tests.watch.harness import Followed, on_both, wait_for
from tests.writers import empty_index, make_image, make_layout, name_entry, write_index

SOON = 5.0
"""The contract is a second after the settling time on an idle machine; these tests share theirs."""

needs_skopeo = needs("skopeo")
needs_umoci = needs("umoci")


def run(*command: str) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def skopeo_copy(source: str, target: str) -> None:
    os.makedirs(os.path.dirname(target.partition(":")[0]), exist_ok=True)  # it makes the last directory alone
    run("skopeo", "--insecure-policy", "copy", f"oci:{source}", f"oci:{target}")


@pytest.fixture
def images(tmp_path: Path) -> dict[str, str]:
    """A layout `source` beside the root with images tagged `one` and `two`; their digests."""
    path = make_layout(f"{tmp_path}/source")
    made = {tag: make_image(path, tag) for tag in ("one", "two")}
    write_index(path, empty_index(*(name_entry(image, "tag", "", tag) for tag, image in made.items())))
    return {tag: image["digest"] for tag, image in made.items()}


def is_soon(catalog: Followed, ref: str, digest: str | None) -> None:
    """Wait until `ref` resolves to `digest`, or to nothing."""
    wait_for(lambda: catalog.ask(ref).digest == digest, SOON, what=lambda: [catalog.ask(ref), catalog.log()])


@on_both("catalog")
@needs_skopeo
def test_skopeo_beside_a_daemon(catalog: Followed, images: dict[str, str]) -> None:
    catalog.add_root("root")
    catalog.start()
    source, store = catalog.path("source"), catalog.path("root/team/app")
    skopeo_copy(f"{source}:one", f"{store}:v1")  # the store comes to be with it
    is_soon(catalog, "oci-layout://root/team/app:v1", images["one"])
    skopeo_copy(f"{source}:two", f"{store}:docker.io/library/app:v2")
    is_soon(catalog, "app:v2", images["two"])
    skopeo_copy(f"{source}:two", f"{store}:v1")  # a re-tag: the old entry loses its name
    is_soon(catalog, "oci-layout://root/team/app:v1", images["two"])
    shutil.rmtree(store)
    is_soon(catalog, "app:v2", None)
    assert catalog.stores()["root/team/app"]["state"] == "missing"
    catalog.settled()
    assert [line for line in catalog.log() if "defect" in line or "Traceback" in line] == []


@on_both("catalog", is_long=True)
@needs_umoci
def test_umoci_beside_a_daemon(catalog: Followed, images: dict[str, str]) -> None:
    store = catalog.add_root("root") + "/box"
    catalog.start()
    shutil.copytree(catalog.path("source"), store)
    is_soon(catalog, "oci-layout://root/box:one", images["one"])
    run("umoci", "tag", "--image", f"{store}:one", "again")
    is_soon(catalog, "oci-layout://root/box:again", images["one"])
    run("umoci", "rm", "--image", f"{store}:one")
    is_soon(catalog, "oci-layout://root/box:one", None)
    run("umoci", "init", "--layout", catalog.path("root/fresh"))
    wait_for(lambda: catalog.stores().get("root/fresh", {}).get("state") == "empty", SOON)
    run("umoci", "new", "--image", catalog.path("root/fresh") + ":made")
    wait_for(lambda: catalog.ask("oci-layout://root/fresh:made").status == 0, SOON)
    catalog.settled()


@on_both("catalog")
@needs_skopeo
def test_deletions_by_skopeo(catalog: Followed, images: dict[str, str]) -> None:
    catalog.add_root("root")
    store = catalog.path("root/app")
    skopeo_copy(f"{catalog.path('source')}:one", f"{store}:v1")
    done = subprocess.run(["skopeo", "delete", f"oci:{store}:v1"], capture_output=True, text=True, check=False)
    if "not implemented" in done.stderr:
        pytest.skip("this skopeo deletes nothing in a layout")
    catalog.start()
    is_soon(catalog, "oci-layout://root/app:v1", None)


@on_both("catalog")
@needs_skopeo
@pytest.mark.parametrize("daemon", [False, True], ids=["alone", "daemon"])
def test_fresh_after_skopeo(catalog: Followed, images: dict[str, str], daemon: bool) -> None:
    """`skopeo copy … oci:S:t && ocicat resolve --fresh oci-layout://S:t` never misses, the first time neither."""
    catalog.add_root("root")
    if daemon:
        catalog.start()
    source, store = catalog.path("source"), catalog.path("root/new/app")
    for tag in ("one", "two", "one"):
        skopeo_copy(f"{source}:{tag}", f"{store}:v1")
        assert catalog.program("resolve", "--fresh", f"oci-layout://{store}:v1") == Ran(0, images[tag] + "\n", "")
        assert catalog("resolve", "--fresh", "oci-layout://root/new/app:v1") == Ran(0, images[tag] + "\n", "")
        assert catalog("resolve", "--fresh", f"oci:{store}:v1") == Ran(0, images[tag] + "\n", "")
    skopeo_copy(f"{source}:two", catalog.path("root/other") + ":app:v3")
    assert catalog("resolve", "--fresh", "app:v3") == Ran(0, images["two"] + "\n", "")
    assert catalog("query", "--fresh", "app:v3", "--format", "{store}").out == "root/other\n"
    shutil.rmtree(catalog.path("root/other"))
    assert catalog("resolve", "--fresh", "app:v3").status == 1


@on_both("catalog", is_long=True)
@needs_umoci
@pytest.mark.parametrize("daemon", [False, True], ids=["alone", "daemon"])
def test_fresh_after_umoci(catalog: Followed, images: dict[str, str], daemon: bool) -> None:
    catalog.add_root("root")
    store = catalog.path("root/box")
    shutil.copytree(catalog.path("source"), store)
    if daemon:
        catalog.start()
    run("umoci", "tag", "--image", f"{store}:one", "again")
    assert catalog("resolve", "--fresh", "oci-layout://root/box:again") == Ran(0, images["one"] + "\n", "")
    run("umoci", "rm", "--image", f"{store}:one")
    assert catalog("resolve", "--fresh", "oci-layout://root/box:one").status == 1
    assert catalog("resolve", "--fresh", "--store", "root/box", ":one").status == 1
