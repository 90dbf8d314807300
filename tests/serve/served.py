"""A running `ocicat serve` and the layouts that it serves."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import socket
import subprocess
import urllib.parse
from collections.abc import Iterator, Mapping
from email.message import Message
from typing import Any, NamedTuple

from tests import writers
from tests.cli.program import called
from tests.web import SECONDS, listening

ALPINE = "docker.io/library/alpine"
APP = "docker.io/acme/app"


class Reply(NamedTuple):
    """A response: its status, body and headers."""

    status: int
    body: bytes
    headers: Message

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of the error that it has."""
        return str(self.json["errors"][0]["code"])


class Registry:
    """A running server. `place` is HOST:PORT, as clients write it before a name."""

    def __init__(self, process: subprocess.Popen[bytes], url: str) -> None:
        self.process = process
        self.url = url.rstrip("/")
        self.place = urllib.parse.urlsplit(url).netloc
        self.host, _, port = self.place.rpartition(":")
        self.port = int(port or 0)

    def get(self, target: str, headers: Mapping[str, str] | None = None, method: str = "GET") -> Reply:
        """Send a request; the target is sent as it is written."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=SECONDS)
        with contextlib.closing(connection):
            connection.putrequest(
                method, target, skip_host=bool(headers and "Host" in headers), skip_accept_encoding=True
            )
            for name, value in (headers or {}).items():
                connection.putheader(name, value)
            connection.endheaders()
            answer = connection.getresponse()
            return Reply(answer.status, answer.read(), answer.headers)

    def raw(self, data: bytes) -> bytes:
        """Send bytes; return everything that comes until the server closes."""
        with self.connect() as connection:
            connection.sendall(data)
            return b"".join(iter(lambda: connection.recv(1 << 16), b""))

    def connect(self) -> socket.socket:
        return socket.create_connection((self.host, self.port), timeout=SECONDS)

    def end(self, number: int) -> tuple[int, bytes, bytes]:
        """Send a signal; return the exit status, and the rest of stdout and stderr."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=SECONDS)
        return self.process.returncode, out, err

    def memory_mib(self) -> int:
        """The peak memory of the server."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as file:
            found = re.search(r"VmHWM:\s+(\d+) kB", file.read())
        assert found is not None
        return int(found[1]) >> 10


class Layouts(NamedTuple):
    """Layouts below `root`, the catalog of them, and digests by their roles."""

    root: str
    db: str
    config: str
    digests: dict[str, str]

    def ocicat(self, *arguments: str) -> str:
        """Run `ocicat`, which must succeed; return what it prints."""
        done = called("--config", self.config, *arguments, db=self.db)
        assert done.status == 0, done
        return done.out

    def blob(self, store: str, digest: str) -> str:
        return f"{self.root}/{store}/blobs/{digest.replace(':', '/')}"


def build(directory: str, db: str | None = None) -> Layouts:
    """Make the stores `one` and `two`, which differ in a tag, `many` with an index, `bare` with a bare tag, and `signed`."""
    root = f"{directory}/srv"
    digests: dict[str, str] = {}
    for store, seeds in (("one", {"3.16": "a", "3.17": "b"}), ("two", {"3.16": "c", "3.17": "b"})):
        layout = writers.make_layout(f"{root}/{store}")
        entries = []
        for tag, seed in seeds.items():
            image = writers.make_image(layout, f"alpine-{seed}", layers=3)
            digests[f"{store}:{tag}"] = image["digest"]
            entries.append(writers.name_entry(image, "containerd", ALPINE, tag))
        writers.write_index(layout, writers.empty_index(*entries))
    layout = writers.make_layout(f"{root}/many")
    children = [
        writers.make_image(layout, f"app-{arch}", arch=arch, layers=2) | {"platform": writers.platform("linux", arch)}
        for arch in ("amd64", "arm64")
    ]
    index = writers.make_index_image(layout, children)
    digests |= {"index": index["digest"], "child": children[0]["digest"], "arm64": children[1]["digest"]}
    writers.write_index(
        layout, writers.empty_index(*(writers.name_entry(index, "containerd", APP, tag) for tag in ("1.0", "latest")))
    )
    layout = writers.make_layout(f"{root}/bare")
    digests["bare"] = (image := writers.make_image(layout, "bare"))["digest"]
    writers.write_index(layout, writers.empty_index(writers.name_entry(image, "tag", "", "7")))
    layout = writers.make_layout(f"{root}/signed")
    subject = writers.make_image(layout, "signed")
    digests["signed"] = subject["digest"]
    entries = [writers.name_entry(subject, "containerd", "registry.example.com/team/tool", "2.0")]
    empty = writers.write_blob(layout, b"{}", "application/vnd.oci.empty.v1+json")
    for kind in ("application/vnd.example.sbom", "application/vnd.example.signature"):
        manifest = {
            "schemaVersion": 2,
            "mediaType": writers.MANIFEST_TYPE,
            "artifactType": kind,
            "config": empty,
            "layers": [empty],
            "subject": subject,
            "annotations": {"org.example.kind": kind},
        }
        found = writers.write_blob(layout, writers.dump(manifest), writers.MANIFEST_TYPE)
        digests[kind] = found["digest"]
        entries.append(found)
    writers.write_index(layout, writers.empty_index(*entries))
    config = f"{directory}/settings.toml"
    with open(config, "w", encoding="utf-8") as file:
        file.write("[watch]\nsettle_ms = 0\n")
    made = Layouts(root, db or f"{directory}/catalog.db", config, digests)
    made.ocicat("add", *sorted(each.path for each in os.scandir(root)))
    return made


@contextlib.contextmanager
def serving(
    db: str,
    *arguments: str,
    env: Mapping[str, str] | None = None,
    files: int | None = None,
    config: str | None = None,
) -> Iterator[Registry]:
    """Run `ocicat serve` on a free port, unless the arguments say where it listens."""
    where = () if {"--listen", "--socket"} & set(arguments) else ("--listen", "127.0.0.1:0")
    before = () if config is None else ("--config", config)
    with listening(*before, "serve", *where, *arguments, db=db, env=env, files=files) as (process, line):
        yield Registry(process, line)
