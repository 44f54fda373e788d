"""Numbers of critical subspaces and of global-minimum subspaces, beside a census."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from edt.show.rates import rate_line
from edt.show.style import (
    LIGHT,
    Theme,
    label_ends,
    new_figure,
    percent_axis,
    styled,
    width_axis,
)


def plot_counting(counting: pd.DataFrame, pooled: pd.DataFrame, *, theme: Theme = LIGHT) -> Figure:
    """Numbers of subspaces against width (left); their share beside measured shares (right).

    Args:
        counting: from `edt.landscape.prediction_table` or `dominance_table`.
        pooled: from `edt.landscape.census_table`, one row a width.
        theme: colours.
    """
    with styled(theme):
        figure, axes = new_figure(2, size=(13.5, 5.4), width_ratios=[1.0, 1.0])
        left, right = axes[0]
        _numbers(left, counting, theme)
        _shares(right, counting, pooled, theme)
    return figure


def _numbers(ax: Axes, counting: pd.DataFrame, theme: Theme) -> None:
    widths = counting["width"].to_numpy()
    ends = []
    for name, colour, marker, text in (
        ("log10_minima", theme.green, "s", "of global\nminima"),
        ("log10_critical", theme.red, "o", "critical, from\nwidths below"),
    ):
        high = counting[name].to_numpy(dtype=float)
        known = np.isfinite(high)
        if known.any():
            ax.plot(widths[known], high[known], color=colour, marker=marker, ms=7, mec=theme.paper,
                    mew=1.0, zorder=4)  # fmt: skip
            ends.append((float(high[known][-1]), text, colour))
    width_axis(ax, widths.tolist())
    won = counting[counting["dominated"]]["width"]
    if len(won):
        first = int(won.min())
        ax.axvspan(first - 0.5, widths.max() + 0.6, color=theme.green, alpha=0.12, lw=0, zorder=0)
    ax.set_ylabel("log10 of subspaces (not basins)")
    when = f"minima lead from m = {int(won.min())}" if len(won) else "minima never lead"
    ax.set_title(f"Subspaces: {when}")
    bottom, top = ax.get_ylim()
    ax.set_ylim(bottom, top + 0.1 * (top - bottom))  # for the labels of lines that end high
    label_ends(ax, float(widths.max()), ends, gap=0.14)


def _shares(ax: Axes, counting: pd.DataFrame, pooled: pd.DataFrame, theme: Theme) -> None:
    widths = pooled["width"].tolist()
    rate_line(ax, widths, pooled, theme.red, "o", "runs that end in a bad minimum (95%)", theme,
              value="bad_share", low="bad_share_spread_low",
              high="bad_share_spread_high")  # fmt: skip
    ax.plot(counting["width"], 1.0 - counting["minima_share"], color=theme.soft, lw=1.8,
            ls=(0, (4, 3)), label="critical ones among all subspaces")  # fmt: skip
    width_axis(ax, widths)
    percent_axis(ax, "share")
    ax.set_title("Measured, beside the count")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, columnspacing=1.4)
