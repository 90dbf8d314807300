"""Every command on a catalog that two hosts share, some by a process of its own; and whose each store is."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.cli.program import one_error, ran
from tests.hosts.conftest import NewHost, layout
from tests.hosts.host import Host
from tests.postgres import Server
from tests.watch.harness import wait_for


class Pair:
    """Two hosts, each with a root `images` that has a layout `app`, with different digests, and a layout of its own."""

    def __init__(self, new_host: NewHost) -> None:
        self.one, self.two = new_host("one"), new_host("two")
        self.digests: dict[str, str] = {}
        for host in (self.one, self.two):
            self.digests[host.name] = layout(host.path("images/app"), seed=host.name)
            own = f"only-{host.name}"
            self.digests[own] = layout(host.path(f"images/{own}"), f"docker.io/library/{own}:1", own)
            assert host.call("add", host.path("images")).status == 0


@pytest.fixture
def pair(new_host: NewHost) -> Pair:
    return Pair(new_host)


def test_each_host_answers_for_itself_first_and_a_third_one_has_to_choose(pair: Pair, new_host: NewHost) -> None:
    third = new_host("third")
    for host in (pair.one, pair.two):
        assert host.done("resolve", "app:1").out == f"{pair.digests[host.name]}\n"
        assert host.done("resolve", "only-one:1").out == f"{pair.digests['only-one']}\n"
        assert host.done("resolve", "oci-layout://images/app:1").out == f"{pair.digests[host.name]}\n"
    ambiguous = third("resolve", "app:1")
    assert ambiguous.status == 3, ambiguous
    assert "one:images/app" in ambiguous.err
    assert "two:images/app" in ambiguous.err
    assert third.done("resolve", "oci-layout://two:images/app:1").out == f"{pair.digests['two']}\n"
    one_error(third("resolve", "oci-layout://images/app:1"), 2, "no store is named")


def test_a_host_and_a_store_narrow_what_is_asked(pair: Pair) -> None:
    one = pair.one
    stores = {each["name"] for each in one.objects("stores")}
    assert stores == {"images/app", "images/only-one", "two:images/app", "two:images/only-two"}
    asked = {
        ("--host", "two"): {"two:images/app", "two:images/only-two"},
        ("--host", "one"): {"images/app", "images/only-one"},
        ("--store", "images/app"): {"images/app"},
        ("--store", "two:images/app"): {"two:images/app"},
        ("--store", "two:*"): {"two:images/app", "two:images/only-two"},
        ("--store", "two:*", "--host", "one"): set(),
    }
    for options, wanted in asked.items():
        assert {each["store"] for each in one.objects("query", *options)} == wanted, options
    one_error(one("query", "--host", "nosuch"), 2, "no host is named nosuch")
    assert one.done("resolve", "app:1", "--store", "two:images/app").out == f"{pair.digests['two']}\n"


def test_a_layout_of_another_host_is_no_path_for_a_build(pair: Pair) -> None:
    one, there = pair.one, "only-two:1"
    message = one_error(one("resolve", there, "--format", "oci-layout"), 2, "is on the host two")
    assert "two:images/only-two" in message
    here = one.done("resolve", "app:1", "--format", "oci-layout").out
    assert here == f"oci-layout://{one.path('images/app')}@{pair.digests['one']}\n"
    dockerfile = Path(one.path("Dockerfile"))
    dockerfile.write_text("FROM app:1\nCOPY --from=only-two:1 / /\n")
    contexts = one("contexts", str(dockerfile))
    assert contexts.status == 0, contexts
    assert contexts.out.split() == [
        "--build-context",
        f"app:1=oci-layout://{one.path('images/app')}@{pair.digests['one']}",
    ]
    assert "two:images/only-two is on the host two" in contexts.err


def test_history_check_and_verify(pair: Pair) -> None:
    one, two = pair.one, pair.two
    second = layout(one.path("images/app"), seed="second")
    one.done("index")
    told = [each["digest"] for each in one.objects("history", "app:1") if each["store"] == "images/app"]
    assert sorted(told) == sorted([pair.digests["one"], second])
    at_two = {each["store"] for each in two.objects("history", "app:1")}
    assert at_two == {"images/app", "one:images/app"}
    assert one.done("check").out == ""
    blob = f"{one.path('images/app')}/blobs/{second.replace(':', '/')}"
    os.chmod(blob, 0o600)
    with open(blob, "r+b") as file:
        file.write(b"X")
    verified = one("verify")
    assert verified.status == 1, verified
    assert second in verified.out
    assert one("check").status == 1
    assert two("verify").status == 0
    checked = two("check")
    assert (checked.status, "one:images/app" in checked.out) == (1, True), checked


def test_remove_and_add_again(pair: Pair) -> None:
    one, two = pair.one, pair.two
    one.done("remove", "images/app")
    assert {
        each["name"]
        for each in two.objects(
            "stores",
        )
    } == {"images/app", "images/only-two", "one:images/only-one"}
    assert one.done("resolve", "app:1").out == f"{pair.digests['two']}\n"  # no other has it now
    one.done("index")
    assert "images/app" not in {each["name"] for each in one.objects("stores")}
    one.done("add", one.path("images/app"))
    assert one.done("resolve", "app:1").out == f"{pair.digests['one']}\n"
    one_error(one("remove", "two:images/app"), 2, "no store or root is called")
    one_error(one("remove", "images/only-two"), 2, "no store or root is called")
    one.done("remove", "images")
    assert {each["name"] for each in two.objects("stores")} == {"images/app", "images/only-two"}


def test_status_and_fresh_are_those_of_this_hosts_daemon(pair: Pair) -> None:
    one, two = pair.one, pair.two
    down = one("status", "--check")
    assert (down.status, down.said) == (1, ["ocicat: no daemon runs: start 'ocicat watch'"])
    one.start()
    assert one("status", "--check").status == 0
    (values,) = [json.loads(one.done("status", "--format", "json").out)]
    assert values["catalog"] == one.url
    assert (values["stores"], values["entries"], values["daemon"]) == (4, 4, "running")
    assert values["size_bytes"] > 1 << 20
    assert two("status", "--check").status == 1
    for host in (one, two):  # with a daemon and without one
        digest = layout(host.path("images/app"), seed=f"fresh {host.name}")
        assert host.done("resolve", "--fresh", "app:1").out == f"{digest}\n"
        new = layout(host.path("images/new"), "docker.io/library/new:1", host.name)
        assert host.done("resolve", "--fresh", "new:1").out == f"{new}\n"


def test_the_database_itself(pair: Pair, mortal: Server) -> None:
    one = pair.one
    assert one.done("db", "path").out == f"{one.url}\n"
    one.done("db", "upgrade")
    one.done("db", "upgrade")
    assert one.done("db", "check").out == ""
    one.done("db", "vacuum")
    empty = Host(Path(one.directory), "empty", mortal.new_database())
    for arguments in (["query"], ["index"], ["status"], ["add", one.directory], ["db", "check"], ["db", "vacuum"]):
        one_error(empty.call(*arguments), 4, "is not a catalog yet", "'ocicat db upgrade' creates one")
    empty.done("db", "upgrade")
    assert empty.done("query").out == ""
    assert empty.done("db", "check").out == ""


def test_words_are_completed(pair: Pair) -> None:
    one = pair.one
    done = subprocess.run(["bash", "-n"], input=one.done("completion", "bash").out, text=True, check=False)
    assert done.returncode == 0
    asked = {
        ("resolve", "ap"): ["words", "app:1"],
        ("resolve", "only-"): ["words", "only-one:1", "only-two:1"],
        ("query", "--store", ""): ["words", "images/app", "images/only-one", "two:images/app", "two:images/only-two"],
        ("query", "--store", "two:images/o"): ["words", "two:images/only-two"],
        ("resolve", "oci-layout://im"): ["parts", "oci-layout://images/app", "oci-layout://images/only-one"],
        ("query", "--tag", ""): ["words", "1"],
        ("remove", "im"): ["words", "images", "images/app", "images/only-one"],
        ("resolve", pair.digests["one"][:20]): ["words", pair.digests["one"]],
        ("--db", "postgresql+psycopg://nobody@/nosuch?host=/nonexistent", "resolve", "ap"): [],
    }
    for words, wanted in asked.items():
        completed = ran("__complete", *words, db=one.url, env=one.env)
        assert (completed.status, completed.err) == (0, ""), completed
        assert completed.lines == wanted, words


def test_each_host_has_one_daemon_of_a_catalog(pair: Pair) -> None:
    pair.one.start()
    one_error(pair.one("watch"), 4, "a daemon already follows")
    pair.two.start()
    other = layout(pair.two.path("images/late"), "docker.io/library/late:1", "late")
    wait_for(lambda: pair.one.call("resolve", "late:1").out == f"{other}\n", what=pair.two.log)
    assert pair.one.stop() == pair.two.stop() == 0
