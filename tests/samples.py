"""The layouts in the examples of the documents: `python3 -m tests.samples DIR` makes them below DIR.

The documents show them below /srv. Every digest is the same wherever they are made, so a reader can try the examples.
"""

from __future__ import annotations

import sys

from tests import writers

ALPINE = "docker.io/library/alpine"

# Layout: (seed of the image, style of its name, repository, tag) for each entry.
LAYOUTS: dict[str, list[tuple[str, str, str, str]]] = {
    "builds/alpine": [("alpine-3.15", "tag", ALPINE, "3.15"), ("alpine-3.16", "tag", ALPINE, "3.16")],
    "builds/app": [
        ("app-1.0", "containerd", "docker.io/acme/app", "1.0"),
        ("app-1.1", "containerd", "docker.io/acme/app", "1.1"),
    ],
    "builds/scratch": [("unnamed", "none", "", "")],
    "mirror/alpine": [("alpine-3.16", "short", ALPINE, "3.16"), ("alpine-3.17", "short", ALPINE, "3.17")],
    "mirror/patched": [("alpine-3.16-patched", "canonical", ALPINE, "3.16")],
    "registry/library/alpine": [("alpine-3.17", "tag", "", "3.17")],
    "registry/team/tool": [("tool-2", "tag", "", "2.0"), ("tool-3", "tag", "", "latest")],
}


def make(directory: str) -> None:
    """Make every layout of LAYOUTS below `directory`, with the images that its entries name."""
    for name, images in LAYOUTS.items():
        layout = writers.make_layout(f"{directory}/{name}")
        entries = [
            writers.name_entry(writers.make_image(layout, seed), style, repository, tag)
            for seed, style, repository, tag in images
        ]
        writers.write_index(layout, writers.empty_index(*entries))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python3 -m tests.samples DIR")
    make(sys.argv[1])
