"""A password appears only where its user wrote it: in no output, log, metric, state file or file name."""

from __future__ import annotations

import json
import os
import re
import socket
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from catalog import Catalog
from catalog.engine.open import displayed
from catalog.engine.postgres.connect import connect
from tests.cli.program import Ran, one_error, ran
from tests.hosts.conftest import layout
from tests.hosts.host import Host
from tests.hosts.secure import PASSWORD, ROLE, SecureServer
from tests.programs import skip_without
from tests.watch.harness import wait_for

ENCODED = quote(PASSWORD, safe="")
WRONG = "wr0ng-$ecret"


@pytest.fixture(scope="module")
def secure() -> Iterator[SecureServer]:
    skip_without("initdb", "openssl")
    made = SecureServer()
    yield made
    made.close()


@pytest.fixture
def database(secure: SecureServer) -> str:
    """A catalog that ROLE alone may use, by its password."""
    return secure.for_keeper()


class Ways:
    """The ways to give a password to libpq; each is the URL, and the variables that go with it."""

    def __init__(self, server: SecureServer, database: str, directory: Path) -> None:
        self.server, self.database, self.directory = server, database, directory
        self.where = f"127.0.0.1:{server.port}/{database}"

    def __call__(self, way: str, password: str = PASSWORD) -> tuple[str, dict[str, str]]:
        made: Callable[[str], tuple[str, dict[str, str]]] = getattr(self, way)
        return made(password)

    def userinfo(self, password: str) -> tuple[str, dict[str, str]]:
        return f"postgresql+psycopg://{ROLE}:{quote(password, safe='')}@{self.where}", {}

    def option(self, password: str) -> tuple[str, dict[str, str]]:
        return f"postgresql+psycopg://{self.where}?user={ROLE}&password={quote(password, safe='')}", {}

    def strange_option(self, password: str) -> tuple[str, dict[str, str]]:
        return f"postgresql://{ROLE}@{self.where}?pass%77ord={quote(password, safe='')}&connect_timeout=9", {}

    def variable(self, password: str) -> tuple[str, dict[str, str]]:
        return f"postgresql+psycopg://{ROLE}@{self.where}", {"PGPASSWORD": password}

    def passfile(self, password: str) -> tuple[str, dict[str, str]]:
        path = self.directory / "pgpass"
        escaped = password.replace("\\", "\\\\").replace(":", "\\:")
        path.write_text(f"127.0.0.1:{self.server.port}:*:{ROLE}:{escaped}\n")
        path.chmod(0o600)
        return f"postgresql+psycopg://{ROLE}@{self.where}", {"PGPASSFILE": str(path)}

    def service(self, password: str) -> tuple[str, dict[str, str]]:
        path = self.directory / "service.conf"
        lines = ("[shared]", "host=127.0.0.1", f"port={self.server.port}", f"dbname={self.database}", f"user={ROLE}")
        path.write_text("\n".join((*lines, f"password={password}")) + "\n")
        return "postgresql+psycopg://", {"PGSERVICE": "shared", "PGSERVICEFILE": str(path)}

    def named_service(self, password: str) -> tuple[str, dict[str, str]]:
        _, env = self.service(password)
        return "postgresql+psycopg://?service=shared", {"PGSERVICEFILE": env["PGSERVICEFILE"]}

    def variables(self, password: str) -> tuple[str, dict[str, str]]:
        return "postgresql+psycopg://", {
            "PGHOST": "127.0.0.1", "PGPORT": str(self.server.port), "PGDATABASE": self.database, "PGUSER": ROLE,
            "PGPASSWORD": password,
        }  # fmt: skip


WAYS = ("userinfo", "option", "strange_option", "variable", "passfile", "service", "named_service", "variables")


@pytest.fixture
def ways(secure: SecureServer, database: str, tmp_path: Path) -> Ways:
    (tmp_path / "secrets").mkdir()
    return Ways(secure, database, tmp_path / "secrets")


def host(directory: Path, way: tuple[str, dict[str, str]]) -> Host:
    url, env = way
    return Host(directory, "alone", url, env)


def clean(*results: Ran | str, password: str = PASSWORD) -> None:
    """No spelling of the password is in what was said."""
    for each in results:
        text = each if isinstance(each, str) else each.out + each.err
        for spelling in (password, quote(password, safe=""), quote(password), password.replace(":", "\\:")):
            assert spelling not in text, text
        assert "Traceback" not in text, text


