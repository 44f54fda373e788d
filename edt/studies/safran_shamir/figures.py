"""Figures of spurious minima: how often they are met, and how high they lie."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from edt.landscape.levels import loss_levels
from edt.show.style import LIGHT, MARKERS, Theme, label_ends, new_figure, styled, width_axis


def plot_spurious(table: pd.DataFrame, *, theme: Theme = LIGHT) -> Figure:
    """Share of spurious minima against teacher width, one line per number of extra neurons.

    Args:
        table: from `edt.landscape.spurious_table`.
        theme: colours.
    """
    names = {"share": "rate", "share_low": "rate_low", "share_high": "rate_high"}
    with styled(theme):
        figure, axes = new_figure(1, size=(9.0, 5.4))
        _shares(axes[0, 0], table.rename(columns=names), theme)
        axes[0, 0].set_title("Spurious minima of relu students (population loss)")
    return figure


def plot_safran_shamir(table: pd.DataFrame, runs: pd.DataFrame, *, theme: Theme = LIGHT) -> Figure:
    """Shares beside reported ones (left); heights of the spurious minima at n = k (right).

    Args:
        table: from `edt.studies.table_beside_published`.
        runs: table ``runs`` of the same run.
        theme: colours.
    """
    with styled(theme):
        figure, axes = new_figure(2, size=(14.5, 5.8), width_ratios=[1.15, 1.0])
        left, right = axes[0]
        _shares(left, table, theme)
        left.set_title("How often")
        least = int((runs["student"] - runs["teacher"]).min())
        _heights(right, runs[runs["student"] - runs["teacher"] == least], theme)
        right.set_title(f"How high, {extra_name(least)}")
    return figure


def extra_name(more: int) -> str:
    """How a number of neurons beyond the teacher's is written."""
    return "n = k" if more == 0 else f"n = k + {more}"


def extra_colours(theme: Theme) -> tuple[str, ...]:
    """Colours of the numbers of extra neurons, in turn."""
    return (theme.red, theme.blue, theme.green, theme.purple)


def _shares(ax: Axes, table: pd.DataFrame, theme: Theme) -> None:
    extra = table["student"] - table["teacher"]
    ends = []
    reported = "rate_reported" in table.columns and bool(table["rate_reported"].notna().any())
    for place, more in enumerate(sorted(int(e) for e in extra.unique())):
        own = table[extra == more].sort_values("teacher")
        colour = extra_colours(theme)[place % 4]
        errors = np.clip(
            np.stack([own["rate"] - own["rate_low"], own["rate_high"] - own["rate"]]), 0.0, None
        )
        ax.errorbar(own["teacher"], own["rate"], yerr=errors, color=colour, marker=MARKERS[place],
                    ms=7, mec=theme.paper, mew=1.0, elinewidth=1.8, zorder=4)  # fmt: skip
        ends.append((float(own["rate"].iloc[-1]), extra_name(more), colour))
        if reported:
            theirs = own[own["rate_reported"].notna()]
            ax.plot(theirs["teacher"], theirs["rate_reported"], ls="none", marker="x", ms=9,
                    mew=1.8, color=theme.ink, zorder=5)  # fmt: skip
    widths = sorted(int(k) for k in table["teacher"].unique())
    width_axis(ax, widths, "teacher width k")
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    top = max(float(table["rate_high"].max()), 0.01)
    ax.set_ylim(-0.03 * top, 1.08 * top)
    ax.set_ylabel("starts that end in a spurious minimum")
    label_ends(ax, max(widths), ends)
    handles = [
        ax.plot([], [], color=theme.soft, marker="o", ms=7, mec=theme.paper, label="ours, 95%")[0]
    ]
    if reported:
        handles += ax.plot([], [], ls="none", marker="x", ms=9, mew=1.8, color=theme.ink,
                           label="reported (unverified)")  # fmt: skip
        ax.legend(handles=handles, loc="upper left")


def _heights(ax: Axes, runs: pd.DataFrame, theme: Theme) -> None:
    """Every loss level of converged spurious ends; area is its share of the starts."""
    widths = sorted(int(k) for k in runs["teacher"].unique())
    width_axis(ax, widths, "teacher width k")
    ax.set_ylabel("population loss F")
    bad = runs[runs["spurious"] & (runs["status"] == "converged")]
    if not len(bad):
        ax.text(0.5, 0.5, "no spurious minima", ha="center", color=theme.soft,
                transform=ax.transAxes)  # fmt: skip
        return
    for k, group in bad.groupby("teacher"):
        levels = loss_levels(group["loss"].to_numpy())
        area = 900 * levels.count / int((runs["teacher"] == k).sum()) + 10
        ax.scatter(np.full(len(levels), int(str(k))), levels.loss, s=area, color=theme.red,
                   alpha=0.65, lw=0, zorder=3)  # fmt: skip
    for share in (0.5, 0.05):
        ax.scatter([], [], s=900 * share + 10, color=theme.red, alpha=0.65, lw=0,
                   label=f"{share:.0%} of the starts")  # fmt: skip
    top = float(bad["loss"].max())
    ax.set_ylim(0.0, 1.15 * top)
    ax.legend(loc="upper left", labelspacing=0.9, handletextpad=0.6)
