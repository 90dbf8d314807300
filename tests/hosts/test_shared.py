"""A file system that two hosts see, each at a place of its own: a layout there is one layout, seen from wherever."""

from __future__ import annotations

import json
import os
import shutil
from typing import Any

import psycopg
import pytest

from catalog.engine.postgres.connect import conninfo
from tests import writers
from tests.hosts.conftest import NewHost, layout
from tests.hosts.host import Host
from tests.watch.harness import wait_for


class Seen:
    """`nfs` is what the hosts `one` and `two` share, which is `app` and `other` there; `third` sees nothing of it."""

    def __init__(self, new_host: NewHost) -> None:
        self.one, self.two, self.third = new_host("one"), new_host("two"), new_host("third")
        self.nfs = self.one.path("nfs")
        self.app = layout(f"{self.nfs}/app", seed="first")
        self.other = layout(f"{self.nfs}/deep/other", "docker.io/library/other:1", "first")
        self.one.done("add", self.nfs, "--name", "images", "--shared-as", "nfs")
        # A mount at another place: the catalog keeps the path as given, and follows links only in that path.
        self.there = self.two.path("mnt")
        _mount(self.nfs, self.there)
        self.two.done("add", self.there, "--name", "shelf", "--shared-as", "nfs")

    @property
    def everybody(self) -> list[Host]:
        return [self.one, self.two, self.third]


def _mount(source: str, target: str) -> None:
    """Let the tree at `source` be at `target` as well: the directories are its own, the files are the same ones."""

    for base, _, files in os.walk(source):
        place = target + base[len(source) :]
        os.makedirs(place, exist_ok=True)
        for name in files:
            if not os.path.lexists(f"{place}/{name}"):
                os.link(f"{base}/{name}", f"{place}/{name}")
            elif not os.path.samefile(f"{base}/{name}", f"{place}/{name}"):
                os.unlink(f"{place}/{name}")
                os.link(f"{base}/{name}", f"{place}/{name}")


@pytest.fixture
def seen(new_host: NewHost) -> Seen:
    return Seen(new_host)


def rows(host: Host, statement: str) -> list[dict[str, Any]]:
    result = host.call("sql", statement, "--format", "json")
    assert result.status == 0, result
    found: list[dict[str, Any]] = json.loads(result.out)
    return found


def report(host: Host, name: str) -> list[dict[str, Any]]:
    return host.objects("report", name)


def test_views_and_reports_count_each_layout_once_from_wherever(seen: Seen) -> None:
    alone = seen.one.path("alone")  # another layout with one of the images, on one's own disk
    layout(alone, "docker.io/library/app:1", "first")
    seen.one.done("add", alone)
    names = {"one": ("images/", "alone"), "two": ("shelf/", "one:alone")}
    for host in seen.everybody:
        images = rows(host, "SELECT store, name, digest FROM images ORDER BY store, name")
        assert sorted(row["name"].rpartition("/")[2] for row in images) == ["app:1", "app:1", "other:1"], (
            host.name,
            images,
        )
        if host.name in names:
            ahead, own = names[host.name]
            assert {row["store"] for row in images} == {f"{ahead}app", f"{ahead}deep/other", own}
        blobs = rows(host, "SELECT store, digest FROM blobs")
        assert len(blobs) == 9, (host.name, blobs)  # three of each layout
        usage = {row["store"]: row for row in report(host, "usage")}
        assert len(usage) == 3, (host.name, usage)
        held = {row["digest"]: row for row in report(host, "shared")}
        assert all(int(row["stores"]) == 3 for row in held.values()), (host.name, held)
        assert len(report(host, "drift")) == 0, host.name
    one, two, third = ([sorted(map(_figures, report(host, name))) for name in ("usage", "shared", "duplicates")] for host in seen.everybody)  # fmt: skip
    assert one == two == third


def _figures(row: dict[str, Any]) -> str:
    """A row without what it calls its stores, which differs from where it is seen."""
    return json.dumps({key: value for key, value in row.items() if "store" not in key or isinstance(value, int)})


def test_a_layout_alone_is_shared_by_nobody(seen: Seen) -> None:
    for host in seen.everybody:
        for name in ("shared", "duplicates"):
            told = [row for row in report(host, name) if "app" in json.dumps(row) and "other" not in json.dumps(row)]
            assert not told, (host.name, name, told)


