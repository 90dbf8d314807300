"""Reading `index.json` from real files, in every state in which a writer or an attacker can leave them."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from catalog.layout.descriptor import Descriptor
from catalog.layout.files import StoreFile
from catalog.layout.index import (
    IndexChanged,
    IndexProblem,
    ListLimits,
    Problem,
    read_index,
    read_marker,
    stat_index,
)
from catalog.layout.source import Malformed
from catalog.layout.stream import Parser
from tests.effort import examples

DIGEST = "sha256:" + "0123456789abcdef" * 4
STREAMED = ListLimits(in_memory_bytes=0)
WAYS = [ListLimits(), ListLimits(descriptor_bytes=4000), STREAMED]
"""Decoded at once, in batches into memory, and in batches while iterating."""

every_way = pytest.mark.parametrize("limits", WAYS, ids=["at-once", "in-batches", "streamed"])


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


def element(number: int, **fields: Any) -> dict[str, Any]:
    return {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest(number), "size": 500, **fields}


def index(*elements: Any, **fields: Any) -> bytes:
    return json.dumps({"schemaVersion": 2, "manifests": elements, **fields}).encode()


def store(path: Path, data: bytes) -> str:
    path.mkdir(exist_ok=True)
    (path / "index.json").write_bytes(data)
    return str(path)


class Read:
    """The complete result of one read."""

    def __init__(self, path: str, limits: ListLimits) -> None:
        with read_index(path, limits) as content:
            self.descriptors = list(content)
            self.elements = content.elements
            self.skipped = content.skipped
            self.annotations = content.annotations
            self.sha256 = content.sha256
            self.streamed = content.streamed

    def same(self) -> tuple[Any, ...]:
        return (self.descriptors, self.elements, self.skipped, self.annotations, self.sha256)


def problem(path: str, limits: ListLimits = ListLimits()) -> IndexProblem:  # noqa: B008
    with pytest.raises(IndexProblem) as caught:
        Read(path, limits)
    assert "\n" not in caught.value.reason
    return caught.value


def invalid(path: str, limits: ListLimits = ListLimits()) -> str:  # noqa: B008
    found = problem(path, limits)
    assert found.state == "invalid"
    return found.reason


def child(code: str, *arguments: str) -> str:
    """Run `code` in another process and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def open_files() -> set[str]:
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found.add(f"{name} {os.readlink(f'/proc/self/fd/{name}')}")
    return {entry for entry in found if "/proc/" not in entry}


# What is in the file


@every_way
def test_a_valid_index_is_read_in_order_with_its_digest_and_annotations(tmp_path: Path, limits: ListLimits) -> None:
    data = index(*(element(n, annotations={"a": "b"}) for n in range(50)), annotations={"k": "v", "n": 1, "z": "\0"})
    found = Read(store(tmp_path / "s", data), limits)
    assert [one.digest for one in found.descriptors] == [digest(n) for n in range(50)]
    assert (found.elements, found.skipped) == (50, [])
    assert found.annotations == {"k": "v", "z": "\ufffd"}
    assert found.sha256 == child(
        "import hashlib,sys;print(hashlib.sha256(open(sys.argv[1],'rb').read()).hexdigest())",
        f"{tmp_path}/s/index.json",
    )
    assert found.streamed == (limits is STREAMED)


@every_way
@pytest.mark.parametrize("number", [0, 1, 30, 59])
@pytest.mark.parametrize(
    "bad", [f"{DIGEST}\n", f"\n{DIGEST}", f"{DIGEST}\n{DIGEST}", f"{DIGEST[:-1]}\n", DIGEST.upper()]
)
def test_one_bad_digest_among_many_good_ones_is_skipped(
    tmp_path: Path, limits: ListLimits, number: int, bad: str
) -> None:
    elements = [element(each) for each in range(60)]
    elements[number] |= {"digest": bad}
    found = Read(store(tmp_path / "s", index(*elements)), limits)
    assert [one.digest for one in found.descriptors] == [digest(each) for each in range(60) if each != number]
    assert [each.subject for each in found.skipped] == [f"manifests[{number}]"]
    assert found.elements == 60


