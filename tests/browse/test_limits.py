"""What one visitor of `ocicat browse` may cost the others in time and memory, how it ends, and which sites may send requests."""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import json
import re
import signal
import threading
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from catalog.browse.questions import QUESTIONS
from catalog.db.views import VIEWS
from tests.browse.served import Place, Site, browsing
from tests.browse.test_browse import ODD_QUERIES, _processes
from tests.effort import is_short, pairs, some
from tests.reports.test_limits import LONG, MANY, TOO_LARGE, ZEROS
from tests.watch.harness import wait_for

FORMS = ("", ".json", ".csv")


def peak_mib(site: Site) -> int:
    """Return the peak memory of the server and its present processes together."""
    total = 0
    for pid in _processes(site.process.pid):
        with contextlib.suppress(OSError):  # it has ended in the meantime
            found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
            total += int(found[1]) if found else 0
    return total >> 10


def test_one_instruction_ends_at_the_time_limit_and_others_are_answered_meanwhile(shown: Place) -> None:
    with browsing(shown.db, "--timeout", "0.3") as site:
        before = len(_processes(site.process.pid))
        forms = FORMS[:2]
        pairs = zip(LONG, itertools.cycle(forms)) if is_short() else itertools.product(LONG, forms)
        with ThreadPoolExecutor(6) as pool:
            asked = [pool.submit(site.sql, LONG[name], form) for name, form in pairs]
            assert site.get("/catalog/stores").status == 200
            assert {each.result().status for each in asked} == {400}
        assert before <= len(_processes(site.process.pid)) <= before + 3
        assert site.end(signal.SIGTERM) == (0, b"", b"")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_whatever_it_does(shown: Place, number: int) -> None:
    with browsing(shown.db, "--timeout", "600") as site:
        wide = MANY.format(", ".join([ZEROS.format(10)] * 100), 1000)
        statements = [LONG["instr"], LONG["many"], LONG["replace"], *[wide] * 5]

        def ask(statement: str) -> None:
            with pytest.raises(OSError), urllib_errors():  # noqa: PT012
                site.sql(statement)
                raise OSError  # the answer came in time

        asking = [threading.Thread(target=ask, args=(statement,)) for statement in statements]
        for each in asking:
            each.start()
        wait_for(lambda: len(_processes(site.process.pid)) >= 4)
        processes = _processes(site.process.pid)
        assert site.end(number) == (0, b"", b"")
        for each in asking:
            each.join()
        wait_for(lambda: not any(_is_there(pid) for pid in processes))


class urllib_errors:  # noqa: N801
    """Turns a response that ended halfway into an OSError."""

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is not None and not isinstance(error, OSError):
            raise OSError from error


