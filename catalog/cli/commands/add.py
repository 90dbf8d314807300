"""`ocicat add`."""

from __future__ import annotations

import os

import click
from sqlalchemy import Connection

from catalog.cli import messages
from catalog.cli.arguments import filled
from catalog.cli.config import load_settings
from catalog.cli.limits import Limits
from catalog.cli.main import Globals
from catalog.cli.progress import progress
from catalog.cli.time_limit import writing_limit
from catalog.cli.told import done, interruptible, of_stores
from catalog.cli.whole_numbers import Whole
from catalog.engine.location import catalog_path
from catalog.engine.open import open_writer
from catalog.errors import UsageError
from catalog.ingest.clock import now_ms
from catalog.ingest.registry import Registry, Root
from catalog.ingest.settings import StoreSettings
from catalog.ingest.store_state import Store
from catalog.ingest.sweep import Sweep
from catalog.layout.archive import why_no_archive
from catalog.layout.discover import is_layout
from catalog.layout.list_limits import ListLimits
from catalog.names.escape import shown
from catalog.names.keys import Naming
from catalog.names.limits import PATH_BYTES
from catalog.names.paths import checked_name, is_too_long, kept_path, real_path
from catalog.names.sizes import counted

_MOST = (1 << 31) - 1


@click.command(name="add")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", callback=filled)
@click.option("--name", metavar="N", help="Name of the store or root; allowed with only one PATH.")
@click.option(
    "--naming",
    metavar="POLICY",
    help="Where names come from: annotations, path, path:tag, fixed=NAME or annotation=KEY.",
)
@click.option("--prefix", metavar="REG", help="Registry to put before the names that --naming path gives.")
@click.option("--priority", type=Whole(-_MOST, _MOST), metavar="N", help="Lower numbers answer first. [default: 0]")
@click.option(
    "--shared-blob-dir",
    metavar="DIR",
    help="Look for blobs in DIR too, where skopeo and podman can put blobs that layouts share; '' removes the setting.",
)
@click.option(
    "--shared-as",
    metavar="NAME",
    help="A name for the file system that PATH is on, the same on every host that shares the catalog, so that a layout"
    " that several hosts see counts once; '' removes the setting.",
)
@click.option(
    "--sparse/--no-sparse",
    default=None,
    help="Do not report absent layers as a problem: the tools that write these layouts, such as pack and rules_img,"
    " leave layers out.",
)
@click.option(
    "--archives/--no-archives",
    default=None,
    help="Also take tar archives of layouts (*.tar, *.tar.gz, *.tgz, *.tar.zst) below a directory as stores, now and later.",
)
@click.option("--no-index", is_flag=True, help="Register the paths without reading any layout.")
@writing_limit("What was read until then is kept, and the next run continues from there.")
@click.pass_obj
def command(
    globals_: Globals,
    paths: tuple[str, ...],
    name: str | None,
    naming: str | None,
    prefix: str | None,
    priority: int | None,
    shared_blob_dir: str | None,
    shared_as: str | None,
    sparse: bool | None,
    archives: bool | None,
    no_index: bool,
    timeout: float | None,
) -> int:
    """Register each PATH and index it.

    A layout, or a tar archive with a layout in it, becomes a store. Any other directory becomes a root: ocicat finds every layout below it, now and later.
    Adding a path again changes its settings.
    """
    if name is not None and len(paths) > 1:
        raise UsageError("--name takes one PATH: add the others with separate commands")
    policy = None if naming is None else Naming.parse(naming)
    if prefix and Naming("path").repository("x", prefix)[0] is None:
        raise UsageError(f"{shown(prefix)} is not a registry: write a host name, as in registry.example.com")
    settings = load_settings(globals_.config)
    shared = _directory(shared_blob_dir, "a directory of blobs") if shared_blob_dir else shared_blob_dir
    known_as = checked_name(shared_as) if shared_as else shared_as
    given = StoreSettings(name, policy, prefix, priority, shared, known_as, sparse)
    given_paths = [_place(path, settings.limits) for path in paths]
    if archives is not None and all(os.path.isfile(path) for path in given_paths):
        raise UsageError("--archives applies to the archives below a directory: leave it out for a file")

    def register(connection: Connection) -> tuple[list[Root], list[Store], list[str]]:
        registry = Registry(connection)
        root_ids: set[int] = set()
        store_ids: set[int] = set()
        for path in given_paths:
            if registry.is_root(path) or not (os.path.isfile(path) or is_layout(path)):
                root_ids.add(registry.add_root(path, given, archives))
            else:
                store_ids.add(registry.add_store(path, given, now_ms()))
        roots = [root for root in registry.roots() if root.id in root_ids]
        stores = [s for s in registry.stores() if s.id in store_ids or s.root_id in root_ids]
        policies = [root.naming for root in roots] + [s.naming for s in stores if s.id in store_ids]
        if prefix and not all(Naming.parse(each).by_path for each in policies):
            raise UsageError("--prefix needs --naming path or path:tag: give both options")
        return roots, stores, registry.left_out_below(roots)

    limits = Limits(timeout, None, words=": run 'ocicat index' to continue, or allow more with --timeout")
    with limits, open_writer(catalog_path(globals_.db)) as writer:
        roots, stores, left_out = writer.write(register)
        if no_index:
            done("registered: 'ocicat index' reads the layouts")
            return 0
        with interruptible("what was read so far is kept, and 'ocicat index' reads the rest"), progress() as draw:
            summary = Sweep(writer, settings, messages.say, draw).run(roots, stores)
        above, alone = {root.id for root in roots}, {store.id for store in stores}
        if summary.stores:
            done(f"added: {of_stores(writer, lambda store: store.id in alone or store.root_id in above)}")
    messages.detail(f"{counted(summary.stores, 'store')}, {summary.found} of them new")
    if roots and not summary.stores:
        messages.note("no layout below " + ", ".join(shown(root.path) for root in roots) + " yet")
    if left_out:
        others = "" if len(left_out) == 1 else f", like {counted(len(left_out) - 1, 'other')}"
        messages.note(
            f"{shown(left_out[0])} was removed, so it is left out{others}: 'ocicat add' with its path brings it back"
        )
    return 0