@every_way
@pytest.mark.parametrize(
    "data", [b"{}", b' {"manifests" : null } \n', b'{"manifests":[]}', b'{"manifests":[ ]}', b'{"x":1,"annotations":3}']
)
def test_an_index_without_entries_is_valid_and_empty(tmp_path: Path, limits: ListLimits, data: bytes) -> None:
    found = Read(store(tmp_path / "s", data), limits)
    assert (found.descriptors, found.elements, found.annotations) == ([], 0, {})
    assert [each.kind for each in found.skipped] == ([] if b"manifests" in data else ["not-an-index"])


@every_way
@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b'{"schemaVersion":2,"config":{"digest":"a"},"layers":[]}', "is an image manifest (it has config, layers)"),
        (b'{"manifests":null,"config":{}}', "is an image manifest (it has config)"),
        (b'{"layers":[{}], "manifests":[]}', "has manifests and layers"),
        (b'{"schemaVersion":2}', "has no manifests"),
        (b'{"schemaVersion":2,"manifests":[],"config":null,"layers":null}', None),
        (b'{"schemaVersion":2,"manifests":[],"config":{}}', None),
    ],
)
def test_a_file_that_is_not_an_index_is_reported(
    tmp_path: Path, limits: ListLimits, data: bytes, says: str | None
) -> None:
    found = Read(store(tmp_path / "s", data), limits)
    assert (found.descriptors, found.elements) == ([], 0)
    assert [(each.kind, each.subject) for each in found.skipped] == ([("not-an-index", "index.json")] if says else [])
    assert all(each.detail.startswith(says or "") for each in found.skipped)


@every_way
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (b" \n\t ", "the file contains only white space"),
        (b"\xef\xbb\xbf{}", "not JSON: the file begins with a byte order mark"),
        (b"\0" * 9000, r"not JSON: '\\x00' at byte 0.*"),
        (b"[]", "the top level is an array, not an object"),
        (b"[" * 200_000, "the top level is an array, not an object"),
        (b"null", "the top level is null, not an object"),
        (b'"x"', "the top level is a string, not an object"),
        (b'{"manifests":{}}', "manifests is an object, not an array"),
        (b'{"manifests":"x"}', "manifests is a string, not an array"),
        (b'{"manifests":false}', "manifests is a boolean, not an array"),
        (b'{"manifests":[]}x', "trailing data from byte 16"),
        (b'{"manifests":[]} \n{}', "trailing data from byte 18"),
        (b'{"manifests":[]}\0', "trailing data from byte 16"),
        (b'{"manifests":[', "torn: .* byte 14"),
        (b'{"manifests":[{"digest":"abc', "torn: .* byte (14|28)"),
        (b'{"manifests":[1,]}', "not JSON: .* byte 16.*"),
        (b'{"manifests":[,1]}', "not JSON: .* byte 14.*"),
        (b'{"manifests":[1 2]}', "not JSON: .* byte 16.*"),
        (b'{"manifests":[1}', "not JSON: .* byte 15.*"),
        (b'{"manifests":[],}', "not JSON: .* byte 16.*"),
        (b'{"manifests" []}', "not JSON: .* byte 13.*"),
        (b"{manifests:[]}", "not JSON: .* byte 1.*"),
        (b'{"manifests":[NaN]}', "not JSON: .* byte 14.*"),
        (b'{"manifests":[{"x":Infinity}]}', "not JSON: .* byte 19.*"),
        (b'{"manifests":[{"x":01}]}', "not JSON: .* byte 20.*"),
        (b'{"manifests":[{"x":"\x01"}]}', "not JSON: .* byte 20.*"),
        (b'{"manifests":[{"x":"\\q"}]}', "not JSON: .* byte 21.*"),
        (b'{"manifests":[{"x":[}]}', "not JSON: .* byte 20.*"),
        (b'{"x":@}', "not JSON: .* byte 5.*"),
        (b'{"x":1//\n}', "not JSON: .* byte 6.*"),
        (b'{"x":' + b"[" * 200_000 + b"]" * 200_000 + b"}", "nested too deep .*"),
        (b'{"manifests":[' + b"[" * 200_000 + b"]" * 200_000 + b"]}", "nested too deep .*"),
        (b'{"manifests":[' + b'{"a":' * 200_000 + b"1" + b"}" * 200_000 + b"]}", "nested too deep .*"),
        (b'{"manifests":[' + b"[" * 200_000, "nested too deep .*"),
    ],
)
def test_a_malformed_file_is_invalid_with_a_precise_reason(
    tmp_path: Path, limits: ListLimits, data: bytes, reason: str
) -> None:
    found = invalid(store(tmp_path / "s", data), limits)
    assert re.fullmatch(reason, found), found


