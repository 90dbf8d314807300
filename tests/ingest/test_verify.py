"""Verdicts over blobs: what is read, what is recorded, what is skipped, and what happens when files move meanwhile."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import time
from collections.abc import Callable
from typing import Any

import pytest

from catalog.engine.open import open_reader, open_writer
from catalog.errors import NotInTime
from catalog.ingest.registry import Registry
from catalog.ingest.settings import StoreSettings
from catalog.ingest.store_state import Store
from catalog.ingest.verify import Trouble, Verification
from catalog.layout.blobs import TICK_NS, BlobDirectories
from tests import writers
from tests.conftest import Catalogue

ALGORITHMS = {"sha256": hashlib.sha256, "sha384": hashlib.sha384, "sha512": hashlib.sha512}


class Run(Verification):
    """A run over a catalog of the test's own. `before` is called with the path of each file that is about to be looked at,
    and `piece` with that of the file at hand whenever a piece of it was read."""

    def __init__(self, catalogue: Catalogue, *, jobs: int = 1, full: bool = False) -> None:
        self.lines: list[str] = []
        super().__init__(catalogue.writer, self.lines.append, jobs=jobs, full=full)
        self.catalogue = catalogue
        self.before: Callable[[str], None] | None = None
        self.piece: Callable[[str], None] | None = None
        self.progressed: list[tuple[str, int, int]] = []
        self._at = ""

    def _look(self, files: list[Any]) -> list[Any]:
        if self.before is None and self.piece is None:
            return super()._look(files)
        verdicts: list[Any] = []
        for file in files:
            self._at = blob(file.stores[0].path, file.digest)
            if self.before is not None:
                self.before(self._at)
            verdicts += super()._look([file])
        return verdicts

    def _on_piece(self, size: int) -> None:
        super()._on_piece(size)
        if self.piece is not None:
            self.piece(self._at)

    def go(self, *names: str) -> Run:
        self.run(stores(self.catalogue, *names), lambda *said: self.progressed.append(said))
        return self

    @property
    def counts(self) -> tuple[int, int]:
        """Files read, and files skipped."""
        return self.verified, self.skipped

    @property
    def kinds(self) -> list[tuple[str, str, str]]:
        return sorted((each.store, each.kind, each.subject) for each in self.troubles)


def stores(catalogue: Catalogue, *names: str) -> list[Store]:
    with catalogue.writer.snapshot() as connection:
        return [each for each in Registry(connection).stores() if not names or each.name in names]


def blob(path: str, digest: str) -> str:
    return f"{path}/blobs/{digest.replace(':', '/')}"


def put(path: str, data: bytes, algorithm: str = "sha256") -> str:
    """A blob of some bytes in a layout; its digest."""
    digest = f"{algorithm}:{ALGORITHMS[algorithm](data).hexdigest()}"
    os.makedirs(f"{path}/blobs/{algorithm}", exist_ok=True)
    with open(blob(path, digest), "wb") as file:
        file.write(data)
    return digest


def spoil(path: str) -> None:
    """Flip a bit of a file and leave its size and its time of modification as they were."""
    found = os.stat(path)
    with open(path, "r+b") as file:
        first = file.read(1)
        file.seek(0)
        file.write(bytes([first[0] ^ 1]))
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def image(catalogue: Catalogue, name: str, layers: int = 2) -> tuple[str, list[str]]:
    """A store of one image; its path and the digests of its blobs."""
    path = writers.make_layout(f"{os.getcwd()}/{name}")
    writers.write_index(path, writers.empty_index(writers.make_image(path, name, layers=layers)))
    catalogue.add(path)
    return path, sorted(f"sha256:{each}" for each in os.listdir(f"{path}/blobs/sha256"))


def share(catalogue: Catalogue, path: str, shared: str) -> None:
    """`ocicat add PATH --shared-blob-dir DIR`."""
    with catalogue.writer.transaction() as connection:
        Registry(connection).add_store(path, StoreSettings(shared_blobs=shared), 1)
    catalogue.index()


def verdicts(catalogue: Catalogue) -> dict[tuple[str, str], bool | None]:
    rows = catalogue.sql(
        "SELECT store.name, content.digest, store_blob.is_good FROM store_blob"
        " JOIN store ON store.id = store_blob.store_id JOIN content ON content.id = store_blob.content_id"
    )
    return {(store, digest): None if good is None else bool(good) for store, digest, good in rows}


def test_every_blob_is_read_once_and_its_verdict_kept(catalogue: Catalogue) -> None:
    path, digests = image(catalogue, "a")
    assert set(verdicts(catalogue).values()) == {None}
    run = Run(catalogue, jobs=3).go()
    assert (run.counts, run.troubles, run.lines) == ((4, 0), [], [])
    assert verdicts(catalogue) == {("a", digest): True for digest in digests}
    size = sum(os.path.getsize(blob(path, digest)) for digest in digests)
    assert run.progressed[-1] == ("verifying", size, size)
    files = [os.stat(blob(path, digest)) for digest in digests]
    assert {row[0] for row in catalogue.sql("SELECT verified_as FROM store_blob")} == {
        f"{each.st_size}:{each.st_mtime_ns}:{each.st_ctime_ns}:{each.st_ino}" for each in files
    }


def test_what_is_good_and_unchanged_is_skipped(catalogue: Catalogue) -> None:
    path, digests = image(catalogue, "a")
    Run(catalogue).go()
    before = catalogue.sql("SELECT * FROM store_blob ORDER BY content_id")
    assert Run(catalogue).go().counts == (0, 4)
    assert catalogue.sql("SELECT * FROM store_blob ORDER BY content_id") == before
    assert Run(catalogue, full=True).go().counts == (4, 0)
    os.utime(blob(path, digests[0]))
    put(path, b"new")
    assert Run(catalogue).go().counts == (2, 3)


def test_a_flipped_bit_is_found_although_the_size_and_time_are_the_same(catalogue: Catalogue) -> None:
    path, digests = image(catalogue, "a")
    Run(catalogue).go()
    spoil(blob(path, digests[1]))
    run = Run(catalogue).go()
    assert run.counts == (1, 3)
    assert run.kinds == [("a", "digest-differs", digests[1])]
    with open(blob(path, digests[1]), "rb") as file:
        data = file.read()
    assert run.troubles[0].detail == f"its {len(data)} bytes have the digest sha256:{hashlib.sha256(data).hexdigest()}"
    assert verdicts(catalogue)["a", digests[1]] is False


def test_a_bad_one_is_told_of_each_time_until_it_is_mended(catalogue: Catalogue) -> None:
    path, digests = image(catalogue, "a")
    spoil(blob(path, digests[1]))
    for _ in range(2):
        assert Run(catalogue).go().kinds == [("a", "digest-differs", digests[1])]
    spoil(blob(path, digests[1]))
    assert Run(catalogue).go().kinds == []
    assert set(verdicts(catalogue).values()) == {True}


def test_a_manifest_that_is_mended_is_read_by_the_next_pass(catalogue: Catalogue) -> None:
    path = writers.make_layout(f"{os.getcwd()}/a")
    manifest = writers.make_image(path, "a")
    writers.write_index(path, writers.empty_index(manifest))
    spoil(blob(path, manifest["digest"]))
    for directory in ("blobs", "blobs/sha256"):
        os.utime(f"{path}/{directory}", (1, 1))  # long unchanged
    catalogue.add(path)
    kinds = "SELECT DISTINCT kind FROM problem"
    assert catalogue.sql(kinds) == [("digest-differs",)]
    spoil(blob(path, manifest["digest"]))  # in place: nothing in the directories tells
    catalogue.index()
    assert catalogue.sql(kinds) == [("digest-differs",)]
    Run(catalogue).go()
    catalogue.index()
    assert catalogue.sql(kinds) == []
    assert catalogue.sql("SELECT kind FROM content WHERE digest = ?", manifest["digest"]) == [(1,)]


def test_what_came_and_went_since_the_last_pass_is_seen(catalogue: Catalogue) -> None:
    path, digests = image(catalogue, "a")
    os.unlink(blob(path, digests[0]))
    new = put(path, b"new")
    assert Run(catalogue).go().counts == (4, 0)
    assert verdicts(catalogue) == {("a", digest): True for digest in [*digests[1:], new]}


@pytest.mark.parametrize("algorithm", ["sha384", "sha512"])
def test_other_algorithms(catalogue: Catalogue, algorithm: str) -> None:
    path, _ = image(catalogue, "a")
    good, bad = put(path, b"good", algorithm), put(path, b"bad", algorithm)
    spoil(blob(path, bad))
    assert Run(catalogue).go().kinds == [("a", "digest-differs", bad)]
    assert verdicts(catalogue)["a", good] is True


def test_what_cannot_be_proved_is_neither_good_nor_bad(catalogue: Catalogue) -> None:
    path, _ = image(catalogue, "a")
    for name in (f"blake3/{'0' * 64}", "md5/xyz", "sha256+b64/abc"):
        os.makedirs(os.path.dirname(f"{path}/blobs/{name}"))
        with open(f"{path}/blobs/{name}", "wb"):
            pass
    run = Run(catalogue).go()
    assert (run.counts, run.unproved, run.troubles) == ((4, 0), 3, [])
    assert sorted(map(str, verdicts(catalogue).values())) == ["None"] * 3 + ["True"] * 4


# Files that several stores have


def test_hard_links_are_read_once_for_all_stores(catalogue: Catalogue) -> None:
    path, digests = image(catalogue, "a")
    other = writers.make_layout(f"{os.getcwd()}/b")
    for digest in digests:
        os.link(blob(path, digest), blob(other, digest))
    catalogue.add(other)
    spoil(blob(other, digests[0]))
    run = Run(catalogue).go()
    assert run.counts == (4, 0)
    assert run.kinds == [("a", "digest-differs", digests[0]), ("b", "digest-differs", digests[0])]
    assert set(verdicts(catalogue)) == {(store, digest) for store in "ab" for digest in digests}
    assert {digest for (_, digest), good in verdicts(catalogue).items() if not good} == {digests[0]}
    assert Run(catalogue).go().counts == (1, 3)


def test_copies_are_read_each_by_itself(catalogue: Catalogue) -> None:
    paths = [writers.make_layout(f"{os.getcwd()}/{name}") for name in "ab"]
    digests = [put(path, b"the same") for path in paths]
    for path in paths:
        catalogue.add(path)
    spoil(blob(paths[1], digests[1]))
    run = Run(catalogue).go()
    assert run.counts == (2, 0)
    assert run.kinds == [("b", "digest-differs", digests[0])]


def test_what_one_store_knows_of_a_file_another_need_not_read(catalogue: Catalogue) -> None:
    path, digests = image(catalogue, "a")
    shared = f"{os.getcwd()}/shared"
    os.rename(f"{path}/blobs", shared)
    share(catalogue, path, shared)
    assert Run(catalogue).go().counts == (4, 0)
    other = writers.make_layout(f"{os.getcwd()}/b")
    writers.write_index(other, writers.read_index(path))
    share(catalogue, other, shared)
    assert Run(catalogue).go().counts == (0, 4)
    assert verdicts(catalogue) == {(store, digest): True for store in "ab" for digest in digests}
    assert len(set(catalogue.sql("SELECT content_id, verified_at, verified_as FROM store_blob"))) == 4
    assert Run(catalogue, full=True).go().counts == (4, 0)


def test_only_the_stores_that_are_named(catalogue: Catalogue) -> None:
    image(catalogue, "a")
    image(catalogue, "b")
    assert Run(catalogue).go("b").counts == (4, 0)
    assert {store for (store, _), good in verdicts(catalogue).items() if good} == {"b"}


# Files that move while the run goes on


def test_a_blob_that_vanishes(catalogue: Catalogue) -> None:
    image(catalogue, "a")
    run = Run(catalogue)
    run.before = os.unlink
    run.go()
    assert (run.counts, run.gone, run.troubles) == ((0, 0), 4, [])


def swap(make: Callable[[str], object]) -> Callable[[str], None]:
    def change(path: str) -> None:
        os.unlink(path)
        make(path)

    return change


@pytest.mark.parametrize(
    "make",
    [os.mkdir, os.mkfifo, lambda path: os.symlink("/etc/passwd", path), lambda path: os.symlink(path, path)],
    ids=["directory", "fifo", "link", "loop"],
)
def test_a_blob_that_becomes_no_regular_file(catalogue: Catalogue, make: Callable[[str], None]) -> None:
    _, digests = image(catalogue, "a")
    run = Run(catalogue)
    run.before = swap(make)
    run.go()
    assert run.kinds == [("a", "bad-blob", digest) for digest in digests]
    assert set(verdicts(catalogue).values()) == {None}


def test_special_files_that_were_there_before_are_no_blobs(catalogue: Catalogue) -> None:
    path, digests = image(catalogue, "a")
    places = [f"{path}/blobs/sha256/{number:064x}" for number in range(3)]
    os.mkdir(places[0])
    os.mkfifo(places[1])
    os.symlink(blob(path, digests[0]), places[2])
    assert Run(catalogue).go().counts == (4, 0)
    assert len(verdicts(catalogue)) == 4


def test_a_blob_that_grows_all_the_time_has_no_verdict(catalogue: Catalogue) -> None:
    path, _ = image(catalogue, "a")
    Run(catalogue).go()
    digest = put(path, b"x" * 100)

    def grow(at: str) -> None:
        with open(at, "ab") as file:
            file.write(b"x")

    run = Run(catalogue)
    run.piece = grow
    run.go()
    assert run.troubles == [Trouble("a", "unreadable-blob", digest, "changes while it is read: verify it again")]
    assert verdicts(catalogue)["a", digest] is None


def test_a_blob_that_changes_once_is_read_again(catalogue: Catalogue) -> None:
    image(catalogue, "a")
    touched: set[str] = set()

    def touch(at: str) -> None:
        if at not in touched:
            touched.add(at)
            os.chmod(at, 0o600)

    run = Run(catalogue)
    run.piece = touch
    assert run.go().troubles == []
    assert len(touched) == 4
    assert Run(catalogue).go().counts == (0, 4)


def test_a_small_blob_is_read_while_it_stands_still_or_not_at_all(catalogue: Catalogue) -> None:
    path = writers.make_layout(f"{os.getcwd()}/a")
    good, link, pipe, sparse_blob, gone = (
        put(path, each) for each in (b"good", b"link", b"pipe", bytes(8192), b"gone")
    )
    other = writers.make_layout(f"{os.getcwd()}/b")
    target = blob(other, put(other, b"link"))
    for digest in (link, pipe, gone, sparse_blob):
        os.unlink(blob(path, digest))
    os.symlink(target, blob(path, link))
    os.mkfifo(blob(path, pipe))
    with open(blob(path, sparse_blob), "wb") as file:
        file.truncate(8192)
    settled = time.time_ns() + TICK_NS
    while time.time_ns() <= settled:
        time.sleep(0.01)
    read: list[int] = []
    with BlobDirectories(f"{path}/.") as blobs:
        found = {
            each: blobs.read_still("sha256", each[7:], 1 << 20, read.append)
            for each in (good, link, pipe, sparse_blob, gone)
        }
        assert {each: result and result[0] for each, result in found.items() if result} == {good: b"good"}
        assert read == [4]
        assert blobs.read_still("sha256", "../" * 21 + "x", 1 << 20, read.append) is None
        assert blobs.read_still("sha256", good[7:], 3, read.append) is None
        changing = blobs.read_still("sha256", good[7:], 4, lambda _: os.chmod(blob(path, good), 0o600))
        assert changing is None
    assert read == [4]


def test_a_hard_link_that_becomes_another_file_is_looked_at_by_itself(catalogue: Catalogue) -> None:
    path = writers.make_layout(f"{os.getcwd()}/a")
    digest = put(path, b"data")
    other = writers.make_layout(f"{os.getcwd()}/b")
    os.link(blob(path, digest), blob(other, digest))
    for each in (path, other):
        catalogue.add(each)

    def change(at: str) -> None:
        os.unlink(at)
        with open(at, "wb") as file:
            file.write(b"other data")

    run = Run(catalogue)
    run.before = change
    run.go()
    assert run.kinds == [("a", "digest-differs", digest)]
    assert verdicts(catalogue) == {("a", digest): False, ("b", digest): True}


def test_a_store_whose_directory_is_gone_keeps_its_verdicts(catalogue: Catalogue) -> None:
    path, digests = image(catalogue, "a")
    Run(catalogue).go()
    os.rename(path, f"{path}-away")
    run = Run(catalogue).go()
    assert (run.counts, run.troubles) == ((0, 0), [])
    assert run.lines == [f"a: the directory is gone: nothing to verify ({path})"]
    assert verdicts(catalogue) == {("a", digest): True for digest in digests}


def test_a_store_that_is_removed_meanwhile(catalogue: Catalogue) -> None:
    image(catalogue, "a")
    found = stores(catalogue)
    catalogue.remove("a")
    Run(catalogue).run(found, lambda *_: None)
    assert catalogue.sql("SELECT * FROM store_blob") == []


# The end


def test_what_was_verified_before_an_interruption_is_kept(catalogue: Catalogue) -> None:
    _, digests = image(catalogue, "a", layers=20)
    run = Run(catalogue, jobs=2)

    def interrupt(*_: object) -> None:
        if run.verified >= 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.run(stores(catalogue), interrupt)
    good = [digest for digest in digests if verdicts(catalogue)["a", digest]]
    assert 0 < len(good) < len(digests)
    assert len(good) == run.verified
    after = Run(catalogue).go()
    assert after.counts == (len(digests) - len(good), len(good))


def test_time_is_over_in_the_middle_of_a_group_of_files(catalogue: Catalogue) -> None:
    image(catalogue, "a", layers=20)
    run = Run(catalogue)
    pieces: list[str] = []

    def piece(at: str) -> None:
        pieces.append(at)
        if len(pieces) == 2:  # of the five of a group
            run._seconds = run._end = 0.0

    run.piece = piece
    with pytest.raises(NotInTime):
        run.go()
    assert len(pieces) == 2


def test_verdicts_are_recorded_on_the_way(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "catalog.ingest.verify.BATCH", 3
    )  # limits: as they are, it takes hundreds of blobs to reach them
    monkeypatch.setattr("catalog.ingest.verify._TOGETHER", 1)
    image(catalogue, "a", layers=20)
    run = Run(catalogue)
    recorded: list[int] = []
    other = open_reader(catalogue.path)

    def look(*_: object) -> None:
        recorded.extend(row[0] for row in other.select("SELECT count(*) FROM store_blob WHERE is_good", {}))

    run.run(stores(catalogue), look)
    other.close()
    assert recorded == sorted(recorded)
    assert len(set(recorded)) > 4
    assert max(each - before for before, each in itertools.pairwise(recorded)) <= 4


def test_a_catalog_that_is_locked_for_a_while_loses_nothing(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("catalog.ingest.verify.BATCH", 1)  # as above
    _, digests = image(catalogue, "a", layers=20)
    run = Run(catalogue)
    monkeypatch.setattr(catalogue.writer, "_timeout", 0)  # or each try would wait for half a minute
    with open_writer(catalogue.path) as other, contextlib.ExitStack() as held:
        is_held = False

        def block(*_: object) -> None:
            nonlocal is_held
            if run.verified >= 3:
                held.close()
            elif run.verified and not is_held:
                held.enter_context(other.transaction())
                is_held = True

        run.run(stores(catalogue), block)
    assert verdicts(catalogue) == {("a", digest): True for digest in digests}


def test_many_small_files_with_many_threads(catalogue: Catalogue) -> None:
    path = writers.make_layout(f"{os.getcwd()}/a")
    digests = [put(path, b"%d" % number) for number in range(1000)]
    catalogue.add(path)
    for digest in digests[::100]:
        spoil(blob(path, digest))
    run = Run(catalogue, jobs=8).go()
    assert run.counts == (1000, 0)
    assert {each.subject for each in run.troubles} == set(digests[::100])
    descriptors = len(os.listdir("/proc/self/fd"))
    Run(catalogue, jobs=8, full=True).go()
    assert len(os.listdir("/proc/self/fd")) == descriptors


def sparse(path: str, size: int, algorithm: str = "sha256", data: bytes = b"") -> str:
    """Make a sparse blob of `size` bytes with only `data` in its middle; return its digest if that can be computed."""
    digest = hashlib.new(algorithm)
    holes = size - len(data)
    if size <= 1 << 26:
        digest.update(bytes(holes // 2) + data + bytes(holes - holes // 2))
    name = f"{algorithm}:{digest.hexdigest()}"
    file = blob(path, name)
    os.makedirs(os.path.dirname(file), exist_ok=True)
    with open(file, "wb") as written:
        written.truncate(size)
        os.pwrite(written.fileno(), data, holes // 2)
    return name


@pytest.mark.parametrize("size", [1, 4095, 1 << 20, (1 << 24) + 5])
@pytest.mark.parametrize("data", [b"", b"x" * 5000])
def test_a_file_with_holes_is_as_good_as_any(catalogue: Catalogue, tmp_path: Any, size: int, data: bytes) -> None:
    path = writers.make_layout(str(tmp_path / "s"))
    sparse(path, size + len(data), data=data)
    catalogue.add(path)
    run = Run(catalogue).go()
    assert (run.counts, run.troubles) == ((1, 0), [])


@pytest.mark.parametrize("claim", [None, 5, 4 << 40])
def test_terabytes_that_are_not_there_are_not_read(catalogue: Catalogue, tmp_path: Any, claim: int | None) -> None:
    """Whether no descriptor claims them, one says less, or one claims them all; the other blobs are verified."""
    path = writers.make_layout(str(tmp_path / "s"))
    good = writers.write_blob(path, b"good", "application/x-tar")
    huge = sparse(path, 4 << 40, data=b"x")
    entries = [] if claim is None else [{"mediaType": "application/x-tar", "digest": huge, "size": claim}]
    writers.write_index(path, writers.empty_index(*entries, good))
    catalogue.add(path)
    read: list[str] = []
    run = Run(catalogue)
    run.piece = read.append
    run.go()
    assert read == [blob(path, good["digest"])]
    assert run.kinds == [("s", "truncated-blob" if claim == 5 else "unreadable-blob", huge)]


def test_many_files_of_holes_take_no_longer_than_one(catalogue: Catalogue, tmp_path: Any) -> None:
    path = writers.make_layout(str(tmp_path / "s"))
    for digit in "0123456789":
        file = blob(path, f"sha256:{digit * 64}")
        with open(file, "wb") as written:
            written.truncate((64 << 30) + 1)
    catalogue.add(path)
    run = Run(catalogue)
    run.piece = lambda _path: pytest.fail("a hole was read")
    run.go()
    assert len(run.troubles) == 10
