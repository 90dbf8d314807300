"""`ocicat serve`, compared with nginx on the same file, with a minimal application on uvicorn, and with the layout itself."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator

from benchmarks.clock import Take, cold, in_turn
from benchmarks.report import Report
from benchmarks.world import World
from tests.writers import (
    CONFIG_TYPE,
    LAYER_TYPE,
    MANIFEST_TYPE,
    dump,
    empty_index,
    make_layout,
    name_entry,
    write_blob,
    write_index,
)

BLOB_TIMES = 1.3
MANIFEST_TIMES = 2.0
PULL_TIMES = 1.5
RATE = 1000
MEMORY_MIB = 150
_SECONDS = 3
_BARE = """
import sys, uvicorn
BODY = b"x" * 400
HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"400")]
async def application(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY})
uvicorn.run(application, port=int(sys.argv[1]), loop="uvloop", http="httptools", lifespan="off", log_level="critical",
            access_log=False)
"""
_NGINX = """
daemon off; user {user}; worker_processes 1; pid {directory}/nginx.pid; error_log /dev/null;
events {{ }}
http {{
    access_log off; sendfile on; tcp_nopush on; client_body_temp_path {directory}/nginx-body;
    proxy_temp_path {directory}/nginx-proxy; fastcgi_temp_path {directory}/nginx-fastcgi;
    uwsgi_temp_path {directory}/nginx-uwsgi; scgi_temp_path {directory}/nginx-scgi;
    server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""


def serve(world: World, report: Report) -> None:
    """Serve one layout whose image has a large layer, and request it with curl, wrk and skopeo."""
    mib = 50 if world.quick else 500
    layout = f"{world.directory}/served-{mib}"
    digest = _image(layout, mib)
    db = world.registered("served", layout)
    world.ocicat(db, "index")()
    missing = [each for each in ("curl", "nginx", "wrk", "skopeo") if shutil.which(each) is None]
    report.title(f"ocicat serve, an image with a layer of {mib} MiB ({world.slow_runs} runs each)")
    if missing:
        report.note(f"not measured, because these are not installed: {', '.join(missing)}")
        return
    ours, theirs, bare = (_free_port() for _ in range(3))
    config = f"{world.directory}/nginx.conf"
    with open(config, "w", encoding="utf-8") as file:
        file.write(_NGINX.format(user=getpass.getuser(), directory=world.directory, port=theirs, root=layout))
    with contextlib.ExitStack() as running:
        server = running.enter_context(
            _running(world, ours, f"{world.bin}/ocicat", "--db", db, "serve", "--listen", f"127.0.0.1:{ours}")
        )
        running.enter_context(_running(world, theirs, "nginx", "-p", world.directory, "-c", config))
        running.enter_context(_running(world, bare, f"{world.bin}/python", "-c", _BARE, str(bare)))
        repository = f"127.0.0.1:{ours}/v2/acme/served"
        blobs = in_turn(
            {
                "nginx": _curl(world, f"127.0.0.1:{theirs}/blobs/{digest.replace(':', '/')}"),
                "ocicat serve": _curl(world, f"{repository}/blobs/{digest}"),
            },
            world.slow_runs * 3,
        )
        report.times(blobs)
        report.pairs("one blob by curl / nginx", blobs["ocicat serve"], blobs["nginx"], BLOB_TIMES)
        manifests = in_turn(
            {"uvicorn": _wrk(f"127.0.0.1:{bare}/"), "ocicat serve": _wrk(f"{repository}/manifests/1.0")},
            world.slow_runs,
            warm_up=1,
        )
        report.times(manifests)
        report.pairs(
            "a manifest by tag, 4 connections / a bare answer",
            manifests["ocicat serve"],
            manifests["uvicorn"],
            MANIFEST_TIMES,
        )
        rate = 1 / _wrk(f"{repository}/manifests/1.0", connections=64)()
        report.holds("manifests by tag a second, 64 connections", rate, RATE, at_least=True)
        report.holds("the most memory of the server until then, in MiB", _peak_mib(server), MEMORY_MIB)
        pulls = in_turn(
            {
                "skopeo, oci:": _pull(world, f"oci:{layout}:docker.io/acme/served:1.0"),
                "skopeo, docker:": _pull(world, f"docker://127.0.0.1:{ours}/docker.io/acme/served:1.0"),
            },
            world.slow_runs,
            warm_up=1,
        )
        report.times(pulls)
        report.pairs("a whole pull by skopeo / from oci:", pulls["skopeo, docker:"], pulls["skopeo, oci:"], PULL_TIMES)


def _image(layout: str, mib: int) -> str:
    """Make the layout if it does not exist; return the digest of its layer."""
    if not os.path.exists(f"{layout}/index.json"):
        make_layout(layout)
        data = b"".join(os.urandom(1 << 20) for _ in range(mib))
        layer = write_blob(layout, data, LAYER_TYPE.removesuffix("+gzip"))
        config = write_blob(layout, dump({"os": "linux", "architecture": "amd64"}), CONFIG_TYPE)
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": config, "layers": [layer]}
        image = write_blob(layout, dump(manifest), MANIFEST_TYPE)
        write_index(layout, empty_index(name_entry(image, "canonical", "docker.io/acme/served", "1.0")))
    largest = max(os.scandir(f"{layout}/blobs/sha256"), key=lambda each: each.stat().st_size)
    return f"sha256:{largest.name}"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


@contextlib.contextmanager
def _running(world: World, port: int, *command: str) -> Iterator[int]:
    """Run a server, wait until it listens on `port`, and yield its process id. Raises RuntimeError if it ends before that."""
    process = subprocess.Popen(command, env=world.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if process.poll() is not None:
                    raise RuntimeError(f"{' '.join(command)} ended with status {process.returncode}") from None
                time.sleep(0.05)
        yield process.pid
    finally:
        process.terminate()
        process.wait(timeout=30)


def _peak_mib(pid: int) -> float:
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM"))


def _curl(world: World, url: str) -> Take:
    return cold(["curl", "-sS", "--fail", "-o", os.devnull, f"http://{url}"], world.environment)


def _wrk(url: str, connections: int = 4) -> Take:
    """Return an action that sends requests for a few seconds and returns the seconds per request.

    It raises RuntimeError if a response is not 200.
    """

    def take() -> float:
        command = ["wrk", "-t1", f"-c{connections}", f"-d{_SECONDS}s", f"http://{url}"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        if "Non-2xx" in done.stdout:
            raise RuntimeError(f"{url}: not every response was 200")
        return 1 / float(done.stdout.partition("Requests/sec:")[2].split()[0])

    return take


def _pull(world: World, source: str) -> Take:
    target = f"{world.directory}/pulled"
    policy = f"{world.directory}/policy.json"
    with open(policy, "w", encoding="utf-8") as file:
        json.dump({"default": [{"type": "insecureAcceptAnything"}]}, file)
    copy = cold(
        ["skopeo", "--policy", policy, "copy", "-q", "--src-tls-verify=false", source, f"dir:{target}"],
        world.environment,
    )

    def take() -> float:
        shutil.rmtree(target, ignore_errors=True)
        return copy()

    return take