@every_way
def test_no_prefix_of_an_index_is_accepted(tmp_path: Path, limits: ListLimits) -> None:
    data = index(
        element(1, annotations={"a": 'q"\\é\ud800'}), element(2, platform={"os": "linux"}), annotations={"k": "v"}
    )
    assert Read(store(tmp_path / "s", data), limits).elements == 2
    for size in range(len(data)):
        invalid(store(tmp_path / "s", data[:size]), limits)


@every_way
@pytest.mark.parametrize("tail", [b"}", b"]", b",", b"x", b"\0", b"{}", b'"', b"0", b"\xff", b"}" * 500])
def test_an_index_followed_by_anything_is_refused(tmp_path: Path, limits: ListLimits, tail: bytes) -> None:
    data = index(element(1))
    assert invalid(store(tmp_path / "s", data + tail), limits) == f"trailing data from byte {len(data)}"


@every_way
def test_a_bad_element_is_skipped_and_reported_and_the_others_are_used(tmp_path: Path, limits: ListLimits) -> None:
    bad = ["text", 7, None, True, [], [[]], {}, {"digest": 5}, {"digest": "sha256:../../../etc/passwd"}]
    data = index(element(1), *bad, element(2, size="x"), element(3))
    found = Read(store(tmp_path / "s", data), limits)
    assert [one.digest for one in found.descriptors] == [digest(1), digest(2), digest(3)]
    assert [one.flaws for one in found.descriptors] == [(), ("size is a string",), ()]
    assert found.elements == 12
    assert found.skipped == [
        Problem("bad-descriptor", f"manifests[{number}]", detail)
        for number, detail in enumerate(
            [
                "a string, not an object",
                "a number, not an object",
                "null, not an object",
                "a boolean, not an object",
                "an array, not an object",
                "an array, not an object",
                "no digest",
                "digest is a number, not a string",
                "digest 'sha256:../../../etc/passwd' is not valid",
            ],
            1,
        )
    ]


@every_way
@pytest.mark.parametrize(
    "odd", [b"\xff", b"\xed\xa0\x80", rb"\ud800", rb"\udc00x", rb"\u0000", b"\xc3", rb"\u001b[31m"], ids=repr
)
def test_text_that_cannot_be_stored_does_not_affect_other_entries(
    tmp_path: Path, limits: ListLimits, odd: bytes
) -> None:
    data = index(element(1), element(2, annotations={"a": "ODD", "b": "x"}), element(3)).replace(b"ODD", odd)
    found = Read(store(tmp_path / "s", data), limits)
    assert [one.digest for one in found.descriptors] == [digest(1), digest(2), digest(3)]
    assert found.skipped == []
    annotations = found.descriptors[1].annotations
    assert annotations is not None
    assert annotations["b"] == "x"
    assert ("\ufffd" in annotations["a"]) == (odd != rb"\u001b[31m")
    annotations["a"].encode()


@every_way
@pytest.mark.parametrize("odd", [b"\xff", rb"\ud800", rb"\u0000"], ids=repr)
def test_odd_text_in_fields_that_are_not_kept_is_accepted(tmp_path: Path, limits: ListLimits, odd: bytes) -> None:
    data = index(element(1, urls=["ODD"]), x={"ODD": ["ODD"]}, annotations={"a": "ODD"}).replace(b"ODD", odd)
    found = Read(store(tmp_path / "s", data), limits)
    assert found.descriptors == [Descriptor(digest(1), "application/vnd.oci.image.manifest.v1+json", 500)]
    assert found.annotations == {"a": "\ufffd"}


@every_way
@pytest.mark.parametrize("number", [b"1e999999999999999999999", b"9" * 5000, b"-0", b"1E+5", b"0.1e-7", b"9" * 999999])
def test_a_number_of_any_size_is_accepted(tmp_path: Path, limits: ListLimits, number: bytes) -> None:
    data = index(element(1), x="N").replace(b'"N"', number)
    found = Read(store(tmp_path / "s", data), limits)
    assert [one.digest for one in found.descriptors] == [digest(1)]


