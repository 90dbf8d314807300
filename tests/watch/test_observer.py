"""The observer, and what it uses of watchdog 7.1's insides: one descriptor, no watch on blobs, and a
hint for everything that happens to a layout, in whichever order directories come and go."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from watchdog.observers import inotify_c

from catalog.watch.hints import Hint, OverflowHint, StoreHint, TreeHint
from catalog.watch.observer import TreeObserver
from tests.cli.program import needs_root
from tests.watch.harness import DEADLINE, Followed, Load, wait_for
from tests.writers import WRITE_STYLES, dump, empty_index, fake_descriptor, make_layout

INOTIFY = "anon_inode:inotify"


def inotify_descriptors() -> list[int]:
    """This process's inotify descriptors."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{name}") == INOTIFY:
                found.append(int(name))
        except FileNotFoundError:
            continue  # the one by which the directory was read
    return found


class Watching:
    """A running observer over `root`, and the hints it gave."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.hints: list[Hint] = []
        self.before = set(inotify_descriptors())
        self.observer = TreeObserver(self.hints.append)
        self.observer.start()
        self.trees = self.observer
        self.trees.adopt(os.fsencode(root), deep=True, wait=True)
        self.settle()
        self.hints.clear()

    def close(self) -> None:
        self.observer.stop()
        self.observer.join()

    def path(self, name: str) -> str:
        return f"{self.root}/{name}"

    def make(self, name: str) -> str:
        return make_layout(self.path(name))

    def hinted(self, kind: type[Hint], name: str = "") -> Callable[[], bool]:
        """Whether there was a hint of the path `name` below the root."""
        path = self.path(name) if name else self.root
        return lambda: any(hint == kind(path) for hint in list(self.hints))

    def is_watched(self, name: str) -> bool:
        return self.trees.is_watched(os.fsencode(self.path(name)))

    def settle(self) -> None:
        """Wait until every event that has happened so far was read: the kernel queues them in order."""
        before = self.hints_of_root()
        Path(f"{self.root}/oci-layout").touch()
        os.unlink(f"{self.root}/oci-layout")
        # The root is hinted at when the file is made, closed and deleted, perhaps once more by a search that meets the file.
        wait_for(lambda: self.hints_of_root() >= before + 3)

    def hints_of_root(self) -> int:
        """How many hints there were that the root itself may be a layout: no test makes it one."""
        return sum(hint == StoreHint(self.root) for hint in list(self.hints))

    def watched_inodes(self) -> set[int]:
        """The inodes that the kernel says are watched."""
        (descriptor,) = set(inotify_descriptors()) - self.before
        with open(f"/proc/self/fdinfo/{descriptor}") as file:
            lines = [line.split() for line in file if line.startswith("inotify wd:")]
        return {int(part[4:], 16) for line in lines for part in line if part.startswith("ino:")}

    def directories(self) -> set[str]:
        """What is to be watched: every directory but blobs, hidden ones and what is below them."""
        found = set()
        for base, names, _ in os.walk(self.root):
            found.add(base)
            names[:] = [name for name in names if name != "blobs" and not name.startswith(".")]
        return found

    def is_complete(self) -> bool:
        """Whether the kernel watches just what it should, and the books say the same."""
        directories = self.directories()
        return (
            self.watched_inodes() == {os.lstat(path).st_ino for path in directories}
            and all(self.trees.is_watched(os.fsencode(path)) for path in directories)
            and self.trees.counts() == (len(directories), 0)
        )


@pytest.fixture
def watching(tmp_path: Path) -> Iterator[Watching]:
    root = tmp_path / "root"
    root.mkdir()
    made = Watching(str(root))
    yield made
    made.close()


# One descriptor, few threads, no watch too many


def test_one_descriptor_and_few_threads_for_all_layouts(tmp_path: Path) -> None:
    for number in range(300):
        make_layout(f"{tmp_path}/root/{number % 7}/{number}")
    before = threading.active_count()
    watching = Watching(f"{tmp_path}/root")
    try:
        assert len(set(inotify_descriptors()) - watching.before) == 1
        assert threading.active_count() - before == 2  # one reads events, one sets watches
        assert watching.is_complete()
        assert watching.trees.counts() == (1 + 7 + 300, 0)
    finally:
        watching.close()
    assert set(inotify_descriptors()) == watching.before
    assert threading.active_count() == before


def test_what_is_asked_for_each_store_waits_for_no_watch(watching: Watching) -> None:
    """While a large tree is watched, the lock of the records is never free for long."""
    path = os.fsencode(watching.make("store"))
    answers: list[object] = []
    asking = threading.Thread(
        target=lambda: answers.extend(
            [watching.trees.is_held(path, 1 << 62), watching.trees.counts()[1], watching.trees.over_limit()]
        )
    )
    with watching.trees._lock:  # as the thread that sets watches holds it
        asking.start()
        asking.join(DEADLINE)
        assert answers == [None, 0, 0]


def test_neither_blobs_nor_hidden_directories_nor_links_are_watched(watching: Watching, tmp_path: Path) -> None:
    store = watching.make("a")
    os.makedirs(f"{store}/.umoci-1/x")
    os.makedirs(f"{store}/blobs/sha512/deep")
    make_layout(f"{tmp_path}/elsewhere")
    os.symlink(f"{tmp_path}/elsewhere", watching.path("link"))
    wait_for(watching.is_complete)
    assert watching.directories() == {watching.root, store}
    watching.settle()
    watching.hints.clear()
    for number in range(100):
        Path(f"{store}/blobs/sha256/{number}").write_text("x")
    Path(f"{tmp_path}/elsewhere/index.json").write_text("{}")
    Path(f"{store}/oci-put-blob123").write_text("x")
    Path(f"{store}/index.json.lock").write_text("x")
    Path(f"{store}/.umoci-1/index-1").write_text("x")
    watching.settle()
    assert {hint for hint in watching.hints if hint != StoreHint(watching.root)} == set()


def test_a_tree_that_is_searched_again_costs_no_event(watching: Watching) -> None:
    for number in range(50):
        watching.make(f"a/{number}")
    wait_for(watching.is_complete)
    for _ in range(3):
        watching.trees.adopt(os.fsencode(watching.root), deep=True, anew=True, wait=True)
    assert watching.is_complete()


# Hints


@pytest.mark.parametrize("style", sorted(WRITE_STYLES))
def test_every_way_of_writing_gives_a_hint_after_its_last_step(watching: Watching, style: str) -> None:
    store = watching.make("a")
    wait_for(watching.hinted(StoreHint, "a"))
    wait_for(watching.is_complete)
    watching.settle()
    watching.hints.clear()
    WRITE_STYLES[style](store, dump(empty_index(fake_descriptor("x"))))
    wait_for(watching.hinted(StoreHint, "a"))


def test_rights_and_times_give_a_hint(watching: Watching) -> None:
    store = watching.make("a")
    wait_for(watching.is_complete)
    changes: list[Callable[[], None]] = [
        lambda: os.utime(f"{store}/index.json", ns=(1, 1)),
        lambda: os.chmod(f"{store}/index.json", 0),
        lambda: os.chmod(f"{store}/oci-layout", 0o600),
    ]
    for change in changes:
        watching.settle()
        watching.hints.clear()
        change()
        wait_for(watching.hinted(StoreHint, "a"))
    watching.hints.clear()
    os.chmod(store, 0o700)
    wait_for(watching.hinted(TreeHint, "a"))
    os.chmod(watching.root, 0o755)
    wait_for(watching.hinted(TreeHint))


def test_a_layout_comes_to_be_in_a_directory_that_was_none(watching: Watching) -> None:
    os.makedirs(watching.path("a/b"))
    wait_for(watching.is_complete)
    for make in (
        lambda: Path(watching.path("a/b/oci-layout")).write_text("{}"),
        lambda: os.mkdir(watching.path("a/b/blobs")),
        lambda: Path(watching.path("a/b/index.json")).write_text("{}"),
    ):
        watching.settle()
        watching.hints.clear()
        make()
        wait_for(watching.hinted(StoreHint, "a/b"))


# Directories that come and go


def test_racing_nested_directories_are_all_watched_and_hinted(watching: Watching) -> None:
    names = [f"{number % 5}/{number}/{'x/' * (number % 4)}store" for number in range(500)]
    for name in names:
        watching.make(name)  # as fast as it goes, while the watches are being set
    wait_for(watching.is_complete)
    for name in names:
        wait_for(watching.hinted(StoreHint, name))


def test_a_layout_inside_a_layout_is_watched_too(watching: Watching) -> None:
    watching.make("a")
    watching.make("a/b/c")
    wait_for(watching.hinted(StoreHint, "a/b/c"))
    wait_for(watching.is_complete)


def test_trees_move_in_within_and_out(watching: Watching, tmp_path: Path) -> None:
    make_layout(f"{tmp_path}/outside/x/store")
    os.rename(f"{tmp_path}/outside", watching.path("in"))
    wait_for(watching.hinted(StoreHint, "in/x/store"))
    wait_for(watching.is_complete)
    os.rename(watching.path("in"), watching.path("renamed"))
    wait_for(watching.hinted(TreeHint, "in"))
    wait_for(watching.hinted(StoreHint, "renamed/x/store"))
    wait_for(watching.is_complete)
    watching.hints.clear()
    os.rename(watching.path("renamed"), f"{tmp_path}/outside")
    wait_for(watching.hinted(TreeHint, "renamed"))
    wait_for(watching.is_complete)
    watching.settle()
    watching.hints.clear()
    Path(f"{tmp_path}/outside/x/store/index.json").write_text("{}")  # not ours any more
    watching.settle()
    assert not [hint for hint in watching.hints if "outside" in hint.path or "renamed" in hint.path]


def test_two_trees_change_places(watching: Watching) -> None:
    one, two = watching.make("one/x"), watching.make("two/y")
    wait_for(watching.is_complete)
    for _ in range(20):
        os.rename(os.path.dirname(one), watching.path("aside"))
        os.rename(os.path.dirname(two), os.path.dirname(one))
        os.rename(watching.path("aside"), os.path.dirname(two))
    wait_for(watching.is_complete)
    watching.settle()
    watching.hints.clear()
    Path(watching.path("one/x/index.json")).write_text("{}")
    wait_for(watching.hinted(StoreHint, "one/x"))


def test_deleted_and_made_again_while_somebody_holds_it_open(watching: Watching) -> None:
    watching.make("a/store")
    wait_for(watching.is_complete)
    held = os.open(watching.path("a/store"), os.O_RDONLY)  # keeps the inode, and so the old watch, alive
    try:
        shutil.rmtree(watching.path("a/store"))
        watching.make("a/store")
        wait_for(watching.is_complete)
        watching.settle()
        watching.hints.clear()
        Path(watching.path("a/store/index.json")).write_text("{}")
        wait_for(watching.hinted(StoreHint, "a/store"))
    finally:
        os.close(held)
    wait_for(watching.is_complete)


def test_trees_deleted_and_made_again_in_a_row(watching: Watching) -> None:
    for _ in range(50):  # most are gone before anybody can watch them: events are read every few milliseconds
        watching.make("a/b/store")
        shutil.rmtree(watching.path("a"))
    watching.make("a/b/store")
    watching.settle()  # An older event that `a` is gone drops the watches of the newest one until it is found again.
    wait_for(watching.is_complete)
    wait_for(watching.hinted(StoreHint, "a/b/store"))
    shutil.rmtree(watching.path("a"))
    wait_for(watching.hinted(TreeHint, "a/b/store"))
    wait_for(watching.hinted(TreeHint, "a"))
    watching.hints.clear()
    watching.make("a/b/store")
    wait_for(watching.is_complete)
    wait_for(watching.hinted(StoreHint, "a/b/store"))


def test_the_root_goes_and_comes_back(watching: Watching, tmp_path: Path) -> None:
    watching.make("a")
    wait_for(watching.is_complete)
    ways: list[Callable[[], None]] = [
        lambda: os.rename(watching.root, f"{tmp_path}/away"),
        lambda: shutil.rmtree(watching.root),
    ]
    for gone in ways:
        watching.hints.clear()
        gone()
        wait_for(watching.hinted(TreeHint))
        wait_for(lambda: watching.trees.counts() == (0, 0))
        watching.make("b")
        watching.trees.adopt(os.fsencode(watching.root), deep=True, wait=True)  # as the daemon does when it is back
        wait_for(watching.hinted(StoreHint, "b"))
        assert watching.is_complete()


def test_a_store_alone_is_watched_without_what_is_in_it(watching: Watching, tmp_path: Path) -> None:
    alone = make_layout(f"{tmp_path}/alone")
    make_layout(f"{alone}/inside")
    watching.trees.adopt(os.fsencode(alone), deep=False, wait=True)
    assert watching.trees.counts() == (2, 0)
    watching.settle()
    watching.hints.clear()
    Path(f"{alone}/index.json").write_text("{}")
    wait_for(lambda: any(h == StoreHint(alone) for h in list(watching.hints)))
    watching.trees.forget(os.fsencode(alone))
    assert watching.trees.counts() == (1, 0)
    assert watching.is_complete()


def test_a_directory_under_two_paths_gives_hints_for_both(watching: Watching, tmp_path: Path) -> None:
    """Bind mounts do that; here a parent that is a link does."""
    watching.make("a")
    os.symlink(watching.root, f"{tmp_path}/other")
    watching.trees.adopt(os.fsencode(f"{tmp_path}/other/a"), deep=False, wait=True)
    watching.settle()
    watching.hints.clear()
    Path(watching.path("a/index.json")).write_text("{}")
    wait_for(watching.hinted(StoreHint, "a"))
    wait_for(lambda: any(hint.path == f"{tmp_path}/other/a" for hint in list(watching.hints)))
    watching.trees.forget(os.fsencode(f"{tmp_path}/other/a"))
    assert watching.is_complete()


def test_paths_that_are_not_utf8(watching: Watching) -> None:
    name = os.fsdecode(b"caf\xe9")
    watching.make(name)
    wait_for(watching.hinted(StoreHint, name))


# What cannot be watched, and what is lost


def test_events_lost_give_one_overflow_hint_and_the_books_are_put_right(watching: Watching) -> None:
    watching.make("moved/store")
    watching.make("remade/store")
    wait_for(watching.is_complete)
    watching.settle()
    watching.hints.clear()
    with open("/proc/sys/fs/inotify/max_queued_events") as file:
        limit = int(file.read())
    aside = watching.path("aside")
    with watching.trees._lock:  # the reader waits here, and the kernel's queue runs over
        Path(aside).write_text("")
        for _ in range(limit):
            os.rename(aside, aside + "2")
            os.rename(aside + "2", aside)
        # All of this is lost.
        shutil.rmtree(watching.path("remade"))
        watching.make("remade/store")
        os.rename(watching.path("moved"), watching.path("renamed"))
        watching.make("moved/store")
        watching.make("new/store")
    wait_for(lambda: any(type(hint) is OverflowHint for hint in list(watching.hints)))
    watching.settle()
    assert len([hint for hint in watching.hints if type(hint) is OverflowHint]) == 1
    assert not watching.is_complete()
    watching.trees.adopt(os.fsencode(watching.root), deep=True, anew=True, wait=True)
    wait_for(watching.is_complete)
    watching.settle()
    watching.hints.clear()
    for name in ("remade/store", "moved/store", "renamed/store", "new/store"):
        Path(watching.path(f"{name}/index.json")).write_text("{}")
        wait_for(watching.hinted(StoreHint, name))


LIMITED = """
import os, sys
sys.path.insert(0, sys.argv[2])
from catalog.watch.observer import TreeObserver
with open("/proc/sys/user/max_inotify_watches", "w") as file:
    file.write("20")
