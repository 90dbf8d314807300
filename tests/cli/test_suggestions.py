"""A wrong word gets a message that says what was probably meant."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests import writers
from tests.cli.conftest import Own, Shelf


def test_a_repository_without_the_tag_names_its_tags(shelf: Shelf) -> None:
    for command in ("query", "resolve", "inspect"):
        result = shelf.ask(command, "multi")
        assert result.status == 1
        assert "multi has the tag 1: see 'ocicat query --repository multi'" in result.err
    assert "busybox has the tags 3.16, 3.17, latest: see" in shelf.ask("resolve", "busybox:9").err
    listed = shelf.ask("query", "--repository", "multi", "--format", "{name}")
    assert listed.out == "docker.io/library/multi:1\n"


def test_many_tags_are_not_all_named(cli: Own, layout: Callable[..., str]) -> None:
    cli.done(
        "add", layout("many", *(f"1.{number}" for number in range(9)), style="canonical", repository="quay.io/a/many")
    )
    assert "quay.io/a/many has the tags 1.0, 1.1, 1.2, 1.3, 1.4 and more: see" in cli("query", "quay.io/a/many").err


def test_a_store_in_place_of_an_image(shelf: Shelf) -> None:
    assert (
        "the store images/alpine has it: ask for 'oci-layout://images/alpine:3.16'"
        in shelf.ask("resolve", "images/alpine:3.16").err
    )
    hint = "images/alpine is a store: 'ocicat query --store images/alpine' lists its entries"
    for text in ("images/alpine", f"{shelf.root}/alpine", "images/alpine:nope", f"{shelf.root}/alpine:nope"):
        assert hint in shelf.ask("query", text).err
    assert "ask for 'oci-layout://" in shelf.ask("query", f"{shelf.root}/alpine:3.16").err
    assert shelf.ask("resolve", "oci-layout://images/alpine:3.16").status == 0
    assert shelf.ask("query", "--store", "images/alpine").status == 0


def test_a_part_of_the_place_of_a_store(shelf: Shelf) -> None:
    """The last component of a name, a file of a layout, the directory above layouts, and one without any."""
    assert (
        "the store images/alpine has it: ask for 'oci-layout://images/alpine:3.16'"
        in shelf.ask("resolve", "alpine:3.16").err
    )
    for text in ("alpine", "alpine:9"):
        assert (
            "there is a store images/alpine: 'ocicat query --store images/alpine' lists" in shelf.ask("query", text).err
        )
    hint = "images/alpine is a store: 'ocicat query --store images/alpine' lists its entries"
    for text in (f"{shelf.root}/alpine/index.json", "images/alpine/index.json"):
        assert hint in shelf.ask("resolve", text).err
    below = "stores are below it: 'ocicat query --store \"images/*\"' lists their entries"
    assert below in shelf.ask("query", f"{shelf.root}/").err
    assert shelf.ask("query", "--store", "images/*").status == 0
    assert "'ocicat add /proc/self/fd' adds the layouts in it" in shelf.ask("query", "/proc/self/fd").err


def test_a_mistyped_repository(shelf: Shelf) -> None:
    for command in ("query", "resolve", "inspect", "history"):
        assert "; did you mean 'busybox:3.16'?\n" in shelf.ask(command, "bsybox:3.16").err
        assert "did you mean 'busybox'? See 'ocicat query --repository busybox'" in shelf.ask(command, "busbyox:9").err
    for command in ("resolve", "query", "inspect"):
        for text in ("zzzzz", "quay.io/acme/zzzzz:1", ":zzzzz", "zzzzz@sha256:" + 64 * "0"):
            told = shelf.ask(command, text).err
            assert "did you mean" not in told
            assert "; 'ocicat find zzzzz' looks for parts of names, 'ocicat index' reads" in told
        assert "'ocicat find" not in shelf.ask(command, "zz*").err


def test_a_repository_in_upper_case_that_is_a_registry(cli: Own, layout: Callable[..., str]) -> None:
    path = layout("one", "1")
    cli.done("add", path, "--naming", "fixed=acme/tool")
    for text in ("Acme/tool:1", "acme/Tool:1", "ACME/TOOL:1"):
        assert "'acme/tool" in cli("resolve", text).err


def test_a_layout_that_is_not_registered(cli: Own, layout: Callable[..., str]) -> None:
    cli.done("add", layout("one", "1"))
    path = layout("other", "1")
    assert f"run 'ocicat add {path}' first" in cli("query", path).err


def test_the_beginning_of_a_digest(shelf: Shelf, cli: Own) -> None:
    digest = shelf.digests["alpine", "3.16"]
    digits = digest.removeprefix("sha256:")[:12]
    for text in (digits, f"@{digits}", digits.upper()):
        result = shelf.ask("resolve", text)
        assert f"it is the beginning of a digest: ask for 'sha256:{digits}'" in result.err
    assert shelf.ask("resolve", f"sha256:{digits}").out == f"{digest}\n"
    layer = writers.make_layout(f"{cli.directory}/layers")
    image = writers.make_image(layer, "seed")
    writers.write_index(layer, writers.empty_index(image))
    cli.done("add", layer)
    config = cli("sql", "SELECT config FROM manifests").out.strip().removeprefix("sha256:")[:10]
    assert f"ask for 'ocicat query --contains sha256:{config}'" in cli("resolve", config).err


def test_a_short_digest_from_a_terminal_or_a_browser(shelf: Shelf) -> None:
    digest = shelf.digests["multi", "1"]
    short = digest[:19]
    assert shelf.ask("resolve", f"{short}…").out == f"{digest}\n"
    child = shelf.ask("sql", "SELECT digest FROM platforms LIMIT 1").out.strip()
    for text in (child, child[:19], child[7:19], f"@{child[7:19]}"):
        assert "docker.io/library/multi:1\n" in shelf.ask("query", "--contains", text, "--format", "{name}").out
    for command, text in (("history", digest[7:19]), ("find", digest[7:19]), ("find", digest)):
        assert (
            f"digest: ask for '{'ocicat query ' if command == 'find' else ''}{digest[:19]}"
            in shelf.ask(command, text).err
        )
    config = shelf.ask("sql", "SELECT config FROM manifests WHERE config IS NOT NULL LIMIT 1").out.strip()
    assert f"run 'ocicat query --contains {config}'" in shelf.ask("history", config).err


def test_a_name_in_capitals(shelf: Shelf) -> None:
    assert "write the repository in lower case, 'alpine:RC1'" in shelf.ask("resolve", "Alpine:RC1").err


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("qurey",), "No such command 'qurey': did you mean 'query'? 'ocicat --help' lists the commands"),
        (("db", "upgrad"), "No such command 'upgrad': did you mean 'upgrade'? 'ocicat db --help' lists"),
        (("zzzzz",), "No such command 'zzzzz'; 'ocicat --help' lists"),
        (("query", "--stroe", "x"), "--store"),
        (("query", "--store", "image/alpine"), "did you mean 'images/alpine'?"),
        (("query", "--store", "images"), "there are stores below it: write 'images/*'"),
        (("resolve", "oci-layout://image/alpine:1"), "did you mean 'images/alpine'?"),
        (("stores", "--sate", "ok"), "did you mean '--state'?"),
        (("remove", "image"), "did you mean 'images'?"),
        (("report", "usge"), "did you mean 'usage'?"),
        (("query", "--format", "jsno"), "did you mean 'json'?"),
        (("query", "--format", "{stor}"), "did you mean 'store'?"),
        (("query", "--format", "{{.Store}} {{ .Digest }}"), "Go template: write fields in single braces, as in '{store}'"),
        (("stores", "--format", "{{json .}}"), "write --format jsonl"),
        (("resolve", "x", "--format", "{{ range .Names }}x{{end}}"), "Go template"),
        (("sql", "SELECT * FROM imges"), "did you mean 'images'?"),
        (("sql", "SELECT nam FROM images"), "did you mean 'name'?"),
        (("sql", "SELECT i.digst FROM images AS i"), "did you mean 'digest'?"),
        (("sql", "SELECT stor FROM stores"), "; 'ocicat sql --schema stores' lists its columns"),
        (("sql", "images"), "to read a view, write 'SELECT * FROM images'"),
        (("query", "--sort", "siz"), "did you mean 'size'?"),
        (("query", "--format", "{store"), "the format has no } after {store: write a field as '{store}'"),
        (("-v",), "no command was given: 'ocicat --help' lists the commands"),
        (("query", "--repository", "Alpine"), "did you mean 'alpine'?"),
        (("resolve", "docker://alpine:3.16"), "leave out docker://, and write 'alpine:3.16'"),
        (("resolve", "SHA256:ABCDEF12"), "write it in lower case, 'sha256:abcdef12'"),
        (("resolve", "alpine@sha256:abcdef12"), "cannot follow a name: write 'sha256:abcdef12', or the whole digest"),
    ],
)  # fmt: skip
def test_a_mistyped_word_gets_the_nearest(shelf: Shelf, arguments: tuple[str, ...], hint: str) -> None:
    result = shelf.ask(*arguments)
    assert (result.status, result.out) == (2, "")
    assert hint in result.err
    assert result.err.count("\n") == 1


def test_double_braces_are_still_braces(shelf: Shelf) -> None:
    assert shelf.ask("query", "multi:1", "--format", "{{{tag}}} {{x}}").out == "{1} {x}\n"


def test_a_mistyped_setting(cli: Own, tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    for text, hint in (
        ("[watch]\nsettle_sm = 1\n", "did you mean 'watch.settle_ms'?"),
        ("[wach]\nsettle_ms = 1\n", "did you mean 'watch.settle_ms'?"),
        ("[limits]\nsettle_ms = 1\n", "did you mean"),
        ('[[roots]]\npath = "/x"\nprioritty = 1\n', "did you mean 'priority'?"),
    ):
        path.write_text(text)
        result = cli("--config", str(path), "index")
        assert result.status == 2
        assert hint in result.err


def test_the_schema_of_one_view(shelf: Shelf) -> None:
    whole = shelf.ask("sql", "--schema").out
    one = shelf.ask("sql", "--schema", "images").out
    assert one.startswith("CREATE VIEW images AS")
    assert one.count("CREATE VIEW") == 1
    assert one in whole
    assert shelf.ask("sql", "--schema", "Images").out == one
    result = shelf.ask("sql", "--schema", "imges")
    assert (result.status, "there is no view imges: did you mean 'images'?" in result.err) == (2, True)
