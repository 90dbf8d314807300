"""A process that has no file descriptor left says so. It takes no file for absent, closed, or not shared."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from catalog.errors import Exhausted
from catalog.layout.beneath import Parents, open_on_mount, opened_path
from catalog.layout.blob_places import link_places
from catalog.layout.blobs_identity import blobs_identity
from catalog.layout.discover import is_layout
from catalog.layout.files import FileState, stat_index
from catalog.layout.held import OpenFiles
from tests.writers import make_layout


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    first = os.dup(0)
    os.close(first)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (first, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def _find(store: str, _file: FileState) -> object:
    with Parents() as parents:
        return parents.find(store)


def _held(store: str, file: FileState) -> object:
    return OpenFiles().has(store, file, 0)


def _held_elsewhere(store: str, file: FileState) -> object:
    """The device is known, so /proc is what cannot be opened."""
    files = OpenFiles()
    files._devices = {file.dev: "0:0"}
    return files.has(store, file, 0)


def _is_layout(store: str, _file: FileState) -> object:
    return is_layout(store)


def _identity(store: str, _file: FileState) -> object:
    return blobs_identity(store)


def _stat(store: str, _file: FileState) -> object:
    return stat_index(store)


def _places(store: str, _file: FileState) -> object:
    return link_places(store, f"{store}/blobs")


@pytest.mark.parametrize("look", [_find, _held, _held_elsewhere, _is_layout, _identity, _stat, _places])
def test_nothing_is_concluded_without_a_descriptor(tmp_path: Path, look: Callable[[str, FileState], object]) -> None:
    path = make_layout(str(tmp_path / "store"))
    for store in (opened_path(path, follow=True), opened_path(path, str(tmp_path), follow=False)):
        _concludes_nothing(path if look is _places else store, stat_index(store), look)


def _concludes_nothing(store: str, file: FileState, look: Callable[[str, FileState], object]) -> None:
    assert look(store, file) is not None
    with no_descriptor_left(), pytest.raises(Exhausted, match="no file descriptor is left"):
        look(store, file)


def test_another_mount_is_not_meant(tmp_path: Path) -> None:
    directory = os.open(tmp_path, os.O_PATH)
    try:
        assert open_on_mount(directory, "nothing") == -1
        with no_descriptor_left(), pytest.raises(Exhausted):
            open_on_mount(directory, ".")
    finally:
        os.close(directory)