@every_way
def test_the_last_of_equal_keys_counts(tmp_path: Path, limits: ListLimits) -> None:
    first, last = json.dumps(element(1)), json.dumps(element(2)).replace("{", '{"digest": "x", ', 1)
    data = '{"annotations":{"a":"1"},"manifests":[%s],"manifests":[%s,%s],"annotations":{"b":"2"}}'
    path = store(tmp_path / "s", (data % (first, last, "7")).encode())
    if limits is STREAMED:  # by then, the first list has been yielded
        assert invalid(path, limits) == "manifests occurs twice, in a file that is too large to keep in memory"
        return
    found = Read(path, limits)
    assert [one.digest for one in found.descriptors] == [digest(2)]
    assert (found.elements, len(found.skipped), found.annotations) == (2, 2, {"a": "1", "b": "2"})


@every_way
def test_keys_may_be_written_with_escapes(tmp_path: Path, limits: ListLimits) -> None:
    data = index(element(1)).replace(b"manifests", rb"manif\u0065sts").replace(b"digest", rb"d\u0069gest")
    assert [one.digest for one in Read(store(tmp_path / "s", data), limits).descriptors] == [digest(1)]


@every_way
def test_an_element_nested_deeper_than_can_be_read_is_skipped(tmp_path: Path, limits: ListLimits) -> None:
    limits = limits._replace(descriptor_bytes=1 << 20)
    data = index(element(1), "DEEP", element(2)).replace(b'"DEEP"', b"[" * 5000 + b"]" * 5000)
    found = Read(store(tmp_path / "s", data), limits)
    assert [one.digest for one in found.descriptors] == [digest(1), digest(2)]
    # Python 3.13 can decode this depth, so the message says what the element is.
    (problem,) = found.skipped
    assert problem.subject == "manifests[1]"
    assert problem.detail.startswith("an array" if sys.version_info >= (3, 13) else "nested too deep")


@pytest.mark.parametrize("limits", WAYS[1:], ids=["in-batches", "streamed"])
def test_an_element_beyond_the_limit_is_skipped(tmp_path: Path, limits: ListLimits) -> None:
    limits = limits._replace(descriptor_bytes=4000)
    large = element(2, annotations={f"k{n}": '"\\][}{' for n in range(1000)})
    data = index(
        element(1), large, "x" * 5000, element(3), x=["y" * 9000, {"z": [large]}], annotations={"k": "v" * 9000}
    )
    found = Read(store(tmp_path / "s", data), limits)
    assert [one.digest for one in found.descriptors] == [digest(1), digest(3)]
    assert found.skipped == [Problem("bad-descriptor", f"manifests[{n}]", "larger than 4000 bytes") for n in (1, 2)]
    assert found.annotations == {}
    for size in range(0, len(data), 501):
        invalid(store(tmp_path / "s", data[:size]), limits)


@every_way
def test_problems_are_few_and_short_and_counted(tmp_path: Path, limits: ListLimits) -> None:
    limits = limits._replace(problems=10)
    data = index(*({"digest": f"{n}/" + "é" * 500} for n in range(100)), element(1))
    found = Read(store(tmp_path / "s", data), limits)
    assert (len(found.descriptors), found.elements, len(found.skipped)) == (1, 101, 11)
    assert found.skipped[-1] == Problem("bad-descriptor", "manifests", "90 more elements are unusable")
    assert all(len(one.subject) <= 200 and len(one.detail) <= 200 for one in found.skipped)


@every_way
def test_a_list_of_more_elements_than_the_limit_is_invalid(tmp_path: Path, limits: ListLimits) -> None:
    path = store(tmp_path / "s", index(*map(element, range(20))))
    assert Read(path, limits._replace(elements=20)).elements == 20
    assert invalid(path, limits._replace(elements=19)) == "more than 19 elements in manifests"


# What the file is


def make_nothing(path: Path) -> None:
    pass


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        where = os.getcwd()
        os.chdir(path.parent)  # the path of a socket may have at most 107 bytes
        try:
            server.bind(path.name)
        finally:
            os.chdir(where)


def make_link(path: Path) -> None:
    real = path.parent.parent / "real.json"
    real.write_bytes(index(element(1)))
    path.symlink_to(real)


def make_link_to_zero(path: Path) -> None:
    path.symlink_to("/dev/zero")


def make_dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


