"""Needed blobs of an image: the steps are in proportion to them, and nothing is reported while content is being read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from catalog.engine.sqlite import frozen
from tests import writers
from tests.cli.conftest import no_settling
from tests.cli.program import called
from tests.conftest import Catalogue, file_of
from tests.content.layouts import pending, reading, take_names
from tests.lookup.test_steps import steps

NAME = "docker.io/library/app"


def test_the_steps_are_in_proportion_to_the_image(
    new_sqlite_catalogue: Callable[[str], Catalogue], tmp_path: Path
) -> None:
    path = writers.make_layout(str(tmp_path / "s"))
    sizes = 20, 200
    images = [writers.make_image(path, f"app-{layers}", layers=layers) for layers in sizes]
    entries = [writers.name_entry(each, "short", NAME, str(layers)) for each, layers in zip(images, sizes, strict=True)]
    writers.write_index(path, writers.empty_index(*entries))
    catalogue = new_sqlite_catalogue(str(tmp_path))
    catalogue.add(path)
    ((store_id,),) = catalogue.sql("SELECT id FROM store")
    counted = [
        steps(file_of(catalogue.reader), frozen.STATEMENTS["NEEDED"], {"digest": each["digest"], "store_id": store_id})
        for each in images
    ]
    assert [rows for rows, _ in counted] == [layers + 2 for layers in sizes]
    assert counted[1][1] <= counted[0][1] * 10 * 1.2
    catalogue.close()


def test_an_image_that_seems_incomplete_is_not_reported_while_content_is_read(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    path = writers.make_layout(str(tmp_path / "s"))
    image = writers.make_image(path, "app")
    writers.write_index(path, writers.empty_index(writers.name_entry(image, "short", NAME, "1")))
    catalogue.add(path, name="s", index=False)
    take_names(catalogue)
    file = tmp_path / "Dockerfile"
    file.write_text("FROM app:1")
    asked = [
        ("resolve", "--strict", "--format", "oci-layout", "app:1"),
        ("resolve", "--strict", "--format", "oci-layout", "oci-layout://s/app:1"),
        ("contexts", str(file)),
        ("contexts", "--strict", str(file)),
    ]
    config = no_settling(tmp_path)
    for words in asked:
        result = called("--config", config, *words, db=catalogue.path)
        assert (result.status, result.out.strip()) == (4, "")
        assert "manifests are still being read" in result.err
    for _ in reading(catalogue, "s"):
        pass
    assert not pending(catalogue)
    for words in asked:
        result = called("--config", config, *words, db=catalogue.path)
        assert (result.status, result.out.strip().rpartition("@")[2]) == (0, image["digest"])
