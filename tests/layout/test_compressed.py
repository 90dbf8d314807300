"""Compressed archives: what is inflated equals what was compressed, within limits, and in any pieces."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import random
import sys
import tarfile
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.layout import archive_pass
from catalog.layout.archive import Archive, compression_at, is_archive
from catalog.layout.archive_contents import ArchiveContents
from catalog.layout.blobs import BlobDirectories, BlobProblem
from catalog.layout.files import IndexProblem, StoreFile
from catalog.layout.inflating import Inflating, compression
from catalog.layout.list_limits import ListLimits
from catalog.layout.small_members import INDEX_BYTES, JSON_BYTES
from catalog.layout.tar_headers import Torn
from tests.layout.test_archive import (
    END,
    HEX,
    INDEX,
    LIMITS,
    Interrupted,
    archive,
    assert_same,
    contents,
    header,
    inflated,
    interrupt,
    mutated,
)

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PACKERS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "zstd": zstd.compress}
HOWS = pytest.mark.parametrize("how", PACKERS)


def inflating(packed: bytes, limits: ListLimits = LIMITS) -> Inflating:
    how = compression(packed[:6])
    assert how is not None
    return Inflating(how, limits, lambda size, at: packed[at : at + size])


def all_of(packed: bytes, limits: ListLimits = LIMITS) -> bytes:
    return inflating(packed, limits).read(1 << 40, 0)


@HOWS
@given(
    parts=st.lists(st.binary(max_size=3000), min_size=1, max_size=4),
    repeat=st.sampled_from([1, 50, 2000]),
    reads=st.lists(st.tuples(st.integers(0, 300_000), st.integers(0, 20_000)), max_size=20),
)
def test_any_read_forwards(how: str, parts: list[bytes], repeat: int, reads: list[tuple[int, int]]) -> None:
    whole = b"".join(part * repeat for part in parts)
    source = inflating(b"".join(PACKERS[how](part * repeat) for part in parts) + bytes(7))
    at = 0
    for skip, size in reads:
        at += skip
        assert source.read(size, at) == whole[at : at + size]


@HOWS
def test_what_is_cut_off_or_damaged_is_torn(how: str) -> None:
    data = random.Random(1).randbytes(300) * 2000
    packed = PACKERS[how](data)
    assert all_of(packed) == data
    for end in (*range(6, len(packed), len(packed) // 40), len(packed) - 1):
        with pytest.raises(Torn, match="cut off"):
            all_of(packed[:end])
    if how == "gzip":  # The frames of Python's zstd have no checksum.
        for at in range(10, len(packed), len(packed) // 40):
            with pytest.raises(Torn):
                all_of(packed[:at] + bytes([packed[at] ^ 0x10]) + packed[at + 1 :])
    with pytest.raises(Torn, match="other data after the end"):
        all_of(packed + b"garbage")
    with pytest.raises(Torn, match="cut off"):
        all_of(packed + packed[:7])


def test_the_limits_of_output_and_ratio() -> None:
    zeros = gzip.compress(bytes(80 << 20))
    with pytest.raises(Torn, match=r"more than 200 times its bytes: .* limits\.archive_ratio .* index --full"):
        all_of(zeros)
    assert len(all_of(zeros, LIMITS._replace(archive_ratio=2000))) == 80 << 20
    with pytest.raises(Torn, match=r"more than 1000 bytes: .* limits\.archive_bytes"):
        all_of(gzip.compress(bytes(2000)), LIMITS._replace(archive_bytes=1000))


def test_nothing_takes_long_without_output() -> None:
    """Empty parts and empty blocks, of which a file may have any number."""
    empty = gzip.compress(b"")
    block = zlib.compressobj(9, zlib.DEFLATED, 31)
    blocks = block.compress(b"") + block.flush(zlib.Z_FULL_FLUSH)
    while len(blocks) < 4 << 20:
        blocks += block.flush(zlib.Z_FULL_FLUSH) + b"\0\0\0\xff\xff" * 10_000
    skippable = b"\x50\x2a\x4d\x18" + (4 << 20).to_bytes(4, "little") + bytes(4 << 20)
    for packed in (empty * 300_000, blocks, skippable, zstd.compress(b"") * 400_000, empty + bytes(3 << 20)):
        read = 0

        def read_file(size: int, at: int, packed: bytes = packed) -> bytes:
            nonlocal read
            read += size
            return packed[at : at + size]

        source = Inflating(str(compression(packed[:6])), LIMITS, read_file)
        with pytest.raises(Torn, match="far more compressed bytes"):
            source.read(1, 0)
        assert read < 2 << 20


def test_a_large_window_is_refused_and_small_parts_are_not() -> None:
    parameter = zstd.CompressionParameter
    data = random.Random(2).randbytes(9 << 20)
    large = zstd.compress(data, options={parameter.window_log: 24})
    with pytest.raises(Torn, match="window of more than 8388608 bytes"):
        all_of(large)
    assert all_of(zstd.compress(data, options={parameter.window_log: 23})) == data
    skippable = b"\x53\x2a\x4d\x18\x05\0\0\0hello"
    assert all_of(skippable + zstd.compress(b"a") + skippable + zstd.compress(b"b")) == b"ab"


def test_what_is_kept_of_an_archive_is_bounded() -> None:
    """Beside the members themselves, of which there may be MOST_MEMBERS: see test_archive.py."""
    manifest = b'{"a":"' + b"x" * 8000 + b'"}'
    out = io.BytesIO()
    with gzip.open(out, "wb", 1) as packed:
        for number in range(2500):
            name = f"blobs/sha256/{hashlib.sha256(b'%d' % number).hexdigest()}".encode()
            packed.write(header(name, b"0", len(manifest)) + manifest + bytes(-len(manifest) % 512))
        packed.write(END)
    data = out.getvalue()
    del out
    tracemalloc.start()
    found = inflated(data, LIMITS._replace(archive_ratio=10_000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.small is not None
    assert JSON_BYTES - 10_000 < found.small.bytes <= JSON_BYTES
    last = found.get(f"blobs/sha256/{hashlib.sha256(b'2499').hexdigest()}")
    assert last is not None
    assert found.small.is_left_out(last.offset)
    assert peak < 20 << 20


@HOWS
def test_an_interrupted_pass_goes_on_where_it_was(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted in bytes read of the file: each is read once, however often the pass is interrupted."""
    rng = random.Random(3)
    data = archive(
        *((f"blobs/sha256/{hashlib.sha256(b'%d' % n).hexdigest()}", rng.randbytes(1_500_000)) for n in range(8)),
        ("index.json", b"{}"),
        ("oci-layout", b"{}"),
    )
    path = tmp_path / "a.tar.x"
    path.write_bytes(PACKERS[how](data))
    os.utime(path, (1, 1))
    read = interruptions = 0

    def counted(descriptor: int, size: int, offset: int) -> bytes:
        nonlocal read
        piece = os.pread(descriptor, size, offset)
        read += len(piece)
        return piece

    monkeypatch.setattr(archive_pass, "read_at", counted)  # nothing else counts what one pass reads

    while True:
        try:
            opened = Archive(str(path), LIMITS, interrupt)
        except Interrupted:
            interruptions += 1
            continue
        break
    assert interruptions >= 10
    assert read <= path.stat().st_size
    assert_same(opened.contents, contents(data), data)
    opened.close()


