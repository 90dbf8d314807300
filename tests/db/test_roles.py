"""The SQL of docs/postgres.md makes roles that may do what it says, and nothing else, through an upgrade too."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest
from sqlalchemy import create_engine

from catalog.db.migrate import run_migrations
from catalog.db.postgres import connect, conninfo
from catalog.db.views import VIEWS
from catalog.reports.reports import REPORTS
from tests import writers
from tests.cli.program import Ran, called, one_error
from tests.postgres import Server

ROLES = ("ocicat_owner", "ocicat_daemon", "ocicat_reader", "ocicat_sql")
DOCUMENT = (Path(__file__).parents[2] / "docs" / "postgres.md").read_text(encoding="utf-8")
OF_SERVER, OF_CATALOG = re.findall(r"^```sql\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)


class Roles(NamedTuple):
    """A server with the database and the roles of the document, a layout, and settings without settling."""

    server: Server
    layout: str
    config: str

    def url(self, role: str) -> str:
        return self.server.url("ocicat", f"ocicat_{role}")

    def ask(self, role: str, *arguments: str) -> Ran:
        return called("--config", self.config, *arguments, db=self.url(role))

    def paste(self) -> None:
        """Run the second part as the owner."""
        with psycopg.connect(conninfo(self.url("owner")), autocommit=True) as session:
            session.execute(OF_CATALOG)


@pytest.fixture(scope="module")
def roles(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Roles]:
    """The catalog was made, the roles were given their rights, and then it was upgraded, which makes the views anew."""
    for statement in OF_SERVER.split(";\n"):  # CREATE DATABASE stands alone
        if statement.strip():
            server.ask(statement)
    base = tmp_path_factory.mktemp("roles")
    layout = writers.make_layout(str(base / "layout"))
    image = writers.make_image(layout, "a")
    writers.write_index(layout, writers.empty_index(writers.name_entry(image, "short", "docker.io/acme/app", "1")))
    config = base / "settings.toml"
    config.write_text("[watch]\nsettle_ms = 0\n")
    found = Roles(server, layout, str(config))
    engine = create_engine("postgresql+psycopg://", creator=lambda: connect(found.url("owner"), read_only=False))
    with engine.begin() as connection:
        connection.connection.driver_connection.autocommit = False  # type: ignore[union-attr]
        run_migrations(connection, "0001")
        for view in VIEWS:
            connection.exec_driver_sql(f"CREATE VIEW {view.name} AS SELECT 1 AS of_that_time")
    engine.dispose()
    found.paste()
    yield found
    server.ask("DROP DATABASE ocicat WITH (FORCE)")
    for role in ROLES:
        server.ask(f"DROP ROLE {role}")


def refused(result: Ran) -> None:
    one_error(result, 4, "permission", "docs/postgres.md")


def test_rights_outlive_an_upgrade(roles: Roles) -> None:
    """All but those of the role that sees the views alone, which the document says to give again."""
    refused(roles.ask("daemon", "db", "upgrade"))
    assert roles.ask("owner", "db", "upgrade") == (0, "", "")
    assert roles.ask("daemon", "add", roles.layout) == (0, "", "")
    assert roles.ask("reader", "sql", "SELECT count(*) FROM images").status == 0
    assert roles.ask("sql", "sql", "SELECT count(*) FROM images").status != 0
    roles.paste()
    assert roles.ask("sql", "sql", "SELECT count(*) FROM images").status == 0


def test_the_daemons_role_writes(roles: Roles, tmp_path: Path) -> None:
    other = writers.big_layout(str(tmp_path / "other"), 20)
    for arguments in (("add", other), ("index", "--full"), ("verify", "layout"), ("remove", "other"), ("index",)):
        assert roles.ask("daemon", *arguments) == (0, "", ""), arguments
    assert roles.ask("daemon", "resolve", "acme/app:1").status == 0
    as_another = {"OCICAT_HOST": "another"}
    refused(called("db", "copy", "--to", roles.url("daemon"), db=copied(tmp_path, roles), env=as_another))


def copied(tmp_path: Path, roles: Roles) -> str:
    """A catalog in a file."""
    path = str(tmp_path / "catalog.db")
    assert called("--config", roles.config, "add", roles.layout, db=path).status == 0
    return path


ASKS: dict[str, Callable[[Roles], tuple[str, ...]]] = {
    "query": lambda _: ("query", "--platform", "linux/amd64"),
    "resolve": lambda _: ("resolve", "acme/app:1"),
    "at a store": lambda roles: ("resolve", f"oci-layout://{roles.layout}:1"),
    "history": lambda _: ("history", "acme/app:1"),
    "wait": lambda _: ("wait", "acme/app:1"),
    "stores": lambda _: ("stores",),
    "status": lambda _: ("status",),
    "check": lambda _: ("check",),
    "db check": lambda _: ("db", "check"),
    "fresh": lambda _: ("resolve", "acme/app:1", "--fresh"),
}


@pytest.mark.parametrize("what", ASKS)
def test_the_readers_role_asks(roles: Roles, what: str) -> None:
    assert roles.ask("reader", *ASKS[what](roles)).status == 0
    refused(roles.ask("sql", "--quiet", *ASKS[what](roles)))


@pytest.mark.parametrize("role", ["reader", "sql"])
def test_both_read_the_views(roles: Roles, role: str) -> None:
    for view in VIEWS:
        assert roles.ask(role, "sql", f"SELECT * FROM {view.name}").status == 0
    for report in REPORTS:
        assert roles.ask(role, "report", report.name).status == 0


@pytest.mark.parametrize("role", ["reader", "sql"])
def test_neither_writes(roles: Roles, role: str, tmp_path: Path) -> None:
    for arguments in (("add", writers.big_layout(str(tmp_path / "a"), 3)), ("remove", "layout"), ("verify", "--full")):
        refused(roles.ask(role, *arguments))
    before = roles.server.ask("SELECT count(*), max(xmin::text) FROM store", "ocicat")
    for statement in ("DELETE FROM store", "UPDATE stores SET name = 'x'", "CREATE TABLE t (a int)"):
        assert roles.ask(role, "sql", statement).status == 2
    assert roles.server.ask("SELECT count(*), max(xmin::text) FROM store", "ocicat") == before


def test_what_is_behind_the_views_is_not_for_sql_alone(roles: Roles) -> None:
    for table in ("entry", "name", "content", "host"):
        assert roles.ask("reader", "sql", f"SELECT count(*) FROM {table}").status == 0
        result = roles.ask("sql", "sql", f"SELECT count(*) FROM {table}")
        assert result.status in (2, 4)
        assert "permission denied" in result.err


def test_the_document_gives_the_views_that_there_are() -> None:
    (given,) = re.findall(r"GRANT SELECT ON (meta,.*?) TO ocicat_sql", OF_CATALOG, re.DOTALL)
    assert {each.strip() for each in given.split(",")} == {"meta", *(view.name for view in VIEWS)}


def test_nobody_else_gets_in(roles: Roles) -> None:
    roles.server.ask("CREATE ROLE stranger LOGIN")
    try:
        assert called("query", db=roles.server.url("ocicat", "stranger")).status == 4
    finally:
        roles.server.ask("DROP ROLE stranger")
