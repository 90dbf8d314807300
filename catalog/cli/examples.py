"""The examples at the end of each `--help`. tests/cli/test_examples.py runs them."""

from __future__ import annotations

EXAMPLES: dict[str, tuple[str, ...]] = {
    "": ("ocicat add /srv/images", "ocicat find alpine 3.16", "ocicat resolve alpine:3.16", "ocicat help tutorial"),
    "add": (
        "ocicat add /srv/images ./layout",
        "ocicat add /srv/registry --naming path --prefix registry.example.com",
        "ocicat add /srv/images/alpine --name base --priority -1",
    ),
    "remove": ("ocicat remove /srv/images/alpine", "ocicat remove images"),
    "stores": (
        "ocicat stores",
        "ocicat stores --state invalid --state missing",
        "ocicat stores --format '{name} {state}'",
    ),
    "index": ("ocicat index", "ocicat index images --full"),
    "watch": ("ocicat watch", "ocicat --config ocicat.toml watch --metrics 9418 --log-format json"),
    "answer": ("ocicat answer", "ocicat --db /srv/catalog.db answer --socket /run/user/1000/ocicat --processes 8"),
    "find": ("ocicat find alpine", "ocicat find Redis 7 --store 'mirror/*'", "ocicat find nginx --json"),
    "query": (
        "ocicat query 'alpine:3.*'",
        "ocicat query --repository 'acme/*' --platform linux/arm64",
        "ocicat query --label 'org.opencontainers.image.source=*' --sort -size --limit 10",
        "ocicat query --contains sha256:5f9c3ecd4d39",
    ),
    "resolve": (
        "ocicat resolve alpine:3.16",
        "ocicat resolve acme/app:1.1 --platform linux/arm64 --format oci-layout",
        "ocicat resolve alpine:3.16 --at 2d",
    ),
    "inspect": ("ocicat inspect alpine:3.16", "ocicat inspect acme/app:1.1 --json"),
    "history": ("ocicat history acme/app:latest", "ocicat history sha256:5f9c3ecd4d39"),
    "changes": ("ocicat changes --since 1d", "ocicat changes --follow --store 'builds/*'"),
    "diff": ("ocicat diff mirror/alpine backup/alpine", "ocicat diff builds/app --since 1w"),
    "wait": ("ocicat wait acme/app:1.2 --timeout 300", "ocicat wait acme/app:latest --digest sha256:5f9c3ecd4d39"),
    "contexts": ("ocicat contexts Dockerfile", "ocicat contexts Dockerfile --target build --strict"),
    "status": ("ocicat status", "ocicat status --check"),
    "check": ("ocicat check", "ocicat check 'mirror/*' --json"),
    "verify": ("ocicat verify", "ocicat verify mirror/alpine --jobs 4"),
    "sql": (
        "ocicat sql 'SELECT store, count(*) FROM images GROUP BY store'",
        "ocicat sql 'SELECT digest FROM images WHERE name = :name' -p name=docker.io/library/alpine:3.16",
        "ocicat sql --schema",
    ),
    "report": ("ocicat report", "ocicat report usage", "ocicat report unreferenced -p older_than=7d"),
    "plan": ("ocicat plan prune", "ocicat plan copy alpine:3.16 --to /srv/new"),
    "plan prune": ("ocicat plan prune", "ocicat plan prune 'builds/*' --keep-last 3 --keep 'v*'"),
    "plan copy": (
        "ocicat plan copy alpine:3.16 --to /srv/new",
        "ocicat plan copy acme/app:1.1 --to backup/alpine --format rsync",
    ),
    "plan link": ("ocicat plan link", "ocicat plan link mirror/alpine backup/alpine --mode hard"),
    "browse": ("ocicat browse", "ocicat browse --port 8001"),
    "serve": ("ocicat serve", "ocicat serve --listen 0.0.0.0:5000 --host registry.lan"),
    "db": ("ocicat db path", "ocicat db check"),
    "db path": ("ocicat db path",),
    "db upgrade": ("ocicat db upgrade",),
    "db check": ("ocicat db check",),
    "db vacuum": ("ocicat db vacuum",),
    "db copy": ("ocicat db copy --to postgresql+psycopg://ocicat_owner@db.example.com/ocicat",),
    "schema": ("ocicat schema", "ocicat schema query"),
    "completion": ("ocicat completion bash",),
    "version": ("ocicat version",),
    "help": ("ocicat help resolve", "ocicat help scripts"),
}
"""Keyed by command: `plan copy` for a subcommand, and an empty string for the overview."""


def epilog(name: str) -> str | None:
    """Return the epilog of a command's help for click, or None if the command has no examples."""
    examples = EXAMPLES.get(name)
    return None if examples is None else "\b\nExamples:\n" + "\n".join(f"  {each}" for each in examples)
