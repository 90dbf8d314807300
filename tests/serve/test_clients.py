"""Real clients pull from `ocicat serve`: skopeo, podman, containerd and curl. What they got is compared with the layouts."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.programs import needs
from tests.serve.served import Layouts, Registry
from tests.web import SECONDS
from tests.writers import read_index

_PLATFORM = "linux/amd64"


def run(*arguments: str, env: dict[str, str] | None = None) -> str:
    """Run a program, which must succeed; return what it prints."""
    done = subprocess.run(
        arguments, capture_output=True, text=True, timeout=SECONDS, check=False, env={**os.environ, **(env or {})}
    )
    assert done.returncode == 0, (arguments, done.stdout, done.stderr)
    return done.stdout


def blobs(layout: str) -> dict[str, bytes]:
    """Return all blobs of a layout by their paths in it."""
    return {
        str(path.relative_to(layout)): path.read_bytes() for path in Path(layout, "blobs").rglob("*") if path.is_file()
    }


@needs("skopeo")
def test_skopeo_copies_a_whole_index_byte_for_byte(layouts: Layouts, site: Registry, tmp_path: Path) -> None:
    target = f"{tmp_path}/many"
    source = f"docker://{site.place}/docker.io/acme/app:1.0"
    run("skopeo", "copy", "-q", "--all", "--src-tls-verify=false", source, f"oci:{target}:docker.io/acme/app:1.0")
    assert read_index(target)["manifests"][0]["digest"] == layouts.digests["index"]
    assert blobs(target) == blobs(f"{layouts.root}/many")


@needs("skopeo")
def test_what_skopeo_pulled_does_not_differ(own: Layouts, site: Registry, tmp_path: Path) -> None:
    """Both stores make the same images, so `site` serves what `own` has."""
    target = f"{tmp_path}/pulled"
    for reference in ("acme/app:1.0", "acme/app:latest"):
        source = f"docker://{site.place}/docker.io/{reference}"
        run("skopeo", "copy", "-q", "--all", "--src-tls-verify=false", source, f"oci:{target}:docker.io/{reference}")
    own.ocicat("add", target, "--name", "pulled")
    assert own.ocicat("diff", "many", "pulled") == ""


@needs("skopeo")
def test_skopeo_lists_and_inspects(layouts: Layouts, site: Registry) -> None:
    listed = run("skopeo", "list-tags", "--tls-verify=false", f"docker://{site.place}/docker.io/acme/app")
    assert '"1.0"' in listed
    assert '"latest"' in listed
    name = f"docker://{site.place}/registry.example.com/team/tool:2.0"
    assert layouts.digests["signed"] in run("skopeo", "inspect", "--tls-verify=false", name)
    denied = subprocess.run(
        ["skopeo", "inspect", "--tls-verify=false", f"docker://{site.place}/docker.io/library/alpine:3.16"],
        capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert "ambiguous" in denied.stderr
    assert denied.returncode != 0


@needs("podman")
def test_podman_pulls(site: Registry, tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="ocicat-podman-", ignore_cleanup_errors=True) as storage:
        own = ("--root", f"{storage}/root", "--runroot", f"{storage}/run", "--storage-driver", "vfs")
        name = f"{site.place}/docker.io/library/alpine:3.17"
        run("podman", *own, "pull", "-q", "--tls-verify=false", name, env={"HOME": str(tmp_path)})
        assert "3.17" in run("podman", *own, "images", "--format", "{{.Tag}}", env={"HOME": str(tmp_path)})
        run("podman", *own, "rmi", "-f", name, env={"HOME": str(tmp_path)})


@contextlib.contextmanager
def containerd() -> Iterator[tuple[str, ...]]:
    """A containerd with directories of its own; yields the beginning of a command line of its client."""
    if os.geteuid() != 0:
        pytest.skip("containerd starts only as root")
    with tempfile.TemporaryDirectory(prefix="ocicat-containerd-", ignore_cleanup_errors=True) as directory:
        config, log = f"{directory}/config.toml", f"{directory}/log"
        Path(config).write_text(
            f'version = 2\nroot = "{directory}/root"\nstate = "{directory}/state"\n'
            'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
            f'[grpc]\naddress = "{directory}/sock"\n'
        )
        with open(log, "wb") as out:
            process = subprocess.Popen(["containerd", "--config", config], stdout=out, stderr=subprocess.STDOUT)
        try:
            client = ("ctr", "--address", f"{directory}/sock", "--connect-timeout", f"{SECONDS}s")
            tried = subprocess.run([*client, "version"], capture_output=True, timeout=SECONDS, check=False)
            if tried.returncode != 0:
                pytest.skip(f"containerd does not start here: {Path(log).read_text()[-300:]!r}")
            yield client
        finally:
            process.terminate()
            process.wait(timeout=SECONDS)


@needs("containerd", "ctr")
def test_containerd_pulls_by_its_own_names(layouts: Layouts, site: Registry, tmp_path: Path) -> None:
    """It asks for `library/alpine` and says in the parameter `ns` which registry it means."""
    for registry in ("docker.io", "registry.example.com"):
        hosts = tmp_path / registry / "hosts.toml"
        hosts.parent.mkdir()
        hosts.write_text(f'server = "http://{site.place}"\n[host."{site.url}"]\n  capabilities = ["pull", "resolve"]\n')
    with containerd() as client:
        for name, role in (
            ("docker.io/library/alpine:3.17", "one:3.17"),
            ("registry.example.com/team/tool:2.0", "signed"),
        ):
            run(
                *client,
                "images",
                "pull",
                "--hosts-dir",
                str(tmp_path),
                "--snapshotter",
                "native",
                "--platform",
                _PLATFORM,
                name,
            )
            assert layouts.digests[role] in run(*client, "images", "ls", f"name=={name}")
        refused = subprocess.run(
            [*client, "images", "pull", "--hosts-dir", str(tmp_path), "docker.io/library/alpine:3.16"],
            capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip
        assert "409" in refused.stderr
        assert refused.returncode != 0


@needs("curl")
def test_curl_continues_a_download(layouts: Layouts, site: Registry, tmp_path: Path) -> None:
    digest = layouts.digests["index"]
    target = tmp_path / "blob"
    data = Path(layouts.blob("many", digest)).read_bytes()
    target.write_bytes(data[:7])
    run("curl", "-sS", "--fail", "-C", "-", "-o", str(target), f"{site.url}/v2/acme/app/blobs/{digest}")
    assert target.read_bytes() == data
