"""A running `ocicat browse`, the layouts that it shows, and a browser to look at it: for the tests and contrib/screenshots.py."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import shutil
import socket
import subprocess
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from email.message import Message
from typing import NamedTuple

from selenium.webdriver import Chrome
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

from tests import writers
from tests.cli.program import called
from tests.web import SECONDS, listening

HOSTILE = "<script>window.taken = 1</script><img src=x onerror='window.taken = 1'>\u202e\x1b[31m"
ALPINE = "docker.io/library/alpine"

_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-software-rasterizer", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--window-size=1100,800",
)  # fmt: skip


class Place(NamedTuple):
    """Layouts below `root`, the catalog of them, and digests by their roles."""

    root: str
    db: str
    config: str
    digests: dict[str, str]

    def read(self) -> None:
        """Run `ocicat index`."""
        done = called("--config", self.config, "index", db=self.db)
        assert done.status == 0, done


class Answer(NamedTuple):
    """An HTTP response."""

    status: int
    text: str
    headers: Message


class Site:
    """A running `ocicat browse`."""

    def __init__(self, process: subprocess.Popen[bytes], url: str) -> None:
        self.process = process
        self.url = url

    def get(self, path: str, headers: Mapping[str, str] | None = None, method: str = "GET") -> Answer:
        """Request a page."""
        request = urllib.request.Request(self.url.rstrip("/") + path, headers=dict(headers or {}), method=method)
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as answer:
                return Answer(answer.status, answer.read().decode(), answer.headers)
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.read().decode(), error.headers)

    def raw(self, path: str, method: str = "GET") -> Answer:
        """Request a path exactly as written; HTTP libraries would normalise it."""
        place = urllib.parse.urlsplit(self.url)
        with socket.create_connection((str(place.hostname), int(place.port or 0)), timeout=SECONDS) as connection:
            connection.sendall(
                f"{method} {path} HTTP/1.1\r\nHost: {place.netloc}\r\nConnection: close\r\n\r\n".encode()
            )
            with contextlib.closing(http.client.HTTPResponse(connection, method=method)) as answer:
                answer.begin()
                return Answer(answer.status, answer.read().decode("utf-8", "replace"), answer.headers)

    def sql(self, statement: str, form: str = "") -> Answer:
        """Request a page with the rows of a SQL statement."""
        return self.get(f"/catalog{form}?{urllib.parse.urlencode({'sql': statement})}")

    def end(self, number: int) -> tuple[int, bytes, bytes]:
        """Send a signal; return the exit status, and the rest of stdout and stderr."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=SECONDS)
        return self.process.returncode, out, err


def build(directory: str, *, hostile: bool = True) -> Place:
    """Make two stores that share an image and differ in a tag, and one with an image index; with `hostile`, also `odd`."""
    root = f"{directory}/srv"
    digests: dict[str, str] = {}
    for store, tags in (("builds", ("3.15", "3.16")), ("mirror", ("3.16", "3.17"))):
        layout = writers.make_layout(f"{root}/{store}/alpine")
        entries = []
        for tag in tags:
            image = writers.make_image(layout, f"alpine-{tag}", layers=3, labels={"maintainer": "acme"})
            digests[tag] = image["digest"]
            entries.append(writers.name_entry(image, "containerd", ALPINE, tag))
        writers.write_index(layout, writers.empty_index(*entries))
    layout = writers.make_layout(f"{root}/builds/app")
    children = [
        writers.make_image(layout, f"app-{arch}", arch=arch, layers=2) | {"platform": writers.platform("linux", arch)}
        for arch in ("amd64", "arm64")
    ]
    index = writers.make_index_image(layout, children)
    digests |= {"index": index["digest"], "child": children[0]["digest"]}
    writers.write_index(
        layout, writers.empty_index(writers.name_entry(index, "containerd", "docker.io/acme/app", "1.0"))
    )
    if hostile:
        layout = writers.make_layout(f"{root}/odd")
        entry = writers.make_image(layout, "odd", labels={HOSTILE: HOSTILE}, extra_annotations={HOSTILE: HOSTILE})
        digests["odd"] = entry["digest"]
        annotations = {writers.REF_NAME: HOSTILE, HOSTILE: HOSTILE}
        writers.write_index(layout, writers.empty_index(entry | {"annotations": annotations, "artifactType": HOSTILE}))
    config = f"{directory}/settings.toml"
    with open(config, "w", encoding="utf-8") as file:
        file.write("[watch]\nsettle_ms = 0\n")
    db = f"{directory}/catalog.db"
    done = called("--config", config, "add", *sorted(each.path for each in os.scandir(root)), db=db)
    assert done.status == 0, done
    return Place(root, db, config, digests)


@contextlib.contextmanager
def browsing(db: str, *arguments: str, env: Mapping[str, str] | None = None) -> Iterator[Site]:
    """Run `ocicat browse` on a free port; its stderr is read at the end."""
    with listening("browse", "--port", "0", *arguments, db=db, env=env) as (process, url):
        assert re.fullmatch(r"http://[^/]+:\d+/", url), url
        yield Site(process, url)


@contextlib.contextmanager
def chromium(flags: Sequence[str] = ()) -> Iterator[Chrome]:
    """Debian's Chromium, headless, with an empty profile."""
    browser, driver_program = (shutil.which(each) for each in ("chromium", "chromedriver"))
    assert browser is not None, "install the Debian package chromium, as .ci/run does"
    assert driver_program is not None, "install the Debian package chromium-driver, as .ci/run does"
    options = Options()
    options.binary_location = browser
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with tempfile.TemporaryDirectory(prefix="ocicat-browser-", ignore_cleanup_errors=True) as profile:
        for flag in (*_FLAGS, f"--user-data-dir={profile}", *flags):
            options.add_argument(flag)
        driver = Chrome(options=options, service=Service(driver_program))
        try:
            driver.set_page_load_timeout(SECONDS)
            yield driver
        finally:
            driver.quit()
