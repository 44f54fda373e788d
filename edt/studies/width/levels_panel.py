"""The heights of the minima found: `edt.studies.width.levels_figure`."""

from __future__ import annotations

import numpy as np
import pandas as pd

from edt.show.axes import width_axis
from edt.show.hover import lines, rows, value
from edt.show.marks import line, points, rule, thinned
from edt.show.panel import NAMES, Panel, Part, axis
from edt.show.style import MARKERS
from edt.studies.width.levels_figure import richest, strip, target_colours
from edt.studies.width.outcomes_figure import WORDS, outcome_colours


def levels(
    runs: pd.DataFrame,
    table: pd.DataFrame,
    *,
    scale: float = 1.0,
    unit: str = "share of the target's variance",
    target_name: str = "teacher",
) -> list[Panel]:
    """Panels of `edt.plots.plot_levels`.

    Args:
        runs: one row a network, labelled.
        table: from `edt.studies.level_table`.
        scale: losses are divided by it.
        unit: of the scaled loss.
        target_name: what one target is called.
    """
    shown, several = richest(table)
    own = runs[(runs["target"] == shown) & np.isfinite(runs["loss"])]
    every = f"Every run, {target_name} {shown + 1}" if several else "Every run"
    return [_strip(own, every, scale, unit), _counts(table, target_name, several)]


def _strip(runs: pd.DataFrame, title: str, scale: float, unit: str) -> Panel:
    at, colours = strip(runs, scale), outcome_colours(NAMES)
    widths = sorted(int(width) for width in runs["width"].unique())
    table = runs.assign(place=at.place, height=at.height)
    # Every k-th of the runs in the order of their losses: the rows of dots stay.
    table, step = thinned(table.sort_values(["width", "loss"], kind="stable"))
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
                       opacity=0.8)
            )  # fmt: skip
    ends = (min(widths) - 0.6, max(widths) + 0.6)
    label = f"final loss ({unit})"
    if at.shelf is None:
        y = axis(label, span=at.limits)
    else:
        words = [f"10<sup>{round(np.log10(tick))}</sup>" for tick in at.decades]
        y = axis(label, log=True, ticks=[at.shelf, *at.decades], labels=[at.limit, *words],
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
    colours = target_colours(NAMES)
    traces = []
    for target in sorted(int(t) for t in table["target"].unique()):
        own = table[table["target"] == target]
        name = f"{target_name} {target + 1}"
        hover = []
        for row in rows(own):
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
            line(own["width"], own["levels"], name, colours[target % len(colours)],
                 hover, marker=MARKERS[target % len(MARKERS)], key=several)
        )  # fmt: skip
    top = max(int(table["levels"].max()), 3)
    return Panel(
        "Different heights of bad minima",
        traces,
        width_axis(sorted(int(width) for width in table["width"].unique())),
        axis("distinct losses among bad minima", span=(-0.03 * top, 1.12 * top)),
    )
