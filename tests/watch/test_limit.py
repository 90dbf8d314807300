"""More directories than the kernel allows watches: the rest is polled, nothing is lost, and it is said what helps."""

from __future__ import annotations

import random
import shutil
import subprocess

from catalog.watch.status import kernel_limit, watches_advised
from tests.watch.harness import Followed, wait_for
from tests.watch.test_daemon import pid, tag
from tests.watch.test_mounts import needs_namespaces
from tests.writers import WRITE_STYLES, make_layout

STORES = 300
GROUPS = 30
ALLOWED = 100
_LIMITED = f"echo {ALLOWED} > /proc/sys/user/max_inotify_watches"
_RAISE = "echo 10000 > /proc/sys/user/max_inotify_watches"


@needs_namespaces
def test_three_hundred_stores_and_a_hundred_watches(quick: Followed) -> None:
    rng = random.Random(5)
    stores = [make_layout(quick.path(f"root/g{number % GROUPS}/s{number}")) for number in range(STORES)]
    root = quick.add_root("root")
    quick.start_apart(_LIMITED, options=["--rescan", "0.3"])
    state = quick.state()
    assert (state["daemon_watched"], state["daemon_unwatched"]) == (ALLOWED, 1 + GROUPS + STORES - ALLOWED)
    advice = watches_advised(1 + GROUPS + STORES, kernel_limit("max_user_watches"))
    assert state["advice"] == advice
    # It is logged after the state is written.
    wait_for(lambda: any("cannot be watched" in line for line in quick.log()))
    (line,) = [line for line in quick.log() if "cannot be watched" in line]
    assert line.endswith(f"are only checked now and then: raise {advice}")
    # Everything that happens, whether to one that is watched or to one that is not.
    for number, store in enumerate(rng.sample(stores, 60)):
        tag(store, "1", f"{number}", sorted(WRITE_STYLES)[number % len(WRITE_STYLES)])
    for number in range(10):
        tag(make_layout(f"{root}/g{rng.randrange(GROUPS)}/new{number}"), f"new{number}", "x")
        tag(make_layout(f"{root}/other{number}/new"), f"other{number}", "x")
    for store in rng.sample(stores, 10):
        shutil.rmtree(store)
    quick.settled(below=False)
    # It is raised: the next look at everything watches what there is, without a restart.
    enter = ["nsenter", "-t", str(pid(quick)), "-U", "-m", "--preserve-credentials", "sh", "-c", _RAISE]
    subprocess.run(enter, check=True)
    wait_for(lambda: quick.state()["daemon_unwatched"] == 0, what=quick.state)
    assert quick.state()["daemon_watched"] == 1 + GROUPS + 10 + STORES + 10
    assert quick.state()["advice"] is None
    assert len([line for line in quick.log() if "cannot be watched" in line]) == 1
