"""Splitting a neuron of a bad minimum: theory against count, saddles, and where they lead."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from edt.show.style import LIGHT, Theme, label_ends, new_figure, readable_on, styled, width_axis
from edt.studies.width.splits import DESTINATIONS, rate_of_minima

WORDS = {
    "good": "the target",
    "lower": "a lower bad minimum",
    "channel": "a channel to infinity",
    "stays": "stays",
    "open": "lower, no verdict",
}


def plot_splits(
    splits: pd.DataFrame,
    escapes: pd.DataFrame,
    *,
    good_name: str = "zero loss",
    theme: Theme = LIGHT,
) -> Figure:
    """Index counted against predicted, share of strict saddles, and where escapes end.

    Args:
        splits: one row a split network.
        escapes: from `edt.studies.split_table`.
        good_name: what a good run has reached.
        theme: colours.
    """
    with styled(theme):
        figure, axes = new_figure(3, size=(16.5, 5.0), width_ratios=[1.0, 1.0, 1.25])
        first, second, third = axes[0]
        first.set_title("Escape dimensions")
        second.set_title("Splits that open a way down")
        third.set_title("Where the way down ends")
        if len(splits):
            _agreement(first, splits, theme)
            _shares(second, escapes, theme)
            _ends(third, splits, good_name, theme)
        else:
            for ax in (first, second, third):
                ax.set_axis_off()
            second.text(0.5, 0.5, "no bad minima to split", ha="center", color=theme.soft)
    return figure


def side_colours(theme: Theme) -> dict[bool, str]:
    """Colour of shares inside (True) and outside (False) of (0, 1)."""
    return {True: theme.blue, False: theme.orange}


def side_names(splits: pd.DataFrame) -> dict[bool, str]:
    """Label of both sides, with their shares mu where there is only one."""
    names = {}
    for inside, where in ((True, "μ inside (0, 1)"), (False, "μ outside [0, 1]")):
        shares = sorted({float(mu) for mu in splits["mu"][splits["inside"] == inside]})
        if shares:
            names[inside] = f"μ = {shares[0]:g}" if len(shares) == 1 else where
    return names


def _agreement(ax: Axes, splits: pd.DataFrame, theme: Theme) -> None:
    """Bubbles on the grid of small integers; both sides stand side by side in each cell."""
    names = side_names(splits)
    top = int(max(splits["n_neg"].max(), splits["predicted_neg"].max(), 1))
    ax.plot([-0.5, top + 0.5], [-0.5, top + 0.5], color=theme.soft, lw=1.2, ls=(0, (4, 3)))
    cells = Counter(
        zip(
            splits["inside"].tolist(),
            splits["predicted_neg"].tolist(),
            splits["n_neg"].tolist(),
            strict=True,
        )
    )
    most = max(cells.values())
    for inside, colour in side_colours(theme).items():
        if inside not in names:
            continue
        shift = -0.17 if inside else 0.17
        for (side, predicted, counted), count in sorted(cells.items()):
            if side != inside:
                continue
            at = (predicted + shift, counted)
            ax.scatter(*at, s=90 + 800 * count / most, color=colour, alpha=0.9, lw=0, zorder=3)
            ax.annotate(
                f"{count}",
                at,
                ha="center",
                va="center",
                fontsize=10,
                color=readable_on(colour),
                zorder=4,
            )
        ax.scatter([], [], s=90, color=colour, label=names[inside])
    ax.set_xlim(-0.6, top + 0.6)
    ax.set_ylim(-0.6, top + 0.6)
    ax.set_xticks(range(top + 1))
    ax.set_yticks(range(top + 1))
    ax.set_xlabel("predicted from the narrow minimum")
    ax.set_ylabel("counted on the wide Hessian")
    ax.legend(loc="upper left", handletextpad=0.2)


def _shares(ax: Axes, escapes: pd.DataFrame, theme: Theme) -> None:
    colours = side_colours(theme)
    ends = []
    widths = sorted(int(w) for w in escapes["width"].unique())
    for mu in sorted({float(mu) for mu in escapes["mu"]}):
        table = escapes[escapes["mu"] == mu]
        inside = bool(table["inside"].iloc[0])
        colour = colours[inside]
        errors = np.clip(
            np.stack([table["share"] - table["share_low"], table["share_high"] - table["share"]]),
            0.0,
            None,
        )
        ax.errorbar(
            table["width"] + (-0.06 if inside else 0.06),
            table["share"],
            yerr=errors,
            color=colour,
            marker="o" if inside else "s",
            ms=8,
            mec=theme.paper,
            mew=1.0,
            elinewidth=1.8,
            zorder=4,
        )
        ends.append((float(table["share"].iloc[-1]), f"μ = {mu:g}", colour))
    width_axis(ax, widths, "width of the bad minimum")
    ax.set_ylim(-0.03, 1.04)
    ax.set_yticks([0, 0.25, 0.5, 0.75, 1.0], ["0%", "25%", "50%", "75%", "100%"])
    ax.set_ylabel("strict saddles after the split")
    label_ends(ax, max(widths) + 0.1, ends, gap=0.08)


def destination_colours(theme: Theme) -> dict[str, str]:
    """Colour of each end of a way down."""
    return {
        "good": theme.blue,
        "lower": theme.red,
        "channel": theme.purple,
        "stays": theme.grid,
        "open": theme.soft,
    }


def _ends(ax: Axes, splits: pd.DataFrame, good_name: str, theme: Theme) -> None:
    colours = destination_colours(theme)
    words = {**WORDS, "good": good_name}
    shares = sorted({float(mu) for mu in splits["mu"]})
    for row, mu in enumerate(shares):
        group = splits[splits["mu"] == mu]
        base = 0.0
        for name in DESTINATIONS:
            part = float((group["destination"] == name).mean())
            if not part:
                continue
            ax.barh(row, part, 0.56, left=base, color=colours[name], edgecolor=theme.paper)
            if part >= 0.06:
                ink = theme.ink if name == "stays" else readable_on(colours[name])
                ax.text(base + part / 2, row, f"{100 * part:.0f}%", ha="center", va="center",
                        fontsize=11.5, color=ink)  # fmt: skip
            base += part
        good = rate_of_minima(group, group["destination"] == "good")
        ax.errorbar(
            good.value,
            row - 0.37,
            xerr=[[max(good.value - good.low, 0.0)], [max(good.high - good.value, 0.0)]],
            color=colours["good"],
            lw=2.0,
            capsize=4,
        )
        ax.text(
            good.high + 0.02, row - 0.37, "95%", fontsize=11, color=colours["good"], va="center"
        )
        ax.text(0.0, row + 0.37, f"μ = {mu:g}: {len(group)} splits", color=theme.soft, va="center")
    for name in DESTINATIONS:
        if (splits["destination"] == name).any():
            ax.bar([0], [0], color=colours[name], label=words[name])
    ax.set_xlim(0, 1)
    ax.set_ylim(-0.6, len(shares) - 0.4)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.set_xticks([0, 0.25, 0.5, 0.75, 1.0], ["0%", "25%", "50%", "75%", "100%"])
    ax.set_xlabel("share of splits")
    ax.grid(False)
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 0.95))