def _is_there(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


LARGE = {
    **TOO_LARGE,
    "rows": MANY.format(ZEROS.format(1_500_000), 1000),
    "cells": MANY.format(", ".join(["i"] * 250), 1000),
    "strange": MANY.format("replace(hex(zeroblob(100000)), '00', char(27, 8238))", 1000),
}


def test_memory_is_bounded_whatever_is_asked_at_once(shown: Place) -> None:
    with browsing(shown.db, "--timeout", "20") as site:
        with ThreadPoolExecutor(6) as pool:
            both = some(itertools.product(LARGE.values(), FORMS), 2)  # each statement, and each form
            asked = [pool.submit(site.sql, statement, form) for statement, form in both]
            peak = 0
            while not all(each.done() for each in asked):
                peak = max(peak, peak_mib(site))
                time.sleep(0.02)
            assert {each.result().status for each in asked} <= {200, 400}
        assert peak < 1400  # three processes of 192 MiB each, a little more, and the pages
        assert site.get("/catalog/stores").status == 200
        assert site.end(signal.SIGTERM) == (0, b"", b"")


TEXTS = (
    "--help",
    "-h",
    "--db=/etc/passwd",
    "-",
    "\0",
    "\xff",
    "a" * 30_000,
    " ".join("abcdefghijklmnopqrstuvwxyz0123456789"),
    "*" * 5_000,
    "",
    "\n",
)


@pytest.mark.parametrize("page", ["-/find?text", "-/image?ref", "-/store?name"])
def test_any_text_is_answered_by_pages_that_run_a_command(site: Site, page: str) -> None:
    """Nothing is taken for an option, and nothing is a defect."""
    for text in TEXTS:
        for raw in {urllib.parse.quote(text), urllib.parse.quote_from_bytes(text.encode("latin-1"))}:
            answer = site.get(f"/{page}={raw}")
            assert answer.status in (200, 302, 400, 404), (text[:50], answer.text[:200])
            assert "Usage:" not in answer.text
            assert "bug in ocicat" not in answer.text
    assert site.get("/" + page.partition("?")[0]).status in (200, 400, 404)


def test_a_command_of_a_page_ends_at_the_time_limit(shown: Place) -> None:
    """No process is left, and the next page is answered."""
    with browsing(shown.db, "--timeout", "0.001") as site:
        answer = site.get("/-/find?text=alpine")
        assert answer.status == 400
        assert "took longer than" in answer.text
        assert site.end(signal.SIGTERM)[0] == 0


def test_a_page_of_a_query_is_cut_and_says_so(site: Site) -> None:
    for statement in (LARGE["rows"], LARGE["cells"]):
        told = json.loads(site.sql(statement, ".json").text)
        assert told["truncated"]
        assert 0 < len(told["rows"]) < 1000
        assert "The first " in site.sql(statement).text


def test_many_facets_take_no_longer_than_one_request_may(shown: Place) -> None:
    with browsing(shown.db, "--timeout", "0.5") as site:
        facets = "&".join(["_facet=name"] * 150)
        assert site.get(f"/catalog/images?{facets}").status in (200, 400)
        assert site.get(f"/catalog/images?{'&'.join(['a=b'] * 500)}").status == 414
        assert site.get(f"/catalog/images?a={'b' * 40_000}").status == 414
        assert site.end(signal.SIGTERM) == (0, b"", b"")


def test_what_is_no_request_gets_a_page_too(shown: Place) -> None:
    """uvicorn refuses these itself. Clients that still send when they are refused read the page all the same."""
    refused = {
        f"/catalog/images?a={'b' * 70_000}": (414, "The address is too long"),
        f"/{'b' * 1_000_000}": (414, "The address is too long"),
        f"/ HTTP/1.1\r\nX: {'b' * 200_000}\r\nY:": (431, "The headers of the request are too long"),
        "/ NOSUCH/9\r\nno header": (400, "not a valid HTTP request"),
    }
    with browsing(shown.db) as site:
        for path, (status, text) in refused.items():
            answer = site.raw(path)
            assert (answer.status, text in answer.text) == (status, True), (path[:40], answer)
            assert 'href="/-/static' in answer.text, "styled as the others"
            assert answer.headers["Content-Security-Policy"]
        assert site.get("/").status == 200
        assert site.end(signal.SIGTERM) == (0, b"", b"")


# Requests from pages of other sites


SITES = ("cross-site", "same-site")
PAGES = (
    "/catalog",
    "/catalog/images",
    "/catalog/find-name?text=a",
    "/-/plots",
    "/?x=1",
    "/catalog/stores.json",
    "/-/databases.json",
)


@pytest.mark.parametrize("site_", SITES)
def test_requests_from_another_site_are_refused(site: Site, site_: str) -> None:
    link = {"Sec-Fetch-Site": site_, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    for path in PAGES:
        for headers in (
            link,
            {**link, "Sec-Fetch-Dest": "iframe"},
            {"Sec-Fetch-Site": site_, "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
            {"Sec-Fetch-Site": site_},
        ):
            for method in ("GET", "HEAD"):
                assert site.get(path, headers, method=method).status == 403, (path, headers)
    assert site.get("/", link).status == 200
    assert site.get("/", {**link, "Sec-Fetch-Dest": "iframe"}).status == 403
    assert (
        site.get("/", {"Sec-Fetch-Site": site_, "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"}).status == 403
    )


def test_requests_from_another_site_cause_no_work(shown: Place) -> None:
    with browsing(shown.db, "--timeout", "600") as site:
        before = _processes(site.process.pid)
        path = "/catalog?" + urllib.parse.urlencode({"sql": LONG["instr"]})
        assert site.get(path, {"Sec-Fetch-Site": "cross-site"}).status == 403
        assert site.get(path, {"Origin": "http://evil.example"}).status == 403
        assert site.get(path, {"Origin": "null"}).status == 403
        assert _processes(site.process.pid) == before


def test_our_own_pages_and_the_address_bar_are_answered(site: Site) -> None:
    host = urllib.parse.urlsplit(site.url).netloc
    for path in ("/", *PAGES):
        for headers in (
            {},
            {"Sec-Fetch-Site": "same-origin"},
            {"Sec-Fetch-Site": "none"},
            {"Origin": f"http://{host}"},
        ):
            assert site.get(path, headers).status == 200, (path, headers)


def test_a_person_who_followed_a_link_can_go_on(site: Site) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    told = site.get("/catalog/find-name?text=%22%3E%3Cscript%3E&b=1", headers)
    assert '<a href="/catalog/find-name?text=%22%3E%3Cscript%3E&amp;b=1">' in told.text
    assert '<a href="/evil.example/">' in site.get("//evil.example/", headers).text
    assert told.headers["content-type"] == "text/html; charset=utf-8"


# Every address


BUILT_IN = (
    "/-/metadata", "/-/plugins", "/-/plugins?all=1", "/-/config", "/-/config.json", "/-/threads", "/-/actor", "/-/auth-token", "/-/auth-token?token=%FF",
    "/-/auth-token?token=\u00e9", "/-/logout", "/-/permissions", "/-/messages", "/-/allow-debug", "/-/allow-debug?actor=1&allow=2", "/-/allow-debug?actor=%5B%5D",
    "/-/allow-debug?allow=%22x%22", "/-/patterns", "/-/static/", "/-/static/app.css", "/-/static/..%2f..%2fapp.py", "/-/static/../app.py", "/-/static/nope",
    "/-/static/%00", "/-/static/a%0Ab", "/-/static-plugins/x/y", "/favicon.ico", "/.json", "/.jsono", "/:memory:", "/:memory:/x", "/_internal", "/_memory.json", "/catalog.db",
    "/catalog.jsono", "/catalog.txt", "/catalog.blob", "/catalog.blob?sql=select+1", "/catalog.blob?sql=select+1&_blob_column=x&_blob_hash=y",
    "/catalog.blob?sql=select+x%2700%27+as+x&_blob_column=x", "/catalog.blob?sql=select+x%2700%27+as+x&_blob_column=x&_blob_hash=1",
    "/catalog.blob?sql=select+1+as+x&_blob_column=x&_blob_hash=1", "/catalog/", "/catalog/images/", "/catalog/images/1", "/catalog/images/1.json", "/catalog/images/1,2",
    "/catalog/images.blob", "/catalog/images.blob?_blob_column=name", "/catalog/images.jsono", "/catalog/images.nope", "/catalog/nope", "/catalog/IMAGES", "/catalog/images%2F1",
    "/catalog/~69mages", "/catalog/where-is/x", "/catalog/where-is.blob", "/catalog/where-is.blob?_blob_column=name&digest=x", "/catalog/store", "/catalog/%F0%9F%98%80",
    "/-/databases", "/-/databases.json?_shape=x", "/-/versions", "/-/versions.json", "/-/settings", "/-/plots", "/-/plots/", "/-/ocicat.css", "/-/ocicat.css?x", "//", "/%2e%2e/",
    "/-", "/-/", "/catalog/-/create", "/catalog/images/-/insert", "/catalog/images/-/drop", "/-/api", "/-/create-token",
)  # fmt: skip
ODD = (
    "_json=1", "_json=%7B", "_shape=nope", "_shape=array&_nl=on", "_shape=arrays", "_shape=object", "_shape=arrayfirst", "_size=0", "_size=99999999999999999999", "_size=-1",
    "_nl=x", "_extra=x", "_facet=", "_facet_array=", "_facet_date=", "_facet_size=-5", "_facet=name&_facet_size=max", "_sort=", "_sort=name&_sort_desc=name", "_next=~", "_next=a,b",
    "_col=", "_nocol=name", "_nocol=" + "&_nocol=".join(name for name, _, _ in VIEWS[1].columns), "_where=", "_where=1%3D1+--", "_through=%7B%7D", "_through=%5B%5D", "_through=%22x%22", "_through=1",
    "_dl=1", "_dl=%0D%0A", "_header=off", "_trace=1", "_stream=on&_next=1", "_labels=x", "_label=name", "_label_=x", "_filter_column=name&_filter_op=exact&_filter_value=x",
    "_filter_column_1=name", "_filter_column=nope&_filter_op=nope&_filter_value=%00", "_hide_sql=1", "_show_sql=1", "_timelimit=0", "_timelimit=1e3", "_timelimit=", "_ttl=-1", "_ttl=99999999999999999999",
    "name__in=%5B", "name__in=%5B1%2C%7B%7D%5D", "name__in=%7B%7D", "name__glob=%5B", "name__like=" + "%25" * 500, "name__notin=", "name__isblank=x", "name__arraynotcontains=%5B", "name__date=%00",
    "size__gt=x", "size__lt=1e999", "rowid=1", "rowid__exact=x", "_search_x=1", "_search=%22", "_fts_table=x", "_fts_table=x&_search=y", "_searchmode=x", "=", "&&&", "%", "%zz", "%FF=%FF",
    "sql=", "sql=%00", "sql=select+1%3B", "sql=select+:a&a=%00", "sql=select+:_x", "sql=select+:_header_host", "sql=select+?", "sql=select+?1&1=2", "sql=select+@a+$b", "sql=explain+select+1",
    "sql=select+x%27ff%27", "sql=select+cast(x%27ff%27+as+text)", "sql=select+9e999,-9e999", "sql=select+1+as+%22%00%22", "sql=select+1+as+%22%22", "sql=select+1+as+a,2+as+a&_shape=objects",
    "sql=select+1+as+pk&_shape=object", "sql=values(1)", "sql=select+%27%F0%9F%98%80%27&_dl=1", "text=%ED%A0%80", "digest=" + "x" * 20000, "name=%00",
)  # fmt: skip


def test_no_address_gives_an_internal_error(shown: Place) -> None:
    paths = []
    for query in (*ODD, *ODD_QUERIES):
        paths += [f"/catalog?{query}", f"/catalog/images?{query}", f"/catalog/where-is.json?{query}"]
    for query in ODD:
        paths += [
            f"/catalog.json?{query}",
            f"/catalog.csv?{query}",
            f"/catalog/images.json?{query}",
            f"/catalog/images.csv?{query}",
            f"/catalog.blob?{query}",
        ]
        paths += [f"/-/plots?{query}", f"/?{query}", f"/-/databases.json?{query}"]
    paths = [*BUILT_IN, "/", "/?_context=1", *some(paths)]
    with browsing(shown.db) as site:
        with ThreadPoolExecutor(4) as pool:
            answers = zip(paths, pool.map(site.raw, paths), strict=True)
            failed = [(path, each.status) for path, each in answers if not 200 <= each.status < 500]
        assert failed == []
        assert site.end(signal.SIGTERM) == (0, b"", b"")


METHODS = "HEAD", "POST", "PUT", "TRACE", "CONNECT", "OPTIONS", "get", "X"


def test_no_method_gives_an_internal_error(shown: Place) -> None:
    paths = (
        "/",
        "/catalog",
        "/catalog/images",
        "/catalog.csv?sql=select+1",
        "/catalog/where-is",
        "/-/auth-token",
        "/-/static/app.css",
        "/-/plots",
    )
    with browsing(shown.db) as site:
        for method, path in itertools.product(METHODS, paths):
            answer = site.raw(path, method)
            assert answer.status in ((200, 404) if method == "HEAD" else (400, 404, 405)), (method, path, answer)
        assert site.end(signal.SIGTERM) == (0, b"", b"")


def test_the_list_of_addresses_has_all_pages(site: Site) -> None:
    """In the short run in one form each, because a form is made in the same way for all of them."""
    for name, form in pairs((*(view.name for view in VIEWS), *(question.name for question in QUESTIONS)), FORMS):
        assert site.get(f"/catalog/{name}{form}").status == 200, name


# CSV


def test_csv_escapes_formulas_and_invisible_characters(site: Site) -> None:
    values = [
        "=1+1",
        "+1",
        "-1",
        "@x",
        "\t=1",
        "\r=1",
        "'=1",
        " =1",
        "\x1b[31m",
        "\u202e",
        "a=1",
        "1",
        "'a",
        "",
        "\uff1dx",
    ]
    statement = " UNION ALL ".join(f"SELECT {number} AS n, :p{number} AS v" for number in range(len(values)))
    parameters = {f"p{number}": value for number, value in enumerate(values)}
    text = site.get(
        "/catalog.csv?"
        + urllib.parse.urlencode({"sql": f"SELECT v, -n AS n FROM ({statement}) ORDER BY n DESC", **parameters})
    ).text
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert rows[0] == ["v", "n"]
    assert [row[0] for row in rows[1:]] == [
        "'=1+1", "'+1", "'-1", "'@x", "\\t=1", "\\r=1", "''=1", "' =1", "\\x1b[31m", "\\u202e", "a=1", "1", "'a", "", "'\uff1dx",
    ]  # fmt: skip
    assert [int(row[1]) for row in rows[1:]] == [-number for number in range(len(values))]  # numbers are numbers


def test_the_csv_of_a_view_is_printable(site: Site) -> None:
    for view in VIEWS:
        for line in site.get(f"/catalog/{view.name}.csv").text.split("\r\n"):
            assert line.isprintable(), view.name