def clean_below(directory: str, password: str = PASSWORD) -> list[str]:
    """No file below a directory has it, in its name or in its bytes; the files."""
    found = []
    for base, _, files in os.walk(directory):
        for name in files:
            found.append(os.path.join(base, name))
            clean(found[-1], Path(found[-1]).read_text(encoding="utf-8", errors="replace"), password=password)
    return found


@pytest.mark.parametrize("way", WAYS)
def test_each_way_to_give_a_password_lets_in_and_tells_nobody(ways: Ways, tmp_path: Path, way: str) -> None:
    here = host(tmp_path, ways(way))
    digest = layout(here.path("images/app"))
    said = [
        here.call("--verbose", "add", here.path("images")),
        here.call("--verbose", "resolve", "app:1"),
        here.call("status", "--format", "json"),
        here.call("db", "path"),
    ]
    assert [each.status for each in said] == [0, 0, 0, 0], said
    assert said[1].out == f"{digest}\n"
    clean(*said)
    clean_below(here.directory)
    if not ways(way)[1]:
        with Catalog.open(ways(way)[0]) as opened:
            clean(repr(opened))


@pytest.mark.parametrize("way", ["userinfo", "option", "service"])
def test_neither_a_daemon_nor_a_command_tells_it(ways: Ways, secure: SecureServer, tmp_path: Path, way: str) -> None:
    here = host(tmp_path, ways(way))
    digest = layout(here.path("images/app"))
    told = [here("--verbose", "add", here.path("images"))]
    assert told[0].status == 0, told
    try:
        here.start("--rescan", "1")
        clean(Path(f"/proc/{here.daemon_pid}/cmdline").read_text(), str(secure.ask("SELECT * FROM pg_stat_activity")))
        status = here("status", "--check")
        call = here.call
        said = [
            call("resolve", "app:1"), call("status", "--format", "json"), call("db", "path"), call("--debug", "query", "*"),
            call("resolve", "nosuch"), call("sql", "SELECT nosuch FROM images"), call("stores"), call("report", "usage"),
            call("index", "--full"), call("check"), ran("__complete", "resolve", "ap", db=here.url, env=here.env),
            here("watch"), status,
        ]  # fmt: skip
        assert status.status == 0, status
        assert said[0].out == f"{digest}\n"
        assert said[-3].out == "words\napp:1\n"
        assert "already follows" in said[-2].err
        clean(*told, *said)
    finally:
        here.close()
    assert any(name.endswith(".daemon") for name in clean_below(here.directory))


