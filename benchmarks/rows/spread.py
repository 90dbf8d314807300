"""Which of 10,000 stores hold a name, a tag, a digest, or the beginning of a digest."""

from __future__ import annotations

import glob
import shutil

from benchmarks import data
from benchmarks.clock import Spread, Take, cold, in_turn
from benchmarks.report import Report
from benchmarks.world import World

LIMIT, TIMES = 1.3, 4.0
MICROSECONDS_A_ROW = 15.0


def spread(world: World, report: Report) -> None:
    """Compare a query of few matches with a plain resolve and with grep, and measure the time per additional row of many."""
    runs = world.runs // 2
    title = f"Which of {world.stores:,} stores hold it: {data.FEW} matches ({runs} runs each)"
    report.title(title)
    db, name = world.catalog, next(data.mix_names(world.stores))
    few, many = (_questions(count) for count in (data.FEW, min(data.MANY, world.stores)))
    takes = {"ocicat resolve NAME": world.ocicat(db, "resolve", name)}
    takes |= {
        f"ocicat query, {kind}, {data.FEW} matches": world.ocicat(db, "query", text) for kind, text in few.items()
    }
    takes |= {f"ocicat query, {kind}, many": world.ocicat(db, "query", text) for kind, text in many.items()}
    # With an option, a query of few rows runs the same modules as a query of many (catalog/cli/lean.py).
    takes |= {
        f"ocicat query --format tsv, {kind}, {data.FEW}": world.ocicat(db, "query", "--format", "tsv", text)
        for kind, text in few.items()
    }
    seconds = in_turn(takes, runs)
    report.times(seconds)
    plain = seconds["ocicat resolve NAME"]
    for kind in few:
        report.pairs(f"query, {kind} / resolve", seconds[f"ocicat query, {kind}, {data.FEW} matches"], plain, LIMIT)
    for kind in few:
        one, other = (
            seconds[label]
            for label in (f"ocicat query, {kind}, many", f"ocicat query --format tsv, {kind}, {data.FEW}")
        )
        rows = min(data.MANY, world.stores) - data.FEW
        each = Spread.of([1e6 * (a - b) / rows for a, b in zip(one, other, strict=True)])
        more = f"microseconds, median {each.median:.1f}, quartiles {each.low:.1f} - {each.high:.1f}"
        # By the minima, because other load on the machine disturbs both numbers of a difference.
        least = 1e6 * (min(one) - min(other)) / rows
        report.holds(f"query, {kind}, a row beyond, of the minima", least, MICROSECONDS_A_ROW, more)
    runs = world.slow_runs + 2
    greps = _greps(world)
    if greps:
        searched = in_turn({**greps, **{kind: world.ocicat(db, "query", text) for kind, text in few.items()}}, runs)
        report.times({label: each for label, each in searched.items() if label in greps})
        for label in greps:
            for kind in few if label.startswith("grep") else ():
                report.at_least(f"{label} / query, {kind}", searched[kind], searched[label], TIMES)


def _questions(stores: int) -> dict[str, str]:
    stores = data.MANY if stores != data.FEW else stores
    digest = data.shared(stores)["digest"]
    return {
        "name": f"docker.io/shared/in-{stores}:in{stores}",
        "tag": f":in{stores}",
        "digest": digest,
        "prefix": f"@{digest[:19]}",
    }


def _greps(world: World) -> dict[str, Take]:
    """Return actions that search all layouts of the mix for a name with `grep -lF` and `rg -lF`, as far as these are installed.

    They always search for the same name, because the text makes no difference.
    """
    listed = f"{world.directory}/listed-{world.stores}"
    with open(listed, "w", encoding="utf-8") as file:
        file.writelines(f"{path}\n" for path in sorted(glob.glob(f"{world.mix}/*/*/index.json")))
    text = f"docker.io/shared/in-{data.FEW}:in{data.FEW}"
    shell = {
        # xargs runs grep on as many files as fit into a command line, and exits with 123 if one of these runs has no match.
        "grep -lF over all": f"LC_ALL=C xargs -a {listed} grep -lF {text} || test $? = 123",
        "rg -lF over all": f"rg -lF --no-ignore {text} {world.mix}",
    }
    return {
        label: cold(["sh", "-c", command], world.environment)
        for label, command in shell.items()
        if shutil.which(label.split()[0])
    }
