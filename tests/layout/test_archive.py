"""The reader of tar archives: what it finds is what an extraction by GNU tar leaves, and no archive harms it."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import random
import subprocess
import tarfile
import tracemalloc
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.layout import tar_headers
from catalog.layout.archive import is_archive
from catalog.layout.archive_contents import ArchiveContents
from catalog.layout.archive_pass import ArchivePass
from catalog.layout.blobs import BlobDirectories
from catalog.layout.files import IndexChanged, IndexProblem, StoreFile, stat_index
from catalog.layout.inflating import MAGIC_BYTES, compression
from catalog.layout.list_limits import ListLimits
from catalog.layout.tar_headers import Torn, members
from tests.programs import needs

FORMATS = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
HEX = "0123456789abcdef" * 4


def archive(*parts: tuple[str, bytes], form: int = tarfile.GNU_FORMAT) -> bytes:
    """A tar archive of regular files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for name, data in parts:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def contents(data: bytes) -> ArchiveContents:
    """What the reader finds in an archive. Every read is inside of it, and they go forwards."""
    found = ArchiveContents()
    last = 0

    def read(size: int, at: int) -> bytes:
        nonlocal last
        assert last <= at <= len(data)
        last = at
        return data[at : at + size]

    try:
        for member in members(read, len(data)):
            assert 0 <= member.offset <= member.offset + member.size <= len(data)
            found.add(member)
    except Torn:
        with pytest.raises(Torn):
            inflated(gzip.compress(data, 1))
        raise
    assert_same(inflated(gzip.compress(data, 1)), found, data)
    return found


LIMITS = ListLimits()


def inflated(packed: bytes, limits: ListLimits = LIMITS) -> ArchiveContents:
    """What the reader finds in a compressed archive, interrupted wherever it may be."""
    descriptor = os.memfd_create("archive")
    try:
        os.write(descriptor, packed)
        one = ArchivePass(os.fstat(descriptor), compression(packed[:MAGIC_BYTES]), limits)
        while True:
            try:
                return one.go_on(descriptor, interrupt)
            except Interrupted:
                assert not one.is_lost
    finally:
        os.close(descriptor)


class Interrupted(Exception):
    pass


def interrupt() -> None:
    raise Interrupted


def assert_same(found: ArchiveContents, other: ArchiveContents, data: bytes) -> None:
    """The same members at the same places, and those that are kept have the bytes that are there."""
    assert (found._places, found.odd, found.more_odd) == (other._places, other.odd, other.more_odd)
    assert found.small is not None
    for place in found._places.values():
        kept = found.small.get(place.offset)
        assert place.reason or kept in (None, data[place.offset : place.offset + place.size])


def data_of(data: bytes, found: ArchiveContents, name: str) -> bytes | None:
    """The bytes of a member, None if it is absent or does not count."""
    place = found.get(name)
    return None if place is None or place.reason else data[place.offset : place.offset + place.size]


class Step(NamedTuple):
    """A member of a random archive."""

    name: str
    kind: bytes
    data: bytes
    target: str


_LONG = "x" * 120
NAMES = st.sampled_from(
    [
        "index.json",
        "./index.json",
        "oci-layout",
        "a/b",
        "./a/./b",
        f"blobs/sha256/{HEX}",
        f"blobs/sha256/{HEX[::-1]}",
        f"{_LONG}/{_LONG}",
    ]
)
STEPS = st.lists(
    st.builds(
        Step,
        NAMES,
        st.sampled_from([tarfile.REGTYPE, tarfile.REGTYPE, tarfile.LNKTYPE]),
        st.binary(max_size=1200),
        NAMES,
    ),
    max_size=8,
)


def written(steps: list[Step], form: int) -> bytes:
    """The archive of these steps; a hard link to a name that was not there before is left out, as no program writes one."""
    out = io.BytesIO()
    there: set[str] = set()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for step in steps:
            if len(os.path.normpath(step.name)) > 100 and form == tarfile.USTAR_FORMAT:
                continue
            info = tarfile.TarInfo(step.name)
            if step.kind == tarfile.LNKTYPE:
                if os.path.normpath(step.target) not in there or os.path.normpath(step.target) == os.path.normpath(
                    step.name
                ):
                    continue
                info.type, info.linkname = tarfile.LNKTYPE, step.target
                tar.addfile(info)
            else:
                info.size = len(step.data)
                tar.addfile(info, io.BytesIO(step.data))
            there.add(os.path.normpath(step.name))
    return out.getvalue()


