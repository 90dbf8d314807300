"""What is watched follows what stands at a registered path, whatever happens between two looks at it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from catalog.watch.observer import TreeObserver
from catalog.watch.watched_roots import WatchedRoots
from tests.watch.harness import wait_for
from tests.writers import empty_index, make_layout, write_index


class Hinted:
    """An observer and the paths that it hinted at."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.observer = TreeObserver(lambda hint: self.paths.append(hint.path))
        self.observer.start()
        self.tops = WatchedRoots(self.observer)


@pytest.fixture
def hinted() -> Iterator[Hinted]:
    made = Hinted()
    yield made
    made.observer.stop()
    made.observer.join()


def test_a_link_below_a_root_that_comes_after_the_look(tmp_path: Path, hinted: Hinted) -> None:
    """It was not there when it was looked at whether it is a link: its coming is hinted at all the same."""
    root, link, target = (f"{tmp_path}/{name}" for name in ("R", "R/current", "v1"))
    make_layout(target)
    os.mkdir(root)
    hinted.tops.follow({root}, [link], followed=[link])
    os.symlink("../v1", link)
    wait_for(lambda: link in hinted.paths)
    assert hinted.tops.are_moved({link})
    hinted.tops.follow({root}, [link], followed=[link])
    hinted.paths.clear()
    write_index(target, empty_index())
    wait_for(lambda: link in hinted.paths)


Change = Callable[[str, str], None]


def absent(link: str, _away: str) -> None:
    assert not os.path.lexists(link)


def directory(link: str, _away: str) -> None:
    make_layout(link)


def symlink(link: str, _away: str) -> None:
    os.symlink("../v1", link)


@pytest.mark.parametrize("before", [absent, directory, symlink])
@pytest.mark.parametrize("after", [absent, directory, symlink])
@pytest.mark.parametrize("below", [False, True])
def test_every_change_is_seen_by_the_look_of_each_second(
    tmp_path: Path, hinted: Hinted, before: Change, after: Change, below: bool
) -> None:
    """Without any event: a directory and the link to it that takes its name are told apart, although they are one inode."""
    root, link, away = (f"{tmp_path}/{name}" for name in ("R", "R/current", "away"))
    make_layout(f"{tmp_path}/v1")
    os.mkdir(root)
    before(link, away)
    roots = {root} if below else set()
    hinted.tops.follow(roots, [link], followed=[link])
    assert not hinted.tops.have_changed()
    if os.path.lexists(link):
        os.rename(link, away)
    after(link, away)
    assert hinted.tops.have_changed(every=True) == (before is not after or before is directory)
    hinted.tops.follow(roots, [link], followed=[link])
    assert not hinted.tops.have_changed(every=True)
    assert not hinted.tops.miss([link] if os.path.isdir(link) else [])


def test_the_link_to_the_directory_that_had_its_name(tmp_path: Path, hinted: Hinted) -> None:
    root, link, away = (f"{tmp_path}/{name}" for name in ("R", "R/current", "away"))
    os.mkdir(root)
    make_layout(link)
    hinted.tops.follow({root}, [link], followed=[link])
    os.rename(link, away)
    os.symlink(away, link)
    assert hinted.tops.have_changed(every=True)
    hinted.tops.follow({root}, [link], followed=[link])
    assert hinted.tops.links == {link}
    hinted.paths.clear()
    write_index(away, empty_index())
    wait_for(lambda: link in hinted.paths)
