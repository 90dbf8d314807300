"""The things that the rows share: the installed program, layouts and catalogs, each made when it is first needed."""

from __future__ import annotations

import os
import shutil
import time
from functools import cached_property

from benchmarks import data
from benchmarks.clock import Take, cold, driven
from benchmarks.data import Big
from benchmarks.installed import build, install, plain_environment
from benchmarks.report import say

DRIVERS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "drivers")
SETTLED = 0.5
"""The seconds after which a written file has certainly settled: twice the default of `watch.settle_ms` (docs/settings.md)."""


class World:
    """The installed program and the data below `directory`. Existing data is reused. With `quick`, there is less data and fewer runs."""

    def __init__(self, directory: str, *, quick: bool) -> None:
        self.directory = directory
        self.quick = quick
        self.stores = 1_000 if quick else 10_000
        self.runs = 20 if quick else 60
        self.slow_runs = 2 if quick else 3
        self.home = f"{directory}/home"
        os.makedirs(self.home, exist_ok=True)
        self.environment = plain_environment(self.home)

    @cached_property
    def bin(self) -> str:
        """Return the `bin` of a plain venv with the wheel of this checkout, and the packages that the rows need besides it."""
        say("building the wheel and installing it into a plain venv")
        for old in ("dist", "venv"):
            shutil.rmtree(f"{self.directory}/{old}", ignore_errors=True)
        wheel, _ = build(f"{self.directory}/dist")
        return install(wheel, f"{self.directory}/venv", "ijson", "psycopg[binary]", "uvicorn", "uvloop", "httptools")

    @property
    def plain(self) -> str:
        """Return the path of the Python program if the wheel has a native launcher; otherwise the Python program is `ocicat`."""
        return f"{self.bin}/ocicat-plain"

    # --- processes ----------------------------------------------------------------------------------------------

    def ocicat(self, db: str, *arguments: str, status: int = 0, stdin: str = os.devnull) -> Take:
        """Return an action that runs `ocicat --db DB ...` in a new process, without the native launcher."""
        return cold(self.command(db, *arguments), self.environment, status=status, stdin=stdin)

    def command(self, db: str, *arguments: str) -> list[str]:
        """Return the command `ocicat --db DB ...`, without the native launcher."""
        program = self.plain if os.path.exists(self.plain) else f"{self.bin}/ocicat"
        return [program, "--db", db, *arguments]

    def python(self, code: str, *arguments: str) -> Take:
        """Return an action that runs `python -c CODE ...` of the same venv in a new process."""
        return cold([f"{self.bin}/python", "-c", code, *arguments], self.environment)

    def drive(self, driver: str, *arguments: str) -> list[float]:
        """Run one of benchmarks/drivers and return the numbers that it prints."""
        return driven([f"{self.bin}/python", f"{DRIVERS}/{driver}.py", *arguments], self.environment)

    # --- layouts ------------------------------------------------------------------------------------------------

    def big(self, entries: int) -> Big:
        """Return one layout with this many entries."""
        say(f"a layout of {entries:,} entries")
        return data.big(f"{self.directory}/big/{entries}", entries)

    @cached_property
    def mix(self) -> str:
        """Return the root of 10,000 layouts (1,000 with `quick`) of 100 entries each."""
        say(f"{self.stores:,} layouts of {data.ENTRIES} entries")
        return data.mix(f"{self.directory}/mix-{self.stores}", self.stores)

    # --- catalogs -----------------------------------------------------------------------------------------------

    def registered(self, name: str, *paths: str) -> str:
        """Return a new catalog in which these paths are registered but not read."""
        db = f"{self.directory}/{name}.db"
        drop(db)
        self.ocicat(db, "add", "--no-index", *paths)()
        self.drive("register", db)
        time.sleep(SETTLED)
        return db

    @cached_property
    def catalog(self) -> str:
        """Return the catalog of the mix, completely read."""
        db = f"{self.directory}/catalog-{self.stores}.db"
        if not os.path.exists(db):
            made = self.registered("catalog.new", self.mix)
            say("indexing them")
            self.ocicat(made, "index")()
            os.rename(made, db)
            drop(made)
        return db

    @cached_property
    def pruned(self) -> str:
        """Return the catalog of 10,000 stores with blobs (1,000 with `quick`), completely read."""
        db = f"{self.directory}/pruned-{self.stores}.db"
        if not os.path.exists(db):
            say(f"{self.stores:,} layouts of {data.ENTRIES} names, with blobs")
            made = self.registered("pruned.new", data.named(f"{self.directory}/named-{self.stores}", self.stores))
            say("indexing them")
            self.ocicat(made, "index")()
            os.rename(made, db)
            drop(made)
        return db

    @cached_property
    def small(self) -> str:
        """Return a catalog of ten stores of the mix, with 1,000 entries."""
        db = self.registered("small", data.mix(f"{self.directory}/mix-10", 10))
        self.ocicat(db, "index")()
        return db


def drop(db: str) -> None:
    """Remove a catalog and the files whose names begin with its name."""
    directory, name = os.path.split(db)
    for other in os.listdir(directory):
        if other.startswith(name):
            os.unlink(f"{directory}/{other}")
