"""Roots on real mounts that come and go, and on an overlay: each in a namespace of the daemon's own."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from catalog.watch.status import read_daemon
from tests.forking import CLEAN
from tests.watch.harness import DEADLINE, Followed, wait_for
from tests.watch.test_daemon import APP, pid
from tests.watch.test_mounts import needs_namespaces
from tests.writers import WRITE_STYLES, dump, empty_index, fake_descriptor, make_layout, name_entry, write_index

_STORES = 20


def start(catalog: Followed, prepare: str, *arguments: str) -> None:
    """Start the daemon where `prepare` has mounted what it does; the root is in the configuration."""
    with open(catalog.config, "a") as file:
        file.write(f'[[roots]]\npath = "{catalog.path("root")}"\n')
    catalog.start_apart(prepare, *arguments)


def there(catalog: Followed, script: str, *arguments: str) -> None:
    """Run a script where the daemon is."""
    enter = ["nsenter", "-t", str(pid(catalog)), "-U", "-m", "--preserve-credentials", "sh", "-ec", script, "sh"]

    def is_done() -> bool:  # a mount is busy while the daemon has a file of it open
        done = subprocess.run([*enter, *arguments], capture_output=True, env=CLEAN, timeout=DEADLINE, check=False)
        return done.returncode == 0

    wait_for(is_done, what=catalog.log)


def states(catalog: Followed) -> set[str]:
    return {row["state"] for row in catalog.stores().values()}


def index(name: str, seed: str) -> dict[str, object]:
    return empty_index(name_entry(fake_descriptor(seed), "canonical", f"{APP}-{name}", "1"))


def answers(catalog: Followed, name: str, seed: str) -> bool:
    return bool(catalog.ask(f"app-{name}:1").digest == fake_descriptor(seed)["digest"])


@needs_namespaces
def test_a_mount_that_comes_and_goes(quick: Followed) -> None:
    """Its stores go missing, all at once, with their rows kept; it comes back with them, and with what happened meanwhile."""
    disk, root = quick.path("disk"), quick.path("root")
    for number in range(_STORES):
        write_index(make_layout(f"{disk}/{number}"), index(str(number), "before"))
    os.mkdir(root)
    start(quick, 'mount --bind "$1" "$2"', disk, root)
    wait_for(lambda: answers(quick, str(_STORES - 1), "before"), what=quick.log)
    for step in range(2):
        past = quick.spans()
        there(quick, 'umount "$1"', root)
        wait_for(lambda: states(quick) == {"missing"}, what=quick.log)
        assert quick.ask("app-7:1").status == 1
        assert len(quick.stores()) == _STORES + step
        write_index(f"{disk}/3", index("3", f"meanwhile {step}"))
        write_index(make_layout(f"{disk}/new{step}"), index(f"new{step}", "x"))
        there(quick, 'mount --bind "$1" "$2"', disk, root)
        wait_for(lambda step=step: answers(quick, "3", f"meanwhile {step}"), what=quick.log)  # type: ignore[misc]
        wait_for(lambda step=step: answers(quick, f"new{step}", "x"), what=quick.log)  # type: ignore[misc]
        wait_for(lambda: states(quick) == {"ok"}, what=quick.log)
        assert answers(quick, "7", "before")
        began = {span[:5] for span in past}
        assert began <= {span[:5] for span in quick.spans()}  # some have ended, and none is lost
        write_index(f"{disk}/5", index("5", f"after {step}"))  # and events come again
        wait_for(lambda step=step: answers(quick, "5", f"after {step}"), what=quick.log)  # type: ignore[misc]
    assert quick.stop() == 0


@needs_namespaces
def test_a_file_system_that_is_gone_for_good(quick: Followed) -> None:
    """With it go its inodes, and the kernel drops the watches; a new one at its place is followed."""
    root = quick.path("root")
    os.mkdir(root)
    start(quick, 'mount -t tmpfs tmpfs "$1"', root)
    seen = f"/proc/{pid(quick)}/root{root}"
    for step in range(2):
        write_index(make_layout(f"{seen}/a"), index("a", f"{step}"))
        wait_for(lambda step=step: answers(quick, "a", f"{step}"), what=quick.log)  # type: ignore[misc]
        there(quick, 'umount "$1"', root)
        wait_for(lambda: states(quick) == {"missing"}, what=quick.log)
        there(quick, 'mount -t tmpfs tmpfs "$1"', root)
        wait_for(lambda: quick.state()["daemon_watched"] == 1, what=quick.state)
    assert quick.stop() == 0


_OVERLAY = 'mount -t overlay overlay -o "lowerdir=$1,upperdir=$2,workdir=$3" "$4"'
_TRY = """
mount -t tmpfs tmpfs /mnt && cd /mnt && mkdir l u w
mount -t overlay overlay -o lowerdir=l,upperdir=u,workdir=w l
"""
needs_overlays = pytest.mark.skipif(
    subprocess.run(["unshare", "-Urm", "sh", "-ec", _TRY], capture_output=True, check=False).returncode != 0,
    reason="no overlay can be mounted here",
)


@needs_namespaces
@needs_overlays
def test_an_overlay_tells_of_what_is_written_through_it(quick: Followed) -> None:
    """The first write to a file of the lower layer copies it up: that is seen as well, and no sweep helps."""
    layers = [quick.path(name) for name in ("lower", "upper", "work", "root")]
    for style in WRITE_STYLES:
        write_index(make_layout(f"{layers[0]}/deep/{style}"), index(style, "lower"))
    for layer in layers[1:]:
        os.mkdir(layer)
    start(quick, _OVERLAY, *layers)
    seen = f"/proc/{pid(quick)}/root{layers[3]}"
    for seed in ("first", "second"):
        for style, write in WRITE_STYLES.items():
            write(f"{seen}/deep/{style}", dump(index(style, seed)))
        for style in WRITE_STYLES:
            wait_for(lambda style=style, seed=seed: answers(quick, style, seed), what=quick.log)  # type: ignore[misc]
    write_index(make_layout(f"{seen}/deep/new"), index("new", "x"))
    wait_for(lambda: answers(quick, "new", "x"), what=quick.log)
    assert quick.stop() == 0


@needs_namespaces
@pytest.mark.parametrize("over", ["an empty directory", "a store"])
def test_what_no_event_told_of_is_watched_once_a_sweep_has_found_it(quick: Followed, over: str) -> None:
    """Mounting makes no event. The sweep that finds the mounted stores has them watched; after it, events tell of changes."""
    disk, root = quick.path("disk"), quick.path("root")
    write_index(make_layout(f"{disk}/deep/a"), index("a", "mounted"))
    if over == "a store":
        write_index(make_layout(f"{root}/m/deep/a"), index("a", "hidden"))
    else:
        os.makedirs(f"{root}/m")
    start(quick, ":")  # it looks at everything at its start, and then, for an hour, only when a signal asks for it
    there(quick, 'mount --bind "$1" "$2"', disk, f"{root}/m")
    quick.send(signal.SIGHUP)
    wait_for(lambda: answers(quick, "a", "mounted"), what=quick.log)
    before = last_sweep(quick)
    quick.send(signal.SIGHUP)
    wait_for(lambda: last_sweep(quick) != before, what=quick.log)  # so the sweep that found it has ended
    write_index(f"{disk}/deep/a", index("a", "changed"))
    wait_for(lambda: answers(quick, "a", "changed"), what=quick.log)
    write_index(make_layout(f"{disk}/deep/new"), index("new", "x"))
    wait_for(lambda: answers(quick, "new", "x"), what=quick.log)
    assert quick.stop() == 0


def last_sweep(catalog: Followed) -> object:
    """When the daemon's last look at everything ended, as it says itself."""
    return (read_daemon(catalog.db) or {}).get("last_sweep")
