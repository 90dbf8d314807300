"""Check whether blobs match their digests, and record the verdicts (docs/scripts.md).

The directories are listed first, so that exactly the present blobs are checked. A file is read once per run, even if several stores
have it, by hard links or in a shared directory. The file's stat is recorded with the verdict, and a good file is not read again
until its stat changes.

Threads read and hash, because hashing releases Python's lock. The main thread reads small files that are in memory, because handing
them over takes longer. Only the main thread uses the catalog. It commits every few seconds, so that a run of hours that is interrupted
loses only seconds. Files may change at any time, so each is opened as in catalog.layout.blobs, and its stat must be the same after the
last byte as before the first. No store can keep the run busy with bytes that do not exist: a large file with more bytes than its
descriptors claim is not read, and the bytes of holes per store are limited.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, NamedTuple

from sqlalchemy import Connection

from catalog.collector import CollectorPaused
from catalog.engine.interface import Writer
from catalog.errors import CatalogLocked, CatalogUnreachable, NotInTime
from catalog.ingest.clock import now_ms
from catalog.ingest.files_to_verify import BlobFile, Directories
from catalog.ingest.from_disk import FromDisk
from catalog.ingest.grouping import grouped
from catalog.ingest.listener import Report
from catalog.ingest.listing import HELD_AND_VERIFIED, list_blobs
from catalog.ingest.rows import Rows
from catalog.ingest.store_state import Store
from catalog.layout.archive import compression_at
from catalog.layout.blobs import TICK_NS, BlobDirectories, BlobProblem
from catalog.layout.files import missing
from catalog.layout.hashing import file_identity, hash_blob, hole_bytes, identity_of
from catalog.names.age import in_seconds
from catalog.names.digest import HEX_LENGTHS, is_docker_digest
from catalog.names.escape import shown
from catalog.names.sizes import in_bytes

Progress = Callable[[str, int, int], None]

BATCH = 2_000
"""The number of verdicts that are recorded in one transaction, or fewer after BATCH_SECONDS."""
BATCH_SECONDS = 5.0

HOLE_BYTES = 64 << 30
"""The most bytes of holes that are hashed in the files of one store, which takes a minute or two. A file with more is not read."""

_TOGETHER, _TOGETHER_BYTES = 256, 4 << 20
"""The most files, or bytes of files, that a thread reads in one go, because handing over a file takes longer than hashing a small one."""
_SMALL_BYTES = 1 << 20
_ALONE_BYTES = 32 << 10
"""If files are smaller than this on average, hashing, which releases Python's lock, is only a small part of the work."""
_WAIT_SECONDS = 0.2  # between two updates of the progress
_BETWEEN_LOOKS = 256  # the number of listed blobs between two checks of the time
_TRIES = 3  # for a file that changes while it is read

_RECORD = (  # The digest is compared, because a row that was deleted meanwhile may have left its id to another digest.
    "UPDATE store_blob SET is_good = ?, verified_as = ?, verified_at = ?"
    " WHERE store_id = ? AND content_id = (SELECT id FROM content WHERE id = ? AND digest = ?)"
)
_CLAIMED = (
    "SELECT max(claim.size) FROM (SELECT entry.size FROM content JOIN entry ON entry.content_id = content.id"
    " WHERE content.digest = ? AND entry.store_id = ? UNION ALL"
    " SELECT edge.size FROM content JOIN edge ON edge.child_id = content.id"
    " JOIN store_blob ON store_blob.content_id = edge.parent_id WHERE content.digest = ? AND store_blob.store_id = ?) AS claim"
)
_DOUBTED = "SELECT subject FROM problem WHERE store_id = ? AND stage = 1"
_LOOK_AGAIN = "UPDATE store SET blobs_identity = NULL WHERE id = ?"


_HASHES = {each: getattr(hashlib, each) for each in HEX_LENGTHS}
_PROVED = tuple(f"{each}:" for each in _HASHES)


class Trouble(NamedTuple):
    """A bad blob or directory of a store. `kind` is a problem of docs/problems.md."""

    store: str
    kind: str
    subject: str
    detail: str


class _Verdict(NamedTuple):
    """The result of checking a blob. `kind` is empty if it is good, and None if it is gone."""

    kind: str | None
    detail: str = ""
    file: str | None = None
    """The identity of the file that was hashed, as stored in the catalog."""
    dev: int = 0
    ino: int = 0


