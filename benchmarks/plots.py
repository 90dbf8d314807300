"""Draw the plots of docs/performance.md from the file that `python -m benchmarks --numbers NUMBERS` wrote.

Usage: python -m benchmarks.plots NUMBERS [DIRECTORY]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

import matplotlib as mpl
from matplotlib import pyplot as plt

FIRST = ("ocicat, first index", "parse and executemany")


def main(numbers: str, directory: str = "docs/plots") -> None:
    """Draw two plots of time against size, with logarithmic axes, and write them to `directory` as SVG."""
    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "ocicat"  # so that the same numbers give the same file
    with open(numbers, encoding="utf-8") as file:
        curves: dict[str, dict[str, float]] = json.load(file)
    lookups = [curve for curve in curves if curve not in FIRST]
    _plot(curves, lookups, "the last name of one layout, cold process", f"{directory}/lookup.svg")
    _plot(curves, FIRST, "first index, names stage (a million: one layout, and 10,000)", f"{directory}/first-index.svg")


def _plot(curves: dict[str, dict[str, float]], shown: Sequence[str], title: str, path: str) -> None:
    figure, axes = plt.subplots(figsize=(7, 4))
    for curve in shown:
        points = sorted((int(size), seconds * 1e3) for size, seconds in curves.get(curve, {}).items())
        axes.plot(*zip(*points, strict=True), marker="o", label=curve, linewidth=2.5 if "ocicat" in curve else 1)
    axes.set(xscale="log", yscale="log", xlabel="entries of index.json", ylabel="milliseconds", title=title)
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(path, metadata={"Date": None}, bbox_inches="tight")


if __name__ == "__main__":
    main(*sys.argv[1:])