def test_a_pass_is_not_continued_on_another_file(tmp_path: Path) -> None:
    path = tmp_path / "a.tgz"

    for seed in (b"a", b"b"):
        data = archive(
            ("x", random.Random(seed).randbytes(4 << 20)), (f"blobs/sha256/{HEX}", seed), ("index.json", b"{}")
        )
        path.write_bytes(gzip.compress(data))
        with pytest.raises(Interrupted):
            Archive(str(path), LIMITS, interrupt)
    found = Archive(str(path), LIMITS)
    place = found.contents.get(f"blobs/sha256/{HEX}")
    assert place is not None
    assert found.contents.small is not None
    assert found.contents.small.get(place.offset) == b"b"
    found.close()


@HOWS
def test_files_and_blobs_of_a_compressed_archive(how: str, tmp_path: Path) -> None:
    blob = b'{"a":1}'
    digest, other = hashlib.sha256(blob).hexdigest(), hashlib.sha256(b"y").hexdigest()
    large = b"z" * 5000
    layer = hashlib.sha256(large).hexdigest()
    path = tmp_path / "odd name"
    path.write_bytes(
        PACKERS[how](
            archive(
                ("index.json", b"{}"), (f"blobs/sha256/{digest}", blob), (f"blobs/sha256/{other}", b"y"), (f"blobs/sha256/{layer}", large)
            )
        )
    )  # fmt: skip
    assert is_archive(str(path))
    assert compression_at(str(path)) == how
    opened = StoreFile(str(path), "index.json", LIMITS)
    assert (opened.size, opened.read(100, 0), opened.read(1, 1), opened.read(1, 2)) == (2, b"{}", b"}", b"")
    opened.check(2)
    opened.close()
    with BlobDirectories(str(path), limits=LIMITS) as blobs:
        assert blobs.read(f"sha256:{digest}", 100) == blob
        assert {each[:2] for each in blobs.list()} == {
            (f"sha256:{a}", b) for a, b in ((digest, 7), (other, 1), (layer, 5000))
        }
        assert blobs.beginning(f"sha256:{digest}", 3) == blob[:3]
        assert blobs.beginning(f"sha256:{layer}", 3) == b""
        assert blobs.read(f"sha256:{HEX}", 100) is None
        with pytest.raises(BlobProblem, match="does not begin like JSON"):
            blobs.read(f"sha256:{layer}", 1 << 20)
        with pytest.raises(BlobProblem, match="whose blobs are not read"):
            blobs.open(f"sha256:{digest}")
    with pytest.raises(IndexProblem, match="decompress it"):
        StoreFile(str(path), "index.json")
    with BlobDirectories(str(path)) as blobs:
        assert list(blobs.list()) == []
        assert list(blobs.unlisted) == [str(path)]
        assert not blobs.is_torn
        with pytest.raises(BlobProblem, match=f"compressed with {how}"):
            blobs.read(f"sha256:{digest}", 100)


