"""The beginning of a digest is enough wherever a digest is."""

from __future__ import annotations

from collections.abc import Callable

from tests import writers
from tests.cli.conftest import Own, Shelf


def test_query_history_and_wait(shelf: Shelf) -> None:
    digest = shelf.digests["ctr", "3.16"]
    for short in (digest[:19], f"@{digest[:19]}"):
        for command in ("query", "history"):
            whole = shelf.ask(command, digest)
            assert whole.status == 0
            assert shelf.ask(command, short).out == whole.out
        assert shelf.ask("query", "--contains", short).out == shelf.ask("query", "--contains", digest).out
    for short in (digest[:19], digest[7:19], digest):
        assert shelf.ask("--quiet", "wait", "ctr:3.16", "--digest", short, "--timeout", "9").status == 0
        assert shelf.ask("query", "--digest", short, "--count").out == "1\n"
    assert shelf.ask("--quiet", "wait", "ctr:3.16", "--digest", "sha256:000000", "--timeout", "0").status == 1
    assert shelf.ask("history", "sha256:00000000").status == 1


def test_history_of_a_beginning_lists_all_digests_oldest_first(cli: Own, layout: Callable[..., str]) -> None:
    path = layout("one", "1", "2")
    cli.done("add", path)
    entries = writers.entries_of(writers.read_index(path))
    writers.write_index(path, writers.empty_index(entries[0] | {"annotations": entries[1]["annotations"]}))
    cli.done("index", "--full")
    everything = cli("history", ":*", "--format", "{since} {tag} {digest}").out.splitlines()
    digests = {line.split()[2] for line in everything}
    assert len(everything) == 3
    for digest in digests:
        listed = cli("history", digest[:13], "--format", "{since} {tag} {digest}").out.splitlines()
        assert listed == [line for line in everything if line.endswith(digest)]


def test_the_beginning_of_a_layer_or_config_names_contains(cli: Own, layout: Callable[..., str]) -> None:
    cli.done("add", layout("one", "1"))
    for column, view in (("config", "manifests"), ("digest", "layers")):
        short = cli("sql", f"SELECT {column} FROM {view}").out[:20]
        for command in ("query", "resolve"):
            result = cli(command, short)
            assert result.status == 1
            assert f"it is a config or a layer of an image: run 'ocicat query --contains {short}'" in result.err
        assert cli("query", "--contains", short, "--format", "{tag}").out == "1\n"
