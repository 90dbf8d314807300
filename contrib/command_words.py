"""The parts of docs/commands.md that click does not have: what the exit statuses of each command mean, and examples.

The tests run the examples on one catalog, in this order, which is the order of the commands.
"""

from __future__ import annotations

from typing import NamedTuple


class Words(NamedTuple):
    """The texts of one command: the meaning of each exit status (4 only where it differs from the general meaning), `examples` with
    their output, and lines `to_copy`, which no test runs.
    """

    statuses: dict[int, str]
    examples: str = ""
    to_copy: str = ""


_UNKNOWN = "an unknown store"

WORDS = {
    "add": Words(
        {0: "registered, even if a layout is broken (one line each)", 2: "no such directory, or the name is taken"},
        r"""$ ocicat add /srv/builds /srv/mirror
$ ocicat add /srv/registry --naming path --prefix registry.example.com
$ ocicat add /srv/builds/alpine --name base --priority -1
$ ocicat add /srv/nowhere; echo "status $?"
ocicat: error: /srv/nowhere does not exist: give the path of a layout, or of a directory that holds layouts
status 2
""",
    ),
    "remove": Words(
        {0: "forgotten", 2: "an unknown store or root; nothing is forgotten then"},
        r"""$ ocicat remove base
$ ocicat remove base; echo "status $?"
ocicat: error: no store or root is called base: 'ocicat stores' lists them, 'ocicat add' adds one
status 2
$ ocicat add /srv/builds/alpine
""",
    ),
    "stores": Words(
        {0: "listed, even if there is none"},
        r"""$ ocicat stores --format '{name} {state} {entries}'
builds/alpine ok 2
builds/app ok 2
builds/scratch ok 1
mirror/alpine ok 2
mirror/patched ok 1
registry/library/alpine ok 1
registry/team/tool ok 2
$ ocicat stores --state invalid --state missing
""",
    ),
    "index": Words(
        {0: "done, even if a store cannot be read (one line each)", 2: "an unknown store or root"},
        r"""$ ocicat index
$ ocicat index builds mirror/patched --full
""",
        "*/5 * * * *  ocicat --quiet index     # in a crontab, if no daemon runs\n",
    ),
    "watch": Words(
        {0: "ended by SIGTERM or SIGINT", 2: "the configuration is wrong"},
        to_copy="""ocicat watch                           # Ctrl-C ends it
ocicat --config ocicat.toml watch --metrics 9418 --log-format json
""",
    ),
    "answer": Words(
        {
            0: "ended by a signal, or another answerer has taken the socket",
            2: "another answerer already runs there, or no socket can be used (the message says why)",
        },
        to_copy="""ocicat answer                          # Ctrl-C ends it
""",
    ),
    "find": Words(
        {0: "found", 1: "no entry has all of the words", 2: _UNKNOWN},
        r"""$ ocicat find alpine 3.17 --format '{store} {name} {tag}'
mirror/alpine docker.io/library/alpine:3.17 3.17
registry/library/alpine registry.example.com/library/alpine:3.17 3.17
$ ocicat find Apline; echo "status $?"
ocicat: error: no entry has 'apline'; did you mean 'alpine'? 'ocicat index' reads what has changed, 'ocicat add PATH' adds more layouts
status 1
""",
    ),
    "query": Words(
        {
            0: "each REF matched something, or no REF was given",
            1: "a REF matched nothing",
            2: f"a malformed REF, or {_UNKNOWN}",
        },
        r"""$ ocicat query 'alpine:*' --format '{store}\t{name}\t{digest}'
mirror/alpine	docker.io/library/alpine:3.16	sha256:5f9c3ecd4d39…
mirror/patched	docker.io/library/alpine:3.16	sha256:53dd06ce1d32…
mirror/alpine	docker.io/library/alpine:3.17	sha256:c418c8ccc0fb…
$ ocicat query --repository acme/app --sort -tag --limit 1 --format '{name} {size}'
docker.io/acme/app:1.1 401
$ ocicat query --platform linux/amd64 --count
11
$ echo ':3.17' | ocicat query - --format '{store}'
mirror/alpine
registry/library/alpine
$ ocicat query acme/app:9; echo "status $?"
ocicat: error: no image docker.io/acme/app:9; acme/app has the tags 1.0, 1.1: see 'ocicat query --repository acme/app'
status 1
""",
    ),
    "resolve": Words(
        {0: "one answer per REF", 1: "a REF was not found", 2: f"a malformed REF, or {_UNKNOWN}", 3: "ambiguous"},
        r"""$ ocicat resolve acme/app:1.0
sha256:69f3c796e89e8f37a2bcf7e34f84af9f114362b4606960f5d0273addb4592d99
$ ocicat resolve alpine:3.16 --store mirror/patched
sha256:53dd06ce1d32d848f6422bdd6451109275f67a067f12050569b82855baa30d02
$ ocicat resolve alpine:3.17 --first --format oci-layout
oci-layout:///srv/mirror/alpine@sha256:c418c8ccc0fbc6a22936e66ef7c3733851af00e3cec99ed60328af79e49e8472
$ printf 'acme/app:1.1\nacme/app:9\n' | ocicat resolve - 2>/dev/null; echo "status $?"
sha256:e18848eaebee0cd92aa5ef7cf8d4150754964722cd04dccfeca87ee78a90e525

status 1
""",
    ),
    "inspect": Words(
        {0: "printed", 1: "REF was not found", 2: f"a malformed REF, or {_UNKNOWN}", 3: "ambiguous"},
        r"""$ ocicat inspect acme/app:1.1
digest      sha256:e18848eaebee0cd92aa5ef7cf8d4150754964722cd04dccfeca87ee78a90e525
kind        manifest
media type  application/vnd.oci.image.manifest.v1+json
size        401 B
config      sha256:…
created     2024-01-02T03:04:05.000Z
platform    linux/amd64
total       835 B in 1 layer, 3 blobs

Names (1)
  builds/app  docker.io/acme/app:1.1  1.1

Where it is (1)
  builds/app  401 B  /srv/builds/app

Layers (1)
  sha256:…  119 B  in no other image

History (1)
  20…Z  builds/app  docker.io/acme/app:1.1  1.1
""",
    ),
    "history": Words(
        {0: "printed", 1: "REF has no history", 2: f"a malformed REF, or {_UNKNOWN}"},
        r"""$ ocicat history acme/app:1.0 --format '{store} {digest} since {since}'
builds/app sha256:69f3c796e89e… since 20…Z
""",
    ),
    "changes": Words(
        {
            0: "listed, even if nothing changed; with `--follow`, ended by SIGINT or SIGTERM",
            2: f"a CURSOR of another catalog, changes that are no longer kept, or {_UNKNOWN}",
        },
        r"""$ ocicat changes --store mirror/patched --format '{at} {change} {store} {name}'
20…Z added mirror/patched docker.io/library/alpine:3.16
$ ocicat changes --cursor 1.2; echo "status $?"
ocicat: error: 1.2 is not a cursor: take one from a line of 'ocicat changes --format jsonl'
status 2
""",
        "ocicat changes --follow | while read -r line; do …; done   # Ctrl-C ends it\n",
    ),
    "diff": Words(
        {0: "equal", 1: "different", 2: f"{_UNKNOWN}, or a time that is no longer kept"},
        r"""$ ocicat diff mirror/alpine mirror/patched --format '{change} {name}: {old} {new} {bytes_gained}'; echo "status $?"
moved docker.io/library/alpine:3.16: sha256:5f9c3ecd4d39… sha256:53dd06ce1d32… 849
removed docker.io/library/alpine:3.17: sha256:c418c8ccc0fb…  0
status 1
$ ocicat diff 'mirror/*' --at 0s; echo "status $?"
status 0
""",
    ),
    "wait": Words(
        {0: "REF resolves", 1: "REF does not resolve within the time limit", 2: "a malformed REF"},
        r"""$ ocicat --quiet wait acme/app:1.0 --timeout 5; echo "status $?"
status 0
""",
    ),
    "contexts": Words(
        {
            0: "printed, even if some images are left to buildx",
            1: "with `--strict`, an image is not in the catalog or not complete",
            2: f"no Dockerfile, or {_UNKNOWN}",
            3: "ambiguous",
        },
        r"""$ printf 'FROM acme/app:1.1\nCOPY --from=alpine:3.17 /etc /etc\n' | ocicat contexts --first -
--build-context acme/app:1.1=oci-layout:///srv/builds/app@sha256:e18848eaebee…
--build-context alpine:3.17=oci-layout:///srv/mirror/alpine@sha256:c418c8ccc0fb…
""",
    ),
    "browse": Words(
        {
            0: "ended by SIGINT or SIGTERM",
            2: f"Datasette is not installed, the port is taken, the catalog is on a server, or {_UNKNOWN}",
        },
        to_copy="""ocicat browse --port 8001                # prints its address; Ctrl-C ends it
""",
    ),
    "serve": Words(
        {
            0: "ended by SIGINT or SIGTERM",
            2: f"uvicorn, uvloop or httptools is not installed, the certificate cannot be used, or {_UNKNOWN}",
        },
        to_copy="""ocicat serve                             # prints its address; Ctrl-C ends it
ocicat serve --listen 0.0.0.0:5000 --host registry.lan --tls-cert cert.pem --tls-key key.pem
skopeo copy --src-tls-verify=false docker://127.0.0.1:5000/docker.io/acme/app:1.1 oci:app:1.1
""",
    ),
    "status": Words(
        {0: "printed", 1: "`--check`: no daemon runs, or it lags behind"},
        r"""$ ocicat status --format '{stores} stores, {entries} entries, daemon: {daemon}'
7 stores, 11 entries, daemon: none
$ ocicat status --check >/dev/null; echo "status $?"
ocicat: no daemon runs: start 'ocicat watch'
status 1
""",
    ),
    "check": Words(
        {0: "no problem", 1: "problems were found and listed", 2: _UNKNOWN},
        r"""$ ocicat check; echo "status $?"
status 0
""",
    ),
    "verify": Words(
        {0: "every blob that was read is good", 1: "a blob is not good", 2: _UNKNOWN},
        r"""$ ocicat verify 'mirror/*'; echo "status $?"
status 0
""",
    ),
    "sql": Words(
        {0: "answered, even with no row", 2: "the statement is wrong, or does more than read the public views"},
        r"""$ ocicat sql 'SELECT store, digest FROM images WHERE name = :name' -p name=docker.io/acme/app:1.0
builds/app	sha256:69f3c796e89e…
$ ocicat sql 'DELETE FROM images'; echo "status $?"
ocicat: error: the statement is wrong: cannot modify images because it is a view; 'ocicat sql --schema' lists views and columns
status 2
""",
    ),
    "report": Words(
        {0: "printed, even if it has no row", 2: f"no such report, or {_UNKNOWN}"},
        r"""$ ocicat report usage --store 'mirror/*'
mirror/alpine	6	1678	0	1678
mirror/patched	3	849	849	0
""",
    ),
    "plan": Words({}),
    "plan prune": Words(
        {
            0: "there is something to remove",
            1: "there is nothing to remove",
            2: f"an invalid age or number, or {_UNKNOWN}",
        },
        r"""$ ocicat plan prune; echo "status $?"
ocicat: nothing to remove: …
status 1
$ ocicat plan prune 'builds/*' --keep-last 1 --keep '1.*' --older-than 30d; echo "status $?"
ocicat: nothing to remove: …
status 1
""",
        "ocicat plan prune --format paths0 | xargs -0 -r rm --     # read cleaning.md first\n",
    ),
    "plan copy": Words(
        {
            0: "the destination lacks something",
            1: "the destination lacks nothing; or a REF was not found ('ocicat: error:' on stderr)",
            2: f"an unusable destination, a format that cannot express the plan, or {_UNKNOWN}",
            3: "a REF is ambiguous",
            4: "a blob of a REF is in no store, or it is unknown which blobs it needs, for example because manifests have not been read yet",
        },
        r"""$ ocicat plan copy acme/app:1.1 --to ./new --format '{kind} {digest}'
blob sha256:…
blob sha256:…
blob sha256:…
entry sha256:…
ocicat: 3 blobs, … bytes, and 1 entry of index.json, to …
""",
        "ocicat plan copy acme/app:1.1 --to ./new --format skopeo | sh -e\n",
    ),
    "plan link": Words(
        {0: "there is something to share", 1: "there is nothing to share", 2: _UNKNOWN},
        r"""$ ocicat verify && ocicat plan link builds/alpine mirror/alpine --format '{store} {digest}'
ocicat: blobs: …
mirror/alpine sha256:…
…
ocicat: … bytes can be saved in 3 files
""",
    ),
    "db": Words({}),
    "db path": Words(
        {0: "printed"},
        r"""$ ocicat db path
/srv/home/catalog.db
""",
    ),
    "db upgrade": Words({0: "the catalog has the schema of this version"}, "$ ocicat db upgrade\n"),
    "db check": Words(
        {0: "no damage found"},
        r"""$ ocicat db check; echo "status $?"
status 0
""",
    ),
    "db vacuum": Words({0: "done"}, "$ ocicat db vacuum\n"),
    "db copy": Words(
        {
            0: "all of it was copied",
            2: "this host already has stores there, the source is on a server, or the destination is not",
        },
        to_copy="""ocicat --db postgresql+psycopg://ocicat_owner@db.example.com/ocicat db upgrade
ocicat db copy --to postgresql+psycopg://ocicat_owner@db.example.com/ocicat
""",
    ),
    "schema": Words(
        {0: "printed", 2: "no such object"},
        r"""$ ocicat schema query | head -4
{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "title": "query",
  "description": "An entry that 'ocicat query' lists.",
""",
    ),
    "completion": Words(
        {0: "printed", 2: "no such shell"},
        to_copy='eval "$(ocicat completion bash)"       # in ~/.bashrc; zsh and fish: completion.md\n',
    ),
    "version": Words({0: "printed"}, to_copy="ocicat version\n"),
    "help": Words(
        {0: "printed", 2: "there is no command or guide of that name"},
        r"""$ ocicat help resolve | head -1
Usage: ocicat resolve [OPTIONS] REF...
$ ocicat help problem; echo "status $?"
ocicat: error: there is no command or guide called 'problem': did you mean 'problems'? 'ocicat help' lists them
status 2
""",
    ),
}
"""Keyed by the name of the command; the key of a subcommand has both names (`db path`)."""