def test_what_looks_like_a_layout(tmp_path: Path) -> None:
    path = tmp_path / "a.tgz"
    some = archive(*((f"x{n}", b"y" * 100) for n in range(20)), ("oci-layout", b"{}"))
    for data, wanted in (
        (archive(("blobs/x", b""), ("index.json", b"{}")), False),
        (some, False),
        (archive(("oci-layout", b"{}")), True),
        (archive(("x", random.Random(1).randbytes(2 << 20)), ("oci-layout", b"{}")), False),
        (archive((f"blobs/sha256/{HEX}", random.Random(1).randbytes(2 << 20))), True),
        (b"text" * 1000, False),
    ):
        path.write_bytes(gzip.compress(data))
        assert is_archive(str(path)) is wanted
    path.write_bytes(gzip.compress(archive((f"blobs/sha256/{HEX}", random.Random(1).randbytes(2 << 20))))[:-20])
    assert is_archive(str(path))
    path.write_bytes(b"\xfd7zXZ\0" + bytes(2000))
    assert not is_archive(str(path))


@HOWS
def test_no_damage_of_compressed_bytes_makes_it_fail_in_another_way(how: str) -> None:
    rng = random.Random(7)
    seeds = [
        PACKERS[how](archive(("oci-layout", b"{}"), ("index.json", b"{}" * 300), (f"blobs/sha256/{HEX}", b"x" * 700))),
        PACKERS[how](INDEX) + PACKERS[how](END),
    ]
    fine = 0
    for number in range(1500):
        packed = mutated(seeds[number % 2], rng)
        if compression(packed[:6]) != how:
            continue
        try:
            assert isinstance(inflated(packed), ArchiveContents)
        except Torn:
            continue
        fine += 1
    assert fine < 700


def test_formats_of_tarfile_through_gzip_and_zstd() -> None:
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        data = archive(("index.json", b"{}" * 300), (f"blobs/sha256/{HEX}", b"x" * 700), form=form)
        assert_same(inflated(zstd.compress(data)), contents(data), data)


def test_a_list_that_is_too_large_for_a_compressed_archive_is_invalid(tmp_path: Path) -> None:
    path = tmp_path / "a.tgz"
    path.write_bytes(gzip.compress(archive(("index.json", b"{" + b" " * INDEX_BYTES), ("oci-layout", b"{}")), 1))
    with pytest.raises(IndexProblem, match=r"index.json has 4194305 bytes, .* decompress it") as caught:
        StoreFile(str(path), "index.json", LIMITS)
    assert caught.value.state == "invalid"
    assert caught.value.file is not None  # so that it is not read again until it changes
