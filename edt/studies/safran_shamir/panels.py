"""Spurious minima: how often they are met, and how high they lie."""

from __future__ import annotations

import numpy as np
import pandas as pd

from edt.landscape.levels import loss_levels
from edt.show.axes import width_axis
from edt.show.hover import lines, rows, share
from edt.show.marks import line, points
from edt.show.panel import NAMES, Panel, axis
from edt.show.style import MARKERS
from edt.studies.safran_shamir.figures import extra_colours, extra_name


def safran_shamir(table: pd.DataFrame, runs: pd.DataFrame) -> list[Panel]:
    """Panels of `edt.plots.plot_safran_shamir`.

    Args:
        table: from `edt.studies.table_beside_published`.
        runs: table ``runs`` of the same run.
    """
    more = runs["student"] - runs["teacher"]
    least = int(more.min())
    return [_shares(table), _heights(runs[more == least], extra_name(least))]


def _shares(table: pd.DataFrame) -> Panel:
    extra = table["student"] - table["teacher"]
    colours = extra_colours(NAMES)
    reported = "rate_reported" in table.columns
    traces = []
    for place, count in enumerate(sorted(int(e) for e in extra.unique())):
        own = table[extra == count].sort_values("teacher")
        name = extra_name(count)
        hover = [
            lines(
                f"k = {row['teacher']}, {name}: spurious "
                + share(row["rate"], row["rate_low"], row["rate_high"]),
                f"reported {share(row['rate_reported'])}"
                if reported and np.isfinite(row["rate_reported"])
                else "",
            )
            for row in rows(own)
        ]
        traces.append(
            line(own["teacher"], own["rate"], f"{name}, 95%", colours[place % 4], hover,
                 low=own["rate_low"], high=own["rate_high"], marker=MARKERS[place])
        )  # fmt: skip
    theirs = table[table["rate_reported"].notna()] if reported else table.iloc[:0]
    if len(theirs):
        hover = [
            lines(f"k = {row['teacher']}, {extra_name(row['student'] - row['teacher'])}",
                  f"reported {share(row['rate_reported'])}, unverified")
            for row in rows(theirs)
        ]  # fmt: skip
        traces.append(
            points(theirs["teacher"], theirs["rate_reported"], "reported (unverified)", "@ink",
                   hover, marker="x")
        )  # fmt: skip
    top = max(float(table["rate_high"].max()), 0.01)
    return Panel(
        "How often",
        traces,
        width_axis(sorted(int(k) for k in table["teacher"].unique()), "teacher width k"),
        axis("starts that end in a spurious minimum", span=(-0.03 * top, 1.08 * top),
             tickformat=".0%"),
    )  # fmt: skip


def _heights(runs: pd.DataFrame, name: str) -> Panel:
    bad = runs[runs["spurious"] & (runs["status"] == "converged")]
    x, y, size, hover = [], [], [], []
    for k, group in bad.groupby("teacher"):
        levels = loss_levels(group["loss"].to_numpy())
        starts = int((runs["teacher"] == k).sum())
        for height, count in zip(levels.loss.tolist(), levels.count.tolist(), strict=True):
            x.append(int(str(k)))
            y.append(height)
            size.append(round(5 + 34 * float(np.sqrt(count / starts)), 1))
            hover.append(
                lines(f"k = {k}: loss {height:.6g}",
                      f"{count:,} of {starts:,} starts, {share(count / starts)}")
            )  # fmt: skip
    mark = points(x, y, "spurious minima", "@red", hover, key=False, opacity=0.65)
    mark["marker"]["size"] = size
    return Panel(
        f"How high, {name}",
        [mark],
        width_axis(sorted(int(k) for k in runs["teacher"].unique()), "teacher width k"),
        axis("population loss F", rangemode="tozero"),
    )
