"""An empty answer says why it is empty, if the question is probably not what was meant."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests import writers
from tests.cli.conftest import Own, Shelf, objects


@pytest.mark.parametrize(
    ("option", "pattern", "exact"),
    [
        ("--tag", "3.1*", ("3.16", "3.17")),
        ("--tag", "lat[ef]st", ("latest",)),
        ("--repository", "b?sybox", ("busybox",)),
        ("--repository", "docker.io/library/*", ("busybox", "ctr", "hurt", "multi", "bytes")),
        ("--repository", "c*", ("ctr",)),
        ("--media-type", "*index*", ("application/vnd.oci.image.index.v1+json",)),
    ],
)
def test_a_filter_takes_a_pattern(shelf: Shelf, option: str, pattern: str, exact: tuple[str, ...]) -> None:
    for refs in ((), ("*:*",)):
        whole = {
            str(each) for text in exact for each in objects(shelf.ask("query", *refs, option, text, "--format", "json"))
        }
        assert whole
        result = shelf.ask("query", *refs, option, pattern, "--format", "json")
        assert {str(each) for each in objects(result)} == whole


def test_labels_and_annotations_take_patterns(cli: Own) -> None:
    path = writers.make_layout(f"{cli.directory}/labelled")
    images = [
        writers.name_entry(
            writers.make_image(
                path, tag, labels={f"org.example.{tag}": f"v{tag}*"}, extra_annotations={"key": f"a{tag}"}
            ),
            "tag",
            "x",
            tag,
        )
        for tag in ("one", "two", "three")
    ]
    writers.write_index(path, writers.empty_index(*images))
    cli.done("add", path)

    def tags(*options: str) -> str:
        return cli("query", *options, "--format", "{tag}").out.replace("\n", " ").strip()

    assert tags("--label", "org.example.*") == "one two three"
    assert tags("--label", "org.example.t*") == "two three"
    assert tags("--label", "org.*=vt*", "--annotation", "k?y=at[gw]*") == "two"
    assert tags("--label", "org.example.one=vone*") == "one"
    assert tags("--label", "org.example.one=vone") == ""
    assert tags("--annotation", "*=athree") == "three"


def test_a_catalog_without_stores_says_how_to_begin(cli: Own, layout: Callable[..., str]) -> None:
    cli.done("add", layout("gone", "1"))
    cli.done("remove", "gone")
    for arguments in (("query",), ("query", "--tag", "x"), ("stores",), ("query", "alpine"), ("resolve", "alpine:1")):
        result = cli(*arguments)
        assert result.out == ""
        assert "the catalog has no stores yet: 'ocicat add PATH'" in result.err
    assert cli("query").status == cli("stores").status == 0
    assert cli("--quiet", "query").err == ""


def test_a_time_before_the_catalog_says_so(shelf: Shelf) -> None:
    for arguments, status in ((("query",), 0), (("query", "busybox:3.16"), 1), (("resolve", ":3.16"), 1)):
        result = shelf.ask(*arguments, "--at", "2001-01-01")
        assert (result.status, result.out) == (status, "")
        assert "the history of this catalog begins at 20" in result.err
    assert "only since" not in shelf.ask("query", "--at", "0s").err
    assert "only since" not in shelf.ask("query", "nope", "--at", "0s").err
