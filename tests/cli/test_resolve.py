"""`ocicat resolve`: exactly one answer per reference, one per line, in the given order."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

import pytest

from tests import writers
from tests.cli.conftest import Own, Shelf, objects
from tests.cli.program import one_error
from tests.cli.test_query import KEYS

Layout = Callable[..., str]


def test_the_answer_is_the_digest(shelf: Shelf) -> None:
    assert shelf.ask("resolve", "ctr:3.16") == (0, shelf.digests["ctr", "3.16"] + "\n", "")
    for ref in (
        "docker.io/library/ctr:3.16", "oci-layout://images/ctr:3.16", f"oci-layout://{shelf.root}/ctr:3.16",
        "oci-layout://images/ctr/ctr:3.16", f"oci:{shelf.root}/ctr:3.16", f"ocidir://{shelf.root}/ctr:3.16",
        shelf.digests["ctr", "3.16"], shelf.digests["ctr", "3.16"][:20], f"ctr@{shelf.digests['ctr', '3.16']}",
        "c?r:3.16", "oci-layout://images/ctr@" + shelf.digests["ctr", "3.16"],
    ):  # fmt: skip
        assert shelf.ask("resolve", ref).out == shelf.digests["ctr", "3.16"] + "\n", ref


def test_not_found(shelf: Shelf) -> None:
    result = shelf.ask("resolve", "nope")
    one_error(result, 1, "no image docker.io/library/nope:latest")
    assert result.out == ""
    for ref in (
        ":nope",
        "nope:*",
        "oci-layout://solo:nope",
        f"oci:{shelf.root}/ctr:nope",
        "ocidir://" + shelf.root + "/ctr:nope",
    ):
        result = shelf.ask("resolve", ref)
        one_error(result, 1)
        assert result.out == ""


def test_malformed_or_unknown_store(shelf: Shelf) -> None:
    for ref in ("UPPER", "", "a b", "oci-layout://nope:1", "oci:/nope:1", "oci-layout:///nope", "sha256:12"):
        result = shelf.ask("resolve", ref)
        one_error(result, 2)
        assert result.out == ""


def test_a_layout_that_is_not_registered_names_add(shelf: Shelf, layout: Layout) -> None:
    path = layout("strange", "1")
    for ref in (f"oci-layout://{path}:1", f"oci:{path}:1", f"ocidir://{path}:1"):
        one_error(shelf.ask("resolve", ref), 2, f"'ocicat add {path}'")


def test_ambiguous_names_its_candidates(shelf: Shelf) -> None:
    result = shelf.ask("resolve", "busybox:3.16")
    assert (result.status, result.out) == (3, "")
    assert result.said[0].startswith("ocicat: error: busybox:3.16 is ambiguous: 2 candidates in 2 stores; ")
    assert "--store" in result.said[0]
    assert "--first" in result.said[0]
    assert [line.split("\t") for line in result.said[1:]] == [
        ["  images/busybox", "docker.io/library/busybox:3.16", shelf.digests["busybox", "3.16"]],
        ["  solo", "docker.io/library/busybox:3.16", shelf.digests["solo", "3.16"]],
    ]


def test_twenty_candidates_at_most_and_their_count(cli: Own, layout: Layout, tmp_path: object) -> None:
    for number in range(25):
        layout(f"images/s{number:02}", "1")
    cli.done("add", f"{tmp_path}/images")
    result = cli("resolve", ":1")
    assert result.status == 3
    assert "25 candidates in 25 stores" in result.said[0]
    assert len(result.said) == 22
    assert result.said[-1] == "  and 5 more"


def test_first_and_store_choose(shelf: Shelf) -> None:
    assert shelf.ask("resolve", "--first", "busybox:3.16").out == shelf.digests["busybox", "3.16"] + "\n"
    assert shelf.ask("resolve", "--store", "solo", "busybox:3.16").out == shelf.digests["solo", "3.16"] + "\n"
    assert shelf.ask("resolve", "--store", "s*", "--store", "images/ctr", "busybox:3.16").status == 0
    one_error(shelf.ask("resolve", "--store", "nope", "busybox:3.16"), 2, "nope")
    one_error(shelf.ask("resolve", "--store", "images/ctr", "busybox:3.16"), 1)


def test_one_digest_in_several_stores_is_one_answer_from_the_first(cli: Own, layout: Layout, tmp_path: object) -> None:
    entry = writers.name_entry(writers.fake_descriptor("same"), "short", "docker.io/library/app", "1")
    for name, priority in (("b", "0"), ("a", "0"), ("c", "-1")):
        path = layout(name)
        writers.write_index(path, writers.empty_index(entry))
        cli.done("add", path, "--priority", priority)
    assert cli.done("resolve", "app:1", "--format", "{store}").out == "c\n"
    cli.done("remove", "c")
    assert cli.done("resolve", "app:1", "--format", "{store}").out == "a\n"


def test_the_single_entry_is_taken_with_a_note_and_strict_refuses(shelf: Shelf) -> None:
    result = shelf.ask("resolve", "oci-layout://images/multi", "--format", "json")
    (found,) = objects(result)
    assert result.status == 0
    assert (found["digest"], found["fallback"]) == (shelf.digests["multi", "1"], True)
    assert len(result.said) == 1
    assert not result.said[0].startswith("ocicat: error")
    strict = shelf.ask("resolve", "--strict", "oci-layout://images/multi")
    assert (strict.status, strict.out) == (1, "")
    assert any("--strict" in line for line in strict.said)


def test_a_broken_store_answers_with_a_note_and_strict_refuses(shelf: Shelf) -> None:
    result = shelf.ask("resolve", "hurt:3.16", "hurt:3.17")
    assert (result.status, result.lines) == (0, [shelf.digests["hurt", "3.16"], shelf.digests["hurt", "3.17"]])
    assert len(result.said) == 1
    assert result.said[0].startswith("ocicat: store images/hurt has been invalid since 20")
    strict = shelf.ask("resolve", "--strict", "hurt:3.16")
    assert (strict.status, strict.out) == (1, "")


def test_the_digest_decides_and_a_moved_tag_is_noted(shelf: Shelf) -> None:
    digest = shelf.digests["ctr", "3.16"]
    assert shelf.ask("resolve", f"ctr:3.16@{digest}") == (0, f"{digest}\n", "")
    result = shelf.ask("resolve", f"ctr:3.17@{digest}")
    assert (result.status, result.out) == (0, f"{digest}\n")
    assert len(result.said) == 1
    assert shelf.digests["ctr", "3.17"] in result.said[0]


# Several references, exactly one line each


REFS = ("ctr:3.16", "nope", "busybox:3.16", "UPPER", "", "ctr:latest", "oci-layout://nope")


def test_one_line_each_empty_if_there_is_no_answer(shelf: Shelf) -> None:
    result = shelf.ask("resolve", *REFS)
    assert result.status == 3  # the highest counts
    assert result.lines == [shelf.digests["ctr", "3.16"], "", "", "", "", shelf.digests["ctr", "latest"], ""]
    errors = [line for line in result.said if line.startswith("ocicat: error: ")]
    assert len(errors) == 5
    by_stdin = shelf.ask("resolve", "-", stdin="".join(f"{ref}\n" for ref in REFS).encode())
    assert by_stdin == result
    assert shelf.ask("resolve", "ctr:3.16", "-", "UPPER", stdin=b"nope\nbusybox:3.16").lines == result.lines[:4]


@pytest.mark.parametrize("ref", REFS)
def test_with_a_dash_a_single_reference_has_its_line_too(shelf: Shelf, ref: str) -> None:
    result = shelf.ask("resolve", "-", stdin=f"{ref}\n".encode())
    assert len(result.lines) == 1
    assert (result.lines == [""]) == (result.status != 0)


@pytest.mark.parametrize(
    ("refs", "status"), [(("ctr:3.16", "nope"), 1), (("nope", "UPPER"), 2), (("busybox:3.16", "UPPER", "nope"), 3)]
)
def test_the_highest_status_counts(shelf: Shelf, refs: tuple[str, ...], status: int) -> None:
    for order in (refs, refs[::-1]):
        assert shelf.ask("resolve", *order).status == status


@pytest.mark.parametrize("format_", ["tsv", "csv", "jsonl", "json", "oci-layout", "{digest}", "{store} {name}"])
def test_one_line_each_in_every_format(shelf: Shelf, format_: str) -> None:
    result = shelf.ask("resolve", *REFS, "--format", format_)
    assert result.status == 3
    lines = [line.rstrip("\r") for line in result.lines]
    assert len(lines) == len(REFS)
    answered = [number for number, line in enumerate(lines) if line not in ("", "null,", "[null,", "null]")]
    assert answered == [0, 5]
    if format_ == "json":
        assert [each and each["digest"] for each in json.loads(result.out)] == [
            shelf.digests["ctr", "3.16"], None, None, None, None, shelf.digests["ctr", "latest"], None,
        ]  # fmt: skip


def test_one_line_each_in_a_table_below_its_header(shelf: Shelf) -> None:
    result = shelf.ask("resolve", *REFS, "--format", "table")
    assert result.lines[0].split() == ["REFERENCE", "STORE", "NAME", "DIGEST"]
    assert [bool(line) for line in result.lines[1:]] == [True, False, False, False, False, True, False]


def test_one_reference_without_an_answer_has_no_line(shelf: Shelf) -> None:
    for format_ in ("tsv", "csv", "jsonl", "oci-layout", "{digest}", "table"):
        result = shelf.ask("resolve", "nope", "--format", format_)
        assert (result.status, result.out) == (1, ""), format_
    assert shelf.ask("resolve", "nope", "--format", "json").out == "[]\n"


# Formats


def test_the_object_also_has_the_reference(shelf: Shelf) -> None:
    (found,) = objects(shelf.ask("resolve", "docker.io/library/ctr:3.16", "--format", "json"))
    assert tuple(found)[: len(KEYS)] == KEYS
    assert found["reference"] == "docker.io/library/ctr:3.16"
    (queried,) = objects(shelf.ask("query", "ctr:3.16", "--format", "json"))
    assert {key: found[key] for key in KEYS} == queried
    assert shelf.ask("resolve", "ctr:3.16", "--format", "{reference}={digest}").out == f"ctr:3.16={found['digest']}\n"


def test_oci_layout_is_ready_for_buildx_and_resolves_to_itself(shelf: Shelf) -> None:
    digest = shelf.digests["ctr", "3.16"]
    printed = shelf.ask("resolve", "ctr:3.16", "--format", "oci-layout")
    assert printed == (0, f"oci-layout://{shelf.root}/ctr@{digest}\n", "")
    assert shelf.ask("resolve", printed.out.strip()).out == f"{digest}\n"


def test_oci_layout_of_a_path_that_cannot_be_printed(shelf: Shelf) -> None:
    for ref in ("bytes:1", shelf.digests["odd", ""]):
        result = shelf.ask("resolve", ref, "--format", "oci-layout")
        one_error(result, 2, "--format json")
        assert result.out == ""


def test_a_reference_may_be_full_of_control_characters(shelf: Shelf, layout: Layout) -> None:
    for ref in (
        "\x1b[31m",
        "a\nb",
        "a\tb",
        "\x9b",
        "\u202e",
        ":\x1b[31m",
        "x:\x1b*",
        f"oci-layout://{os.sep}\x1b",
        "\udcff",
    ):
        for format_ in ("tsv", "json", "table"):
            result = shelf.ask("resolve", ref, "ctr:3.16", "--format", format_)
            assert result.status in (1, 2), ref
            assert all(line.isprintable() for line in result.said), ref
            assert shelf.digests["ctr", "3.16"] in result.out


def test_bad_formats(shelf: Shelf) -> None:
    for bad in ("bogus", "", "TSV", "digest", "{", "{bogus}", "{digest", "{}", "{0}", "{digest.x}"):
        result = shelf.ask("resolve", "ctr:3.16", "--format", bad)
        one_error(result, 2)
        assert result.out == ""
    one_error(shelf.ask("query", "--format", "oci-layout"), 2, "oci-layout")
