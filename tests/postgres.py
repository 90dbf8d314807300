"""A PostgreSQL server for a test session, with a socket in a temporary directory, stopped at the end of the session."""

from __future__ import annotations

import glob
import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from catalog.engine.open import open_writer
from catalog.engine.postgres.connect import connect
from catalog.engine.postgres.settings import settings
from tests.programs import in_memory

_OPTIONS = "-c listen_addresses='' -c fsync=off -c full_page_writes=off -c autovacuum=off -c checkpoint_timeout=1h -c max_connections=200 -c shared_buffers=16MB -c wal_retrieve_retry_interval=200ms"
_PROGRAMS = "initdb", "pg_ctl", "pg_basebackup", "pg_dump", "pg_restore"
TEMPLATE = "ocicat_template"

_END_WITH_TESTS = 'cat; kill -QUIT "$(head -n 1 "$0/data/postmaster.pid")" && sleep 1; rm -rf "$0"'
"""Ends a server and removes its files when its stdin is closed: a run of tests that is killed leaves none behind."""
_cluster: list[str] = []
"""The files of a server that has served no test yet, and has TEMPLATE. A server makes them if there are none, and keeps them until it is
closed; the others begin with a copy, which takes a sixth of the time."""


class NoServer(Exception):
    """PostgreSQL's programs were not found: install the Debian package `postgresql`, as .ci/run does."""


def programs() -> str:
    """Return the directory of initdb and pg_ctl: on PATH, else the newest one where Debian has them."""
    found = shutil.which("initdb")
    places = [os.path.dirname(found)] if found else []
    places += sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda path: int(path.split("/")[4]), reverse=True)
    for place in places:
        if all(os.access(f"{place}/{program}", os.X_OK) for program in _PROGRAMS):
            return place
    raise NoServer(NoServer.__doc__)


@contextmanager
def asking(url: str) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """A transaction like that of `ocicat sql`."""
    with connect(url) as session:
        session.autocommit, session.read_only = False, True
        session.execute(*settings())
        yield session
        session.rollback()


class Server:
    """A running server. If this process is root, the server runs as another user, because it refuses to run as root."""

    def __init__(self, of: Server | None = None) -> None:
        """Start it; as a standby that follows `of`, if that is given."""
        self._programs = programs()
        self.directory = tempfile.mkdtemp(prefix="ocicat-pg-", dir=in_memory())
        self.user = _somebody() if os.geteuid() == 0 else None
        if self.user is not None:
            os.chown(self.directory, self.user, -1)
        os.chmod(self.directory, 0o755)
        self._numbers = itertools.count(1)
        self._guard = subprocess.Popen(
            ["sh", "-c", _END_WITH_TESTS, self.directory], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        data = f"{self.directory}/data"
        if of is not None:
            copied = "-R", "-X", "stream", "-c", "fast"
            self._run("pg_basebackup", "-h", of.directory, "-U", "ocicat", "-D", data, *copied)
        elif _cluster:
            subprocess.run(["cp", "-a", *_cluster, data], user=self.user, cwd="/", check=True)
        else:
            self._make_cluster(data)
        self.start()
        self._version = int(str(self.ask("SHOW server_version_num")[0][0]))

    def _make_cluster(self, data: str) -> None:
        """Make the files in `data`, and keep a copy of them for the next servers.

        Meanwhile it runs as any other, because what a special kind of server adds when it starts is not for all.
        """
        self._run("initdb", "-D", data, "-U", "ocicat", "--auth=trust", "-E", "UTF8", "--locale=C.UTF-8")
        Server.start(self)
        Server.ask(self, f"CREATE DATABASE {TEMPLATE}")
        open_writer(Server.url(self, TEMPLATE), upgrade=True).close()
        self.stop("fast")
        _cluster.append(f"{self.directory}/unused")
        subprocess.run(["cp", "-a", data, *_cluster], user=self.user, cwd="/", check=True)

    def start(self) -> None:
        options = f"-k {self.directory} {_OPTIONS}"
        log = f"{self.directory}/log"
        self._run("pg_ctl", "-D", f"{self.directory}/data", "-o", options, "-l", log, "-w", "start")

    def stop(self, how: str = "immediate") -> None:
        """Stop it. The mode `immediate` is like a crash."""
        self._run("pg_ctl", "-D", f"{self.directory}/data", "-m", how, "-w", "stop")

    def close(self) -> None:
        """Stop it, if it runs, and remove all its files."""
        if os.path.exists(f"{self.directory}/data/postmaster.pid"):
            self.stop()
        if _cluster == [f"{self.directory}/unused"]:
            _cluster.clear()
        shutil.rmtree(self.directory, ignore_errors=True)
        self._guard.communicate()

    def promote(self) -> None:
        """Let a standby take over."""
        self._run("pg_ctl", "-D", f"{self.directory}/data", "-w", "promote")

    def dump(self, database: str) -> None:
        """Write a backup of a database."""
        self._run(
            "pg_dump", "-h", self.directory, "-U", "ocicat", "-Fc", "-f", f"{self.directory}/{database}.dump", database
        )

    def restore(self, database: str) -> None:
        """Replace a database by its backup. It exists at every moment but one, and is never half a catalog."""
        self.ask("CREATE DATABASE restored TEMPLATE template0")
        self._run(
            "pg_restore", "-h", self.directory, "-U", "ocicat", "-d", "restored", f"{self.directory}/{database}.dump"
        )
        self.ask(f"DROP DATABASE {database} WITH (FORCE)")
        self.ask(f"ALTER DATABASE restored RENAME TO {database}")

    def url(self, database: str, user: str = "ocicat") -> str:
        return f"postgresql+psycopg://{user}@/{database}?host={self.directory}"

    def ask(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run a single statement as the owner of the server."""
        with psycopg.connect(f"host={self.directory} user=ocicat dbname={database}", autocommit=True) as connection:
            cursor = connection.execute(statement)
            found: list[tuple[object, ...]] = cursor.fetchall() if cursor.description else []
            return found

    def new_catalog(self) -> str:
        """Return the URL of a new, empty catalog."""
        return self.new_database(TEMPLATE)

    def new_database(self, template: str = "template0") -> str:
        """Return the URL of a new, empty database."""
        name = f"catalog_{next(self._numbers)}"
        # Copying through the WAL, which is the usual way since version 15, takes twice as much of the processor.
        strategy = " STRATEGY file_copy" if self._version >= 150_000 else ""
        self.ask(f"CREATE DATABASE {name} TEMPLATE {template}{strategy}")
        return self.url(name)

    def drop(self, url: str) -> None:
        """Remove a database, whoever is connected to it: hundreds of them would take gigabytes."""
        name = url.partition("@/")[2].partition("?")[0]
        self.ask(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def _run(self, program: str, *arguments: str) -> None:
        log = f"{self.directory}/said"
        with open(log, "w+", encoding="utf-8") as file:  # no pipe: the server would keep it open
            done = subprocess.run(
                [f"{self._programs}/{program}", *arguments], user=self.user, cwd=self.directory, stdin=subprocess.DEVNULL,
                stdout=file, stderr=subprocess.STDOUT, check=False, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "LD_BIND_NOW": "1"},
            )  # fmt: skip
            if done.returncode:
                file.seek(0)
                raise RuntimeError(f"{program} ended with {done.returncode}: {file.read()}")


def _somebody() -> int:
    """Return a user other than root: that of PostgreSQL if there is one."""
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_uid
        except KeyError:
            continue
    return 65534
