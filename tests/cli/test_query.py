"""`ocicat query`: matches, filters, and references from stdin."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.cli.conftest import TAGS, Own, Shelf, objects
from tests.cli.program import one_error
from tests.forking import CLEAN, OCICAT


def rows(shelf: Shelf, *arguments: str) -> list[list[str]]:
    result = shelf.ask("--quiet", "query", *arguments)
    assert (result.status, result.err) == (0, ""), result
    found = [line.split("\t") for line in result.lines]
    assert {len(row) for row in found} <= {7}
    return found


def digests(shelf: Shelf, *arguments: str) -> list[str]:
    return [row[4] for row in rows(shelf, *arguments)]


def test_no_ref_lists_every_entry(shelf: Shelf) -> None:
    found = rows(shelf)
    assert (
        len(found) == 3 * 6 + 3
    )  # six layouts with three entries each, and multi, odd and the one whose path is not UTF-8
    names = [row[0] for row in found]
    order = [name for name, *_ in (line.split("\t") for line in shelf.ask("stores").lines)]
    assert names == sorted(names, key=order.index)


def test_a_row_is_store_name_tag_ref_name_digest_media_type_size(shelf: Shelf) -> None:
    (row,) = rows(shelf, "ctr:3.16")
    assert row == [
        "images/ctr", "docker.io/library/ctr:3.16", "3.16", "3.16", shelf.digests["ctr", "3.16"],
        "application/vnd.oci.image.manifest.v1+json", "401",
    ]  # fmt: skip
    assert rows(shelf, "@" + shelf.digests["none", "3.16"])[0][1:4] == ["", "", ""]


@pytest.mark.parametrize(
    ("ref", "where"),
    [
        ("busybox", [("busybox", "latest"), ("solo", "latest")]),
        ("docker.io/library/busybox:3.17", [("busybox", "3.17"), ("solo", "3.17")]),
        (":3.16", [("alpine", "3.16"), ("busybox", "3.16"), ("ctr", "3.16"), ("hurt", "3.16"), ("solo", "3.16")]),
        ("ctr:3.*", [("ctr", "3.16"), ("ctr", "3.17")]),
        ("bu*box:l*", [("busybox", "latest"), ("solo", "latest")]),
        ("oci-layout://solo:3.16", [("solo", "3.16")]),
        ("oci-layout://images/alpine:3.16", [("alpine", "3.16")]),
        ("oci-layout://images/busybox/busybox:3.16", [("busybox", "3.16")]),
    ],
)
def test_references(shelf: Shelf, ref: str, where: list[tuple[str, str]]) -> None:
    assert digests(shelf, ref) == [shelf.digests[each] for each in where]


def test_schemes_of_other_tools(shelf: Shelf) -> None:
    assert digests(shelf, f"oci:{shelf.root}/alpine:3.16") == [shelf.digests["alpine", "3.16"]]
    assert digests(shelf, f"ocidir://{shelf.root}/busybox:3.16") == [shelf.digests["busybox", "3.16"]]
    assert digests(shelf, f"oci-layout://{shelf.root}/ctr:3.17") == [shelf.digests["ctr", "3.17"]]
    assert len(digests(shelf, f"oci:{shelf.root}/alpine")) == 3


def test_digests_and_prefixes_of_them(shelf: Shelf) -> None:
    digest = shelf.digests["none", "3.16"]
    for text in (digest, f"@{digest}", digest.removeprefix("sha256:"), digest[:20], f"@{digest[:20]}"):
        assert digests(shelf, text) == [digest], text


def test_an_entry_is_listed_once_whatever_matches_it(shelf: Shelf) -> None:
    digest = shelf.digests["ctr", "3.16"]
    assert digests(shelf, "ctr:3.16", "ctr:3.*", f"@{digest}", "ctr:3.16") == [digest, shelf.digests["ctr", "3.17"]]


def test_not_found_is_status_1_and_the_others_are_answered(shelf: Shelf) -> None:
    result = shelf.ask("query", "nope", "ctr:3.16", "nope2:*")
    assert result.status == 1
    assert len(result.lines) == 1
    assert len(result.said) == 2
    assert result.said[0].startswith("ocicat: error: no image docker.io/library/nope:latest; ")
    assert "nope2:*" in result.said[1]


def test_malformed_is_status_2_and_outranks_not_found(shelf: Shelf) -> None:
    result = shelf.ask("query", "UPPER", "nope", "ctr:3.16", "")
    assert result.status == 2
    assert len(result.lines) == 1
    assert len(result.said) == 3
    assert "':UPPER'" in result.said[0]


def test_a_bare_tag_gets_a_hint(shelf: Shelf) -> None:
    message = one_error(shelf.ask("query", "3.16"), 1)
    assert message == "no image docker.io/library/3.16:latest; 5 entries have the tag 3.16: ask for ':3.16'"


def test_without_a_ref_nothing_found_is_status_0(shelf: Shelf, cli: Own) -> None:
    for filters in (("--tag", "nope"), ("--repository", "nope"), ("--media-type", "nope"), ("--digest", "0" * 64)):
        assert shelf.ask("--quiet", "query", *filters) == (0, "", "")
    cli.done("db", "upgrade")
    assert cli.done("--quiet", "query").out == ""
    assert cli.done("--quiet", "query", "--count").out == "0\n"
    assert cli.done("--quiet", "query", "--format", "json").out == "[]\n"


@pytest.mark.parametrize(
    "ref", ["alpine:", "@", "sha256:abc", "@sha256:", "a b", "oci-layout://", "oci:", ":", "a/B", "\x1b(31m"]
)
def test_a_malformed_reference_says_so(shelf: Shelf, ref: str) -> None:
    one_error(shelf.ask("query", ref), 2)


# Filters


def test_store_is_a_name_a_path_or_a_glob_and_repeats(shelf: Shelf) -> None:
    assert len(rows(shelf, "--store", "solo")) == 3
    assert len(rows(shelf, "--store", "solo", "--store", "images/ctr")) == 6
    assert len(rows(shelf, "--store", "*/ctr", "--store", "images/ctr")) == 3
    assert rows(shelf, "--store", f"{shelf.root}/ctr") == rows(shelf, "--store", "images/ctr")
    assert digests(shelf, "busybox", "--store", "solo") == [shelf.digests["solo", "latest"]]
    for unknown in ("nope", "nope*", "", "/nope", "images"):
        one_error(shelf.ask("query", "--store", unknown), 2, "no store is named")
    one_error(shelf.ask("query", "busybox", "--store", "images/ctr"), 1)


def test_tag_repository_digest_media_type(shelf: Shelf) -> None:
    assert len(rows(shelf, "--tag", "3.16")) == 5
    assert digests(shelf, "--repository", "ctr") == [shelf.digests["ctr", tag] for tag in TAGS]
    assert digests(shelf, "--repository", "docker.io/library/ctr", "--tag", "3.17") == [shelf.digests["ctr", "3.17"]]
    digest = shelf.digests["ctr", "3.16"]
    for text in (digest, digest[:16], digest.removeprefix("sha256:")):
        assert digests(shelf, "--digest", text) == [digest]
    assert digests(shelf, "--media-type", "application/vnd.oci.image.index.v1+json") == [shelf.digests["multi", "1"]]
    assert digests(shelf, ":3.16", "--repository", "ctr") == [digest]
    assert digests(shelf, "ctr:*", "--tag", "3.16", "--digest", digest[:16]) == [digest]
    one_error(shelf.ask("query", "ctr:3.16", "--tag", "3.17"), 1)
    for option, bad in (
        ("--repository", "a:b"),
        ("--repository", "UPPER"),
        ("--digest", "xyz"),
        ("--digest", "sha256:abc"),
    ):
        one_error(shelf.ask("query", option, bad), 2)


def test_unnamed(shelf: Shelf) -> None:
    assert set(digests(shelf, "--unnamed")) == {shelf.digests["none", tag] for tag in TAGS}
    assert digests(shelf, "--unnamed", "--store", "solo") == []
    assert len(digests(shelf, "@" + shelf.digests["none", "3.16"], "--unnamed")) == 1


def test_limit_sort_count(shelf: Shelf) -> None:
    assert len(rows(shelf, "--limit", "2")) == 2
    assert rows(shelf, "--limit", "0") == []
    assert len(rows(shelf, "--limit", "999999")) == len(rows(shelf))
    by_digest = digests(shelf, "--sort", "digest")
    assert by_digest == sorted(by_digest)
    assert digests(shelf, "--sort", "-digest") == by_digest[::-1]
    assert digests(shelf, "--sort", "digest", "--limit", "2") == by_digest[:2]
    sizes = shelf.ask("--quiet", "query", "--sort", "size", "--format", "{total_size}").out.split()
    assert sizes
    assert sizes == sorted(sizes, key=int)
    for key in (
        "store",
        "path",
        "name",
        "repository",
        "tag",
        "ref_name",
        "image_name",
        "media_type",
        "artifact_type",
        "shadowed",
        "indexed_at",
    ):
        assert len(rows(shelf, "--sort", key)) == len(by_digest), key
    names = [row[1] for row in rows(shelf, "--sort", "name")]
    assert names == sorted(names)  # null, which prints as nothing, comes first
    assert shelf.ask("--quiet", "query", "--count").out == f"{len(by_digest)}\n"
    assert shelf.ask("query", "busybox", "--count").out == "2\n"
    assert shelf.ask("query", "busybox", "--count", "--limit", "1").out == "1\n"
    nothing = shelf.ask("query", "nope", "--count")
    assert (nothing.status, nothing.out) == (1, "0\n")
    for bad in ("bogus", "", "-", "names", "annotations", "--"):
        one_error(shelf.ask("query", f"--sort={bad}"), 2, "sort")


# The object


KEYS = (
    "store", "path", "name", "names", "repository", "tag", "ref_name", "image_name", "digest", "media_type", "size",
    "artifact_type", "platforms", "annotations", "listed", "shadowed", "fallback", "indexed_at",
    "total_size", "created", "labels",
)  # fmt: skip


def test_the_object_of_an_entry(shelf: Shelf) -> None:
    for each in objects(shelf.ask("--quiet", "query", "--format", "json")):
        assert tuple(each) == KEYS
        for key in ("store", "path", "digest", "indexed_at"):
            assert isinstance(each[key], str), key
        for key in ("name", "repository", "tag", "ref_name", "image_name", "media_type", "artifact_type"):
            assert each[key] is None or isinstance(each[key], str), key
        assert isinstance(each["size"], int)
        assert isinstance(each["names"], list)
        assert isinstance(each["platforms"], list)
        assert isinstance(each["annotations"], dict)
        assert isinstance(each["shadowed"], bool)
        assert each["fallback"] is False
    (found,) = objects(shelf.ask("query", "ctr:3.16", "--format", "json"))
    assert found == {
        "store": "images/ctr",
        "path": f"{shelf.root}/ctr",
        "name": "docker.io/library/ctr:3.16",
        "names": ["docker.io/library/ctr:3.16"],
        "repository": "docker.io/library/ctr",
        "tag": "3.16",
        "ref_name": "3.16",
        "image_name": "docker.io/library/ctr:3.16",
        "digest": shelf.digests["ctr", "3.16"],
        "media_type": "application/vnd.oci.image.manifest.v1+json",
        "size": 401,
        "total_size": 837,
        "created": "2024-01-02T03:04:05.000Z",
        "labels": {},
        "artifact_type": None,
        "platforms": found["platforms"],
        "annotations": {
            "io.containerd.image.name": "docker.io/library/ctr:3.16",
            "org.opencontainers.image.ref.name": "3.16",
        },
        "listed": True,
        "shadowed": False,
        "fallback": False,
        "indexed_at": found["indexed_at"],
    }


def test_jsonl_is_the_same_objects(shelf: Shelf) -> None:
    lines = shelf.ask("--quiet", "query", "--format", "jsonl").lines
    assert [json.loads(line) for line in lines] == objects(shelf.ask("--quiet", "query", "--format", "json"))


# Batches


def test_references_from_stdin(shelf: Shelf) -> None:
    by_stdin = shelf.ask("query", "-", stdin=b"ctr:3.16\nnope\n:3.17\n\nctr:3.17")
    by_argument = shelf.ask("query", "ctr:3.16", "nope", ":3.17", "", "ctr:3.17")
    assert by_stdin == by_argument
    assert by_stdin.status == 2
    mixed = shelf.ask("query", "solo", "-", "ctr:3.16", stdin=b"ctr:latest\n")
    assert [line.split("\t")[4] for line in mixed.lines] == [shelf.digests["ctr", tag] for tag in ("latest", "3.16")]
    assert shelf.ask("query", "-") == (0, "", "")
    assert shelf.ask("query", "-", stdin=b"\xff\xfe\n").status == 2


@pytest.mark.parametrize("command", ["query", "resolve"])
def test_each_answer_comes_before_the_next_reference_is_read(shelf: Shelf, command: str) -> None:
    with subprocess.Popen(
        [OCICAT, command, "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=CLEAN | {"OCICAT_DB": shelf.db},
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for tag in TAGS:
            process.stdin.write(f"ctr:{tag}\n".encode())
            process.stdin.flush()
            assert shelf.digests["ctr", tag] in process.stdout.readline().decode()
        process.stdin.close()
        assert process.stdout.read() == b""
        assert process.wait(20) == 0


def test_a_long_batch(shelf: Shelf) -> None:
    result = shelf.ask("resolve", "-", stdin=b"ctr:3.16\nnope\n" * 1000)
    assert result.status == 1
    assert result.lines == [shelf.digests["ctr", "3.16"], ""] * 1000