_Looked = tuple[list[Store], BlobFile, _Verdict]
_Running = set[Future[list[_Looked]]]
_Record = tuple[bool | None, str | None, int | None, int, int, str]
"""The parameters of _RECORD: whether the blob is good, the identity of the hashed file, and the time, each or None; the ids of store and
content; and the digest."""


class _Stopped(Exception):
    """The run ends, so a thread stops in the middle of a file."""


class Verification:
    """One run with `writer`. `report` receives a line for everything that a person should know.

    `jobs` groups of files are read at a time. With `full`, files that were verified and have not changed are read, too. Afterwards, even
    after an interruption, `troubles` are the bad blobs, and these attributes are counts:

    - `verified`: files with a verdict, good or bad, including those that could not be read
    - `skipped`: unchanged files
    - `unproved`: blobs whose digest algorithm is not supported
    - `gone`: blobs that vanished
    - `odd`: blobs that are not regular files, and blob directories that are not directories
    """

    def __init__(
        self, writer: Writer, report: Report, *, jobs: int, full: bool = False, seconds: float | None = None
    ) -> None:
        self._writer = writer
        self._report = report
        self._jobs = jobs
        self._full = full
        self._seconds = seconds
        self._end = None if seconds is None else time.monotonic() + seconds
        self._stop = threading.Event()
        self._count = threading.Lock()
        self._disk = FromDisk()
        self._read = 0
        self._holes: dict[int, int] = {}
        self._waiting: list[_Record] = []
        self._recorded = time.monotonic()
        self._doubted: set[tuple[int, str]] = set()
        self.troubles: list[Trouble] = []
        self.verified = self.skipped = self.unproved = self.gone = self.odd = 0

    def run(self, stores: Iterable[Store], progress: Progress) -> None:
        """Verify the blobs of these stores. `progress` is called with the number of bytes read and the total.

        Raises NotInTime after `seconds`. Before NotInTime or KeyboardInterrupt is raised, the verdicts so far are recorded.
        """
        files: dict[tuple[int, int, str], BlobFile] = {}
        with CollectorPaused():
            for each in stores:
                self._check_time()
                self._plan(each, files)
        to_read: list[BlobFile] = []
        for file in files.values():
            if file.stores and file.verified_at is None:
                to_read.append(file)
                continue
            self.skipped += 1
            for each in file.stores:  # Another store has verified the same file.
                self._waiting.append((True, file.verified_as, file.verified_at, each.id, file.content_id, file.digest))
        gc.freeze()  # The objects of the files live until the end, and none is in a cycle.
        try:
            self._read_all(to_read, progress)
        finally:
            gc.unfreeze()
            self._record()

    def _check_time(self) -> None:
        if self._end is not None and time.monotonic() >= self._end:
            raise NotInTime(
                f"this took longer than {in_seconds(self._seconds or 0)}: the verdicts so far are kept; run it again for the rest,"
                " or allow more time with --timeout"
            )

    # --- planning -----------------------------------------------------------------------------------------------

    def _plan(self, store: Store, files: dict[tuple[int, int, str], BlobFile]) -> None:
        """Collect the files of a store that have to be read."""
        reason = missing(store.opened)
        if reason is not None:
            self._report(f"{shown(store.name)}: {reason}: nothing to verify ({shown(store.path)})")
            return
        how = compression_at(store.opened)
        if how is not None:
            text = f"compressed with {how}, so its blobs are neither read nor verified"
            self._report(f"{shown(store.name)}: {text} ({shown(store.path)})")
            return
        with Directories(store) as blobs:
            kept: list[Sequence[tuple[Any, ...]]] = []
            for _ in list_blobs(self._writer, [(store, blobs)], kept.append):
                pass
            for subject, problem in blobs.problems().items():
                self.troubles.append(Trouble(store.name, problem.kind, subject, problem.reason))
            self.odd += blobs.odd
            with self._writer.snapshot() as connection:
                cursor = Rows(connection).cursor
                held = kept[-1] if kept else cursor.execute(HELD_AND_VERIFIED, (store.id,)).fetchall()
                self._doubted.update((store.id, row[0]) for row in cursor.execute(_DOUBTED, (store.id,)))
            for number, (content_id, digest, _, _, embedded, is_good, verified_as, verified_at) in enumerate(held):
                if embedded:
                    continue
                seen = blobs.listed.get(digest)
                if seen is None or not number % _BETWEEN_LOOKS:
                    self._check_time()
                # A listed name is already known to be a valid digest, so only its algorithm is checked.
                if not (digest.startswith(_PROVED) if seen else is_docker_digest(digest)):
                    self.unproved += 1
                    continue
                seen = seen or blobs.look(digest)
                if seen is None:
                    self.gone += not blobs.unlisted  # A directory that could not be listed was already reported.
                    continue
                dev, ino, size, mtime_ns, ctime_ns = seen
                key = dev, ino, digest
                file = files.get(key)
                if file is None:
                    file = files[key] = BlobFile(content_id, digest, dev, ino, size)
                if size > file.most:
                    with self._writer.snapshot() as connection:
                        values = digest, store.id, digest, store.id
                        claimed = Rows(connection).cursor.execute(_CLAIMED, values).fetchone()[0]
                    file.most = max(file.most, size if claimed is None else claimed)
                if is_good and not self._full and verified_as == identity_of(size, mtime_ns, ctime_ns, ino):
                    file.verified_as, file.verified_at = verified_as, verified_at
                else:
                    file.stores.append(store)

    # --- reading ------------------------------------------------------------------------------------------------

    def _read_all(self, files: list[BlobFile], progress: Progress) -> None:
        total = sum(file.size for file in files)
        most = max(1, min(_TOGETHER, len(files) // (4 * self._jobs)))  # so that each thread has several groups
        running: _Running = set()

        def take(seconds: float) -> None:
            for each in wait(running, seconds, FIRST_COMPLETED).done:
                running.discard(each)
                self._take(each.result())
            self._check_time()
            progress("verifying", min(self._read, total), total)
            if len(self._waiting) >= BATCH or time.monotonic() - self._recorded >= BATCH_SECONDS:
                # If another process writes for a long time, or the server is away, the verdicts are recorded later.
                with contextlib.suppress(CatalogLocked, CatalogUnreachable):
                    self._record()

        with ThreadPoolExecutor(self._jobs, "verify") as pool:
            try:
                for some in grouped(files, most, lambda file: file.size, _TOGETHER_BYTES):
                    if sum(file.size for file in some) >= _ALONE_BYTES * len(some) or self._disk.is_expected():
                        while len(running) >= 2 * self._jobs:
                            take(_WAIT_SECONDS)
                        running.add(pool.submit(self._look, some))
                    else:
                        while len(running) >= self._jobs:
                            take(_WAIT_SECONDS)
                        self._take(self._disk.counted(functools.partial(self._look, some), len(some)))
                    take(0)
                while running:
                    take(_WAIT_SECONDS)
            except BaseException:
                self._stop.set()
                for each in running:
                    each.cancel()
                for each in running:
                    if not each.cancelled() and each.exception() is None:
                        self._take(each.result())
                raise
        progress("verifying", total, total)

    def _look(self, files: list[BlobFile]) -> list[_Looked]:
        """Return the verdicts on files, each for all stores of a file, unless they have different files by now. Runs in any thread."""
        verdicts: list[_Looked] = []
        with contextlib.ExitStack() as stack:
            of, blobs = -1, None
            for file in files:
                stores = file.stores
                while stores:
                    if blobs is None or of != stores[0].id:
                        stack.close()
                        of, blobs = stores[0].id, BlobDirectories(stores[0].opened, stores[0].shared_blobs)
                        stack.enter_context(blobs)
                    verdict = self._hash_small(blobs, file) or self._hash(stores[0], blobs, file.digest, file.most)
                    if len(stores) == 1 or (verdict.ino == file.ino and verdict.dev == file.dev):
                        verdicts.append((stores, file, verdict))
                        break
                    verdicts.append((stores[:1], file, verdict))
                    stores = stores[1:]
        return verdicts

    def _hash_small(self, blobs: BlobDirectories, file: BlobFile) -> _Verdict | None:
        """Return the verdict on a small file if it is good and does not change, like most files, or None if `_hash` has to check it."""
        if file.size > _SMALL_BYTES:
            return None
        algorithm, _, encoded = file.digest.partition(":")
        read = blobs.read_still(algorithm, encoded, _SMALL_BYTES, self._on_piece)
        if read is None or _HASHES[algorithm](read[0]).hexdigest() != encoded:
            return None
        found = read[1]
        return _Verdict("", "", file_identity(found), found.st_dev, found.st_ino)

    def _hash(self, store: Store, blobs: BlobDirectories, digest: str, most: int) -> _Verdict:
        algorithm, _, encoded = digest.partition(":")
        for _ in range(_TRIES):
            try:
                opened = blobs.open(digest)
            except BlobProblem as problem:
                return _Verdict(problem.kind, problem.reason)
            if opened is None:
                for reason in blobs.unlisted.values():
                    return _Verdict("unreadable-blob", reason)
                return _Verdict(None)
            descriptor, before, begin = opened
            try:
                # A later write within the same tick of the clock would not change the file's times.
                young = max(before.st_mtime_ns, before.st_ctime_ns) + TICK_NS - time.time_ns()
                if 0 < young <= TICK_NS and not self._stop.wait(young / 1e9):
                    before = opened.look()
                if before.st_size > most:
                    return _Verdict(
                        "truncated-blob", f"has {in_bytes(before.st_size)} instead of {most}: it is not read"
                    )
                if self._is_empty(store, descriptor, before, begin):
                    why = f"has {in_bytes(before.st_size)}, most of them in holes, and is not read: write it again"
                    return _Verdict("unreadable-blob", why)
                found = hash_blob(descriptor, algorithm, before, self._on_piece, begin)
                after = opened.look()
            except OSError as error:
                return _Verdict("unreadable-blob", error.strerror or str(error))
            finally:
                os.close(descriptor)
            identity = file_identity(after)
            if file_identity(before) == identity:
                if found == encoded:
                    return _Verdict("", "", identity, after.st_dev, after.st_ino)
                why = f"its {in_bytes(after.st_size)} have the digest {algorithm}:{found}"
                return _Verdict("digest-differs", why, identity, after.st_dev, after.st_ino)
        return _Verdict("unreadable-blob", "changes while it is read: verify it again")

    def _is_empty(self, store: Store, descriptor: int, found: os.stat_result, begin: int) -> bool:
        """Return whether the blob, at offset `begin` of the file, exceeds the bytes of holes allowed for its store. Raises OSError."""
        holes = hole_bytes(descriptor, found, HOLE_BYTES, begin)
        if not holes:
            return False
        with self._count:
            holes += self._holes.get(store.id, 0)
            if holes <= HOLE_BYTES:
                self._holes[store.id] = holes
        return holes > HOLE_BYTES

    def _on_piece(self, size: int) -> None:
        if self._stop.is_set():
            raise _Stopped
        self._check_time()  # A group of small files on a slow disk takes long, too.
        with self._count:
            self._read += size

    # --- recording ----------------------------------------------------------------------------------------------

    def _take(self, verdicts: list[_Looked]) -> None:
        now = now_ms()
        for stores, file, verdict in verdicts:
            if verdict.kind is None:
                self.gone += 1
                continue
            self.verified += 1
            is_good, at = (None, None) if verdict.file is None else (not verdict.kind, now)
            for store in stores:
                self._waiting.append((is_good, verdict.file, at, store.id, file.content_id, file.digest))
                if verdict.kind:
                    self.troubles.append(Trouble(store.name, verdict.kind, file.digest, verdict.detail))

    def _record(self) -> None:
        """Write the collected verdicts. A blob that could not be read is recorded as neither good nor bad."""
        self._recorded = time.monotonic()
        if not self._waiting:
            return
        self._writer.write(self._write)
        self._waiting = []

    def _write(self, connection: Connection) -> None:
        cursor = Rows(connection).cursor
        cursor.executemany(_RECORD, self._waiting)
        # A manifest that was bad and is good now has to be read, so the next pass has to check its store.
        if self._doubted:
            good = {(store_id, digest) for is_good, _, _, store_id, _, digest in self._waiting if is_good}
            cursor.executemany(_LOOK_AGAIN, sorted((store_id,) for store_id, _ in good & self._doubted))
