"""Files in memory are read by one thread, and files from a disk by all of them."""

from __future__ import annotations

from catalog.ingest.from_disk import FromDisk


def test_files_in_memory_are_never_expected_from_a_disk() -> None:
    disk = FromDisk()
    for _ in range(100):
        assert not disk.is_expected()
        assert disk.counted(lambda: "read", 1) == "read"


def test_after_files_from_a_disk_others_are_expected_for_a_while() -> None:
    disk = FromDisk()
    disk.counted(lambda: None, 0)  # at least as many blocks as files were read
    assert [disk.is_expected() for _ in range(33)] == [True] * 32 + [False]