@needs("tar")
@given(steps=STEPS, form=st.sampled_from(FORMATS))
def test_it_finds_what_gnu_tar_extracts(tmp_path_factory: pytest.TempPathFactory, steps: list[Step], form: int) -> None:
    data = written(steps, form)
    found = contents(data)
    there = tmp_path_factory.mktemp("x")
    subprocess.run(["tar", "-xf", "-", "-C", str(there)], input=data, check=True, capture_output=True)
    for name in {os.path.normpath(step.name) for step in steps}:
        file = there / name
        if len(name) <= 200:
            assert data_of(data, found, name) == (file.read_bytes() if file.is_file() else None), name
    assert not found.odd


def header(name: bytes, kind: bytes, size: int = 0, target: bytes = b"", magic: bytes = b"ustar\x0000") -> bytes:
    block = bytearray(512)
    block[: len(name)] = name
    block[124:136] = b"%011o\0" % size
    block[148:156] = b" " * 8
    block[156:157] = kind
    block[157 : 157 + len(target)] = target
    block[257 : 257 + len(magic)] = magic
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def body(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def pax(**records: str) -> bytes:
    text = b""
    for key, value in records.items():
        line = f" {key}={value}\n".encode()
        size = len(line) + 1
        while len(b"%d" % size) + len(line) != size:
            size += 1
        text += b"%d" % size + line
    return text


END = bytes(1024)
INDEX = header(b"index.json", b"0", 2) + body(b"{}")


@pytest.mark.parametrize(
    ("name", "kind", "target", "why"),
    [
        ("x", b"2", "/etc/passwd", "a symbolic link"),
        ("x", b"3", "", "a character device"),
        ("x", b"4", "", "a block device"),
        ("x", b"6", "", "a FIFO"),
        ("x", b"Z", "", "unknown type"),
        ("../x", b"0", "", "leads out"),
        ("a/../../x", b"0", "", "leads out"),
        ("/etc/x", b"0", "", "leads out"),
        ("x", b"1", "/etc/passwd", "leads out"),
        ("x", b"1", "nowhere", "not in the archive before it"),
    ],
)
def test_what_is_not_followed_is_a_problem(name: str, kind: bytes, target: str, why: str) -> None:
    found = contents(INDEX + header(name.encode(), kind, 0, target.encode()) + END)
    assert [each.name for each in found.odd] == [name]
    assert why in found.odd[0].reason
    assert data_of(INDEX, found, "index.json") == b"{}"


def test_many_odd_members_are_counted() -> None:
    found = contents(b"".join(header(b"l%d" % n, b"2", 0, b"/x") for n in range(150)) + END)
    assert (len(found.odd), found.more_odd) == (100, 50)


def test_a_blob_below_a_link_does_not_count() -> None:
    """An extraction would write it through the link, or replace the link: programs differ, so it is not believed."""
    blob = header(f"blobs/sha256/{HEX}".encode(), b"0", 3) + body(b"abc")
    for above in (b"blobs", b"blobs/sha256"):
        found = contents(INDEX + header(above, b"2", 0, b"/elsewhere") + blob + END)
        assert found.blob(f"sha256:{HEX}") is None
        assert list(found.blobs()) == []
        assert [name for name, _ in found.not_directories()] == [above.decode()]
    assert contents(INDEX + blob + END).blob(f"sha256:{HEX}") is not None


def test_sparse_members_are_skipped_and_reported() -> None:
    old = bytearray(header(b"s", b"S", 512, magic=b"ustar  \0"))
    old[482] = 1
    old[148:156] = b" " * 8
    old[148:156] = b"%06o\0 " % sum(old)
    more = bytearray(512)
    more[504] = 1
    records = pax(**{"GNU.sparse.major": "1"})
    new = header(b"x", b"x", len(records)) + body(records) + header(b"t", b"0", 512) + bytes(512)
    found = contents(bytes(old) + bytes(more) + bytes(512) + bytes(512) + new + INDEX + END)
    assert [(each.name, each.reason) for each in found.odd] == [
        ("s", "is a sparse file, which is not read"), ("t", "is a sparse file, which is not read"),
    ]  # fmt: skip
    assert found.get("index.json") is not None


def extended(kind: bytes, data: bytes) -> bytes:
    return header(b"x", kind, len(data)) + body(data)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "without an end"),
        (INDEX, "without an end"),
        ((INDEX + END)[:700], "cut off"),
        (INDEX + INDEX[:300], "in a header"),
        (header(b"index.json", b"0", 5000) + END, "is cut off"),
        (INDEX[:100] + b"x" + INDEX[101:] + END, "not a tar archive"),
        (INDEX + INDEX[:100] + b"x" + INDEX[101:] + END, "wrong checksum"),
        (INDEX + bytes(512) + INDEX + END, "more after it"),
        (extended(b"x", pax(path="a")) + extended(b"x", pax(path="b")) + INDEX + END, "set the same field"),
        (extended(b"L", b"a\0") + extended(b"x", pax(path="b")) + INDEX + END, "set the same field"),
        (extended(b"g", pax(path="a")) + INDEX + END, "global header"),
        (extended(b"x", b"99 path=a\n") + INDEX + END, "malformed extended"),
        (extended(b"x", b"path=a\n") + INDEX + END, "malformed extended"),
        (extended(b"x", pax(size="-1")) + INDEX + END, "malformed size"),
        (extended(b"x", pax(size="99999")) + INDEX + END, "is cut off"),
        (extended(b"x", pax(path="a")) + END, "after an extended header"),
        (header(b"x", b"x", 2 << 20) + END, "more than 1048576"),
        (header(b"d/", b"5", 512) + bytes(512) + END, "programs read differently"),
        (header(b"d/", b"0", 512) + bytes(512) + END, "programs read differently"),
    ],
)
def test_what_is_torn_or_ambiguous_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(Torn) as caught:
        contents(data)
    assert why in str(caught.value)