LINK = (
    "index.json is a symbolic link, which is not followed: replace it with a copy of the file, or add the layout that it"
    " points into"
)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (make_fifo, "index.json is a FIFO, not a regular file"),
        (make_socket, "index.json is a socket, not a regular file"),
        (make_link, LINK),
        (make_link_to_zero, LINK),
        (make_dangling_link, LINK),
        (Path.mkdir, "index.json is a directory, not a regular file"),
        (make_nothing, "no index.json"),
    ],
)
def test_an_index_that_is_not_a_regular_file_is_never_opened(
    tmp_path: Path, make: Callable[[Path], None], reason: str
) -> None:
    (tmp_path / "s").mkdir()
    make(tmp_path / "s" / "index.json")
    assert invalid(str(tmp_path / "s")) == reason
    with pytest.raises(IndexProblem) as caught:
        stat_index(str(tmp_path / "s"))
    assert (caught.value.state, caught.value.reason) == ("invalid", reason)


def test_a_device_is_never_opened() -> None:
    """/dev/zero, which has no end, stands for all devices. Opening a device can have side effects."""
    with pytest.raises(IndexProblem) as caught:
        StoreFile("/dev", "zero")
    assert (caught.value.state, caught.value.reason) == ("invalid", "zero is a character device, not a regular file")


def test_a_store_that_is_gone_is_missing(tmp_path: Path) -> None:
    store(tmp_path / "real", index())
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    for name in ("gone", "file", "loop", "gone/below", "file/below", "link/"):
        assert problem(str(tmp_path / name)).state == "missing"
    assert problem(str(tmp_path / "link")).reason == "the directory has become a symbolic link"
    for name in ("gone", "file", "loop", "gone/below", "file/below"):
        with pytest.raises(IndexProblem) as caught:
            stat_index(str(tmp_path / name))
        assert caught.value.state == "missing"


def test_a_sparse_file_of_gigabytes_is_refused_by_its_size(tmp_path: Path) -> None:
    path = store(tmp_path / "s", b"")
    os.truncate(f"{path}/index.json", 8 << 30)
    assert invalid(path) == f"{8 << 30} bytes, more than the limit of {512 << 20}"
    os.truncate(f"{path}/index.json", 512 << 20)
    assert invalid(path).startswith("not JSON: ")
    assert stat_index(path).size == 512 << 20


DENIED = """
import os, sys
from catalog.layout.index import *
os.chdir(sys.argv[1])
if os.geteuid() == 0:
    try:
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
    except OSError:
        sys.exit(print("cannot become another user"))
for name in sys.argv[2:]:
    for look in (stat_index, read_index):
        try:
            look(name)
            print(name, "ok")
        except IndexProblem as error:
            print(name, error.state, error.reason)
print(read_marker(sys.argv[2]).version)
"""


