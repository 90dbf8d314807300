"""A host of a shared catalog: a name, directories and a state of its own, and the program as it is run there."""

from __future__ import annotations

import glob
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.cli.program import Ran, called, ran
from tests.forking import CLEAN, OCICAT
from tests.watch.harness import DEADLINE, wait_for

_USUAL = re.compile(
    r"\S+Z (?:info|warning): (watching \d+ stores?|cannot reach postgresql\+psycopg://|postgresql\S* is being written by others|postgresql\S* is followed again|ended by a signal)"
)


class Host:
    """The host `name` of the catalog at `url`; what it keeps is below `directory`. Files settle in `settle_ms`."""

    def __init__(
        self, directory: Path, name: str, url: str, env: Mapping[str, str] | None = None, *, settle_ms: int = 50
    ) -> None:
        self.name = name
        self.url = url
        self.directory = f"{directory}/{name}"
        self.daemon: subprocess.Popen[bytes] | None = None
        os.makedirs(self.directory, exist_ok=True)
        self.config = f"{self.directory}/settings.toml"
        Path(self.config).write_text(f"[watch]\nsettle_ms = {settle_ms}\n")
        self.env = {"OCICAT_HOST": name, "HOME": self.directory, **(env or {})}
        self._log = f"{self.directory}/daemon.log"

    def __call__(self, *arguments: str, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> Ran:
        """Run the program."""
        return ran("--config", self.config, *arguments, db=self.url, stdin=stdin, env={**self.env, **(env or {})})

    def call(self, *arguments: str) -> Ran:
        """The same in this process, where many runs are needed."""
        return called("--config", self.config, *arguments, db=self.url, env=self.env)

    def done(self, *arguments: str) -> Ran:
        """A run that has to end well; in this process."""
        result = self.call(*arguments)
        assert result.status == 0, result
        return result

    def objects(self, *arguments: str) -> list[dict[str, Any]]:
        """What a run that has to end well printed as JSON; in this process."""
        result = self.call(*arguments, "--format", "json")
        assert result.status == 0, result
        found: list[dict[str, Any]] = json.loads(result.out)
        return found

    def path(self, name: str) -> str:
        return f"{self.directory}/{name}"

    # --- the daemon ---------------------------------------------------------------------------------------------

    def start(self, *options: str, ready: bool = True) -> None:
        """Start the daemon and, with `ready`, wait until it has looked at everything once."""
        command = [OCICAT, "--config", self.config, "watch", *(options or ("--rescan", "3600"))]
        with open(self._log, "ab") as log:
            self.daemon = subprocess.Popen(
                command, stderr=log, stdin=subprocess.DEVNULL, env={**CLEAN, **self.env, "OCICAT_DB": self.url}
            )
        if ready:
            wait_for(self.has_looked, what=self.log)

    def has_looked(self) -> bool:
        values = self.published()
        self.alive()
        return values.get("pid") == self.daemon_pid and bool(values.get("last_sweep"))

    @property
    def daemon_pid(self) -> int:
        assert self.daemon is not None
        return self.daemon.pid

    def published(self) -> dict[str, Any]:
        """What the daemon's file says, empty where there is none or it is being written."""
        for name in glob.glob(f"{glob.escape(self.directory)}/.local/state/ocicat/*.daemon"):
            try:
                with open(name, encoding="utf-8") as file:
                    values: dict[str, Any] = json.load(file)
                    return values
            except ValueError:
                break
        return {}

    def alive(self) -> None:
        """The daemon has not ended, though nobody told it to."""
        assert self.daemon is not None
        assert self.daemon.poll() is None, f"{self.name} ended with {self.daemon.returncode}: {self.log()[-20:]}"

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End the daemon by a signal; its exit status."""
        assert self.daemon is not None
        self.daemon.send_signal(number)
        return self.daemon.wait(DEADLINE)

    def close(self) -> None:
        """End the daemon, where one runs still."""
        if self.daemon is not None and self.daemon.poll() is None:
            self.daemon.kill()
            self.daemon.wait()

    def strange(self) -> list[str]:
        """What the daemons logged, except that they start, wait for the server, continue and end."""
        return [line for line in self.log() if not _USUAL.match(line)]

    def log(self) -> list[str]:
        """What the daemons have said so far."""
        if not os.path.exists(self._log):
            return []
        with open(self._log, encoding="utf-8", errors="surrogateescape") as file:
            return file.read().splitlines()


@contextmanager
def hosts(directory: Path, url: str, *names: str) -> Iterator[list[Host]]:
    """Hosts of one catalog, whose daemons are ended with them."""
    made = [Host(directory, name, url) for name in names]
    try:
        yield made
    finally:
        for each in made:
            each.close()
