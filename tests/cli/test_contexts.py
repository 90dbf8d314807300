"""`contexts`: the images of a Dockerfile as build contexts."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests import writers
from tests.cli.conftest import Own, Shelf, objects
from tests.cli.program import Ran, one_error
from tests.forking import CLEAN, OCICAT

FLAG = "--build-context"


def contexts(shelf: Shelf, text: str, *options: str, env: dict[str, str] | None = None) -> Ran:
    return shelf.ask("contexts", "-", *options, stdin=text.encode(), env=env)


def test_one_option_per_image_spelled_as_in_the_dockerfile(shelf: Shelf) -> None:
    text = "ARG V=3.17\nFROM docker.io/library/busybox:$V AS b\nFROM ctr\nCOPY --from=b a b\nRUN --mount=from=busybox:3.16,target=/b true"
    result = contexts(shelf, text, "--store", "images/*")
    assert (result.status, result.err) == (0, "")
    assert result.lines == [
        f"{FLAG} docker.io/library/busybox:3.17=oci-layout://{shelf.root}/busybox@{shelf.digests['busybox', '3.17']}",
        f"{FLAG} ctr=oci-layout://{shelf.root}/ctr@{shelf.digests['ctr', 'latest']}",
        f"{FLAG} busybox:3.16=oci-layout://{shelf.root}/busybox@{shelf.digests['busybox', '3.16']}",
    ]


def test_a_shell_passes_them_on_unchanged(shelf: Shelf, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM ctr:3.16\nCOPY --from=ctr:3.17 a b\n")
    script = f"set -- $({shlex.quote(OCICAT)} contexts Dockerfile); printf '%s\\n' $# \"$@\""
    environment = CLEAN | {"OCICAT_DB": shelf.db}
    done = subprocess.run(
        ["sh", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        "4",
        *(
            word
            for tag in ("3.16", "3.17")
            for word in (FLAG, f"ctr:{tag}=oci-layout://{shelf.root}/ctr@{shelf.digests['ctr', tag]}")
        ),
    ]


def test_the_digests_are_those_of_resolve(shelf: Shelf) -> None:
    for reference in ("ctr:3.16", "multi:1", f"multi@{shelf.digests['multi', 'child']}", "hurt:3.17"):
        (line,) = contexts(shelf, f"FROM {reference}").lines
        assert line.rpartition("@")[2] == shelf.ask("resolve", reference).lines[0]


@pytest.mark.parametrize("form", ["flags", "bake", "json"])
def test_one_context_for_every_spelling_and_platform(shelf: Shelf, form: str) -> None:
    text = "FROM --platform=linux/amd64 multi:1 AS a\nFROM --platform=linux/arm64 docker.io/library/multi:1\nCOPY --from=a a b"
    result = contexts(shelf, text, "--format", form)
    assert (result.status, result.err) == (0, "")
    assert result.out.count(shelf.digests["multi", "1"]) == (2 if form == "json" else 1)


def test_an_index_is_given_to_buildx_which_picks_the_platform(shelf: Shelf) -> None:
    result = contexts(shelf, "FROM multi:1", "--platform", "linux/arm64")
    assert result.lines == [f"{FLAG} multi:1=oci-layout://{shelf.root}/multi@{shelf.digests['multi', '1']}"]


def test_several_platforms_as_buildx_takes_them(shelf: Shelf) -> None:
    both = "linux/amd64,linux/arm64"
    assert len(contexts(shelf, "FROM multi:1", "--platform", both, "--strict").lines) == 1
    found = objects(contexts(shelf, "FROM multi:1", "--platform", both, "--format", "json"))
    assert [each["platform"] for each in found] == both.split(",")
    assert (
        len(objects(contexts(shelf, "FROM --platform=linux/arm64 multi:1", "--platform", both, "--format", "json")))
        == 1
    )
    assert contexts(shelf, "FROM ctr:3.16", "--platform", both, "--strict").status == 1
    result = contexts(shelf, "ARG TARGETARCH\nFROM ctr:$TARGETARCH", "--platform", both)
    assert [line.split()[1] for line in result.said[-2:]] == ["ctr:amd64", "ctr:arm64"]
    one_error(contexts(shelf, "FROM multi:1", "--platform", "linux/amd64,"), 2, "platform")


def test_an_image_without_the_platform_is_left_to_buildx(shelf: Shelf) -> None:
    result = contexts(shelf, "FROM multi:1", "--platform", "linux/s390x")
    assert (result.status, result.out) == (0, "")
    assert "linux/s390x" in result.said[-1]
    assert contexts(shelf, "FROM multi:1", "--platform", "linux/s390x", "--strict").status == 1


def test_an_absent_image_is_named_and_is_an_error_with_strict(shelf: Shelf) -> None:
    text = "FROM nothing:1\nCOPY --from=ctr:3.16 a b"
    result = contexts(shelf, text)
    assert (result.status, len(result.lines)) == (0, 1)
    (line,) = result.said
    assert line.startswith("ocicat: nothing:1 (line 1) is left to buildx: no image docker.io/library/nothing:1")
    strict = contexts(shelf, text, "--strict")
    one_error(strict, 1, "docker.io/library/nothing:1", "line 1")
    assert strict.out == result.out
    assert contexts(shelf, text, "--format", "bake").err == result.err


def test_ambiguous_is_status_3_and_the_others_are_answered(shelf: Shelf) -> None:
    text = "FROM busybox:3.16\nCOPY --from=ctr:3.16 a b"
    result = contexts(shelf, text)
    assert (result.status, len(result.lines)) == (3, 1)
    assert "ambiguous" in result.said[0]
    assert len(result.said) == 3
    assert len(contexts(shelf, text, "--first").lines) == 2
    assert "/solo@" in contexts(shelf, text, "--store", "solo").lines[0]


def test_platforms_in_different_stores_are_ambiguous(cli: Own, tmp_path: Path) -> None:
    for arch in ("amd64", "arm64"):
        path = writers.make_layout(str(tmp_path / arch))
        image = writers.make_image(path, arch, arch=arch)
        writers.write_index(path, writers.empty_index(writers.name_entry(image, "short", "docker.io/library/app", "1")))
        cli("add", path)
    ask = "FROM --platform=linux/amd64 app:1 AS a\nFROM --platform=linux/arm64 app:1\nCOPY --from=a a b\n"
    result = cli("contexts", "-", stdin=ask.encode())
    assert result.status == 3
    assert "linux/amd64, linux/arm64" in result.err
    single = cli("contexts", "-", "--platform", "linux/arm64", stdin=b"FROM app:1")
    assert single.lines == [
        f"{FLAG} app:1=oci-layout://{tmp_path}/arm64@{cli('resolve', 'app:1', '--platform', 'linux/arm64').lines[0]}"
    ]


def test_the_json_form(shelf: Shelf) -> None:
    result = contexts(shelf, "FROM --platform=linux/amd64 multi:1\nCOPY --from=nothing a b", "--format", "json")
    first, second = objects(result)
    assert first == {
        "name": "multi:1",
        "reference": "docker.io/library/multi:1",
        "platform": "linux/amd64",
        "found": True,
        "store": "images/multi",
        "path": f"{shelf.root}/multi",
        "digest": shelf.digests["multi", "1"],
        "line": 1,
        "error": None,
    }
    assert list(second) == list(first)
    assert (second["found"], second["store"], second["path"], second["digest"]) == (False, None, None, None)
    assert second["reference"] == "docker.io/library/nothing:latest"
    assert "no image" in str(second["error"])


def test_the_bake_form_has_names_as_buildkit_looks_them_up(shelf: Shelf) -> None:
    text = "FROM docker.io/library/ctr:latest AS dev\nCOPY --from=index.docker.io/library/ctr:3.16 a b"
    assert json.loads(contexts(shelf, text, "--format", "bake").out) == {
        "target": {
            "default": {
                "contexts": {
                    "ctr": f"oci-layout://{shelf.root}/ctr@{shelf.digests['ctr', 'latest']}",
                    "ctr:3.16": f"oci-layout://{shelf.root}/ctr@{shelf.digests['ctr', '3.16']}",
                }
            }
        }
    }
    named = json.loads(contexts(shelf, text, "--format", "bake", "--target", "dev").out)
    assert list(named["target"]) == ["dev"]


def test_an_empty_answer_is_still_a_document(shelf: Shelf) -> None:
    assert contexts(shelf, "FROM scratch").out == ""
    assert contexts(shelf, "FROM scratch", "--format", "json").out == "[]\n"
    assert json.loads(contexts(shelf, "FROM scratch", "--format", "bake").out) == {
        "target": {"default": {"contexts": {}}}
    }


def at(cli: Own, name: str) -> dict[str, Any]:
    """Return what the three formats print for an image whose layout is in a directory with this name."""
    path = writers.make_layout(os.path.join(cli.directory, name))
    image = writers.make_image(path, "app")
    writers.write_index(path, writers.empty_index(writers.name_entry(image, "short", "docker.io/library/app", "1")))
    assert cli("add", path, "--name", "app").status == 0
    forms = ("flags", "bake", "json")
    return {form: cli("contexts", "-", "--format", form, stdin=b"FROM app:1") for form in forms} | {"path": path}


SPLIT = ["a b", "a\u00a0b", "a\tb", "a\nb", "a\x1b[31m", "a\u202eb", "a*b", "a?", "a[b]", "a\\b", "+(a)b"]


@pytest.mark.parametrize("name", SPLIT)
def test_text_that_a_shell_would_split_is_refused_only_in_flags(cli: Own, name: str) -> None:
    said = at(cli, name)
    one_error(said["flags"], 2, "--format bake")
    assert said["flags"].out == ""
    assert said["bake"].out.replace("\n", "").isprintable()
    (value,) = json.loads(said["bake"].out)["target"]["default"]["contexts"].values()
    assert value.startswith(f"oci-layout://{said['path']}@sha256:")
    assert json.loads(said["json"].out)[0]["path"] == said["path"]


@pytest.mark.parametrize("name", ["a:b", "a:b@c"])
def test_a_path_that_buildx_would_split_is_refused_in_both(cli: Own, name: str) -> None:
    said = at(cli, name)
    one_error(said["flags"], 2, "buildx", "':'")
    one_error(said["bake"], 2, "buildx", "':'")
    assert json.loads(said["json"].out)[0]["path"] == said["path"]


def test_a_path_that_is_not_utf_8_is_refused_in_both(cli: Own) -> None:
    said = at(cli, "a\udcff")
    for form in ("flags", "bake"):
        one_error(said[form], 2, "UTF-8")
    assert json.loads(said["json"].out)[0]["path"].endswith("/a%FF")


def test_bake_expands_no_template_in_a_path(cli: Own) -> None:
    (value,) = json.loads(at(cli, "${a}%{b}")["bake"].out)["target"]["default"]["contexts"].values()
    assert "/$${a}%%{b}@" in value


def test_an_address_in_brackets_needs_bake(cli: Own, tmp_path: Path) -> None:
    path = writers.make_layout(str(tmp_path / "l"))
    image = writers.make_image(path, "app")
    writers.write_index(path, writers.empty_index(writers.name_entry(image, "canonical", "[::1]:5000/app", "1")))
    cli("add", path)
    one_error(cli("contexts", "-", stdin=b"FROM [::1]:5000/app:1"), 2, "--format bake")
    assert "[::1]:5000/app:1" in cli("contexts", "-", "--format", "bake", stdin=b"FROM [::1]:5000/app:1").out


def test_a_stage_of_the_same_name_is_never_replaced(shelf: Shelf) -> None:
    result = contexts(shelf, "FROM ctr AS ctr\nRUN true", "--strict")
    one_error(result, 1, "the name of a stage", "another name")
    assert result.out == ""
    assert contexts(shelf, "FROM ctr AS ctr").lines[0].startswith(f"{FLAG} ctr=")


def test_a_store_with_blobs_elsewhere_is_not_offered_to_buildx(cli: Own, tmp_path: Path) -> None:
    path = writers.make_layout(str(tmp_path / "l"))
    image = writers.make_image(path, "app")
    writers.write_index(path, writers.empty_index(writers.name_entry(image, "short", "docker.io/library/app", "1")))
    shutil.move(f"{path}/blobs", tmp_path / "shared")
    os.mkdir(f"{path}/blobs")
    assert cli("add", path, "--shared-blob-dir", str(tmp_path / "shared")).status == 0
    one_error(cli("contexts", "-", "--strict", stdin=b"FROM app:1"), 1, "shared", "another layout")
    os.rmdir(f"{path}/blobs")
    os.symlink(tmp_path / "shared", f"{path}/blobs")  # which buildx follows and ocicat does not
    one_error(cli("contexts", "-", "--strict", stdin=b"FROM app:1"), 1, "shared", "another layout")
    os.unlink(f"{path}/blobs")
    shutil.copytree(tmp_path / "shared", f"{path}/blobs", dirs_exist_ok=True)
    assert len(cli("contexts", "-", stdin=b"FROM app:1").lines) == 1


def test_a_name_that_looks_like_another_form_is_a_name(cli: Own, tmp_path: Path) -> None:
    path = writers.make_layout(str(tmp_path / "l"))
    image = writers.make_image(path, "oci")
    writers.write_index(path, writers.empty_index(writers.name_entry(image, "short", "docker.io/library/oci", "1")))
    cli("add", path)
    assert cli("contexts", "-", stdin=b"FROM oci:1").lines == [f"{FLAG} oci:1=oci-layout://{path}@{image['digest']}"]


def test_strict_refuses_the_last_answer_of_an_unreadable_store(shelf: Shelf) -> None:
    assert len(contexts(shelf, "FROM hurt:3.16").lines) == 1
    strict = contexts(shelf, "FROM hurt:3.16", "--strict")
    assert (strict.status, strict.out) == (1, "")


def test_build_arguments_are_given_or_come_from_the_environment(shelf: Shelf) -> None:
    text = "ARG V\nFROM ctr:${V:?which}"
    for options in (("--build-arg", "V=3.16"), ("--build-arg", "V=no", "--build-arg", "V=3.16")):
        assert "3.16" in contexts(shelf, text, *options).lines[0]
    assert "3.17" in contexts(shelf, text, "--build-arg", "V", env={"V": "3.17"}).lines[0]
    one_error(contexts(shelf, text, "--build-arg", "V"), 2, "line 2", "--build-arg V=VALUE")
    one_error(contexts(shelf, text, "--build-arg", "=1"), 2, "--build-arg")


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("FROM", (), ("line 1", "FROM IMAGE")),
        ("", (), ("FROM",)),
        ("FROM a AS dev", ("--target", "prod"), ("prod", "dev")),
        ("FROM a", ("--platform", "a/b/c/d"), ("platform",)),
        ("FROM a", ("--format", "xml"), ("xml",)),
        ("FROM a", ("--store", "nowhere"), ("nowhere",)),
        ("FROM \x1b[31m", (), ("line 1",)),
        ("#" * 2_000_000, (), ("longer",)),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(
    shelf: Shelf, text: str, options: tuple[str, ...], words: tuple[str, ...]
) -> None:
    one_error(contexts(shelf, text, *options), 2, *words)


def test_a_file_that_cannot_be_read(shelf: Shelf, tmp_path: Path) -> None:
    one_error(shelf.ask("contexts", str(tmp_path / "no")), 2, "no", "stdin")
    one_error(shelf.ask("contexts", str(tmp_path)), 2, "directory")
    one_error(shelf.ask("contexts", "a\0b"), 2, "NUL")


def test_without_a_catalog_status_4(tmp_path: Path) -> None:
    file = tmp_path / "Dockerfile"
    file.write_text("FROM a")
    one_error(Own(tmp_path, str(tmp_path / "own.db"))("contexts", str(file)), 4, "no catalog")