def test_a_file_without_permission_is_unreadable(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    for name, file_mode, directory_mode in (("file", 0, 0o755), ("closed", 0o644, 0), ("searchable", 0o644, 0o711)):
        os.chmod(f"{store(tmp_path / name, index())}/index.json", file_mode)
        (tmp_path / name / "oci-layout").touch(0)
        (tmp_path / name).chmod(directory_mode)
    seen = child(DENIED, str(tmp_path), "file", "closed", "searchable")
    (tmp_path / "closed").chmod(0o755)
    if seen == "cannot become another user":
        pytest.skip(seen)
    assert seen.splitlines() == [
        "file ok",  # stat needs no permission on the file itself
        "file unreadable index.json: Permission denied",
        "closed unreadable index.json: Permission denied",
        "closed unreadable index.json: Permission denied",
        "searchable ok",
        "searchable ok",
        "None",
    ]


def test_the_state_is_the_same_by_stat_and_by_reading(tmp_path: Path) -> None:
    path = store(tmp_path / "s", index())
    found = os.stat(f"{path}/index.json")
    with read_index(path) as content:
        assert content.file == stat_index(path)
        assert content.file == (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def test_a_path_that_is_not_utf8_is_accepted(tmp_path: Path) -> None:
    assert (
        Read(store(Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff")), index(element(1))), ListLimits()).elements == 1
    )


# Who is writing it


def truncate(file: Path) -> None:
    os.truncate(file, 300_000)


def empty(file: Path) -> None:
    file.write_bytes(b"")


def grow(file: Path) -> None:
    with file.open("ab") as writer:
        writer.write(b" ")


def overwrite(file: Path) -> None:
    with file.open("r+b") as writer:
        writer.write(b"{")
    os.utime(file, ns=(1, 1))


def replace(file: Path) -> None:
    other = file.with_name("other")
    other.write_bytes(file.read_bytes())
    other.rename(file)


@pytest.mark.parametrize("write", [truncate, empty, grow, overwrite, replace, Path.unlink])
def test_a_file_that_changes_while_it_is_read_is_not_reported_as_invalid(
    tmp_path: Path, write: Callable[[Path], None]
) -> None:
    path = store(tmp_path / "s", index(*map(element, range(5000))))
    with read_index(path, STREAMED) as content:
        descriptors = iter(content)
        next(descriptors)
        write(tmp_path / "s" / "index.json")
        with pytest.raises(IndexChanged):
            list(descriptors)


def test_a_file_that_changes_before_the_first_byte_is_noticed(tmp_path: Path) -> None:
    path = store(tmp_path / "s", index(element(1)))
    with read_index(path, STREAMED) as content:
        store(tmp_path / "s", b"")
        with pytest.raises(IndexChanged):
            list(content)


def test_a_streamed_index_can_be_read_again_and_side_by_side(tmp_path: Path) -> None:
    path = store(tmp_path / "s", index(*map(element, range(5000)), 7))
    with read_index(path, STREAMED) as content:
        assert (content.sha256, content.elements) == ("", 0)
        first = list(content)
        assert [a == b for a, b in zip(content, content, strict=True)] == [True] * 5000
        assert list(content) == first
        assert (content.elements, len(content.skipped), len(content.sha256)) == (5001, 1, 64)


@pytest.mark.parametrize("data", [index(element(1)), b"", b"{", index(7, "x")])
@every_way
def test_no_file_stays_open_whatever_happens(tmp_path: Path, limits: ListLimits, data: bytes) -> None:
    path = store(tmp_path / "s", data)
    (tmp_path / "empty").mkdir()
    (tmp_path / "fifo").mkdir()
    os.mkfifo(tmp_path / "fifo" / "index.json")
    before = open_files()
    for name in (path, str(tmp_path / "empty"), str(tmp_path / "fifo"), str(tmp_path / "gone")):
        with contextlib.suppress(IndexProblem):
            Read(name, limits)
        with contextlib.suppress(IndexProblem):
            read_index(name, limits).close()
        read_marker(name)
    with contextlib.suppress(IndexProblem), read_index(path, limits) as content:
        next(iter(content), None)
    assert open_files() == before


# The three ways agree

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
DIGESTS = st.integers(0, 5).map(digest) | st.sampled_from(["a:b", "sha256:x", "sha512:" + "a" * 128, "", 5, None])
ANNOTATIONS = st.dictionaries(st.text(max_size=4), st.text(st.characters(), max_size=6), max_size=3)
ELEMENTS = (
    st.fixed_dictionaries({"digest": st.integers(0, 5).map(digest)}, optional={"annotations": ANNOTATIONS, "x": JSON})
    | st.fixed_dictionaries(
        {"digest": DIGESTS},
        optional=dict.fromkeys(("mediaType", "size", "platform", "annotations", "artifactType"), JSON),
    )
    | JSON
)
INDEXES = st.fixed_dictionaries(
    {"manifests": st.lists(ELEMENTS, max_size=8)}, optional={"annotations": JSON | ANNOTATIONS, "schemaVersion": JSON}
)
SPACING = st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", "\t: ")])


def outcome(path: str, limits: ListLimits) -> Any:
    try:
        return Read(path, limits).same()
    except IndexProblem as error:
        return error.state


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(150), deadline=None)
@given(INDEXES, SPACING, st.booleans(), st.sampled_from([None, 1, 4]))
def test_every_way_of_reading_gives_the_same_result(
    tmp_path: Path, value: Any, spacing: tuple[str, str], ascii_only: bool, indent: int | None
) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent, separators=spacing)
    path = store(tmp_path / "s", text.encode("utf-8", "surrogatepass"))
    sizes = [len(json.dumps(one, indent=4).encode("utf-8", "surrogatepass")) * 4 for one in value["manifests"]]
    small = ListLimits(in_memory_bytes=0, descriptor_bytes=max([*sizes, 400]))
    expected = outcome(path, ListLimits())
    assert expected != "invalid"
    assert outcome(path, STREAMED) == expected
    assert outcome(path, small) == expected
    assert outcome(path, small._replace(in_memory_bytes=1 << 20)) == expected


def is_index(data: bytes) -> bool:
    """Use the standard library to check for one JSON object whose `manifests` is a list or null."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        value = json.loads(data.decode("utf-8", "replace"), parse_constant=refuse, parse_int=str)
    except ValueError:
        return False
    return isinstance(value, dict) and isinstance(value.get("manifests"), list | None)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(400), deadline=None)
@given(
    INDEXES,
    st.integers(0, 400),
    st.binary(max_size=3) | st.sampled_from(list(b'"\\[]{},:0 e-')).map(lambda b: bytes([b])),
    st.integers(0, 3),
)
@example({"manifests": []}, 0, b"\xef\xbb\xbf", 0)
def test_exactly_the_valid_json_is_accepted(tmp_path: Path, value: Any, at: int, put: bytes, drop: int) -> None:
    data = json.dumps(value).encode()
    data = data[:at] + put + data[at + drop :]
    path = store(tmp_path / "s", data)
    found = outcome(path, ListLimits())
    assert (found != "invalid") == (is_index(data) and not data.startswith(b"\xef\xbb\xbf"))
    if data.count(b'"manifests"') < 2:
        assert outcome(path, STREAMED) == found


@settings(max_examples=examples(150), deadline=None)
@given(INDEXES, st.lists(st.integers(1, 9), min_size=1), st.booleans())
def test_the_sizes_of_the_pieces_make_no_difference(value: Any, pieces: list[int], ascii_only: bool) -> None:
    data = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")

    def parse(read: Callable[[int], bytes]) -> Any:
        parser = Parser(read, ListLimits(), lambda: None)
        try:
            return [
                [one for batch in parser.batches() for one in batch],
                parser.elements,
                parser.skipped,
                parser.annotations,
            ]
        except Malformed as error:
            return str(error)

    source, sizes = io.BytesIO(data), iter(pieces * len(data))
    whole = parse(io.BytesIO(data).read)
    assert not isinstance(whole, str)
    assert parse(lambda size: source.read(min(size, next(sizes, 1)))) == whole


@pytest.mark.parametrize("filler", ["},{", '"},{"', "{},{},[{},{}],{}", ",,,,", "\\"])
def test_a_cut_is_never_made_inside_an_element(tmp_path: Path, filler: str) -> None:
    """Each text looks like the end of an element, but is in a string or nested, throughout a file of many windows."""
    if filler.startswith("{}"):
        elements = [element(n, x=json.loads(f"[{filler}]") * 10, annotations={"n": str(n)}) for n in range(3000)]
    else:
        elements = [element(n, annotations={"n": str(n), "x": filler * 30}) for n in range(3000)]
    for indent, count in ((None, 3000), (2, 1000)):  # fewer with white space, because that is slow to write
        path = store(tmp_path / "s", json.dumps({"manifests": elements[:count]}, indent=indent).encode())
        expected = Read(path, ListLimits()).same()
        assert [one.annotations["n"] for one in expected[0] if one.annotations] == [str(n) for n in range(count)]
        assert Read(path, STREAMED).same() == expected
        assert Read(path, ListLimits(descriptor_bytes=20_000)).same() == expected


# Memory: in another process, which may use only some more memory than it does after its imports

LIMITED = """
import os, resource, sys
from catalog.layout.index import *
path, room, hold = sys.argv[1], int(sys.argv[2]) << 20, sys.argv[3] == "hold"
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + room, used + room))
try:
    with read_index(path) as content:
        kept = list(content) if hold else []
        count = len(kept) or sum(1 for one in content)
        print(content.streamed, count, content.elements, len(content.skipped))
