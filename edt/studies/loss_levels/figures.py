"""Sorted final losses of every width, and what kind of end each run has."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from edt.show.style import LIGHT, Theme, new_figure, styled, width_axis
from edt.studies.loss_levels.tables import ENDS

#: Words for people.
WORDS = {
    "minimum": "minimum",
    "plateau": "plateau saddle",
    "channel": "channel to infinity",
    "infinity": "infinity, no channel",
    "saddle": "saddle",
    "open": "no verdict",
}
MARKS = {
    "minimum": "o", "plateau": "s", "channel": "^", "infinity": "v", "saddle": "X", "open": "x",
}  # fmt: skip


def plot_loss_levels(runs: pd.DataFrame, *, theme: Theme = LIGHT) -> Figure:
    """One panel a bias setting: within each width the runs in the order of their losses.

    Args:
        runs: table ``runs`` of a loss-level experiment.
        theme: colours.
    """
    settings = sorted(bool(bias) for bias in runs["bias"].unique())
    with styled(theme):
        figure, axes = new_figure(len(settings), size=(7.6 * len(settings) + 0.6, 6.0), sharey=True)
        for ax, bias in zip(axes[0], settings, strict=True):
            _panel(ax, runs[runs["bias"] == bias], theme)
            ax.set_title("With biases" if bias else "Without biases")
        axes[0, 0].set_ylabel("final loss (target's variance 1)")
        colours = end_colours(theme)
        present = [word for word in ENDS if (runs["end"] == word).any()]
        handles = [
            axes[0, 0].plot([], [], ls="none", marker=MARKS[word], ms=8, color=colours[word],
                            label=WORDS[word])[0]
            for word in present
        ]  # fmt: skip
        figure.legend(handles=handles, loc="outside lower center", ncols=len(present),
                      handletextpad=0.2, columnspacing=1.4)  # fmt: skip
    return figure


def end_colours(theme: Theme) -> dict[str, str]:
    """Colour of each kind of end."""
    return {
        "minimum": theme.blue, "plateau": theme.orange, "channel": theme.purple,
        "infinity": theme.green, "saddle": theme.red, "open": theme.soft,
    }  # fmt: skip


def places(runs: pd.DataFrame) -> pd.DataFrame:
    """Runs with finite losses, sorted by width and loss, with their ``place`` on the axis."""
    found: pd.DataFrame = runs[np.isfinite(runs["loss"])].sort_values(
        ["width", "loss"], kind="stable"
    )
    group = found.groupby("width")["loss"]
    rank, size = group.cumcount(), group.transform("size")
    found["place"] = found["width"] + 0.8 * ((rank + 0.5) / size - 0.5)
    return found


def _panel(ax: Axes, runs: pd.DataFrame, theme: Theme) -> None:
    widths = sorted(int(width) for width in runs["width"].unique())
    ax.set_yscale("log")
    placed, colours = places(runs), end_colours(theme)
    for word in ENDS:
        own = placed[placed["end"] == word]
        ax.scatter(own["place"], own["loss"], s=16, marker=MARKS[word], color=colours[word],
                   lw=1.2 if MARKS[word] == "x" else 0, zorder=3)  # fmt: skip
    width_axis(ax, widths, "width r; within each, all starts by their losses")
    for width in widths[1:]:
        ax.axvline(width - 0.5, color=theme.grid, lw=1.0, zorder=1)
    low, high = float(runs["loss"].min()), float(runs["loss"].max())
    ticks = [k * 10.0**e for e in range(-6, 2) for k in (1, 2, 5)]
    shown = [tick for tick in ticks if 0.7 * low <= tick <= 1.3 * high]
    if len(shown) < 12:
        ax.yaxis.set_major_locator(FixedLocator(ticks))
        ax.yaxis.set_minor_locator(NullLocator())
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
