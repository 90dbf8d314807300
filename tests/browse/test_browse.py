"""`ocicat browse` as a process and over HTTP: what it refuses, what it does not touch, and how it ends."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import quote

import pytest

from catalog.browse.description import FACETS
from catalog.browse.questions import QUESTIONS
from catalog.db.views import VIEWS
from catalog.reports.reports import REPORTS
from tests import writers
from tests.browse.served import Place, Site, browsing
from tests.cli.program import one_error, ran
from tests.effort import examples, pairs
from tests.forking import CLEAN
from tests.reports.test_gate import ENDLESS, PRIVATE, REFUSED, state
from tests.watch.harness import wait_for

ROWS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) SELECT i, name FROM n, stores"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_status_0_and_the_address_is_all_it_prints(shown: Place, number: int) -> None:
    with browsing(shown.db) as site:
        assert site.get("/").status == 200
        assert site.end(number) == (0, b"", b"")


def test_a_signal_ends_it_while_a_statement_runs(shown: Place) -> None:
    with browsing(shown.db, "--timeout", "60") as site:
        statuses: list[int] = []
        asking = threading.Thread(target=lambda: statuses.append(site.sql(ENDLESS).status))
        asking.start()
        wait_for(lambda: _connections(site.process.pid, shown.db))
        assert site.end(signal.SIGTERM) == (0, b"", b"")
        asking.join()
        assert statuses == [503]


def test_wrong_usage_and_messages(shown: Place, tmp_path: Path) -> None:
    one_error(ran("browse", db=f"{tmp_path}/none.db"), 4, "there is no catalog")
    (tmp_path / "text.db").write_text("no catalog at all, but long enough to be looked at by SQLite\n" * 20)
    one_error(ran("browse", db=f"{tmp_path}/text.db"), 4, "damaged")
    for arguments, db in ((("--db", "postgresql+psycopg://h/d"), None), ((), "postgresql+psycopg://h/d")):
        one_error(ran("browse", *arguments, db=db), 2, "browse needs a catalog in a file")
    one_error(ran("browse", "--host", "", db=shown.db), 2, "--host")
    one_error(ran("browse", "--host", "no such host", db=shown.db), 2, "--host")
    one_error(ran("browse", "--port", "65536", db=shown.db), 2, "--port")
    one_error(ran("browse", "--timeout", "0", db=shown.db), 2, "--timeout")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        one_error(ran("browse", "--port", port, db=shown.db), 4, "another --port")


def test_without_the_extra_it_says_what_to_install(shown: Place) -> None:
    script = "import sys; sys.modules['datasette'] = None; from catalog.cli import start; start.main()"
    done = subprocess.run(
        [sys.executable, "-c", script, "--db", shown.db, "browse"],
        env=CLEAN, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "ocicat: error: browse needs Datasette: pip install 'ocicat[browse]'\n"


def test_no_other_command_loads_datasette() -> None:
    script = """import pkgutil, sys, catalog.cli.commands
for each in pkgutil.iter_modules(catalog.cli.commands.__path__, "catalog.cli.commands."):
    __import__(each.name)
print([each for each in sys.modules if each.startswith(("datasette", "uvicorn", "jinja2", "httpx", "catalog.browse"))])"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_everything_on_the_first_page_is_there(site: Site) -> None:
    page = site.get("/")
    assert page.status == 200
    links = set(re.findall(r'href="(/[^"]*)"', page.text))
    assert {f"/catalog/{view.name}" for view in VIEWS} <= links
    assert {f"/catalog/report-{report.name}" for report in REPORTS} <= links
    for path in links:
        assert site.get(path).status == 200, path


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_a_view_has_its_rows_its_description_and_facets(site: Site, shown: Place, view: object) -> None:
    (found,) = (each for each in VIEWS if each is view)
    page = site.get(f"/catalog/{found.name}")
    text = page.text.replace("&#39;", "'").replace("&lt;", "<").replace("&gt;", ">")
    for name, _, documentation in found.columns:
        assert f"<dt>{name}</dt><dd>{documentation}</dd>" in text
    assert set(FACETS[found.name]) <= {name for name, _, _ in found.columns}
    rows = json.loads(site.get(f"/catalog/{found.name}.json?_shape=objects&_size=max").text)["rows"]
    with sqlite3.connect(f"file:{shown.db}?mode=ro", uri=True) as connection:
        connection.row_factory = sqlite3.Row
        expected = [dict(row) for row in connection.execute(f"SELECT * FROM {found.name}")]
    connection.close()
    assert sorted(map(repr, rows)) == sorted(map(repr, expected))