observer = TreeObserver(lambda hint: None)
observer.start()
root = os.fsencode(sys.argv[1])
observer.adopt(root, deep=True, wait=True)
print(*observer.counts())
os.system(f"rm -r {sys.argv[1]}/1*")  # half of them: now there is room
observer.adopt(root, deep=True, anew=True, wait=True)
observer.adopt(root, deep=True, anew=True, wait=True)
watched, unwatched = observer.counts()
print(watched, unwatched, len(os.listdir(root)))
observer.stop()
observer.join()
"""


def test_what_the_limit_leaves_unwatched_is_counted(tmp_path: Path) -> None:
    allowed = subprocess.run(["unshare", "-Urm", "true"], capture_output=True, check=False)
    if allowed.returncode:
        pytest.skip("user namespaces are not allowed here")
    for number in range(10, 40):
        make_layout(f"{tmp_path}/root/{number}")
    repository = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    run = subprocess.run(
        ["unshare", "-Urm", sys.executable, "-c", LIMITED, f"{tmp_path}/root", repository],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.stderr, run.stdout.splitlines()) == ("", ["20 11", "20 1 20"])


@needs_root
def test_a_directory_that_may_not_be_read_is_counted_and_watched_once_it_may(public: Followed) -> None:
    """As another user than root, who may read everything."""
    make_layout(f"{public.directory}/root/a")
    os.chown(f"{public.directory}/root/a", 65534, 65534)
    code = """
