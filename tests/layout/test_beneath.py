"""Nothing below a registered path is reached through a symbolic link, at any depth and at any time."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from catalog.layout.beneath import MARK, Parents, open_directory, opened_path, plain, stat_directory
from catalog.layout.blobs import BlobDirectories, BlobProblem
from catalog.layout.blobs_identity import blobs_identity
from catalog.layout.discover import discover, is_layout
from catalog.layout.index import IndexChanged, IndexProblem, read_index, read_marker, stat_index
from tests.conftest import stamp
from tests.writers import empty_index, fake_descriptor, make_layout, name_entry, write_index

DEPTHS = [1, 2, 3, 4, 5, 6, 7, 40]
"""Depths below and above the number of components from which openat2 is used."""


def made(path: Path, seed: str) -> str:
    os.makedirs(path, exist_ok=True)
    make_layout(str(path))
    write_index(str(path), empty_index(name_entry(fake_descriptor(seed), "tag", "", "1")))
    return str(path)


def inode(directory: int) -> int:
    try:
        return os.fstat(directory).st_ino
    finally:
        os.close(directory)


def refusal(look: Callable[[], object]) -> int | None:
    try:
        look()
    except OSError as error:
        return error.errno
    return None


def ways(opened: str) -> Iterator[Callable[[], object]]:
    yield lambda: os.close(open_directory(opened))
    with Parents() as parents:
        yield lambda: os.close(parents.open(opened))


@pytest.mark.parametrize("depth", DEPTHS)
def test_a_link_in_place_of_any_component_is_refused(tmp_path: Path, depth: int) -> None:
    names = [f"d{number}" for number in range(depth)]
    root = tmp_path / "root"
    made(root.joinpath(*names), "inside")
    opened = opened_path(str(root.joinpath(*names)), str(root), follow=False)
    assert plain(opened) == str(root.joinpath(*names))
    there = os.stat(root.joinpath(*names)).st_ino
    with Parents() as parents:
        assert inode(open_directory(opened)) == inode(parents.open(opened)) == stat_directory(opened).st_ino == there
    for number in range(depth):
        at = root.joinpath(*names[: number + 1])
        moved = tmp_path / "elsewhere"
        at.rename(moved)
        at.symlink_to(moved)
        assert {refusal(way) for way in ways(opened)} <= {errno.ENOTDIR, errno.ELOOP}
        with pytest.raises(IndexProblem, match="symbolic link"):
            stat_index(opened)
        with pytest.raises(IndexProblem, match="symbolic link"):
            read_index(opened)
        assert read_marker(opened).version is None
        assert not is_layout(opened)
        assert blobs_identity(opened) == ""
        with BlobDirectories(opened) as blobs:
            assert list(blobs.list()) == []
        assert list(discover(str(root), lambda _path, _error: None)) == []
        at.unlink()
        moved.rename(at)
    assert inode(open_directory(opened)) == there


@pytest.mark.parametrize("depth", [1, 3, 8])
def test_what_was_found_stays_what_it_was_when_a_link_takes_its_place(tmp_path: Path, depth: int) -> None:
    names = [f"d{number}" for number in range(depth)]
    root = tmp_path / "root"
    store = root.joinpath(*names)
    made(store, "inside")
    made(tmp_path / "outside", "outside")
    (store / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
    (tmp_path / "outside" / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
    there = [os.stat(store / name).st_ino for name in ("index.json", "blobs")]
    stamp(str(store / "blobs" / "sha256"))
    stamp(str(store / "blobs"))
    with Parents() as parents:
        found = parents.find(opened_path(str(store), str(root), follow=False))
        assert found is not None
        identity = blobs_identity("", None, found)
        assert f":{os.stat(store / 'blobs' / 'sha256').st_ino}:" in identity
        store.rename(tmp_path / "away")
        store.symlink_to(tmp_path / "outside")
        assert [found.look(name).st_ino for name in ("index.json", "blobs")] == there
        assert blobs_identity("", None, found) == identity
        (tmp_path / "away" / "blobs").rename(tmp_path / "blobs")
        (tmp_path / "away" / "blobs").symlink_to(tmp_path / "outside" / "blobs")
        assert blobs_identity("", None, found).startswith("link:")
        assert parents.find(opened_path(str(store), str(root), follow=False)) is None
    assert open_descriptors_below(tmp_path) == []


def open_descriptors_below(path: Path) -> list[str]:
    """The files at or below `path` that this process has open."""
    names = []
    for each in os.listdir("/proc/self/fd"):
        try:
            names.append(os.readlink(f"/proc/self/fd/{each}"))
        except OSError:
            continue
    return [name for name in names if name.startswith(str(path))]


@pytest.mark.parametrize("depth", [1, 3, 8])
def test_a_registered_link_is_followed_and_no_link_between_it_and_its_root(tmp_path: Path, depth: int) -> None:
    names = [f"d{number}" for number in range(depth)]
    root, real = tmp_path / "root", tmp_path / "real"
    link = root.joinpath(*names)
    link.parent.mkdir(parents=True)
    made(real, "real")
    link.symlink_to(real)
    by_name = opened_path(str(link), str(root), follow=True)
    assert inode(open_directory(by_name)) == real.stat().st_ino
    with Parents() as parents:
        assert inode(parents.open(by_name)) == parents.stat(by_name).st_ino == real.stat().st_ino
    assert refusal(lambda: open_directory(opened_path(str(link), str(root), follow=False))) in (
        errno.ENOTDIR,
        errno.ELOOP,
    )
    seen = tmp_path / "seen"
    seen.symlink_to(root)
    assert inode(open_directory(opened_path(str(seen), str(seen), follow=True))) == root.stat().st_ino
    assert inode(open_directory(opened_path(str(seen / "d0"), str(seen), follow=depth == 1))) > 0
    if depth > 1:
        (root / "d0").rename(tmp_path / "away")
        (root / "d0").symlink_to(tmp_path / "away")
        assert refusal(lambda: open_directory(by_name)) in (errno.ENOTDIR, errno.ELOOP)


def test_the_root_directory_is_a_root_too(tmp_path: Path) -> None:
    opened = opened_path(str(tmp_path), "/", follow=False)
    assert MARK in opened
    assert plain(opened) == str(tmp_path)
    assert inode(open_directory(opened)) == tmp_path.stat().st_ino
    assert plain(opened_path("/", "/", follow=True)) == "/"


@contextmanager
def swapped(at: Path, inside: Path, outside: Path) -> Iterator[None]:
    """Keep switching `at` between a directory and a link to another one, as fast as possible."""
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            inside.rename(at)
            at.rename(inside)
            at.symlink_to(outside)
            at.unlink()

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("level", ["between", "store", "blobs", "sha256"])
def test_swapping_a_directory_for_a_link_never_leads_out(tmp_path: Path, level: str) -> None:
    """While a writer keeps replacing a directory with a link, a reader never returns anything from behind the link."""
    store = Path("team", "app")
    parts = {"between": store.parent, "store": store, "blobs": store / "blobs", "sha256": store / "blobs" / "sha256"}
    secret = "e" * 64
    root, outside, aside = tmp_path / "root", tmp_path / "outside", tmp_path / "aside"
    made(root / store, "inside")
    made(outside / store, "outside")
    (outside / store / "blobs" / "sha256" / secret).write_bytes(b"secret")
    (outside / "team" / "other").mkdir()
    made(outside / "team" / "other", "other")
    (root / parts[level]).rename(aside)
    opened = opened_path(str(root / store), str(root), follow=False)
    wrong = fake_descriptor("outside")["digest"]
    looks = 0
    with swapped(root / parts[level], aside, outside / parts[level]):
        while looks < 1500:
            looks += 1
            with suppress(IndexProblem, IndexChanged), read_index(opened) as content:
                assert wrong not in {each.digest for each in content}
            with BlobDirectories(opened) as blobs:
                assert f"sha256:{secret}" not in {digest for digest, _, _ in blobs.list()}
                assert blobs.stat(f"sha256:{secret}") is None
                with suppress(BlobProblem):
                    assert blobs.open(f"sha256:{secret}") is None
            found = set(discover(str(root), lambda _path, _error: None))
            assert str(root / "team" / "other") not in found