def _place(path: str, list_limits: ListLimits) -> str:
    """Return the path of an archive, or of a directory, in the form in which it is registered.

    Raises UsageError if it cannot be registered.
    """
    if not os.path.isfile(path):
        return _directory(path)
    kept = kept_path(path)
    if not os.access(path, os.R_OK):
        raise UsageError(f"{shown(path)} cannot be read: give this user permission, or run ocicat as a user who has it")
    if is_too_long(kept):
        raise UsageError(f"the path {shown(kept, 60)} is longer than {PATH_BYTES} bytes: mount it elsewhere")
    why = why_no_archive(f"{kept}/.", list_limits)
    if why is not None:
        raise UsageError(f"{shown(path)} cannot be added as an archive of a layout: it {why}")
    return kept


def _directory(path: str, wanted: str = "a layout, or of a directory that holds layouts") -> str:
    """Return `path` in the form in which it is registered.

    Raises UsageError, whose message asks for `wanted`, if it is not a readable directory.
    """
    kept = kept_path(path)
    real = real_path(path)
    if not os.path.isdir(real):
        what = "is not a directory" if os.path.lexists(real) else "does not exist"
        raise UsageError(f"{shown(path)} {what}: give the path of {wanted}")
    if not os.access(real, os.R_OK | os.X_OK):
        raise UsageError(f"{shown(path)} cannot be read: give this user permission, or run ocicat as a user who has it")
    if is_too_long(kept):
        raise UsageError(f"the path {shown(kept, 60)} is longer than {PATH_BYTES} bytes: mount it elsewhere")
    return kept
