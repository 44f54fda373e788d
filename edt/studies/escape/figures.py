"""Escapes against width reached, and gradient descent's own paths."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from edt.show.rates import rate_line
from edt.show.style import LIGHT, MARKERS, Theme, key_below, new_figure, percent_axis, styled


def plot_ways(ends: pd.DataFrame, starts: pd.DataFrame, r: int, *, theme: Theme = LIGHT) -> Figure:
    """Share of good ends against width reached; loss fallen, distance gone.

    Args:
        ends: from `edt.landscape.escape_table` by ("narrow", "width").
        starts: table ``starts``.
        r: least width with loss 0; 0 where there is none.
        theme: colours.
    """
    with styled(theme):
        figure, axes = new_figure(3, size=(17.5, 5.4), width_ratios=[1.2, 1.0, 1.0])
        first, second, third = axes[0]
        _good(first, ends, r, theme)
        added = sorted(int(count) for count in starts["added"].unique())
        before = starts["drop"] + starts["loss"]
        fall = starts["drop"] / before
        _spread(second, [fall[starts["added"] == count] for count in added], added, theme)
        percent_axis(second, "loss fallen, of the embedded point's")
        second.set_title("How far down")
        _spread(third, [starts["distance"][starts["added"] == c] for c in added], added, theme)
        third.set_yscale("log")
        third.set_ylabel("distance of parameters")
        third.set_title("How far away")
    return figure


def palette(theme: Theme) -> tuple[str, ...]:
    """Colours of widths or targets, in turn."""
    return (theme.blue, theme.orange, theme.green, theme.purple, theme.red, theme.sky)


def _good(ax: Axes, ends: pd.DataFrame, r: int, theme: Theme) -> None:
    colours = palette(theme)
    widths = sorted(int(width) for width in ends["width"].unique())
    narrows = sorted(int(width) for width in ends["narrow"].unique())
    for place, narrow in enumerate(narrows):
        mine = ends[ends["narrow"] == narrow]
        shift = 0.12 * (place - 0.5 * (len(narrows) - 1))
        rate_line(ax, mine["width"].to_numpy() + shift, mine, colours[place % len(colours)],
                  MARKERS[place % len(MARKERS)], f"minima of width {narrow}", theme, value="good",
                  low="good_spread_low", high="good_spread_high")  # fmt: skip
    if r and min(widths) < r:
        ax.axvspan(min(widths) - 0.6, r - 0.5, color=theme.soft, alpha=0.14, lw=0, zorder=0)
        ax.text(r - 0.55, 1.0, "loss 0 is\nout of reach", ha="right", va="top", fontsize=11,
                color=theme.soft)  # fmt: skip
    ax.set_xticks(widths)
    ax.set_xlim(min(widths) - 0.6, max(widths) + 0.6)
    ax.grid(False, axis="x")
    ax.set_xlabel("width reached (hidden neurons)")
    percent_axis(ax, "runs that reach a good minimum")
    ax.set_title("Where the ways down end")
    key_below(ax)


def _spread(ax: Axes, groups: list[pd.Series], added: list[int], theme: Theme) -> None:
    """Boxes from quartile to quartile, whiskers to the 5th and 95th percentile."""
    ax.boxplot(
        [group.to_numpy() for group in groups],
        whis=(5, 95),
        showfliers=False,
        widths=0.55,
        patch_artist=True,
        boxprops={"facecolor": theme.sky, "edgecolor": theme.blue, "alpha": 0.65},
        medianprops={"color": theme.ink, "linewidth": 2.2},
        whiskerprops={"color": theme.blue},
        capprops={"color": theme.blue},
    )
    ax.set_xticks(range(1, len(added) + 1), [str(count) for count in added])
    ax.grid(False, axis="x")
    ax.set_xlabel("neurons added")


def plot_descent(paths: pd.DataFrame, places: pd.DataFrame, *, theme: Theme = LIGHT) -> Figure:
    """Loss, gradient and escape dimensions along gradient descent; a column for each width.

    Args:
        paths: table ``paths``.
        places: from `edt.studies.escape.run.plateau_table`.
        theme: colours.
    """
    colours = palette(theme)
    widths = sorted(int(width) for width in paths["width"].unique())
    with styled(theme):
        figure, axes = new_figure(
            len(widths), 3, size=(5.2 * len(widths) + 1.5, 9.0), sharex=True, sharey="row"
        )
        for column, width in enumerate(widths):
            here = paths[paths["width"] == width]
            on = places[places["width"] == width]
            targets = sorted(int(t) for t in here["target"].unique())
            for (target, seed), path in here.groupby(["target", "seed"]):
                colour = colours[targets.index(int(str(target))) % len(colours)]
                step = np.maximum(path["step"].to_numpy(), 0.5)  # 0 has no place on a log axis
                stops = on[(on["target"] == target) & (on["seed"] == seed)]
                for row, name in enumerate(("loss", "grad_norm", "index")):
                    ax = axes[row, column]
                    ax.plot(step, path[name], color=colour, lw=1.2, alpha=0.75)
                    ax.plot(stops["step"], stops[name], ls="none", marker="o", ms=7, zorder=5,
                            color=colour, mec=theme.ink, mew=1.0)  # fmt: skip
            axes[0, column].set_title(f"width {width}")
            axes[2, column].set_xlabel("step of gradient descent")
        axes[0, 0].set_xscale("log")
        axes[0, 0].set_yscale("log")
        axes[1, 0].set_yscale("log")
        axes[2, 0].set_ylim(bottom=-0.5)
        for row, text in enumerate(("loss", "max |gradient|", "escape dimensions")):
            axes[row, 0].set_ylabel(text)
        handles = [
            axes[0, 0].plot([], [], color=colours[k % len(colours)], label=f"target {t + 1}")[0]
            for k, t in enumerate(sorted(int(t) for t in paths["target"].unique()))
        ]
        if len(places):
            handles.append(axes[0, 0].plot([], [], ls="none", marker="o", ms=7, color=theme.paper,
                                           mec=theme.ink, label="plateau")[0])  # fmt: skip
        axes[0, 0].legend(handles=handles, loc="lower left", fontsize=10.5)
    return figure
