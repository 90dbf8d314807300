"""pgbouncer in transaction mode before a server: few sessions of the server for any number of connections."""

from __future__ import annotations

import os
import signal
import subprocess

from tests.postgres import Server
from tests.watch.harness import wait_for

_PORT = 6432
_SETTINGS = """\
[databases]
* = host={server}
[pgbouncer]
listen_addr =
listen_port = {port}
unix_socket_dir = {place}
auth_type = trust
auth_file = {place}/users
pool_mode = transaction
default_pool_size = {sessions}
max_client_conn = 2000
server_login_retry = 1
logfile = {place}/log
pidfile = {place}/pid
"""
_WITH_TESTS = 'pgbouncer --quiet "$0" & cat; kill $!; wait'
"""Runs it until its stdin is closed: a run of tests that is killed leaves none behind."""


class Pooler:
    """A pooler that has at most `sessions` sessions of `server` for a database and role. It accepts connections of `roles`."""

    def __init__(self, server: Server, sessions: int, roles: tuple[str, ...] = ("ocicat",)) -> None:
        self._server = server
        self.place = f"{server.directory}/pooler-{sessions}"
        os.mkdir(self.place)
        self._sessions = sessions
        self._point_at(server)
        with open(f"{self.place}/users", "w", encoding="utf-8") as file:
            file.writelines(f'"{role}" ""\n' for role in roles)
        if server.user is not None:  # It refuses to run as root, too.
            os.chown(self.place, server.user, -1)
        self._guard = subprocess.Popen(
            ["sh", "-c", _WITH_TESTS, f"{self.place}/settings"], user=server.user, cwd=self.place, stdin=subprocess.PIPE,
            env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin"}, start_new_session=True,
        )  # fmt: skip
        wait_for(lambda: os.path.exists(f"{self.place}/.s.PGSQL.{_PORT}"), what=self._log)

    def _point_at(self, server: Server) -> None:
        with open(f"{self.place}/settings", "w", encoding="utf-8") as file:
            file.write(_SETTINGS.format(server=server.directory, place=self.place, port=_PORT, sessions=self._sessions))

    def turn_to(self, server: Server) -> None:
        """Use another server from now on."""
        self._point_at(server)
        with open(f"{self.place}/pid", encoding="ascii") as file:
            os.kill(int(file.read()), signal.SIGHUP)

    def close(self) -> None:
        """Stop it. The server removes its files."""
        self._guard.communicate()

    def url(self, url: str) -> str:
        """Return the URL of the same database through the pooler."""
        return url.replace(f"host={self._server.directory}", f"host={self.place}&port={_PORT}")

    def sessions(self) -> int:
        """How many sessions of the server there are, of ocicat or whoever."""
        asked = (
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        return int(str(self._server.ask(asked)[0][0]))

    def _log(self) -> str:
        try:
            with open(f"{self.place}/log", encoding="utf-8") as file:
                return file.read()
        except FileNotFoundError:
            return ""