@pytest.mark.parametrize("way", WAYS)
def test_a_wrong_password_ends_with_status_4_and_is_told_by_nobody(ways: Ways, tmp_path: Path, way: str) -> None:
    here = host(tmp_path, ways(way, WRONG))
    for arguments in (["query"], ["index"], ["status"], ["sql", "SELECT 1"], ["db", "upgrade"], ["wait", "app"]):
        result = here.call(*arguments)
        one_error(result, 4, "cannot reach", "password authentication failed")
        clean(result, here.call("--debug", *arguments).err.replace("Traceback", ""), password=WRONG)
    clean_below(here.directory, WRONG)


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_daemon_that_is_not_let_in_says_so_without_it(
    ways: Ways, secure: SecureServer, tmp_path: Path, log_format: str
) -> None:
    here = host(tmp_path, ways("userinfo"))
    try:
        here.start("--rescan", "1", "--log-format", log_format, "--metrics", "127.0.0.1:0")
        secure.ask(f"ALTER ROLE {ROLE} PASSWORD 'another'")
        secure.ask(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{ROLE}'")
        wait_for(lambda: any("cannot reach" in line for line in here.log()), what=here.log)
        wait_for(lambda: "cannot reach" in str(here.published().get("trouble")), what=here.published)
        clean(json.dumps(here.published()), *here.log(), _scraped(here))
        secure.ask(f"ALTER ROLE {ROLE} PASSWORD '{PASSWORD}'")
        wait_for(lambda: any("is followed again" in line for line in here.log()), what=here.log)
        clean(*here.log(), _scraped(here))
        if log_format == "json":
            assert {json.loads(line)["event"] for line in here.log()} >= {"started", "listening", "waiting", "resumed"}
    finally:
        secure.ask(f"ALTER ROLE {ROLE} PASSWORD '{PASSWORD}'")
        here.close()
    clean_below(here.directory)


def _scraped(here: Host) -> str:
    address = next(found[0] for line in here.log() if (found := re.search(r"http://127\.0\.0\.1:\d+/metrics", line)))
    with urllib.request.urlopen(address, timeout=30) as answer:
        text: str = answer.read().decode()
    assert "ocicat" in text
    return text


@pytest.mark.parametrize(
    "written",
    [
        "{role}:a/s3cr3t@{where}", "{role}:s3cr3t/b@{where}", "{role}:a@s3cr3t@{where}", "{role}:a?s3cr3t@{where}",
        "{role}:a?/s3cr3t@{where}", "{role}:%zzs3cr3t@{where}", "{role}:s3cr3t#@{where}", ":s3cr3t@{where}",
        "{where}?password=s3cr3t&nosuch=1", "{where}?sslpassword=s3cr3t&password=s3cr3t%zz", "{where}?password=s3cr3t@x",
        "{role}:s3cr3t@{where}?port=x",
    ],
)  # fmt: skip
def test_a_url_that_is_written_wrongly_is_refused_without_it(ways: Ways, tmp_path: Path, written: str) -> None:
    url = "postgresql+psycopg://" + written.format(role=ROLE, where=ways.where)
    here = Host(tmp_path, "alone", url)
    for arguments in (["query"], ["index"], ["status"], ["db", "path"]):
        result = here.call(*arguments)
        if arguments != ["db", "path"]:
            one_error(result, 4)
        assert "s3cr3t" not in result.out + result.err, result
    clean_below(here.directory, "s3cr3t")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("u:pw@h:5/db?sslmode=require&password=x&a=b", "u@h:5/db?sslmode=require&password=***&a=b"),
        ("u@/db?host=/run/a@b", "u@/db?host=/run/a@b"),
        ("[::1]:5432/db", "[::1]:5432/db"),
        ("h1:1,h2:2/db?user=a@b", "h1:1,h2:2/db?user=a@b"),
        ("/db?host=/a@b", "/db?host=/a@b"),
        ("", ""),
    ],
)
def test_what_is_shown_of_a_url(url: str, shown: str) -> None:
    assert displayed(f"postgresql+psycopg://{url}") == f"postgresql+psycopg://{shown}"


# --- TLS


def test_options_of_tls_reach_libpq(secure: SecureServer, ways: Ways, tmp_path: Path) -> None:
    url, env = ways("passfile")
    certificate = tmp_path / "root.crt"
    certificate.write_bytes(Path(secure.certificate).read_bytes())
    here = Host(tmp_path, "alone", f"{url}?sslmode=verify-full&sslrootcert={certificate}", env)
    assert here("status").status == 0
    asked = "SELECT count(*) AS n FROM stores"
    assert here.done("sql", asked, "--format", "{n}").out == "0\n"
    there = Host(tmp_path, "there", f"{url}?sslmode=verify-full&sslrootcert={tmp_path}/none.crt", env)
    one_error(there("query"), 4, "cannot reach", "root certificate")
    (tmp_path / "strange.crt").write_bytes(certificate.read_bytes()[:100])
    broken = Host(tmp_path, "broken", f"{url}?sslmode=verify-full&sslrootcert={tmp_path}/strange.crt", env)
    one_error(broken("query"), 4, "cannot reach")


def test_what_the_url_says_of_the_connection_counts(secure: SecureServer, ways: Ways) -> None:
    """Of a server that is gone without a word the kernel tells in a minute, or when somebody has said."""
    url, _ = ways("userinfo")
    for options, idle, name in (("", 30, "ocicat"), ("?keepalives_idle=77&application_name=mine", 77, "mine")):
        with connect(url + options) as session, socket.socket(fileno=os.dup(session.fileno())) as wire:
            assert wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == idle
            assert wire.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert session.execute("SHOW application_name").fetchone() == (name,)


def test_the_connection_is_encrypted_where_that_is_asked_for(secure: SecureServer, ways: Ways, tmp_path: Path) -> None:
    url, env = ways("passfile")
    here = Host(tmp_path, "alone", f"{url}?sslmode=verify-full&sslrootcert={secure.certificate}", env)
    try:
        here.start()
        used = "SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'keeper'"
        wait_for(lambda: secure.ask(used) == [(True,)], what=lambda: secure.ask(used))
    finally:
        here.close()
