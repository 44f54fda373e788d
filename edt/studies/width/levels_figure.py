"""The heights of the minima found: every run's final loss, and how many heights are distinct."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from edt.show.style import LIGHT, MARKERS, Theme, new_figure, styled, width_axis
from edt.studies.width.outcomes_figure import WORDS, outcome_colours


def plot_levels(
    runs: pd.DataFrame,
    levels: pd.DataFrame,
    *,
    scale: float = 1.0,
    unit: str = "share of the target's variance",
    target_name: str = "teacher",
    theme: Theme = LIGHT,
) -> Figure:
    """Final losses of one target against width (left), distinct loss levels of all (right).

    The target shown is the one with the most loss levels.

    Args:
        runs: one row a network, labelled.
        levels: from `edt.studies.level_table`.
        scale: losses are divided by it.
        unit: of the scaled loss.
        target_name: what one target is called.
        theme: colours.
    """
    shown, several = richest(levels)
    with styled(theme):
        figure, axes = new_figure(2, size=(13.0, 5.6), width_ratios=[1.25, 1.0])
        left, right = axes[0]
        title = f"Every run, {target_name} {shown + 1}" if several else "Every run"
        left.set_title(title)
        _strip(left, runs[runs["target"] == shown], scale, unit, theme)
        right.set_title("Different heights of bad minima")
        _counts(right, levels, target_name, theme)
    return figure


def richest(levels: pd.DataFrame) -> tuple[int, bool]:
    """The target with the most loss levels, and whether there are others."""
    targets = sorted({int(t) for t in levels["target"]})
    found = {t: int(levels["levels"][levels["target"] == t].sum()) for t in targets}
    return max(targets, key=lambda t: found[t]), len(targets) > 1


@dataclass(frozen=True)
class Strip:
    """Where the runs of one target stand: rows of dots, sorted by loss within each width.

    Attributes:
        place, height: of every run.
        threshold: good at or below.
        shelf: height that all good runs share; None where they stand at their losses.
        bottom, top: least and highest loss shown (of the runs above the shelf).
        span: decades between them, at least 1.
    """

    place: npt.NDArray[np.float64]
    height: npt.NDArray[np.float64]
    threshold: float
    shelf: float | None
    bottom: float
    top: float
    span: float

    @property
    def limits(self) -> tuple[float, float]:
        """Lowest and highest value of the axis, which is logarithmic where there is a shelf."""
        if self.shelf is None:
            return 0.0, 1.25 * self.top
        return self.shelf * 10 ** (-0.08 * self.span), self.top * 10 ** (0.12 * self.span)

    @property
    def edge(self) -> float:
        """Height of the line between good and not: over the shelf, or at the threshold."""
        return self.threshold if self.shelf is None else self.shelf * 10 ** (0.07 * self.span)

    @property
    def decades(self) -> list[float]:
        """Ticks above the shelf."""
        powers = [10.0**e for e in range(-20, 9)]
        return [tick for tick in powers if self.bottom * 0.8 <= tick <= self.top * 1.3]

    @property
    def limit(self) -> str:
        """The shelf's tick in words."""
        return f"≤ {self.threshold:.0e}".replace("e-0", "e-")


def strip(runs: pd.DataFrame, scale: float) -> Strip:
    """Places of runs with finite losses.

    Args:
        runs: one row a network of one target, columns ``width``, ``loss`` and ``threshold``.
        scale: losses are divided by it.
    """
    threshold = float(runs["threshold"].iloc[0]) / scale
    loss = (runs["loss"] / scale).to_numpy(dtype=float)
    widths = runs["width"].to_numpy()
    good = loss <= threshold
    # Good runs of a realisable task end anywhere down to rounding: they share one shelf.
    shelved = bool(good.any() and loss[good].min() < 0.01 * threshold)
    shown = loss[~good] if shelved else loss
    top, bottom = (float(shown.max()), float(shown.min())) if shown.size else (1.0, threshold)
    span = max(float(np.log10(top / bottom)), 1.0)
    shelf = bottom * 10 ** (-0.16 * span) if shelved else None
    place = np.empty(len(runs))
    for width in np.unique(widths):
        rows = np.flatnonzero(widths == width)
        # Rank within the width, not noise: the same table gives the same picture.
        rank = np.argsort(np.argsort(loss[rows], kind="stable"), kind="stable")
        place[rows] = width + 0.66 * ((rank + 0.5) / len(rows) - 0.5)
    height = loss if shelf is None else np.where(good, shelf, loss)
    return Strip(place, height, threshold, shelf, bottom, top, span)


def _strip(ax: Axes, runs: pd.DataFrame, scale: float, unit: str, theme: Theme) -> None:
    colours = outcome_colours(theme)
    runs = runs[np.isfinite(runs["loss"])]
    widths = sorted(runs["width"].unique())
    at = strip(runs, scale)
    for name, word in WORDS.items():
        chosen = (runs["outcome"] == name).to_numpy()
        if chosen.any():
            ax.scatter(
                at.place[chosen],
                at.height[chosen],
                s=13,
                color=colours[name],
                alpha=0.75,
                lw=0,
                label=word,
                rasterized=True,
                zorder=3,
            )
    line: dict[str, Any] = {"color": theme.soft, "lw": 1.2, "ls": (0, (4, 3)), "zorder": 2}
    ax.axhline(at.edge, **line)
    if at.shelf is not None:
        ax.set_yscale("log")
        words = [f"$10^{{{round(np.log10(tick))}}}$" for tick in at.decades]
        ax.set_yticks([at.shelf, *at.decades], [at.limit, *words])
        ax.minorticks_off()
    else:
        ax.annotate(
            "good below",
            (max(widths) + 0.55, at.threshold),
            xytext=(0, 4),
            textcoords="offset points",
            ha="right",
            fontsize=11,
            color=theme.soft,
        )
    ax.set_ylim(*at.limits)
    ax.set_ylabel(f"final loss ({unit})")
    width_axis(ax, [int(w) for w in widths])
    legend = ax.legend(loc="upper right", markerscale=2.0, handletextpad=0.1)
    legend.set_zorder(6)


def target_colours(theme: Theme) -> tuple[str, ...]:
    """Colours of targets, in turn."""
    return (theme.blue, theme.red, theme.green, theme.purple, theme.orange, theme.sky)


def _counts(ax: Axes, levels: pd.DataFrame, target_name: str, theme: Theme) -> None:
    widths = sorted(int(w) for w in levels["width"].unique())
    colours = target_colours(theme)
    targets = sorted(int(t) for t in levels["target"].unique())
    for target in targets:
        table = levels[levels["target"] == target]
        colour = colours[target % len(colours)]
        ax.plot(
            table["width"],
            table["levels"],
            color=colour,
            marker=MARKERS[target % len(MARKERS)],
            ms=8,
            mec=theme.paper,
            mew=1.0,
            label=f"{target_name} {target + 1}",
            zorder=4,
        )
    width_axis(ax, widths)
    top = max(int(levels["levels"].max()), 3)
    ax.set_ylim(-0.03 * top, 1.12 * top)
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_ylabel("distinct losses among bad minima")
    if len(targets) > 1:
        ax.legend(loc="upper right")