def test_while_one_host_lags_behind_a_third_one_has_the_newest_and_no_choice(seen: Seen) -> None:
    second = layout(f"{seen.nfs}/app", seed="second")
    _mount(seen.nfs, seen.there)
    seen.two.done("index")
    for host, lagging, ahead in zip(
        seen.everybody, ("images/app", "one:images/app", "one:images/app"), ("two:shelf/app", "shelf/app", "two:shelf/app"), strict=True
    ):  # fmt: skip
        told = {row["store"]: row["name"] for row in report(host, "drift")}
        assert told == dict.fromkeys((lagging, ahead), "index.json of nfs/app")
        assert {line.split("\t")[0] for line in host.call("check").lines if "copies-differ" in line} == {lagging, ahead}
    assert seen.third.done("resolve", "app:1").out == f"{second}\n"
    assert seen.two.done("resolve", "app:1").out == f"{second}\n"
    assert seen.one.done("resolve", "app:1").out == f"{seen.app}\n"  # it has not looked yet, and says what it knows
    assert seen.one.done("resolve", "--fresh", "app:1").out == f"{second}\n"
    third = layout(f"{seen.nfs}/app", seed="third")
    _mount(seen.nfs, seen.there)
    seen.one.done("index")  # and the other way round
    assert seen.third.done("resolve", "app:1").out == f"{third}\n"
    assert [row["digest"] for row in rows(seen.third, "SELECT digest FROM images WHERE tag = '1' AND name LIKE '%/app:1'")] == [third]  # fmt: skip
    listed = seen.third.call("query", "app:1", "--format", "{store} {digest}").lines
    assert len(listed) == 2, listed  # query tells what each host says


def test_the_file_servers_time_counts_and_neither_a_hosts_clock_nor_who_looked_first(seen: Seen) -> None:
    """The host that lags is asked last, and its clock is years ahead."""
    second = layout(f"{seen.nfs}/app", seed="second")
    _mount(seen.nfs, seen.there)
    seen.two.done("index")
    with psycopg.connect(conninfo(seen.one.url), autocommit=True) as session:
        session.execute(
            "UPDATE store SET changed_at = changed_at + 100000000000 FROM host WHERE host_id = host.id AND host.name = 'one'"
        )
    assert seen.third.done("resolve", "app:1").out == f"{second}\n"
    seen.one.done("index")
    assert not any("copies-differ" in line for line in seen.third.call("check").lines)


def test_drift_from_another_layout_is_told_once_a_layout(seen: Seen) -> None:
    layout(seen.third.path("alone"), seed="another")
    seen.third.done("add", seen.third.path("alone"))
    seen.third.done("index")
    for host, here in zip(seen.everybody, ("images/app", "shelf/app", "one:images/app"), strict=True):
        told = {row["store"]: row["digest"] for row in report(host, "drift")}
        assert len(told) == 2, (host.name, told)
        there = [digest for store, digest in told.items() if store.endswith("/app")]
        assert there == [seen.app], (host.name, told)
        assert host is seen.third or here in told, (host.name, told)


def test_what_is_gone_for_the_one_that_saw_it_last_is_no_answer_by_the_other(seen: Seen) -> None:
    writers.write_index(f"{seen.nfs}/app", writers.empty_index(), "umoci")
    seen.one.done("index")
    assert seen.third("resolve", "app:1").status == 1
    assert seen.one("resolve", "app:1").status == 1


def test_two_daemons_follow_it_and_a_reader_that_waits_gets_the_newest(seen: Seen) -> None:
    seen.one.start()
    seen.two.start()
    second = layout(f"{seen.nfs}/app", seed="second")
    _mount(seen.nfs, seen.there)
    for host in seen.everybody:
        wait_for(lambda host=host: host.call("resolve", "app:1").out == f"{second}\n")  # type: ignore[misc]
        assert seen.third.call("wait", "app:1", "--digest", second).status == 0
    wait_for(
        lambda: rows(seen.third, "SELECT DISTINCT digest FROM images WHERE name LIKE '%/app:1'") == [{"digest": second}]
    )


def test_a_host_that_does_not_see_it_any_more_is_not_the_one_to_ask(seen: Seen) -> None:

    second = layout(f"{seen.nfs}/app", seed="second")
    _mount(seen.nfs, seen.there)
    seen.two.done("index")
    shutil.rmtree(seen.there)
    seen.two.done("index")
    seen.one.done("index")
    for host in seen.everybody:
        assert host.done("resolve", "app:1").out == f"{second}\n"
        assert len(rows(host, "SELECT store FROM images WHERE name LIKE '%/app:1'")) == 1
