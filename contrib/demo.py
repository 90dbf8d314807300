"""`make demo`: make layouts with different naming styles, index, change and query them. Print each command and its output.

Everything happens in a temporary directory. The demo is a test too: it exits with status 1 if a command does not print what is
expected.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from tests import writers

OCICAT = os.path.join(os.path.dirname(sys.executable), "ocicat")
ALPINE = "docker.io/library/alpine"


class Unexpected(Exception):
    """A command that did not do what the demo expects."""


class Stage:
    """A working directory, and the environment of a user without a catalog or a configuration."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.environment = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("OCICAT_", "XDG_")) and key != "STATE_DIRECTORY"
        }
        # The demo has its own catalog, because a user without one at home would use the catalog under /var/lib.
        self.environment |= {"HOME": f"{directory}/home", "OCICAT_DB": f"{directory}/catalog.db"}
        os.mkdir(self.environment["HOME"])

    def path(self, name: str) -> str:
        """Return the absolute path of `name` in the working directory."""
        return os.path.join(self.directory, name)

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run ocicat with stderr merged into stdout."""
        return subprocess.run(
            [OCICAT, *arguments],
            cwd=self.directory,
            env=self.environment,
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )

    def ocicat(self, *arguments: str, status: int = 0, shows: str = "", stdin: str | None = None) -> str:
        """Print the command, run it, print and return its output. Raise Unexpected for another exit status or output."""
        command = " ".join(["ocicat", *map(quoted, arguments)])
        print(f"$ printf {shlex.quote(stdin)} | {command}" if stdin else f"$ {command}", flush=True)
        run = self.run(*arguments, stdin=(stdin or "").replace("\\n", "\n"))
        print(run.stdout, end="")
        if run.returncode:
            print(f"# exit status {run.returncode}")
        print(flush=True)
        if run.returncode != status:
            raise Unexpected(f"{command}: exit status {run.returncode}, not {status}")
        if shows not in run.stdout:
            raise Unexpected(f"{command}: did not show {shows!r}")
        return run.stdout


def quoted(text: str) -> str:
    """Return `text` quoted as one word for a shell."""
    return f'"{text}"' if "'" in text and not set(text) & set('"$`\\!') else shlex.quote(text)


def chapter(title: str) -> None:
    """Print a headline."""
    print(f"--- {title} {'-' * max(0, 76 - len(title))}\n", flush=True)


def note(text: str) -> None:
    """Print a line for the reader, as a shell comment."""
    print(f"# {text}", flush=True)


def image(layout: str, seed: str, style: str, repository: str, tag: str) -> writers.Descriptor:
    """Make an image with blobs in `layout`. Return its entry for index.json, named in the given style."""
    return writers.name_entry(writers.make_image(layout, seed), style, repository, tag)


def make_layouts(stage: Stage) -> None:
    """Make seven layouts as real tools write them."""
    entries = {
        "builds/bare": [("alpine-3.15", "tag", ALPINE, "3.15"), ("alpine-3.16", "tag", ALPINE, "3.16")],
        "builds/skopeo": [("alpine-3.16", "short", ALPINE, "3.16"), ("web-1", "short", "docker.io/library/web", "1.0")],
        "builds/crane": [("alpine-3.16-patched", "canonical", ALPINE, "3.16")],
        "builds/buildkit": [("api-1", "containerd", "docker.io/acme/api", "1.0")],
        "builds/scratch": [("unnamed", "none", "", "")],
        "registry/library/alpine": [("alpine-3.16", "tag", "", "3.16"), ("alpine-3.17", "tag", "", "3.17")],
        "registry/team/app": [("app-1", "tag", "", "1.0"), ("app-2", "tag", "", "latest")],
    }
    for name, images in entries.items():
        layout = writers.make_layout(stage.path(name))
        writers.write_index(layout, writers.empty_index(*(image(layout, *each) for each in images)))


def index_them(stage: Stage) -> None:
    """Register two roots, and list their stores."""
    chapter("Two directories of layouts, registered and indexed")
    note("builds/ holds layouts of skopeo, crane and BuildKit, each with its own style of names.")
    stage.ocicat("add", "builds")
    note("registry/ is the disk of a registry: the repository is in the path, and the entries have bare tags.")
    stage.ocicat("add", "registry", "--naming", "path", "--prefix", "registry.example.com")
    stage.ocicat("stores", "--format", "table", shows="registry/team/app")


def ask(stage: Stage) -> None:
    """Query and resolve references in every form."""
    chapter("One name, however it was written")
    stage.ocicat("query", "alpine:3.16", "--format", r"{store}\t{name}\t{ref_name}", shows="builds/crane")
    note("A bare tag has no repository: ask for it with a colon, or in its layout.")
    stage.ocicat("query", ":3.16", "--format", r"{store}\t{name}\t{ref_name}", shows="builds/bare")
    note("A pattern, over names that are derived from paths.")
    stage.ocicat("query", "registry.example.com/*", "--format", r"{name}\t{digest}", shows="team/app:latest")
    stage.ocicat("query", "--unnamed", "--format", r"{store}\t{digest}", shows="builds/scratch")

    chapter("One digest, for a script")
    digest = stage.ocicat("resolve", "registry.example.com/team/app", shows="sha256:").strip()
    stage.ocicat("resolve", digest[:19], shows=digest)
    stage.ocicat("resolve", "docker.io/acme/api:1.0", "--format", "oci-layout", shows="oci-layout:///")
    note("ocicat accepts references in the form of buildx.")
    stage.ocicat("resolve", f"oci-layout://{stage.path('builds/bare')}:3.15", shows="sha256:")
    stage.ocicat("resolve", "oci:builds/skopeo:web:1.0", "oci-layout://builds/scratch", shows="as buildx does")
    note("Two stores differ: ocicat does not guess, and ends with status 3.")
    stage.ocicat("resolve", "alpine:3.16", status=3, shows="is ambiguous")
    stage.ocicat("resolve", "alpine:3.16", "--store", "builds/crane", shows="sha256:")
    note("A batch: one line per reference, empty if there is no answer; the exit status is the highest of all.")
    stage.ocicat("resolve", "-", stdin=r"web:1.0\n3.17\n:3.17\n", status=1, shows="ask for ':3.17'")


def change(stage: Stage) -> None:
    """Move one tag as skopeo does and one as BuildKit does, and leave a file that a writer died on."""
    chapter("A tag moves")
    layout = stage.path("builds/skopeo")
    note("skopeo copy docker://web:1.0 oci:builds/skopeo:web:1.0   (truncates index.json and rewrites it in place)")
    new = image(layout, "web-1-rebuilt", "short", "docker.io/library/web", "1.0")
    writers.write_skopeo(layout, writers.dump(writers.retag_skopeo(writers.read_index(layout), new)))
    stage.ocicat("--verbose", "index", shows="1 changed")
    stage.ocicat("resolve", "web:1.0", shows=new["digest"])

    layout = stage.path("builds/buildkit")
    note(
        "docker buildx build --output type=oci,tar=false,dest=builds/buildkit   (takes a lock file, overwrites index.json, then truncates it)"
    )
    new = image(layout, "api-1-rebuilt", "containerd", "docker.io/acme/api", "1.0")
    writers.write_buildkit(layout, writers.dump(writers.retag_replace(writers.read_index(layout), new)))
    note("--fresh looks at the layouts first, so a script never misses what it has just written.")
    stage.ocicat("resolve", "--fresh", "acme/api:1.0", shows=new["digest"])

    chapter("A writer died in the middle")
    layout = stage.path("builds/crane")
    data = writers.dump(writers.read_index(layout))
    writers.torn(layout, data, 40)
    stage.ocicat("index", shows="invalid")
    note("The last good answer stays, with a warning.")
    stage.ocicat("resolve", f"oci-layout://builds/crane/{ALPINE}:3.16", shows="using its last entries")
    stage.ocicat("check", status=1, shows="builds/crane")
    writers.write_umoci(layout, data)
    stage.ocicat("index")
    stage.ocicat("check")


def query_sql(stage: Stage) -> None:
    """Query the same catalog in SQL."""
    chapter("The same in SQL, read-only")
    stage.ocicat(
        "sql",
        "SELECT name, count(DISTINCT digest) AS digests, group_concat(store, ' ') AS stores"
        " FROM images WHERE name IS NOT NULL GROUP BY name HAVING count(*) > 1",
        "--format",
        "table",
        shows="builds/crane",
    )
    note("The catalog keeps the past of each name from the first day; `ocicat history` shows it too.")
    question = "SELECT digest, since, until FROM history WHERE name = :name ORDER BY since"
    stage.ocicat("sql", question, "-p", "name=docker.io/library/web:1.0", "--format", "table", shows="Z")
    stage.ocicat("sql", "DELETE FROM images", status=2, shows="cannot modify images")


def follow(stage: Stage) -> None:
    """Let the daemon follow changes."""
    chapter("The daemon follows every change")
    with daemon(stage) as process:
        layout = stage.path("builds/skopeo")
        note("skopeo copy docker://web:2.0 oci:builds/skopeo:web:2.0")
        new = image(layout, "web-2", "short", "docker.io/library/web", "2.0")
        writers.write_skopeo(layout, writers.dump(writers.retag_skopeo(writers.read_index(layout), new)))
        stage.ocicat("wait", "web:2.0", "--digest", new["digest"], "--timeout", "30")
        stage.ocicat("resolve", "web:2.0", shows=new["digest"])

        note("The daemon finds a new layout below a root: umoci new --image builds/new/job:1.0")
        layout = writers.make_layout(stage.path("builds/new/job"))
        new = image(layout, "job-1", "tag", "", "1.0")
        writers.write_umoci(layout, writers.dump(writers.empty_index(new)))
        stage.ocicat("wait", "oci-layout://builds/new/job:1.0", "--digest", new["digest"], "--timeout", "30")
        stage.ocicat("stores", "--format", "table", shows="builds/new/job")
        stage.ocicat("history", "web:1.0", "--format", "table", shows="UNTIL")
        stage.ocicat("status", shows="running")
        note("kill -TERM: the daemon finishes its current transaction and ends.")
        process.terminate()
        if process.wait(timeout=30) != 0:
            raise Unexpected(f"ocicat watch: exit status {process.returncode}, not 0")
    stage.ocicat("status", "--check", "--format", "{daemon}", status=1, shows="none")


@contextlib.contextmanager
def daemon(stage: Stage) -> Iterator[subprocess.Popen[bytes]]:
    """Run `ocicat watch` in the background and yield its process once it is ready. Kill it at the end."""
    print("$ ocicat watch &\n", flush=True)
    with subprocess.Popen(
        [OCICAT, "watch"],
        cwd=stage.directory,
        env=stage.environment,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
    ) as process:
        try:
            deadline = time.monotonic() + 30
            while stage.run("status", "--check").returncode:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise Unexpected("ocicat watch: did not start")
                time.sleep(0.1)
            yield process
        finally:
            process.kill()


CHAPTERS = (index_them, ask, change, query_sql, follow)


@contextlib.contextmanager
def stage_in_a_temporary_directory() -> Iterator[Stage]:
    """Yield a stage whose directory is deleted afterwards."""
    with tempfile.TemporaryDirectory(prefix="ocicat-demo-") as directory:
        yield Stage(os.path.realpath(directory))


def main() -> int:
    """Run the whole demo; return the exit status."""
    with stage_in_a_temporary_directory() as stage:
        print(f"$ cd {stage.directory}\n$ export OCICAT_DB={stage.environment['OCICAT_DB']}\n")
        make_layouts(stage)
        try:
            for play in CHAPTERS:
                play(stage)
        except Unexpected as error:
            print(f"demo: {error}", file=sys.stderr)
            return 1
    print("# The end. The temporary directory is deleted.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
