"""Accuracy against sparsity, as lottery-ticket papers show it."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from edt.show.rates import dodged
from edt.show.style import LIGHT, Theme, new_figure, styled

#: What each method is, in a few words.
METHOD = {
    "ticket": "winning ticket",
    "reinit": "same mask, new weights",
    "random": "random mask, same densities",
    "shuffled": "mask and weights shuffled",
    "signed": "new weights, same signs",
    "oneshot": "one shot by magnitude",
    "snip": "SNIP",
    "grasp": "GraSP",
}


def looks(theme: Theme) -> dict[str, tuple[str, str, str]]:
    """Colour, marker and line of each method."""
    return {
        "ticket": (theme.blue, "o", "-"),
        "reinit": (theme.orange, "s", "--"),
        "random": (theme.red, "^", ":"),
        "shuffled": (theme.purple, "v", "-."),
        "signed": (theme.green, "D", "--"),
        "oneshot": (theme.sky, "P", "-."),
        "snip": (theme.soft, "X", "--"),
        "grasp": (theme.soft, "*", ":"),
    }


def plot_curves(curves: pd.DataFrame, *, theme: Theme = LIGHT) -> Figure:
    """Test accuracy and the step of least validation loss against the weights that remain.

    Args:
        curves: from `edt.studies.lottery.run.curve_table`.
        theme: colours.
    """
    with styled(theme):
        figure, axes = new_figure(2, size=(13.5, 6.4))
        left, right = axes[0]
        for ax, name in ((left, "accuracy"), (right, "best_step")):
            _lines(ax, curves, name, theme)
        left.set_ylabel("test accuracy (%)")
        ticks = left.get_yticks()
        left.set_yticks(ticks, [f"{100 * tick:g}" for tick in ticks])
        known = curves.loc[curves["method"] == "ticket", "accuracy"]
        floor = float(curves["accuracy"].min())
        left.set_ylim(max(floor - 0.03, 0.0), min(float(known.max()) + 0.03, 1.0))
        left.set_title("Accuracy at early stopping")
        right.set_ylabel("step of the least validation loss")
        right.set_ylim(bottom=0)
        right.set_title("How fast they learn")
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 4))
    return figure


def _lines(ax: Axes, curves: pd.DataFrame, name: str, theme: Theme) -> None:
    style = looks(theme)
    methods = list(dict.fromkeys(curves["method"]))
    for place, method in enumerate(methods):
        table = curves[curves["method"] == method]
        colour, marker, line = style[method]
        x = table["remaining"].to_numpy(dtype=float)
        y = table[name].to_numpy(dtype=float)
        reach = np.nan_to_num(np.stack([y - table[f"{name}_low"], table[f"{name}_high"] - y]))
        ax.errorbar(
            dodged(x, place, len(methods), log=True), y, yerr=np.clip(reach, 0.0, None),
            color=colour, marker=marker, ls=line, ms=7, mec=theme.paper, lw=2.2, elinewidth=1.4,
            label=METHOD[method],
        )  # fmt: skip
    remaining = np.sort(curves["remaining"].unique())
    ax.set_xscale("log")
    ax.set_xlim(1.15, 0.87 * float(remaining[0]))
    ticks = [t for t in (1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01) if t >= 0.9 * remaining[0]]
    ax.set_xticks(ticks, [f"{100 * t:g}" for t in ticks])
    ax.minorticks_off()
    ax.set_xlabel("weights remaining (%)")
