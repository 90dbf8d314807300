"""`ocicat query`."""

from __future__ import annotations

import click

from catalog.cli.answer import Options
from catalog.cli.limits import LIST_SECONDS
from catalog.cli.main import Globals
from catalog.cli.queried import run_query
from catalog.cli.time_limit import time_limit
from catalog.cli.utc import utc_option
from catalog.cli.whole_numbers import Whole
from catalog.lookup.filters import EntryFilters


@click.command(name="query")
@click.argument("refs", nargs=-1, metavar="[REF]...")
@click.option("--store", "stores", multiple=True, metavar="S", help="Only this store: a name or a glob. Repeatable.")
@click.option("--tag", metavar="T", help="Only entries with this tag: a tag or a glob.")
@click.option("--digest", metavar="D", help="Only entries with this digest, or one that begins with D.")
@click.option("--repository", metavar="R", help="Only names in this repository: a name or a glob.")
@click.option("--media-type", metavar="M", help="Only descriptors of this media type, or glob.")
@click.option("--unnamed", is_flag=True, help="Only entries without a name or tag.")
@click.option("--platform", metavar="P", help="Only entries that have an image for os/arch[/variant].")
@click.option("--artifact-type", metavar="A", help="Only entries of this artifact type, or glob.")
@click.option(
    "--annotation",
    "annotations",
    multiple=True,
    metavar="KEY[=VALUE]",
    help="Only entries with this annotation; KEY and VALUE may be globs. Repeatable.",
)
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="KEY[=VALUE]",
    help="Only images with this label; KEY and VALUE may be globs. Repeatable.",
)
@click.option(
    "--contains", metavar="REF", help="Only entries that reach this manifest, config or layer: a digest or name."
)
@click.option(
    "--referrers-of",
    metavar="REF",
    help="Only referrers of REF, such as signatures and attestations: a digest, name or ':TAG'.",
)
@click.option(
    "--since",
    metavar="WHEN",
    help="Only names that were added or changed at WHEN or later: a time, an age (2h, 3d) or a day (yesterday, tuesday).",
)
@click.option("--limit", type=Whole(min=0), metavar="N", help="Print at most N entries.")
@click.option("--sort", metavar="KEY", help="Sort by a key of the JSON object; -KEY sorts in reverse.")
@click.option("--count", is_flag=True, help="Print only the number of entries.")
@click.option("--fresh", is_flag=True, help="Bring the catalog up to date with the layouts first.")
@click.option(
    "--at",
    metavar="TIME",
    help="Answer as of TIME: a time (2026-01-31T12:00:00Z), an age (2h, 3d) or a day (yesterday, tuesday).",
)
@time_limit(LIST_SECONDS, " for each REF")
@utc_option
@click.option("--format", "format_", metavar="F", help="table, tsv, csv, json, jsonl or a TEMPLATE.")
@click.option("--host", metavar="H", help="Only entries of stores on this host, in a catalog that several hosts share.")
@click.pass_obj
def command(
    globals_: Globals,
    refs: tuple[str, ...],
    stores: tuple[str, ...],
    tag: str | None,
    digest: str | None,
    repository: str | None,
    media_type: str | None,
    unnamed: bool,
    platform: str | None,
    artifact_type: str | None,
    annotations: tuple[str, ...],
    labels: tuple[str, ...],
    contains: str | None,
    referrers_of: str | None,
    since: str | None,
    limit: int | None,
    sort: str | None,
    count: bool,
    fresh: bool,
    at: str | None,
    host: str | None,
    timeout: float | None,
    format_: str | None,
) -> int:
    """List every entry that matches a REF; without a REF, every entry. '-' reads references from stdin.

    REF is a name (alpine:3.16), ':TAG', a digest or the beginning of one, a pattern (alpine:3.*), or one of
    oci-layout://STORE[/IMAGE][:TAG][@DIGEST], oci:PATH[:REF], oci-archive:PATH[:REF], ocidir://PATH[:TAG][@DIGEST].
    """
    options = Options("query", refs)
    options.db = globals_.db
    options.stores = stores
    options.filters = EntryFilters(
        tag=tag,
        digest=digest,
        repository=repository,
        media_type=media_type,
        unnamed=unnamed,
        platform=platform,
        artifact_type=artifact_type,
        annotations=annotations,
        labels=labels,
        contains=contains,
        referrers_of=referrers_of,
        since=since,
    )
    options.host = host
    options.limit = limit
    options.sort = sort
    options.count = count
    options.fresh = fresh
    options.at = at
    options.timeout = timeout
    options.config = globals_.config
    options.format = format_
    return run_query(options)