from catalog.watch.observer import TreeObserver
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
observer = TreeObserver(lambda hint: None)
observer.start()
root = os.fsencode(sys.argv[1])
for mode in (0o311, 0o755):
    os.chmod(root + b"/a", mode)
    observer.adopt(root, deep=True, wait=True)
    print(*observer.counts(), observer.is_watched(root + b"/a"))
observer.stop()
observer.join()
"""
    load = Load(code, f"{public.directory}/root")
    assert load.out.read().split(b"\n") == [b"1 1 False", b"2 0 True", b""]
    assert load.end() == 0


def test_what_is_used_of_watchdog_is_there() -> None:
    """Internals: a version without them fails here, by name."""
    for name in (
        "add_callback",
        "remove_callbacks",
        "handle_event",
        "close",
        "_get_or_create_watch",
        "_remove_callback",
    ):
        assert callable(getattr(inotify_c.InotifyFD, name))
    descriptor = inotify_c.InotifyFD()
    assert (descriptor._watch_for_wd, type(descriptor._lock)) == ({}, type(threading.Lock()))
    assert descriptor._inotify_fd in inotify_descriptors()
    descriptor.close()
    descriptor._close_resources()


def test_a_storm_of_directories_is_listed_now_and_then(watching: Watching) -> None:
    """What comes and goes by the thousand gets no hints, and what stays is found."""
    os.mkdir(watching.path("crowd"))
    before = watching.make("crowd/before")
    wait_for(watching.hinted(StoreHint, "crowd/before"))
    watching.hints.clear()
    for number in range(3_000):
        os.mkdir(watching.path(f"crowd/d{number}"))
        os.rmdir(watching.path(f"crowd/d{number}"))
        if number == 1_500:
            watching.make("crowd/between")
    shutil.rmtree(before)
    wait_for(watching.hinted(StoreHint, "crowd/between"))
    wait_for(watching.hinted(TreeHint, "crowd/before"))
    watching.settle()
    told = {hint.path for hint in watching.hints if type(hint) is TreeHint}
    assert len(told) < 1_500
    make_layout(watching.path("crowd/after"))
    wait_for(watching.hinted(StoreHint, "crowd/after"))
    assert watching.is_watched("crowd/between")
    assert watching.is_watched("crowd/after")
    assert not watching.is_watched("crowd/before")


def test_a_directory_that_sends_too_many_events_is_looked_at_now_and_then(watching: Watching) -> None:
    """A file rewritten thousands of times gives few hints, its last change gives one, and the directory stays watched."""
    path = watching.make("hot")
    wait_for(watching.hinted(StoreHint, "hot"))
    watching.hints.clear()
    for number in range(5_000):
        with open(f"{path}/index.json", "r+b") as file:
            file.write(dump(empty_index(fake_descriptor(str(number % 10)))))
    wait_for(watching.hinted(StoreHint, "hot"))
    watching.settle()
    assert sum(hint == StoreHint(path) for hint in list(watching.hints)) < 2_500
    wait_for(watching.is_complete)
    watching.hints.clear()
    os.utime(f"{path}/index.json")
    wait_for(watching.hinted(StoreHint, "hot"))


def test_a_store_in_a_busy_parent_is_followed_when_it_is_replaced(tmp_path: Path) -> None:
    """The parent of a store that was added by itself may be a directory such as /tmp, in which much happens."""
    store, parent = make_layout(f"{tmp_path}/one/store"), f"{tmp_path}/one"
    os.mkdir(f"{tmp_path}/root")
    watching = Watching(f"{tmp_path}/root")
    try:
        watching.trees.follow([os.fsencode(watching.root)], [], [os.fsencode(store)], [os.fsencode(parent)])
        watching.trees.adopt(os.fsencode(parent), deep=False)
        watching.trees.adopt(os.fsencode(store), deep=False, wait=True)
        for number in range(1_000):
            os.mkdir(f"{parent}/x{number}")
            os.rmdir(f"{parent}/x{number}")
        make_layout(f"{tmp_path}/two")
        watching.hints.clear()
        os.rename(store, f"{tmp_path}/away")
        os.rename(f"{tmp_path}/two", store)
        wait_for(lambda: TreeHint(store) in list(watching.hints))
        watching.hints.clear()
        # As the daemon does for such a hint. The parent may have been quiet again when the store was replaced.
        watching.trees.adopt(os.fsencode(store), deep=False)
        wait_for(lambda: watching.trees.is_watched(os.fsencode(store)))
        os.utime(f"{store}/index.json")
        wait_for(lambda: StoreHint(store) in list(watching.hints))
    finally:
        watching.close()


def test_an_event_from_before_a_loss_is_not_taken_for_a_later_one() -> None:
    """The kernel may still deliver it, after the event that says that others were lost. So nothing is read here but what is given."""
    trees = TreeObserver(lambda _: None)
    try:
        first, before = trees.mark(), trees._marker_watch
        trees.on_queue_overflow()
        second, after = trees.mark(), trees._marker_watch
        assert first is not None
        assert before is not None
        assert second is not None
        assert after is not None
        trees.on_event(inotify_c.InotifyEvent(before, inotify_c.InotifyConstants.IN_ATTRIB, 0, b""))
        assert not trees.has_read(second)
        trees.on_event(inotify_c.InotifyEvent(after, inotify_c.InotifyConstants.IN_ATTRIB, 0, b""))
        assert trees.has_read(second)
        assert not trees.has_read(first)
    finally:
        trees.on_thread_stop()


def test_a_loss_without_a_descriptor_left_ends_no_thread() -> None:
    """Renames are not noticed then, and everything else is. In another process, because no test could open a file meanwhile."""
    code = (
        "import resource\n"
        "from catalog.watch.marker import EventMarker\n"
        "marker = EventMarker()\n"
        "number = marker.send()\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))\n"
        "marker.lose()\n"
        "print(marker.send(), marker.has_passed(number))\n"
        "marker.close()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "None False\n"), done.stderr


def test_what_was_renamed_is_known_once_all_events_before_were_read(watching: Watching) -> None:
    store = watching.make("a")
    wait_for(watching.hinted(StoreHint, "a"))
    path, trees, index = os.fsencode(store), watching.trees, f"{store}/index.json"

    def renamed() -> bool:
        """Whether the last event of the index.json is a rename, once every event until now was read."""
        number = None
        while number is None:
            number = trees.mark()
        wait_for(lambda: trees.has_read(number))
        return trees.is_renamed(path)

    def replace() -> None:
        Path(f"{store}/new").write_text("{}")
        os.replace(f"{store}/new", index)

    assert not renamed()
    replace()
    assert renamed()
    replace()
    replace()
    assert renamed()
    with open(index, "a") as file:
        file.write(" ")
        file.flush()
        assert not renamed()
    assert not renamed()
    replace()
    with open(f"{store}/other", "w") as file:  # a writer that goes on after its rename
        os.replace(f"{store}/other", index)
        assert renamed()
        file.write("{")
        file.flush()
        assert not renamed()
    replace()
    os.chmod(index, 0o600)
    assert not renamed()
    replace()
    number = trees.mark()
    trees.on_queue_overflow()
    assert not trees.is_renamed(path)
    assert number is None or not trees.has_read(number)
    replace()
    assert renamed()
    os.unlink(index)
    assert not renamed()
