"""A catalog with roots and layouts, followed by a real `ocicat watch`, and compared with the oracle.

Which stores there are is found by a walk of the tests' own, not asked of the catalog. A store whose index.json is torn or
gone still answers with its last good list (docs/resolution.md). So a copy is kept of every index.json that was good when all
stood still, and the oracle reads the copy if the file itself cannot be used.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

import pytest

from catalog.engine.interface import Reader
from catalog.engine.locks import WRITER, is_held
from catalog.engine.open import open_reader
from catalog.errors import Ambiguous, OcicatError
from catalog.lookup.past import spans
from catalog.lookup.resolve import Asking
from catalog.names.query import parse_query
from catalog.watch.status import read_daemon
from tests.cli.program import Ran, called, ran
from tests.forking import CLEAN, OCICAT, Code, Popen
from tests.oracle import UNREADABLE, Oracle, OracleStore, Outcome, Scan, scan_raw

DEADLINE = 60.0
"""No test waits so long unless something is broken."""

SETTLE_MS = 250
"""What a file is given to stand still where a test says nothing else (docs/resolution.md)."""


def wait_for(
    condition: Callable[[], object], seconds: float = DEADLINE, *, what: Callable[[], object] = lambda: ""
) -> None:
    """Wait until `condition` holds; fails with `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    pause = 0.005
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} seconds: {what()}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


def layouts_below(root: str) -> Iterator[str]:
    """The layouts at and below a directory (section 10): into layouts too, never into blobs, hidden ones or links."""
    for base, names, files in os.walk(root):
        if "oci-layout" in files or (os.path.lexists(f"{base}/index.json") and "blobs" in names):
            yield base
        names[:] = [name for name in names if name != "blobs" and not name.startswith(".")]


class StillOracle(Oracle):
    """The oracle over layouts that stand still: they are read once for all questions."""

    def read(self) -> list[Scan]:
        if not hasattr(self, "_scans"):
            self._scans = super().read()
        return self._scans


def on_both(fixture: str, *, is_long: bool = False) -> pytest.MarkDecorator:
    """Runs a test on both engines by its `catalog` or `quick`; others are about the kernel, or files beside the catalog.

    One that is long runs on the server in `make stress` alone: its subject is the daemon, which writes as it does in others.
    """
    server = pytest.param("postgresql", marks=pytest.mark.deep) if is_long else "postgresql"
    return pytest.mark.parametrize(fixture, ["sqlite", server], indirect=True)


_APART = """
import ctypes, os, subprocess, sys
count = int(sys.argv[1])
script, given, program = sys.argv[2], sys.argv[3 : 3 + count], sys.argv[3 + count :]
user, group = os.geteuid(), os.getegid()
clone_newns, clone_newuser = 0x20000, 0x10000000  # sched.h
if ctypes.CDLL(None, use_errno=True).unshare(clone_newns | clone_newuser):
    sys.exit(os.strerror(ctypes.get_errno()))
for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
    with open(f"/proc/self/{name}", "w") as file:
        file.write(text)
script = f"DAEMON={os.getpid()}; mount --make-rprivate /; {script}"
subprocess.run(["sh", "-ec", script, "sh", *given], check=True)
sys.argv = program
from catalog.cli.start import main
main()
"""
"""Does what `unshare -Urm` does, runs a script there, and goes on as the program: as a fork, which has loaded it already."""


class Followed:
    """A catalog at `directory`/catalog.db, or at a URL, and its daemon; calling it is calling `ocicat`, all but the daemon in
    this process.
    """

    def __init__(self, directory: Path, db: str | None = None, **settings: float) -> None:
        self.directory = str(directory)
        self.db = db or f"{directory}/catalog.db"
        self.env = {"XDG_STATE_HOME": f"{directory}/.state"}
        """Where a daemon of a catalog on a server keeps what it says of itself."""
        self.config = f"{directory}/settings.toml"
        self.daemon: subprocess.Popen[bytes] | None = None
        self.roots: dict[str, str] = {}  # name by path
        self.lone: dict[str, str] = {}
        self.left_out: set[str] = set()
        self.refs: set[str] = set()  # every reference that ever had an answer
        self.stood: set[tuple[str, str]] = set()  # (store, digest) of everything that stood still
        self._log = f"{directory}/daemon.log"
        self._reader: Reader | None = None
        self.configure(**settings)

    def configure(self, **settings: float) -> None:
        """Write the settings file: `settle_ms=50`, `history_days=…`."""
        sections = {"grace_days": "retention", "history_days": "retention"}
        lines = [f"{sections.get(key, 'watch')}.{key} = {value}" for key, value in settings.items()]
        Path(self.config).write_text("\n".join(lines) + "\n")

    def __call__(self, *arguments: str) -> Ran:
        return called("--config", self.config, *arguments, db=self.db, env=self.env)

    def program(self, *arguments: str) -> Ran:
        """The same in a process of its own."""
        return ran("--config", self.config, *arguments, db=self.db, env=self.env)

    def done(self, *arguments: str) -> Ran:
        """A run that has to end well."""
        result = self(*arguments)
        assert result.status == 0, result
        return result

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
        if self.daemon is not None and self.daemon.poll() is None:
            self.daemon.kill()
        if self.daemon is not None:
            self.daemon.wait()

    # --- what is followed ---------------------------------------------------------------------------------------

    def path(self, name: str) -> str:
        return f"{self.directory}/{name}"

    def add_root(self, name: str) -> str:
        """`ocicat add` a directory, which is made where it is not there."""
        path = self.path(name)
        os.makedirs(path, exist_ok=True)
        self.done("add", path)
        self.roots[path] = os.path.basename(path)
        return path

    def add_store(self, path: str) -> None:
        """`ocicat add` a layout."""
        self.done("add", path)
        self.left_out.discard(path)
        if not any(path.startswith(f"{root}/") for root in self.roots):
            self.lone[path] = os.path.basename(path)

    def remove(self, path: str) -> None:
        """`ocicat remove` a root or a store."""
        for store in self.truth():
            if store.path == path or (path in self.roots and store.name.startswith(f"{self.roots[path]}/")):
                shutil.rmtree(self._copy(store.name), ignore_errors=True)  # its rows go
        self.done("remove", path)
        if path in self.roots:
            del self.roots[path]
            self.left_out = {each for each in self.left_out if not each.startswith(f"{path}/")}
        else:
            self.lone.pop(path, None)
            if any(path.startswith(f"{root}/") for root in self.roots):
                self.left_out.add(path)

    def _copy(self, name: str) -> str:
        return f"{self.directory}/.copies/{name}"

    # --- the daemon ---------------------------------------------------------------------------------------------

    def start(
        self,
        *options: str,
        before: Sequence[str] = (),
        program: Sequence[str] = (OCICAT,),
        user: Mapping[str, Any] = MappingProxyType({}),
        env: Mapping[str, str] = MappingProxyType({}),
        log: str | None = None,
        ready: bool = True,
    ) -> None:
        """Start the daemon, as `user` if that says so (parameters of Popen), and, with `ready`, wait until it has looked at everything
        once. It writes its log to a file, or to `log`, and has the variables of `env` too.

        Without options it does that only once: a sweep would cover up for events.
        """
        options = options or ("--rescan", "3600")
        command = [*program, "--db", self.db, "--config", self.config, "watch", *options]
        command = Code(*before[2:], *command) if isinstance(before, Code) else [*before, *command]
        with open(log or self._log, "ab", buffering=0) as file:
            self.daemon = subprocess.Popen(
                command, stderr=file, stdin=subprocess.DEVNULL, env={**CLEAN, **self.env, **env}, **user
            )
        if ready:
            wait_for(self._has_looked, what=self.log)

    def start_apart(self, script: str, *arguments: str, options: Sequence[str] = (), ready: bool = True) -> None:
        """Start the daemon in namespaces of its own, of users and of mounts, after `script` has run there with the arguments.

        $DAEMON is the number of the process that becomes the daemon.
        """
        if Popen.is_whole:
            script = f'DAEMON=$$\n{script}\nshift {len(arguments)}; exec "$@"'
            self.start(*options, before=["unshare", "-Urm", "sh", "-ec", script, "sh", *arguments], ready=ready)
        else:
            self.start(*options, before=Code(_APART, str(len(arguments)), script, *arguments), ready=ready)

    def _has_looked(self) -> bool:
        assert self.daemon is not None
        assert self.daemon.poll() is None, f"the daemon ended with {self.daemon.returncode}: {self.log()}"
        values = read_daemon(self.db)
        return bool(values and values.get("pid") and values.get("last_sweep"))

    def send(self, number: int) -> None:
        assert self.daemon is not None
        self.daemon.send_signal(number)

    def hang(self) -> None:
        """Let the daemon hang (SIGSTOP), at a moment when it does not write."""
        while True:
            self.send(signal.SIGSTOP)
            wait_for(self._is_stopped)
            if not is_held(self.db + WRITER):
                return
            self.send(signal.SIGCONT)

    def _is_stopped(self) -> bool:
        assert self.daemon is not None
        with open(f"/proc/{self.daemon.pid}/status", encoding="utf-8") as file:
            return "State:\tT" in file.read()

    def stop(self, number: int = signal.SIGTERM, seconds: float = DEADLINE) -> int:
        """End the daemon by a signal; its exit status."""
        assert self.daemon is not None
        self.daemon.send_signal(number)
        return self.daemon.wait(seconds)

    def log(self) -> list[str]:
        """What the daemon has said so far."""
        with open(self._log, encoding="utf-8", errors="surrogateescape") as file:
            return file.read().splitlines()

    def said(self) -> list[str]:
        """The lines of text in the daemon's log, without their times."""
        lines = [line for line in self.log() if not line.startswith("{")]
        found = [re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (.*)", line) for line in lines]
        assert all(found), self.log()
        return [each[1] for each in found if each]

    def state(self) -> dict[str, Any]:
        """What `ocicat status` says."""
        values: dict[str, Any] = json.loads(self.done("status", "--format", "json").out)
        return values

    # --- asking -------------------------------------------------------------------------------------------------

    @property
    def reader(self) -> Reader:
        if self._reader is None:
            self._reader = open_reader(self.db)
        return self._reader

    def ask(self, ref: str) -> Outcome:
        """`ocicat resolve REF`, in this process."""
        try:
            found = Asking(self.reader, lambda _note: None).resolve(parse_query(ref))
        except Ambiguous as error:
            return Outcome(3, candidates=frozenset(line.rpartition("\t")[2] for line in error.candidates))
        except OcicatError as error:
            return Outcome(error.status)
        return Outcome(0, found.digest, found.store, frozenset([found.digest]), found.fallback)

    def stores(self) -> dict[str, dict[str, Any]]:
        """What `ocicat stores` says, by name."""
        rows = self.reader.select("SELECT name, path, state, error, entries FROM store", {})
        return {row[0]: dict(zip(("path", "state", "error", "entries"), row[1:], strict=True)) for row in rows}

    def spans(self) -> list[tuple[str, str | None, str | None, str, int, int | None]]:
        """All of history: store, name, tag, digest, since, until."""
        return [(s.store, s.name, s.tag, s.digest, s.since, s.until) for s in spans(self.reader, None)]

    # --- the truth ----------------------------------------------------------------------------------------------

    def truth(self) -> list[OracleStore]:
        """The stores that there are and what the oracle is to read for each, now that all stands still."""
        found: list[tuple[str, str]] = list(self.lone.items())
        for root, name in self.roots.items():
            below = (path for path in layouts_below(root) if path not in self.left_out)
            found += [(path, name if path == root else f"{name}/{os.path.relpath(path, root)}") for path in below]
        stores = []
        for path, name in found:
            if not os.path.isdir(path) or os.path.islink(path):
                continue  # missing: it answers nothing
            copy = self._copy(name)
            try:
                scan_raw(path)
            except UNREADABLE:
                stores.append(OracleStore(name, copy))
                continue
            os.makedirs(copy, exist_ok=True)
            shutil.copyfile(f"{path}/index.json", f"{copy}/index.json")
            stores.append(OracleStore(name, path))
        return stores

    def settled(self, seconds: float = DEADLINE, *, below: bool = True) -> None:
        """Wait until the catalog equals the oracle, for every name, tag and digest that ever was; fails with the difference.

        Without `below` the oracle looks for no manifests below entries, which is faster where there are no blobs.
        """
        stores = self.truth()
        oracle = StillOracle(stores, below)
        for scan in oracle.read():
            for entry in scan.entries:
                self.stood.add((scan.store.name, entry.digest))
                self.refs.add(entry.digest)
                for key in entry.keys:
                    if key.tag is not None:
                        self.refs.add(f":{key.tag}")
                        self.refs.add(f"oci-layout://{scan.store.name}:{key.tag}")
                        if key.repository is not None:
                            self.refs.add(f"{key.repository}:{key.tag}")
        expected = {ref: oracle.resolve(ref) for ref in self.refs}
        names = {store.name for store in stores}

        def is_wrong(ref: str) -> str | None:
            """How the answer to a reference differs from the oracle's."""
            if not ref:
                return None  # the stores differed: they are looked at with all the others
            outcome, said = expected[ref], self.ask(ref)
            if ref.startswith("oci-layout://") and said.status in (1, 2) and outcome.status in (1, 2):
                return None  # missing, or forgotten: the oracle knows no such store
            if said.status == outcome.status == 3 and len(outcome.candidates) > 20:
                same = said.candidates <= outcome.candidates  # no more than 20 are listed
            elif outcome.status == 1 and said.status == 4:
                same = True  # a digest that may be below an entry whose blobs are not there
            else:
                same = said == outcome
            return None if same else f"{ref}: said {said}, is {outcome}"

        def differences() -> Iterator[tuple[str, str]]:
            known = {name for name, row in self.stores().items() if row["state"] != "missing"}
            if known != names:
                yield "", f"stores {sorted(known ^ names)}"
            for ref in expected:
                if wrong := is_wrong(ref):
                    yield ref, wrong

        waits_for: list[
            str
        ] = []  # the reference that was wrong the last time; only once it is right are all asked again

        def is_settled() -> bool:
            if not any(map(is_wrong, waits_for)):
                waits_for[:] = [ref for ref, _ in itertools.islice(differences(), 1)]
                return not waits_for
            return False

        wait_for(
            is_settled,
            seconds,
            what=lambda: "\n".join(
                [*(wrong for _, wrong in differences()), "daemon:", *self.log(), *map(str, self.stores().items())]
            ),
        )


@contextlib.contextmanager
def followed(directory: Path, db: str | None = None, **settings: float) -> Iterator[Followed]:
    """A catalog of the test's own, without a daemon yet, which is ended with it."""
    made = Followed(directory, db, **settings)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_STATE_HOME", made.env["XDG_STATE_HOME"])  # for what this process reads of the daemon
            yield made
    finally:
        made.close()


class Load:
    """A process of its own that runs Python code over the tests' writers until it is ended."""

    def __init__(self, code: str, *arguments: str) -> None:
        repository = str(Path(__file__).parents[2])
        prologue = f"import sys; sys.path.insert(0, {repository!r}); from tests.writers import *\n"
        self.process = subprocess.Popen(
            Code(prologue + code, *arguments), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=CLEAN
        )

    @property
    def out(self) -> IO[bytes]:
        assert self.process.stdout is not None
        return self.process.stdout

    def end(self) -> int:
        """Let it end by itself."""
        self.out.close()
        return self.process.wait(DEADLINE)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.out.close()


def digests(entries: Iterable[dict[str, Any]]) -> list[str]:
    """The digests of descriptors."""
    return [entry["digest"] for entry in entries]
