"""The heights of the minima found: every run's final loss, and how many heights are distinct."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from edt.arguments import checked
from edt.show.axes import decades, power_labels, width_axis
from edt.show.hover import lines, rows, value
from edt.show.marks import DASHES, line, points, rule, thinned
from edt.show.panel import Panel, Part, axis
from edt.show.render import draw
from edt.show.style import LIGHT, MARKERS, Theme
from edt.studies.width.outcomes_panel import OUTCOME_COLOURS, OUTCOME_MARKERS, WORDS

#: Colours of targets, in turn.
COLOURS = ("@blue", "@red", "@green", "@purple", "@orange", "@sky")


def plot_levels(
    runs: pd.DataFrame,
    levels: pd.DataFrame,
    *,
    scale: float = 1.0,
    unit: str = "share of the target's variance",
    target_name: str = "teacher",
    ax: Sequence[Axes] | None = None,
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
        ax: two axes of yours; default a new figure.
        theme: colours.
    """
    panels = level_panels(runs, levels, scale=scale, unit=unit, target_name=target_name)
    return draw(panels, theme=theme, ax=ax)


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
        return decades(self.bottom * 0.8, self.top * 1.3, fine=1.0)

    @property
    def limit(self) -> str:
        """The shelf's tick in words."""
        return f"≤ {power_labels([self.threshold])[0]}"


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


def level_panels(
    runs: pd.DataFrame,
    table: pd.DataFrame,
    *,
    scale: float = 1.0,
    unit: str = "share of the target's variance",
    target_name: str = "teacher",
    each: bool = False,
) -> list[Panel]:
    """Panels of `plot_levels`.

    Args:
        runs: one row a network, labelled.
        table: from `edt.studies.level_table`.
        scale: losses are divided by it.
        unit: of the scaled loss.
        target_name: what one target is called.
        each: a panel for every target's runs, not for those with the most loss levels alone.
    """
    richest_one, several = richest(table)
    found = []
    for target in sorted({int(t) for t in table["target"]}) if each else [richest_one]:
        subset = runs[(runs["target"] == target) & np.isfinite(runs["loss"])]
        title = f"Every run, {target_name} {target + 1}" if several else "Every run"
        found.append(_strip(subset, title, scale, unit))
    return [*found, _counts(table, target_name, several)]


def _strip(runs: pd.DataFrame, title: str, scale: float, unit: str) -> Panel:
    at, colours = strip(runs, scale), OUTCOME_COLOURS
    widths = sorted(int(width) for width in runs["width"].unique())
    table = runs.assign(place=at.place, height=at.height)
    # Every k-th of the runs in the order of their losses: the rows of dots stay.
    table, step = thinned(table.sort_values(["width", "loss"], kind="stable"), most=400)
    traces = []
    for name, word in WORDS.items():
        chosen = table[table["outcome"] == name]
        if len(chosen):
            hover = [
                lines(
                    f"width {row['width']}, seed {row['seed']}: {word}",
                    f"loss {row['loss'] / scale:.6g}",
                )
                for row in rows(chosen)
            ]
            traces.append(
                points(chosen["place"], chosen["height"], word, colours[name], hover, size=5,
                       marker=OUTCOME_MARKERS[name],
                       opacity=0.8)
            )  # fmt: skip
    ends = (min(widths) - 0.6, max(widths) + 0.6)
    label = f"final loss ({unit})"
    if at.shelf is None:
        y = axis(label, span=at.limits)
    else:
        ticks = at.decades
        y = axis(label, log=True, ticks=[at.shelf, *ticks], labels=[at.limit, *power_labels(ticks)],
                 span=at.limits)  # fmt: skip
    more: Part = {"annotations": []}
    if at.shelf is None:
        more["annotations"].append(
            {
                "x": 1, "xref": "paper", "y": at.threshold, "text": "good below",
                "showarrow": False, "xanchor": "right", "yanchor": "bottom",
                "font": {"color": "@soft", "size": 12},
            }
        )  # fmt: skip
    title = title if step == 1 else f"{title} (one in {step})"
    return Panel(title, [*traces, rule(ends, (at.edge, at.edge))], width_axis(widths), y, more)


def _counts(table: pd.DataFrame, target_name: str, several: bool) -> Panel:
    traces = []
    for target in sorted(int(t) for t in table["target"].unique()):
        subset = table[table["target"] == target]
        name = f"{target_name} {target + 1}"
        hover = []
        for row in rows(subset):
            where = f"width {row['width']}{f', {name}' if several else ''}"
            found = f"bad minima: {row['bad']}, distinct losses: {row['levels']}"
            if not row["bad"]:
                hover.append(lines(where, found))
                continue
            unseen = value(row["estimate"], row["estimate_low"], row["estimate_high"])
            hover.append(
                lines(where, found, f"met once: {row['once']}", f"with the unseen: {unseen}")
            )
        traces.append(
            line(subset["width"], subset["levels"], name, COLOURS[target % len(COLOURS)],
                 hover, marker=MARKERS[target % len(MARKERS)], key=several,
                 dash=list(DASHES.values())[target % len(DASHES)])
        )  # fmt: skip
    top = max(int(table["levels"].max()), 3)
    return Panel(
        "Different heights of bad minima",
        traces,
        width_axis(sorted(int(width) for width in table["width"].unique())),
        axis(
            "distinct losses among bad minima",
            span=(-0.03 * top, 1.12 * top),
            ticks=range(0, top + 1, -(-top // 6)),
        ),
    )


checked(__name__)