def test_large_sizes_in_base_256_and_signed_checksums() -> None:
    block = bytearray(header(b"index.json", b"0", 0))
    block[124:136] = b"\x80" + (2).to_bytes(11, "big")
    block[150 - 2 : 156] = b" " * 8
    total = sum(block)
    for signed in (total, total - 256 * sum(byte > 127 for byte in block)):
        block[148:156] = b"%06o\0 " % signed
        assert data_of(bytes(block) + body(b"{}"), contents(bytes(block) + body(b"{}") + END), "index.json") == b"{}"
    block[124] = 0xFF
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    with pytest.raises(Torn, match="negative"):
        contents(bytes(block) + END)


def test_no_number_of_headers_takes_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits are lowered, because at the real ones this would take seconds; memory at the real ones: the next test."""
    monkeypatch.setattr(tar_headers, "MOST_MEMBERS", 50)
    monkeypatch.setattr(tar_headers, "MOST_HEADERS", 200)
    with pytest.raises(Torn, match="more than 50 members"):
        contents(INDEX * 60 + END)
    with pytest.raises(Torn, match="more than 200 headers"):
        contents(extended(b"g", pax(comment="a")) * 300 + INDEX + END)


@pytest.mark.parametrize("part", [8, pytest.param(1, marks=pytest.mark.deep)])
def test_memory_for_as_many_members_as_are_allowed(part: int) -> None:
    """Or for an eighth of them, which take an eighth of it: a dict and a list grow in steps, and are as full at both numbers."""
    count = tar_headers.MOST_MEMBERS // part
    name = b"blobs/sha256/"
    plain = header(name + b"0" * 64, b"0")
    others = int(plain[148:154], 8) - 64 * ord("0")  # what the checksum of a header is without its digest
    data = bytearray()
    for number in range(count):  # before anything is traced, because that is slow
        digest = hashlib.sha256(b"%d" % number).hexdigest().encode()
        data += name + digest + plain[len(name) + 64 : 148] + b"%06o\0 " % (others + sum(digest)) + plain[156:]
    data += END
    tracemalloc.start()
    found = ArchiveContents()
    for member in members(lambda size, at: bytes(data[at : at + size]), len(data)):
        found.add(member)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found) == count
    assert peak < (64 << 20) // part


def reads_of(count: int, size: int) -> int:
    data = archive(*[(f"blobs/sha256/{hashlib.sha256(b'%d' % n).hexdigest()}", bytes(size)) for n in range(count)])
    reads = 0

    def read(wanted: int, at: int) -> bytes:
        nonlocal reads
        reads += 1
        return data[at : at + wanted]

    assert sum(1 for _ in members(read, len(data))) == count
    return reads


def test_reading_is_linear_in_members_and_skips_their_bytes() -> None:
    assert reads_of(400, 20_000) <= 2.2 * reads_of(200, 20_000)
    assert reads_of(200, 20_000) <= 210
    assert reads_of(200, 100) <= 20


def mutated(data: bytes, rng: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        at = rng.randrange(len(out))
        match rng.randrange(5):
            case 0:
                out[at] = rng.randrange(256)
            case 1:
                del out[at : at + rng.choice((1, 512, 1024))]
            case 2:
                begin = rng.randrange(len(out)) // 512 * 512
                out[at // 512 * 512 : at // 512 * 512] = out[begin : begin + 512]
            case 3:
                block = at // 512 * 512
                field = rng.choice(((0, 100), (124, 136), (156, 157), (157, 257), (345, 500)))
                out[block + field[0] : block + field[1]] = rng.choice(
                    (rng.randbytes(field[1] - field[0]), b"7" * (field[1] - field[0]))
                )
                part = out[block : block + 512]
                if len(part) == 512:  # with a right checksum, or nothing behind it would be tried
                    part[148:156] = b" " * 8
                    out[block + 148 : block + 156] = b"%06o\0 " % sum(part)
            case 4:
                del out[at:]
        if not out:
            return bytes(512)
    return bytes(out)


def test_no_damage_makes_it_fail_in_another_way() -> None:
    rng = random.Random(5)
    seeds = [
        archive(
            ("oci-layout", b"{}"),
            ("index.json", b"{}" * 300),
            (f"blobs/sha256/{HEX}", b"x" * 700),
            (_LONG * 2, b"y"),
            form=form,
        )
        for form in FORMATS[1:]
    ]
    seeds.append(
        INDEX
        + header(b"h", b"1", 0, b"index.json")
        + extended(b"x", pax(path="p" * 300))
        + header(b"s", b"0", 9)
        + body(b"123456789")
        + END
    )
    fine = 0
    for number in range(4_000):
        try:
            contents(mutated(seeds[number % len(seeds)], rng))
        except Torn:
            continue
        fine += 1
    assert 400 < fine < 3_900


# A file in an archive, as the rest of the program sees it


def test_files_and_blobs_are_read_in_place(tmp_path: Path) -> None:
    blob = b'{"a":1}'
    digest = f"sha256:{hashlib.sha256(blob).hexdigest()}"
    path = tmp_path / "a.tar"
    path.write_bytes(
        archive(("index.json", b"{}"), (f"blobs/sha256/{digest[7:]}", blob), (f"blobs/sha256/{HEX}", b"other"))
    )
    opened = StoreFile(f"{path}/.", "index.json")
    assert (opened.size, opened.read(100, 0), opened.read(100, 1), opened.read(100, 2)) == (2, b"{}", b"}", b"")
    opened.check(2)
    with BlobDirectories(f"{path}/.") as blobs:
        assert {each[:2] for each in blobs.list()} == {(digest, 7), (f"sha256:{HEX}", 5)}
        assert blobs.read(digest, 100) == blob
        assert blobs.beginning(digest, 3) == blob[:3]
        found = blobs.stat(digest)
        assert found is not None
        assert found.st_size == 7
        assert blobs.stat("sha256:" + "0" * 64) is None
        assert blobs.open("sha256:" + "0" * 64) is None
        assert blobs.archive == str(path)
    os.utime(path, ns=(1, 1))
    with pytest.raises(IndexChanged):
        opened.check(2)
    opened.close()


def test_an_archive_that_is_replaced_is_followed_only_by_name(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(archive(("index.json", b"{}"), ("oci-layout", b"{}")))
    (tmp_path / "link").symlink_to("a.tar")
    assert is_archive(f"{tmp_path}/link/.")
    assert not is_archive(f"{tmp_path}/./link")
    assert is_archive(f"{tmp_path}/./a.tar")
    assert not is_archive("/dev/zero")
    os.mkfifo(tmp_path / "fifo")
    assert not is_archive(f"{tmp_path}/fifo/.")
    assert stat_index(f"{tmp_path}/link/.") == stat_index(str(path))
    with pytest.raises(IndexProblem):
        stat_index(f"{tmp_path}/./link")


def test_a_blob_of_an_archive_that_changed_is_not_read_at_its_old_place(tmp_path: Path) -> None:
    digest = hashlib.sha256(b"x").hexdigest()
    path = tmp_path / "a.tar"
    path.write_bytes(archive(("index.json", b"{}"), (f"blobs/sha256/{digest}", b"x")))
    with BlobDirectories(f"{path}/.") as blobs:
        list(blobs.list())
        path.write_bytes(archive(("first", b"y" * 2000), ("index.json", b"{}"), (f"blobs/sha256/{digest}", b"x")))
        with pytest.raises(Exception, match="changed while it was read"):
            blobs.read(f"sha256:{digest}", 100)
