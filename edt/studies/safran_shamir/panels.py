"""Spurious minima: how often they are met, and how high they lie."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from edt.arguments import checked
from edt.landscape.levels import loss_levels
from edt.show.axes import width_axis
from edt.show.hover import lines, rows, share
from edt.show.marks import DASHES, line, points
from edt.show.panel import Panel, axis
from edt.show.render import draw
from edt.show.style import LIGHT, MARKERS, Theme

#: Colours of the numbers of extra neurons, in turn.
COLOURS = ("@red", "@blue", "@green", "@purple")


def plot_spurious(table: pd.DataFrame, *, ax: Axes | None = None, theme: Theme = LIGHT) -> Figure:
    """Share of spurious minima against teacher width, one line per number of extra neurons.

    Args:
        table: from `edt.landscape.spurious_table`.
        ax: axes of yours; default a new figure.
        theme: colours.
    """
    names = {"share": "rate", "share_low": "rate_low", "share_high": "rate_high"}
    title = "Spurious minima of ReLU students (population loss)"
    return draw([_shares(table.rename(columns=names), title)], theme=theme, ax=ax)


def plot_safran_shamir(
    table: pd.DataFrame,
    runs: pd.DataFrame,
    *,
    ax: Sequence[Axes] | None = None,
    theme: Theme = LIGHT,
) -> Figure:
    """Shares beside reported ones (left); heights of the spurious minima at n = k (right).

    Args:
        table: from `edt.studies.table_beside_published`.
        runs: table ``runs`` of the same run.
        ax: two axes of yours; default a new figure.
        theme: colours.
    """
    return draw(safran_shamir(table, runs), theme=theme, ax=ax)


def extra_name(more: int) -> str:
    """How a number of neurons beyond the teacher's is written."""
    return "n = k" if more == 0 else f"n = k + {more}"


def safran_shamir(table: pd.DataFrame, runs: pd.DataFrame) -> list[Panel]:
    """Panels of `plot_safran_shamir`.

    Args:
        table: from `edt.studies.table_beside_published`.
        runs: table ``runs`` of the same run.
    """
    more = runs["student"] - runs["teacher"]
    least = int(more.min())
    return [_shares(table, "How often"), *_heights(runs[more == least], extra_name(least))]


def _shares(table: pd.DataFrame, title: str) -> Panel:
    extra = table["student"] - table["teacher"]
    reported = "rate_reported" in table.columns
    traces = []
    for place, count in enumerate(sorted(int(e) for e in extra.unique())):
        subset = table[extra == count].sort_values("teacher")
        name = extra_name(count)
        hover = [
            lines(
                f"k = {row['teacher']}, {name}: spurious "
                + share(row["rate"], row["rate_low"], row["rate_high"]),
                f"reported {share(row['rate_reported'])}"
                if reported and np.isfinite(row["rate_reported"])
                else "",
            )
            for row in rows(subset)
        ]
        traces.append(
            line(subset["teacher"], subset["rate"], f"{name}, 95%", COLOURS[place % 4], hover,
                 low=subset["rate_low"], high=subset["rate_high"], marker=MARKERS[place],
                 dash=list(DASHES.values())[place % len(DASHES)])
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
        title,
        traces,
        width_axis(sorted(int(k) for k in table["teacher"].unique()), "teacher width k"),
        axis("starts that end in a spurious minimum", span=(-0.03 * top, 1.08 * top),
             tickformat=".0%"),
    )  # fmt: skip


def _heights(runs: pd.DataFrame, name: str) -> list[Panel]:
    bad = runs[runs["spurious"] & (runs["status"] == "converged")]
    if not len(bad):
        return []
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
    widths = sorted(int(k) for k in runs["teacher"].unique())
    return [
        Panel(f"How high, {name} (area: share of the starts)", [mark],
              width_axis(widths, "teacher width k"),
              axis("population loss F", rangemode="tozero"))
    ]  # fmt: skip


checked(__name__)
