"""Laws of width: fitted curves over the measured rates, and how far apart their AICs are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from edt.show.style import LIGHT, Theme, new_figure, percent_axis, styled, width_axis
from edt.stats import Interval, cluster_rate, wilson
from edt.success import Comparison

#: Curves of the left panel that are there if they were fitted: name, colour of the theme, dashes.
CURVES: tuple[tuple[str, str, tuple[float, ...]], ...] = (
    ("disjoint", "green", (5, 2)),
    ("windows", "orange", (8, 2, 1.5, 2)),
    ("subsets", "red", (1.5, 1.5)),
    ("power", "sky", (3, 1)),
    ("escape", "purple", (1, 0)),
)
#: How the models are called in the pictures.
NAMES = {
    "constant": "no effect of width",
    "disjoint": "floor(m/r) tickets",
    "windows": "m − r + 1 tickets",
    "subsets": "C(m, r) tickets",
    "proportional": "m/r tickets",
    "disjoint^a": "floor(m/r)^a tickets",
    "windows^a": "(m − r + 1)^a tickets",
    "subsets^a": "C(m, r)^a tickets",
    "power": "(m/r)^a tickets",
    "geometric": "geometric in m",
    "escape": "escape dimensions",
    "escape-logit": "escape, logistic",
    "logistic": "logistic in m",
    "log-logistic": "logistic in ln m",
}


def plot_models(found: Comparison, *, goal: str = "succeed", theme: Theme = LIGHT) -> Figure:
    """Measured rates with fitted laws (left), AIC above the best (right).

    Args:
        found: from `edt.success.compare`. Several groups are pooled: rates and fits alike are
            weighted by runs.
        goal: what a success is, in a few words.
        theme: colours.
    """
    with styled(theme):
        figure, axes = new_figure(2, size=(13.8, 6.2), width_ratios=[1.15, 1.0])
        _curves(axes[0, 0], found, goal, theme)
        _bars(axes[0, 1], found.table, theme)
    return figure


def measured(found: Comparison) -> tuple[list[int], list[Interval]]:
    """Widths, and the rate of success at each over all groups: with Wilson's interval of one group,
    over groups of several."""
    counts = found.counts
    widths = sorted({int(width) for width in counts.width})
    cells = [counts.width == width for width in widths]

    def rate(cell: Any) -> Interval:
        own = [counts.group[cell] == group for group in np.unique(counts.group[cell])]
        wins = [int(counts.wins[cell][one].sum()) for one in own]
        runs = [int(counts.runs[cell][one].sum()) for one in own]
        return wilson(wins[0], runs[0]) if len(own) == 1 else cluster_rate(wins, runs)

    return widths, [rate(cell) for cell in cells]


def curves(found: Comparison) -> list[tuple[str, str, tuple[float, ...], list[float]]]:
    """The laws that are drawn: name, colour of the theme, dashes, and the rate at every width."""
    counts = found.counts
    shown = [entry for entry in CURVES if entry[0] in found.fits]
    if "escape" not in found.fits and "geometric" in found.fits:
        shown.insert(4, ("geometric", "purple", (1, 0)))
    # Of the regressions, the better one.
    regressions = [name for name in ("logistic", "log-logistic") if name in found.fits]
    if regressions:
        best = min(regressions, key=lambda name: found.fits[name].aic)
        shown.append((best, "soft", (1, 0)))
    cells = [counts.width == width for width in sorted({int(width) for width in counts.width})]
    out = []
    for name, colour, dashes in shown:
        s = found.fits[name].success() * counts.runs
        curve = [float(s[cell].sum()) / int(counts.runs[cell].sum()) for cell in cells]
        out.append((name, colour, dashes, curve))
    return out


def _curves(ax: Axes, found: Comparison, goal: str, theme: Theme) -> None:
    widths, rates = measured(found)
    for name, colour, dashes, curve in curves(found):
        ax.plot(widths, curve, color=getattr(theme, colour), dashes=dashes, lw=2.2,
                label=NAMES[name], zorder=3)  # fmt: skip
    value = np.array([rate.value for rate in rates])
    low, high = (np.array([getattr(rate, end) for rate in rates]) for end in ("low", "high"))
    ax.errorbar(
        widths, value, yerr=np.clip([value - low, high - value], 0.0, None), color=theme.blue,
        marker="o", ms=8, mec=theme.paper, mew=1.2, lw=0, elinewidth=1.8, zorder=5,
        label="measured, 95% interval",
    )  # fmt: skip
    width_axis(ax, widths)
    percent_axis(ax, f"runs that {goal}")
    ax.set_title("Laws of width, fitted")
    ax.legend(loc="best", handlelength=2.6, labelspacing=0.4)


def _bars(ax: Axes, table: pd.DataFrame, theme: Theme) -> None:
    free = table[table["price"] == "free"].reset_index(drop=True)
    at = np.arange(len(free))
    # A little more than nothing, so that the best has a bar too.
    ax.barh(at, free["delta_aic"] + 0.03, color=theme.blue, height=0.62, zorder=2)
    # Whatever AIC says: to the left of 2 there is no telling apart.
    ax.axvspan(0.0, 2.0, color=theme.soft, alpha=0.16, lw=0, zorder=1)
    ax.set_xscale("symlog", linthresh=2.0, linscale=0.6)
    top = max(float(free["delta_aic"].max()), 4.0)
    ax.set_xlim(0.0, 8.0 * top)
    ticks = [0.0, 2.0, *[10.0**e for e in range(1, 7) if 10.0**e <= 4.0 * top]]
    ax.set_xticks(ticks, [f"{tick:,.0f}" for tick in ticks])
    ax.minorticks_off()
    for y, value in zip(at, free["delta_aic"], strict=True):
        text = f"{value:.1f}" if value < 99.5 else f"{value:,.0f}"
        x = 1.12 * max(value, 0.0) + 0.12
        ax.text(x, float(y), text, va="center", ha="left", fontsize=11.5, color=theme.ink)
    ax.set_yticks(at, [NAMES.get(name, name) for name in free["model"]])
    ax.invert_yaxis()
    ax.grid(False, axis="y")
    ax.set_xlabel("AIC above the best (shaded: within 2)")
    ax.set_title("Which law fits best")
