"""A script that writes and asks with `--fresh`, a thousand times in a row: it never gets an old answer.

Most of the times with a settling time of 5 ms, or the test would take minutes; some with the real one. A run of the tests
takes fewer; THOUSAND=1000 says how many.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import pytest

from catalog.cli.config import load_settings
from catalog.ingest.fresh import make_fresh
from catalog.names.query import parse_query
from tests import effort, writers
from tests.watch.harness import SETTLE_MS, Followed
from tests.writers import WRITE_STYLES, dump, empty_index, fake_descriptor, make_layout, name_entry

TIMES = int(os.environ.get("THOUSAND", "0")) or (50 if effort.is_short() else 400)
"""Of eight styles and three stores with a reference each, the 34 of the short run that are left in this process are every pair."""
AT_FULL = effort.examples(24)
BY_PROGRAM = effort.examples(40)
NAME = "docker.io/library/app"


def writes(catalog: Followed) -> Iterator[tuple[str, str]]:
    """Writes on and on, in every style in turn, the same length each time; gives a reference and the digest that it is."""
    stores = [make_layout(catalog.path(f"root/{number}")) for number in range(3)]
    for number, style in enumerate(itertools.cycle(sorted(WRITE_STYLES))):
        store = stores[number % 3]
        tag = f"s{number % 3}"
        entry = name_entry(fake_descriptor(f"{number:06}"), "canonical", NAME, tag)
        write = WRITE_STYLES[style]
        write(store, dump(empty_index(entry)))
        refs = (f"app:{tag}", f"oci-layout://root/{number % 3}:{tag}", f"oci-layout://{store}/app:{tag}")
        yield refs[number % len(refs)], entry["digest"]
        if number % 31 == 30:  # now and then a new store, below a directory that is new too
            new = make_layout(catalog.path(f"root/new/{number}/store"))
            entry = name_entry(fake_descriptor(f"new{number:06}"), "canonical", f"{NAME}-{number}", "1")
            write(new, dump(empty_index(entry)))
            yield f"app-{number}:1", entry["digest"]


def ask(catalog: Followed, writing: Iterator[tuple[str, str]], times: int) -> None:
    """Write and ask, `times` times, in this process; every answer is the new one."""
    settings = load_settings(catalog.config)
    for ref, digest in itertools.islice(writing, times):
        make_fresh(catalog.reader, [parse_query(ref)], None, settings, 30)
        assert catalog.ask(ref).digest == digest, ref


@pytest.mark.parametrize("daemon", [False, True], ids=["alone", "daemon"])
def test_never_an_old_answer(quick: Followed, daemon: bool) -> None:
    quick.configure(settle_ms=5)
    quick.add_root("root")
    writing = writes(quick)
    if daemon:
        quick.start()
    ask(quick, writing, TIMES - AT_FULL - BY_PROGRAM)
    for ref, digest in itertools.islice(writing, BY_PROGRAM):
        assert quick.program("resolve", "--fresh", ref).out == digest + "\n"
    if daemon:
        quick.stop()
    quick.configure(settle_ms=SETTLE_MS)
    if daemon:
        quick.start()
    ask(quick, writing, AT_FULL)


def test_a_writer_who_pauses_is_waited_for(quick: Followed) -> None:
    """`--fresh` during a write answers what that write comes to, or what stood before it; never what is between."""
    quick.configure(settle_ms=20)
    quick.add_root("root")
    store = make_layout(quick.path("root/a"))
    old, new = (empty_index(name_entry(fake_descriptor(each), "tag", "", "t")) for each in ("old", "new"))
    writers.write_index(store, old)
    settings = load_settings(quick.config)
    query = parse_query("oci-layout://root/a:t")
    for daemon in (False, True):
        if daemon:
            quick.start()
        writers.write_index(store, old)
        make_fresh(quick.reader, [query], None, settings, 30)
        with open(f"{store}/index.json", "r+b", buffering=0) as file:
            data = dump(new)
            file.write(data[: len(data) // 2])
            with pytest.raises(Exception, match="did not settle"):
                make_fresh(quick.reader, [query], None, settings, 1)
            file.write(data[len(data) // 2 :])
        make_fresh(quick.reader, [query], None, settings, 30)
        assert quick.ask(query.text).digest == new["manifests"][0]["digest"]
