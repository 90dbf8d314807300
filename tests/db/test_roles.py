"""The SQL in docs/postgres.md makes roles that may do what it says and nothing else, also after an upgrade."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest
from sqlalchemy import create_engine

from catalog.db.migrate import run_migrations
from catalog.db.views import VIEWS
from catalog.engine.host import this_host
from catalog.engine.open import open_writer
from catalog.engine.postgres.connect import connect, conninfo
from catalog.errors import CatalogLocked
from catalog.reports.reports import REPORTS
from tests import writers
from tests.cli.program import Ran, called, one_error
from tests.postgres import Server

ROLES = ("ocicat_owner", "ocicat_daemon", "ocicat_reader", "ocicat_sql")
DOCUMENT = (Path(__file__).parents[2] / "docs" / "postgres.md").read_text(encoding="utf-8")
OF_SERVER, OF_DATABASE, OF_CATALOG = re.findall(r"^```sql\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)


class Roles(NamedTuple):
    """A server with the database and roles of docs/postgres.md, a layout, and settings without settling."""

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
    """A catalog whose roles were granted their rights, and that was then upgraded, which creates the views again."""
    for statement in OF_SERVER.split(";\n"):  # CREATE DATABASE stands alone
        if statement.strip():
            server.ask(statement)
    server.ask("GRANT CREATE ON SCHEMA public TO PUBLIC", "ocicat")  # as it is before version 15
    server.ask(OF_DATABASE, "ocicat")
    base = tmp_path_factory.mktemp("roles")
    layout = writers.make_layout(str(base / "layout"))
    image = writers.make_image(layout, "a")
    writers.write_index(layout, writers.empty_index(writers.name_entry(image, "short", "docker.io/acme/app", "1")))
    config = base / "settings.toml"
    config.write_text("[watch]\nsettle_ms = 0\n")
    found = Roles(server, layout, str(config))
    engine = create_engine("postgresql+psycopg://", creator=lambda: connect(found.url("owner")))
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
    one_error(result, 4, "permission", "'ocicat help postgres'")


def test_rights_outlive_an_upgrade(roles: Roles) -> None:
    """This does not include those of the role that sees only the views; the document says to grant them again."""
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
    """Return a catalog in a file."""
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


def test_the_role_for_sql_cannot_read_the_tables_behind_the_views(roles: Roles) -> None:
    for table in ("entry", "name", "content", "host"):
        assert roles.ask("reader", "sql", f"SELECT count(*) FROM {table}").status == 0
        result = roles.ask("sql", "sql", f"SELECT count(*) FROM {table}")
        assert result.status in (2, 4)
        assert "permission denied" in result.err


def test_the_document_grants_all_existing_views() -> None:
    (given,) = re.findall(r"GRANT SELECT ON (meta,.*?) TO ocicat_sql", OF_CATALOG, re.DOTALL)
    assert {each.strip() for each in given.split(",")} == {"meta", *(view.name for view in VIEWS)}


def test_nobody_else_gets_in(roles: Roles) -> None:
    roles.server.ask("CREATE ROLE stranger LOGIN")
    try:
        assert called("query", db=roles.server.url("ocicat", "stranger")).status == 4
    finally:
        roles.server.ask("DROP ROLE stranger")


LOCK_TABLE_MODES = ("ACCESS SHARE", "ROW SHARE", "ROW EXCLUSIVE", "SHARE UPDATE EXCLUSIVE", "SHARE", "SHARE ROW EXCLUSIVE",
                    "EXCLUSIVE", "ACCESS EXCLUSIVE")  # fmt: skip


@contextlib.contextmanager
def grabbed(roles: Roles, role: str) -> Iterator[list[str]]:
    """Let a session of the role hold every lock that it can get, of the kinds that a writer was seen to take."""
    with psycopg.connect(conninfo(roles.url(role)), autocommit=True) as session:
        session.execute("BEGIN")
        tables = [str(row[0]) for row in session.execute("SELECT relname FROM pg_class WHERE relkind IN ('r', 'v') AND relnamespace = 'public'::regnamespace")]  # fmt: skip
        had = []
        for table in tables:
            for what in (*(f"LOCK TABLE {table} IN {mode} MODE NOWAIT" for mode in LOCK_TABLE_MODES),
                         *(f"SELECT 1 FROM {table} FOR {mode} NOWAIT" for mode in ("KEY SHARE", "SHARE", "UPDATE"))):  # fmt: skip
                session.execute("SAVEPOINT s")
                try:
                    session.execute(what)
                    had.append(what)
                except psycopg.Error:
                    session.execute("ROLLBACK TO s")
        for key in (0, 1, 2, 0x6F636963):
            session.execute("SELECT pg_try_advisory_lock(%s)", (key,))
            for second in range(4):
                session.execute("SELECT pg_try_advisory_lock(%s, %s)", (key, second))
        session.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, %s))", (this_host(), 0x6F636963))
        yield had


@pytest.mark.parametrize("role", ["reader", "sql"])
def test_no_lock_of_a_reading_role_blocks_a_writer(roles: Roles, role: str) -> None:
    roles.server.ask(
        "DELETE FROM meta WHERE key = 'pruned_ms'", "ocicat"
    )  # retention is due, which keeps all others out
    with grabbed(roles, role) as had:
        assert had
        assert all("ACCESS SHARE" in each for each in had)
        assert roles.ask("daemon", "add", roles.layout) == (0, "", "")
        assert roles.ask("daemon", "index", "--full") == (0, "", "")
        assert roles.ask("daemon", "verify", "--full").status == 0
        assert roles.server.ask("SELECT count(*) FROM meta WHERE key = 'pruned_ms'", "ocicat") == [(1,)]


def test_an_upgrade_does_not_wait_for_ever(roles: Roles) -> None:
    with grabbed(roles, "reader"), pytest.raises(CatalogLocked, match="try again"):
        open_writer(roles.url("owner"), upgrade=True, timeout=0.5)
    assert roles.ask("owner", "db", "upgrade") == (0, "", "")
    roles.paste()


@pytest.mark.parametrize("role", ["reader", "sql"])
def test_neither_makes_large_objects(roles: Roles, role: str) -> None:
    for statement in ("SELECT lo_create(0)", "SELECT lo_creat(-1)", "SELECT lo_from_bytea(0, 'x')"):
        assert roles.ask(role, "sql", statement).status == 2
        with psycopg.connect(conninfo(roles.url(role))) as session, pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.execute(statement)
    assert roles.server.ask("SELECT count(*) FROM pg_largeobject_metadata", "ocicat") == [(0,)]


@pytest.fixture
def open_schema(roles: Roles) -> Iterator[None]:
    """Let everybody create objects in the schema, as before PostgreSQL 15."""
    roles.server.ask("GRANT CREATE ON SCHEMA public TO PUBLIC", "ocicat")
    yield
    roles.server.ask("REVOKE CREATE ON SCHEMA public FROM PUBLIC", "ocicat")


@pytest.mark.usefixtures("open_schema")
def test_a_schema_in_which_everybody_may_make_functions_is_refused(roles: Roles) -> None:
    for role, *arguments in (
        ("daemon", "index"), ("daemon", "add", roles.layout), ("reader", "resolve", "acme/app:1"),
        ("sql", "sql", "SELECT 1"), ("reader", "status"),
    ):  # fmt: skip
        one_error(roles.ask(role, *arguments), 4, "anybody may create functions", "REVOKE CREATE ON SCHEMA")
    upgraded = roles.ask("owner", "db", "upgrade")
    if _owns_schema(roles):
        assert upgraded == (0, "", "")  # who may put it right does
    else:
        one_error(upgraded, 4, "anybody may create functions")
        roles.server.ask(OF_DATABASE, "ocicat")
    roles.paste()
    assert roles.ask("reader", "resolve", "acme/app:1").status == 0


def _owns_schema(roles: Roles) -> bool:
    """Return whether the owner of the database owns its schema, as since PostgreSQL 15."""
    asked = "SELECT pg_has_role('ocicat_owner', nspowner, 'USAGE') FROM pg_namespace WHERE nspname = 'public'"
    return bool(roles.server.ask(asked, "ocicat")[0][0])


@pytest.mark.parametrize(
    ("made", "dropped"),
    [
        (
            "CREATE FUNCTION public.quote_ident(varchar) RETURNS text LANGUAGE sql AS $$ SELECT 'x' $$",
            "DROP FUNCTION public.quote_ident(varchar)",
        ),
        (
            "CREATE OPERATOR public.= (LEFTARG = text, RIGHTARG = text, FUNCTION = texteq)",
            "DROP OPERATOR public.= (text, text)",
        ),
    ],
)
def test_a_function_of_another_role_is_refused_until_it_is_dropped(roles: Roles, made: str, dropped: str) -> None:
    roles.server.ask("GRANT CREATE ON SCHEMA public TO PUBLIC", "ocicat")
    try:
        with psycopg.connect(conninfo(roles.url("reader")), autocommit=True) as session:
            session.execute(made)
    finally:
        roles.server.ask("REVOKE CREATE ON SCHEMA public FROM PUBLIC", "ocicat")
    for role, *arguments in (("daemon", "index", "--full"), ("owner", "db", "upgrade")):
        one_error(roles.ask(role, *arguments), 4, "of the role ocicat_reader", "'ocicat help postgres'")
    roles.server.ask(dropped, "ocicat")
    assert roles.ask("daemon", "index", "--full") == (0, "", "")
