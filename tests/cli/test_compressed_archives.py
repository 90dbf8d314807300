"""Layouts in compressed archives answer as others do, and nothing that needs their blobs says anything wrong about them."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import writers
from tests.cli.conftest import Own, objects
from tests.cli.program import ran
from tests.cli.test_archives import PACKERS, answers, assert_alike, few, made, packed
from tests.conftest import ON_SQLITE
from tests.programs import needs

COMPRESS_ZSTD = dict(PACKERS)[".tar.zst"]


def compressed(layout: str, target: str, pack: Callable[[bytes], bytes] = gzip.compress, form: str = "pax") -> str:
    """Write a layout into a compressed archive."""
    plain = packed(layout, f"{target}.plain", form, order="random1")
    Path(target).write_bytes(pack(Path(plain).read_bytes()))
    os.unlink(plain)
    return target


def test_they_answer_as_the_layout_does(cli: Own, tmp_path: Path) -> None:
    layout = made(str(tmp_path / "d"))
    cli.done("add", layout)
    wanted = list(answers(cli, "d"))
    for number, (suffix, pack) in enumerate(few(cli, PACKERS)):
        cli.done("add", compressed(layout, str(tmp_path / f"a{number}{suffix}"), pack), "--name", f"a{number}")
        assert_alike(cli, f"a{number}", wanted)
        assert cli.stores()[f"a{number}"]["archive"] is True


@needs("skopeo")
@ON_SQLITE
def test_skopeo_reads_what_is_printed_for_it(cli: Own, tmp_path: Path) -> None:
    layout = made(str(tmp_path / "d"))
    for suffix, pack in PACKERS:
        path = compressed(layout, str(tmp_path / f"a{suffix}"), pack)
        cli.done("add", path)
        asked = cli.done("resolve", "acme/app:1", "--store", f"a{suffix}", "--format", "oci-archive").out.strip()
        raw = subprocess.run(["skopeo", "inspect", "--raw", asked], check=True, capture_output=True).stdout
        wanted = "sha256:" + hashlib.sha256(raw).hexdigest()
        for form in ("oci-archive", "oci"):
            assert cli.done("resolve", asked.replace("oci-archive", form)).out.strip() == wanted
        assert cli.done("resolve", f"oci-archive:{path}:@0").out.strip() == wanted


def test_what_is_torn_or_over_a_limit_keeps_its_last_answers(cli: Own, tmp_path: Path) -> None:
    layout = made(str(tmp_path / "d"))
    path = compressed(layout, str(tmp_path / "a.tgz"))
    cli.done("add", path)
    whole = Path(path).read_bytes()
    wanted = cli.done("resolve", "acme/app:1").out

    def is_invalid(why: str) -> None:
        assert cli("index").status == 0
        found = cli.stores()["a.tgz"]
        assert found["state"] == "invalid"
        assert why in str(found["error"])
        assert cli("resolve", "acme/app:1").out == wanted
        assert cli("index").err == ""  # It is not read again.

    for data, why in few(
        cli,
        [
            (whole[:-4], "cut off"),
            (whole + b"more", "other data after the end"),
            (whole[:200] + b"\xff" + whole[201:], "damaged"),
            (gzip.compress(b"x" * 5000), "not a tar archive"),
        ],
    ):
        Path(path).write_bytes(data)
        is_invalid(why)
    Path(path).write_bytes(whole)
    settings = Path(cli.config).read_text()
    Path(cli.config).write_text(settings + "[limits]\narchive_bytes = 5000\n")
    is_invalid(
        "inflates to more than 5000 bytes: decompress it, or raise limits.archive_bytes and run 'ocicat index --full'"
    )
    Path(cli.config).write_text(settings)
    assert cli("index", "--full").status == 0
    assert cli.stores()["a.tgz"]["state"] == "ok"
    new = writers.name_entry(writers.make_image(layout, "x"), "tag", "", "new")
    writers.write_index(layout, writers.append(writers.read_index(layout), new))
    os.replace(
        compressed(layout, f"{path}.part", COMPRESS_ZSTD), path
    )  # another way of compressing, under the old name
    assert cli("resolve", f"oci-archive:{path}:new", "--fresh").out.strip() == new["digest"]


@ON_SQLITE
def test_nothing_is_said_about_blobs_that_are_not_read(cli: Own, tmp_path: Path) -> None:
    layout = writers.make_layout(str(tmp_path / "d"))
    image = writers.make_image(layout, "one")
    writers.write_index(layout, writers.empty_index(writers.name_entry(image, "tag", "", "v1")))
    path = compressed(layout, str(tmp_path / "a.tar.zst"), COMPRESS_ZSTD)
    before = Path(path).read_bytes()
    cli.done("add", path)
    said = cli("verify")
    assert (said.status, said.out) == (0, "")
    assert "compressed with zstd, so its blobs are neither read nor verified" in said.err
    for words in (("missing",), ("unreferenced", "-p", "older_than=0s"), ("orphans",), ("integrity",)):
        said = cli("report", *words, "--format", "json")
        assert said.status == 0 or "no report" in said.err, said
        assert said.status or objects(said) == [], words
    assert cli("check").status == 0
    assert path in cli("plan", "prune", "--older-than", "0s").err
    target = writers.make_layout(str(tmp_path / "to"))
    said = cli("plan", "copy", "--to", target, ":v1", "--store", "a.tar.zst")
    assert "in the tar archive a.tar.zst" in said.err
    assert "skopeo copy" in said.err
    cli.done("add", layout)
    assert cli("diff", "a.tar.zst", "d").out == ""
    assert Path(path).read_bytes() == before


@ON_SQLITE
def test_compressed_archives_below_a_root(cli: Own, tmp_path: Path) -> None:
    root = tmp_path / "r"
    layout = made(str(tmp_path / "d"))
    root.mkdir()
    names = ["one.tar.gz", "two.tgz", "three.tar.zst"]
    for name, (_, pack) in zip(names, PACKERS[:1] * 2 + PACKERS[1:2], strict=True):
        compressed(layout, str(root / name), pack)
    shutil.copy(root / "one.tar.gz", root / "no-suffix")
    (root / "other.tar.gz").write_bytes(gzip.compress(os.urandom(5000)))
    (root / "notes.tgz").write_bytes(gzip.compress(b"text"))
    (root / "renamed.tar").write_bytes((root / "one.tar.gz").read_bytes())  # its bytes count, not its name
    cli.done("add", str(root), "--archives")
    assert set(cli.stores()) == {f"r/{name}" for name in (*names, "renamed.tar")}
    new = compressed(layout, str(root / "new.tgz"))
    assert cli("resolve", f"oci-archive:{new}:v1", "--fresh").status == 0


@pytest.mark.whole_start
@ON_SQLITE
def test_what_to_install_for_zstd(cli: Own, tmp_path: Path) -> None:
    """Where the package is absent: one of that name that cannot be imported stands in for that, because tests need the other."""
    layout = made(str(tmp_path / "d"))
    path = compressed(layout, str(tmp_path / "a.tar.zst"), COMPRESS_ZSTD)
    (tmp_path / "none/backports").mkdir(parents=True)
    (tmp_path / "none/backports/__init__.py").write_text("raise ImportError")
    (tmp_path / "none/compression").mkdir()
    (tmp_path / "none/compression/__init__.py").write_text("raise ImportError")
    env = {"PYTHONPATH": str(tmp_path / "none")}
    refused = ran("--config", cli.config, "add", path, db=cli.db, env=env)
    assert refused.status == 2
    assert "install ocicat[zstd] with pip" in refused.err
    cli.done("add", path)
    wanted = cli.done("resolve", "acme/app:1").out
    os.utime(path)
    ran("--config", cli.config, "index", db=cli.db, env=env)
    assert cli.stores()["a.tar.zst"]["state"] == "unreadable"
    assert cli("resolve", "acme/app:1").out == wanted
    assert cli("index").status == 0
    assert cli.stores()["a.tar.zst"]["state"] == "ok"