except IndexProblem as error:
    print(error.state, error.reason)
"""


def fill(path: Path, megabytes: int, unit: bytes, head: bytes = b'{"manifests":[', tail: bytes = b"0]}") -> str:
    path.mkdir()
    with (path / "index.json").open("wb") as file:
        file.write(head)
        for _ in range(megabytes):
            file.write(unit * ((1 << 20) // len(unit)))
        file.write(tail)
    return str(path)


HEAD = b'{"manifests":[{"digest":"%s"},{"digest":"%s",' % (DIGEST.encode(), DIGEST.encode())


@pytest.mark.parametrize(
    ("data", "seen"),
    [
        ((4, b"0,"), "False 0 2097153 1001"),
        pytest.param((4, b"[],"), "False 0 1398101 1001", marks=pytest.mark.deep),
        ((4, b"{},"), "False 0 1398101 1001"),
        ((70, b"0,", b'{"x":['), "True 0 0 1"),
        ((66, b'"a":1,', b'{"x":{', b'"b":1}}'), "True 0 0 1"),
        ((66, b"a", HEAD + b'"x":"', b'"}]}'), "True 1 2 1"),
        ((66, b'\\"', HEAD + b'"x":"', b'"}]}'), "True 1 2 1"),
        ((66, b"9", HEAD + b'"size":', b"}]}"), "True 1 2 1"),
        ((66, b" ", HEAD + b'"size":', b"1}]}"), "True 1 2 1"),
        ((20, b'"abcd":"",', HEAD + b'"annotations":{', b'"":""}}]}'), "True 1 2 1"),
        ((66, b"[", b'{"manifests":['), "invalid nested too deep at byte 10014, in the value at byte 14"),
        ((66, b"\0", b""), "invalid not JSON: '\\x00' at byte 0, where '{' is expected"),
    ],
    ids=lambda data: repr(data[1:])[:30] if isinstance(data, tuple) else "",
)
def test_a_hostile_file_takes_no_more_than_32_mib(tmp_path: Path, data: Any, seen: str) -> None:
    # Before Python 3.11.5, the expressions in catalog/layout/source.py are atomic groups, which take more memory.
    megabytes = "32" if sys.version_info >= (3, 11, 5) else "128"
    assert child(LIMITED, fill(tmp_path / "s", *data), megabytes, "count") == seen


def test_a_million_small_descriptors_are_not_kept_in_memory(tmp_path: Path) -> None:
    path = fill(tmp_path / "s", 14, b'{"digest":"a:b"},')  # all of them take 140 MiB
    assert child(LIMITED, path, "112", "count") == "True 863520 863521 1"


def test_the_largest_descriptor_takes_a_bounded_multiple_of_its_size(tmp_path: Path) -> None:
    pairs = b",".join(b'"%05x":""' % n for n in range(300_000))
    data = b'{"manifests":[{"digest":"%s","annotations":{%s}}]}' % (DIGEST.encode(), pairs)
    assert child(LIMITED, store(tmp_path / "s", data), "100", "count") == "False 1 1 0"
    data = b'{"manifests":[{"digest":"%s","size":"","annotations":{%s}}]}' % (DIGEST.encode(), pairs)
    assert child(LIMITED, store(tmp_path / "s", data), "160", "count") == "False 1 1 0"


def test_a_large_index_is_streamed_in_bounded_memory(tmp_path: Path) -> None:
    unit = (
        json.dumps(element(1, annotations={"org.opencontainers.image.ref.name": "3.16" + "x" * 150})).encode() + b",\n"
    )
    path = fill(tmp_path / "s", 66, unit)
    count = (1 << 20) // len(unit) * 66
    assert child(LIMITED, path, "16", "count") == f"True {count} {count + 1} 1"


# oci-layout


@pytest.mark.parametrize(
    ("data", "version"),
    [
        (b'{"imageLayoutVersion": "1.0.0"}', "1.0.0"),
        (b'{"imageLayoutVersion": "1.\\u0000\xff"}', "1.\ufffd\ufffd"),
        (b'{"imageLayoutVersion": 1}', None),
        (b'{"imageLayoutVersion": "%s"}' % (b"1" * 65), None),
        (b'{"imageLayoutVersion": "1.0.0"}' + b" " * 65536, None),
        (b"[" * 60000, None),
        (b"[]", None),
        (b"{}", None),
        (b"", None),
        (b"\xff", None),
        (b"1.0.0", None),
    ],
)
def test_the_layout_version_is_returned_or_none(tmp_path: Path, data: bytes, version: str | None) -> None:
    (tmp_path / "oci-layout").write_bytes(data)
    assert read_marker(str(tmp_path)).version == version


def test_a_layout_version_is_read_only_from_a_regular_file(tmp_path: Path) -> None:
    assert read_marker(str(tmp_path)).version is None
    (tmp_path / "real").write_bytes(b'{"imageLayoutVersion": "1.0.0"}')
    for name, make in (
        ("fifo", make_fifo),
        ("directory", Path.mkdir),
        ("link", lambda path: path.symlink_to("../real")),
    ):
        (tmp_path / name).mkdir()
        make(tmp_path / name / "oci-layout")
        assert read_marker(str(tmp_path / name)).version is None