def test_each_view_has_its_facets_chosen() -> None:
    assert set(FACETS) == {view.name for view in VIEWS}


@pytest.mark.parametrize("report", REPORTS, ids=lambda report: report.name)
def test_a_report_is_the_one_of_the_command_line(site: Site, shown: Place, report: object) -> None:
    (found,) = (each for each in REPORTS if each is report)
    rows = json.loads(site.get(f"/catalog/report-{found.name}.json?_shape=objects").text)["rows"]
    assert rows == json.loads(ran("report", found.name, "--format", "json", db=shown.db).out)


def test_each_query_has_a_unique_name() -> None:
    names = [question.name for question in QUESTIONS]
    assert len(set(names)) == len(names)
    assert not set(names) & {view.name for view in VIEWS}  # otherwise one would hide the other


@pytest.mark.parametrize("table", PRIVATE)
def test_a_private_table_is_refused_however_it_is_asked_for(site: Site, table: str) -> None:
    assert site.get(f"/catalog/{table}").status == 404
    assert site.get(f"/catalog/{table}.json").status == 404
    for form in ("", ".json", ".csv"):
        answer = site.sql(f"select * from {table}", form)
        assert answer.status == 400, form
        assert form != ".json" or json.loads(answer.text)["rows"] == []
    for query in (f"_where=exists(select+1+from+{table}+t+where+t.rowid)", f"_where=1+in+(select+*+from+{table})"):
        assert site.get(f"/catalog/stores?{query}").status == 400, query


def test_what_does_more_than_read_is_refused_and_changes_nothing(site: Site, shown: Place) -> None:
    directory = os.path.dirname(shown.db)
    before = state(directory)
    for statement in REFUSED:
        assert site.sql(statement, ".json").status == 400, statement
    assert state(directory) == before
    assert not os.path.exists("other.db")


def test_no_other_database_and_no_file_can_be_read(site: Site) -> None:
    for path in ("/_internal", "/_memory", "/catalog.db", "/_memory?sql=select+1", "/catalog/-/create", "/IMAGES"):
        assert site.get(path).status in (403, 404), path
    told = json.loads(site.get("/-/databases.json").text)
    assert [(each["name"], each["is_mutable"]) for each in told] == [
        ("catalog", True)
    ]  # which shows that it is not immutable
    told = json.loads(site.get("/catalog.json").text)
    assert told["tables"] == []
    assert [each["name"] for each in told["views"]] == [view.name for view in VIEWS]


ODD_QUERIES = (
    "_timelimit=x", "_timelimit=-1", "_next=x", "_next=-1", "_sort=nope", "_sort_desc=nope", "_col=nope", "_facet=nope",
    "_facet_array=name", "_facet_date=since", "_facet_size=x", "_size=-1", "_size=x", "_through=x", "_search=x", "_search_name=x",
    "_through=%7B%22table%22:%22x%22,%22column%22:%22a%22,%22value%22:%22b%22%7D", "name__nope=1", "_labels=on", "name__in=%5B1",
    "name__arraycontains=x", "name__date=x", "_where=x", "_where=1%3Bselect+1", "_fts_table=store&_search=a&_fts_pk=b",
    "_searchmode=raw&_search=x", "_ttl=x", "_shape=object", "name=%00", "name=%ff", "name__contains=%ed%a0%80",
    "size__gt=99999999999999999999999", "_stream=1", "_trace=1", "_context=1",
)  # fmt: skip


def test_an_unreadable_request_is_status_400_and_prints_nothing_on_the_terminal(shown: Place) -> None:
    with browsing(shown.db) as site:
        for query, form in pairs(ODD_QUERIES, ("", ".json", ".csv")):
            answer = site.get(f"/catalog/images{form}?{query}")
            assert answer.status in (200, 400, 403), (query, form, answer)
            assert "Traceback" not in answer.text
        for statement in (
            "select 1; select 2",
            "select '\0'",
            "select",
            "select zeroblob(10) as x",
            "select 9e999",
            "sel",
        ):
            assert site.sql(statement).status in (200, 400), statement
            assert site.sql(statement, ".json").status in (200, 400), statement
        assert site.get("/catalog/stores").status == 200
        assert site.end(signal.SIGTERM) == (0, b"", b"")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_only_get_and_head_are_answered(site: Site, method: str) -> None:
    for path in ("/", "/catalog", "/catalog/stores", "/-/messages", "/-/logout"):
        assert site.get(path, method=method).status == 405


