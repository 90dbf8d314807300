"""A server that listens on loopback, with TLS, and lets nobody but its owner in without a password."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

from tests.postgres import Server

ROLE = "keeper"
PASSWORD = "Pa55 w/rd@?:%&=#é"
"""What has to be percent-encoded in a URL, and what a shell, a file of passwords and a regular expression trip over."""

_HBA = """\
local all ocicat trust
local all all scram-sha-256
hostssl all all 127.0.0.1/32 scram-sha-256
hostnossl all all 127.0.0.1/32 scram-sha-256
"""


class SecureServer(Server):
    """`port` is where it listens, `certificate` the path of what its certificate is to be verified with."""

    def start(self) -> None:
        data = f"{self.directory}/data"
        self.certificate = f"{data}/server.crt"
        if not os.path.exists(self.certificate):
            self.port = _free_port()
            Path(f"{data}/pg_hba.conf").write_text(_HBA)
            subprocess.run(
                [
                    "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-days", "2", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                    "-keyout", f"{data}/server.key", "-out", self.certificate,
                ],
                check=True, capture_output=True,
            )  # fmt: skip
            for name in ("server.key", "server.crt"):
                os.chmod(f"{data}/{name}", 0o600)
                if self.user is not None:
                    os.chown(f"{data}/{name}", self.user, -1)
        options = f"-k {self.directory} -c listen_addresses=127.0.0.1 -c port={self.port} -c ssl=on -c fsync=off"
        self._run("pg_ctl", "-D", data, "-o", options, "-l", f"{self.directory}/log", "-w", "start")

    def url(self, database: str, user: str = "ocicat") -> str:
        return f"postgresql+psycopg://{user}@/{database}?host={self.directory}&port={self.port}"

    def ask(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        os.environ["PGPORT"] = str(self.port)
        try:
            return super().ask(statement, database)
        finally:
            del os.environ["PGPORT"]

    def for_keeper(self) -> str:
        """The name of a new catalog that belongs to ROLE, who has PASSWORD."""
        database = self.new_catalog().partition("@/")[2].partition("?")[0]
        if not self.ask(f"SELECT 1 FROM pg_roles WHERE rolname = '{ROLE}'"):
            self.ask(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'")
        self.ask(f"ALTER DATABASE {database} OWNER TO {ROLE}")
        for kind in ("TABLES", "SEQUENCES"):
            self.ask(f"GRANT ALL ON ALL {kind} IN SCHEMA public TO {ROLE}", database)
        return database


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
