"""Manifests that are in a layout and that no entry lists, skopeo's form, and images before everything else of one name."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests import writers
from tests.cli.program import called
from tests.conftest import Catalogue, Said
from tests.content.asking import resolved
from tests.content.layouts import index, layout, manifest, named, put, write

AMD64 = {"os": "linux", "architecture": "amd64"}
XML = "application/xml"


def image(path: str, seed: str, **more: Any) -> writers.Descriptor:
    return manifest(path, AMD64 | {"seed": seed}, **more)


def answer(catalogue: Catalogue, *arguments: str) -> list[dict[str, Any]]:
    result = called(*arguments, "--format", "json", db=catalogue.path)
    assert (result.status, result.err) == (0, ""), result
    found: list[dict[str, Any]] = json.loads(result.out)
    return found


def test_it_is_found_by_digest_after_all_that_is_listed(catalogue: Catalogue, tmp_path: Path) -> None:
    path = layout(tmp_path / "s")
    old, new = image(path, "old"), image(path, "new")
    outer = index(path, old)  # unlisted too, with a child that only it lists
    write(path, named(new, "app:1"))
    catalogue.add(path)
    for digest in (old["digest"], outer["digest"]):
        for ref in (
            digest,
            f"@{digest}",
            digest[7:],
            digest[:20],
            f"oci-layout://s@{digest}",
            f"ocidir://{path}@{digest}",
        ):
            assert resolved(catalogue, ref) == Said(0, digest, "s"), ref
        assert resolved(catalogue, f"oci-layout://s:1@{digest}") == Said(0, digest, "s")
        assert resolved(catalogue, f"app@{digest}") == Said(1)  # it stands under no name
        assert resolved(catalogue, digest, "linux/amd64") == Said(0, old["digest"], "s")
        assert resolved(catalogue, digest, "linux/arm64") == Said(1)
    (found,) = answer(catalogue, "query", outer["digest"])
    assert (found["listed"], found["name"], found["names"], found["tag"], found["annotations"]) == (
        False,
        None,
        [],
        None,
        {},
    )
    assert (found["size"], found["media_type"], found["shadowed"]) == (outer["size"], writers.INDEX_TYPE, False)
    assert found["platforms"] == ["linux/amd64"]
    assert [each["listed"] for each in answer(catalogue, "query")] == [True]
    result = called("resolve", "--format", "oci-layout", old["digest"], db=catalogue.path)
    assert result.out == f"oci-layout://{path}@{old['digest']}\n"


def test_a_listed_one_answers_before_it_whatever_the_priority(catalogue: Catalogue, tmp_path: Path) -> None:
    first, second = layout(tmp_path / "first"), layout(tmp_path / "second")
    one = image(first, "one")
    image(second, "one")
    write(first, named(image(first, "other"), "app:1"))
    write(second, named(one, "app:2"))
    catalogue.add(first, priority=1)
    catalogue.add(second, priority=9)
    assert resolved(catalogue, one["digest"]) == Said(0, one["digest"], "second")
    assert [each["store"] for each in answer(catalogue, "query", one["digest"])] == ["second", "first"]


def test_what_is_no_manifest_is_not_found(catalogue: Catalogue, tmp_path: Path) -> None:
    path = layout(tmp_path / "s")
    write(path, named(image(path, "a"), "app:1"))
    blobs = [
        put(path, {"some": "JSON"}),
        put(path, None, data=b"{ torn"),
        put(path, None, data=b"\x1f\x8b"),
        put(path, []),
    ]
    catalogue.add(path)
    for each in blobs:
        assert resolved(catalogue, each["digest"]) == Said(1)


def test_an_image_answers_before_an_entry_of_another_type(catalogue: Catalogue, tmp_path: Path) -> None:
    path = layout(tmp_path / "s")
    right, later = image(path, "right"), image(path, "later")
    other = put(path, None, XML, data=b"<xml/>")
    typeless = {key: value for key, value in right.items() if key != "mediaType"}
    write(path, named(other, "app:1"), named(right, "app:1"), named(other, "app:2"), named(typeless, "app:2"))
    catalogue.add(path)
    for ref in ("app:1", "app:2", "oci-layout://s/app:1"):
        assert resolved(catalogue, ref) == Said(0, right["digest"], "s"), ref
    assert catalogue.sql("SELECT name, digest FROM images WHERE shadowed ORDER BY name") == [
        ("docker.io/library/app:1", other["digest"]),
        ("docker.io/library/app:2", other["digest"]),
    ]
    write(path, named(other, "app:1"), named(later, "app:1"))  # moved: an entry of another type never answered
    catalogue.index()
    assert resolved(catalogue, "app:1") == Said(0, later["digest"], "s")
    history = catalogue.sql("SELECT digest FROM history WHERE name = 'docker.io/library/app:1' ORDER BY since")
    assert history == [(right["digest"],), (later["digest"],)]
    write(path, named(other, "app:1"))
    catalogue.index()
    assert resolved(catalogue, "app:1") == Said(0, other["digest"], "s")  # where there is no image


def test_skopeos_form_passes_over_other_types(catalogue: Catalogue, tmp_path: Path) -> None:
    path = layout(tmp_path / "s")
    right = image(path, "right")
    typeless = {key: value for key, value in image(path, "typeless").items() if key != "mediaType"}
    other = put(path, None, XML, data=b"<xml/>")
    write(path, named(other, "1"), named(typeless, "1"), named(right, "1"), named(other, "2"), named(typeless, "3"))
    catalogue.add(path)
    for tag, wanted in (("1", Said(0, right["digest"], "s")), ("2", Said(1)), ("3", Said(1))):
        assert resolved(catalogue, f"oci:{path}:{tag}") == wanted, tag
        if shutil.which("skopeo"):
            said = subprocess.run(
                ["skopeo", "inspect", "--format", "{{.Digest}}", f"oci:{path}:{tag}"],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert (said.returncode == 0, said.stdout.strip()) == (wanted.status == 0, wanted.digest or ""), tag


@pytest.mark.parametrize(("number", "at"), [("0", 0), ("1", 1), ("2", 3), ("3", 4), ("00", 0)])
def test_skopeos_form_counts_entries(catalogue: Catalogue, tmp_path: Path, number: str, at: int) -> None:
    """Those too that cannot be used: the third one here, which has no answer."""
    path = layout(tmp_path / "s")
    images = [image(path, f"{n}") for n in range(5)]
    broken = {"mediaType": writers.MANIFEST_TYPE, "digest": "sha256:none", "size": 1}
    write(path, images[0], images[1], broken, images[3], images[4])
    catalogue.add(path)
    asked = number if at < 3 else str(int(number) + 1)
    assert resolved(catalogue, f"oci:{path}:@{asked}") == Said(0, images[at]["digest"], "s")
    assert resolved(catalogue, f"oci:{path}:@2") == Said(1)
    assert resolved(catalogue, f"oci:{path}:@5") == Said(1)
    assert resolved(catalogue, f"oci:{path}:@one") == Said(2)


@pytest.mark.parametrize("entries", [3, 40_000], ids=["small", "streamed"])
def test_what_is_counted_is_read_as_go_reads_it(catalogue: Catalogue, tmp_path: Path, entries: int) -> None:
    """Go, and so skopeo, takes a field in any letter case, and the last of equal ones. `entries` of 128 bytes are more than 4 MiB."""
    path = layout(tmp_path / "s")
    first, second = image(path, "0"), image(path, "1")
    odd = json.dumps(first)[:-1] + f', "Digest": "{second["digest"]}"}}'
    again = json.dumps(second)[:-1] + f', "digest": "{first["digest"]}"}}'
    fill = ", ".join(f'{{"digest": "sha256:{number:064x}", "size": 1000000000000000000}}' for number in range(entries))
    Path(f"{path}/index.json").write_text(f'{{"schemaVersion": 2, "manifests": [{odd}, null, {fill}, {again}]}}')
    catalogue.add(path)
    assert resolved(catalogue, f"oci:{path}:@0") == Said(0, second["digest"], "s")
    assert resolved(catalogue, f"oci:{path}:@1") == Said(1)
    assert resolved(catalogue, f"oci:{path}:@3") == Said(0, f"sha256:{1:064x}", "s")
    assert resolved(catalogue, f"oci:{path}:@{entries + 2}") == Said(0, first["digest"], "s")
    assert resolved(catalogue, f"oci:{path}:@{entries + 3}") == Said(1)


def test_the_order_that_is_counted_is_the_files_own(catalogue: Catalogue, tmp_path: Path) -> None:
    path = layout(tmp_path / "s")
    images = [image(path, f"{n}") for n in range(4)]
    write(path, *images)
    catalogue.add(path)
    write(path, *images[::-1])  # nothing shares a name, so the rows stay as they are
    assert resolved(catalogue, f"oci:{path}:@0") == Said(4)  # the catalog has not read that file yet
    catalogue.index()
    assert resolved(catalogue, f"oci:{path}:@0") == Said(0, images[3]["digest"], "s")
    ambiguous = called("resolve", f"oci:{path}", db=catalogue.path)
    assert ambiguous.status == 3
    assert f"oci:{path}:@N" in ambiguous.err
    assert "@DIGEST" in ambiguous.err