def test_head_is_answered(site: Site) -> None:
    assert site.get("/catalog/stores", method="HEAD").status == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("evil.example", 421), ("127.0.0.1.evil.example", 421), ("evil.example:80", 421), ("", 421), ("localhost:port", 421), ("localhost@evil.example", 421), ("[::1", 421),
        ("localhost", 200), ("LOCALHOST:8001", 200), ("127.0.0.1", 200), ("[::1]:8001", 200), ("192.0.2.7:8001", 200),
    ],
)  # fmt: skip
def test_an_unrecognised_host_is_refused(site: Site, host: str, status: int) -> None:
    assert site.get("/catalog/stores", {"Host": host}).status == status


def test_a_page_cannot_be_framed_or_load_from_elsewhere(site: Site) -> None:
    for path in ("/", "/catalog/stores", "/nothing", "/-/plots"):
        policy = site.get(path).headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
    assert "access-control-allow-origin" not in site.get("/catalog/stores.json").headers


def _processes(pid: int) -> list[int]:
    """Return a process and those that it started."""
    found = [pid]
    for task in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(OSError):  # it has ended in the meantime
            found += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text(encoding="ascii").split())
    return found


def _connections(pid: int, db: str) -> list[str]:
    found = []
    for process in _processes(pid):
        with contextlib.suppress(FileNotFoundError):  # it has ended in the meantime
            for each in Path(f"/proc/{process}/fd").iterdir():
                with contextlib.suppress(FileNotFoundError):  # it was closed in the meantime
                    path = str(each.readlink())
                    if path.startswith(db):
                        found.append(path)
    return found


def test_it_keeps_nothing_open_and_pins_no_wal(own: Place) -> None:
    with browsing(own.db) as site:
        assert site.sql(ROWS).status == 200  # cut off after 1,000 rows
        assert site.get("/catalog/images").status == 200
        assert _connections(site.process.pid, own.db) == []
        connection = sqlite3.connect(own.db)
        try:
            connection.execute("UPDATE meta SET value = value")
            connection.commit()
            assert site.sql(ROWS).status == 200
            assert connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)
        finally:
            connection.close()


def test_it_works_beside_a_writer_and_shows_new_rows(own: Place) -> None:
    layout = f"{own.root}/builds/app"
    with browsing(own.db) as site:
        statuses: list[int] = []
        going = threading.Event()
        going.set()

        def read() -> None:
            while going.is_set():
                statuses.extend(site.get(path).status for path in ("/catalog/images", "/catalog/report-usage.json"))

        readers = [threading.Thread(target=read) for _ in range(2)]
        for each in readers:
            each.start()
        try:
            for number in range(examples(24)):
                entry = writers.name_entry(
                    writers.make_image(layout, f"new-{number}"), "short", "docker.io/acme/new", f"{number}"
                )
                writers.write_index(layout, writers.append(writers.read_index(layout), entry))
                own.read()
                answer = site.get(f"/catalog/images.json?_shape=objects&name=docker.io/acme/new:{number}")
                assert [row["digest"] for row in json.loads(answer.text)["rows"]] == [entry["digest"]]
        finally:
            going.clear()
            for each in readers:
                each.join()
        assert set(statuses) == {200}


def test_a_catalog_that_goes_and_comes_back(own: Place) -> None:
    with browsing(own.db) as site:
        assert site.get("/catalog/stores").status == 200
        shutil.move(own.db, f"{own.db}.away")
        gone = site.get("/catalog/stores")
        assert gone.status == 503
        assert "there is no catalog at" in gone.text
        assert site.get("/catalog/stores.json").status == 503
        shutil.move(f"{own.db}.away", own.db)
        assert site.get("/catalog/stores").status == 200
        assert site.end(signal.SIGTERM) == (0, b"", b"")


def test_a_statement_ends_at_the_time_limit_and_the_next_one_is_answered(shown: Place) -> None:
    with browsing(shown.db, "--timeout", "0.2") as site:
        for _ in range(5):  # more than the number of threads
            assert site.sql(ENDLESS).status == 400
        assert site.sql("SELECT zeroblob(100000000)").status == 400
        assert site.get("/catalog/stores").status == 200
        assert site.end(signal.SIGTERM) == (0, b"", b"")


def test_a_plugin_that_is_installed_beside_it_is_not_loaded(shown: Place, tmp_path: Path) -> None:
    (tmp_path / "meddling.py").write_text(
        "from datasette import hookimpl, Response\n"
        "@hookimpl\ndef register_routes():\n    return [('^/-/meddling$', lambda: Response.text('here'))]\n"
    )
    info = tmp_path / "meddling-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: meddling\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[datasette]\nmeddling = meddling\n")
    env = {"PYTHONPATH": str(tmp_path)}
    script = (
        "from datasette.plugins import pm; print([name for name, _ in pm.list_name_plugin() if name == 'meddling'])"
    )
    done = subprocess.run([sys.executable, "-c", script], env=CLEAN | env, capture_output=True, text=True, check=True)
    assert done.stdout == "['meddling']\n"
    with browsing(shown.db, env=env) as site:
        assert site.get("/-/meddling").status == 404


def test_open_starts_a_browser(shown: Place, tmp_path: Path) -> None:
    told = tmp_path / "told"
    script = tmp_path / "browser"
    script.write_text(f'#!/bin/sh\necho "$1" >"{told}.new" && mv "{told}.new" "{told}"\n')
    script.chmod(0o755)
    with browsing(shown.db, "--open", env={"BROWSER": str(script)}) as site:
        wait_for(told.exists)
        assert told.read_text() == f"{site.url}\n"
    told.unlink()
    with browsing(shown.db, env={"BROWSER": str(script)}) as site:
        assert site.get("/").status == 200
        assert site.end(signal.SIGTERM) == (0, b"", b"")
    assert not told.exists()


def test_an_address_that_others_can_reach_gets_a_warning(shown: Place) -> None:
    with browsing(shown.db, "--host", "0.0.0.0") as site:
        assert site.url.startswith("http://127.0.0.1:")
        assert site.get("/catalog/stores").status == 200
        assert site.get("/catalog/stores", {"Host": "evil.example"}).status == 421
        status, out, err = site.end(signal.SIGTERM)
        assert (status, out) == (0, b"")
        assert err.startswith(b"ocicat: warning: anyone who can reach 0.0.0.0 ")


def test_a_path_with_characters_of_a_url_is_opened(own: Place, tmp_path: Path) -> None:
    odd = f"{tmp_path}/a?b#c%20d.db"
    shutil.copyfile(own.db, odd)
    with browsing(odd) as site:
        assert len(json.loads(site.get("/catalog/stores.json").text)["rows"]) == 4


def test_the_pictures_of_the_document_are_small_png_files() -> None:
    pictures = sorted((Path(__file__).parents[2] / "docs" / "screenshots").iterdir())
    assert pictures
    for each in pictures:
        assert each.read_bytes().startswith(b"\x89PNG\r\n")
        assert each.stat().st_size < 150_000, each


def test_the_beginning_of_a_digest_is_looked_up_as_pages_and_terminals_show_it(site: Site, shown: Place) -> None:
    digest = shown.digests["3.16"]
    for text in (digest, digest[:19], f"{digest[:19]}…", digest[7:19], f"@{digest[7:13]} "):
        answer = site.get(f"/catalog/where-is.json?_shape=array&digest={quote(text)}")
        assert [row["store"] for row in json.loads(answer.text) if row["relation"] == "is named"] == [
            "builds/alpine",
            "mirror/alpine",
        ]
    assert json.loads(site.get(f"/catalog/where-is.json?_shape=array&digest={digest[7:12]}").text) == []


def test_an_address_that_does_not_exist_gets_a_page_that_fits_and_leads_on(site: Site) -> None:
    answer = site.get("/-/nosuch")
    assert answer.status == 404
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert 'name="viewport"' in answer.text
    assert '<a href="/">' in answer.text


def test_a_mistyped_column_gets_the_nearest(site: Site) -> None:
    assert "did you mean &#39;name&#39;?" in site.sql("SELECT nam FROM images").text


def test_a_name_with_a_tag_that_nothing_has_is_no_digest(site: Site) -> None:
    answer = site.get("/-/image?ref=nosuch:1")
    assert answer.status == 404
    assert "no image docker.io/library/nosuch:1" in answer.text
