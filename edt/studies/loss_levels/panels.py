"""Sorted final losses of every width: `edt.studies.loss_levels.figures`."""

from __future__ import annotations

import pandas as pd

from edt.show.axes import log_axis, width_axis
from edt.show.hover import lines, rows
from edt.show.marks import points, thinned
from edt.show.panel import NAMES, Panel
from edt.studies.loss_levels.figures import MARKS, WORDS, end_colours, places
from edt.studies.loss_levels.tables import ENDS


def loss_levels(runs: pd.DataFrame) -> list[Panel]:
    """Panels of `edt.plots.plot_loss_levels`: one a bias setting.

    Args:
        runs: table ``runs`` of a loss-level experiment.
    """
    span = (float(runs["loss"].min()) / 1.2, float(runs["loss"].max()) * 1.2)
    return [
        _panel(runs[runs["bias"] == bias], bias, span)
        for bias in sorted(bool(bias) for bias in runs["bias"].unique())
    ]


def _panel(runs: pd.DataFrame, bias: bool, span: tuple[float, float]) -> Panel:
    colours = end_colours(NAMES)
    placed, step = thinned(places(runs))
    traces = []
    for end in ENDS:
        own = placed[placed["end"] == end]
        if not len(own):
            continue
        hover = [
            lines(f"width {row['width']}, seed {row['seed']}: {WORDS[end]}",
                  f"loss {row['loss']:.6g}")
            for row in rows(own)
        ]  # fmt: skip
        traces.append(
            points(own["place"], own["loss"], WORDS[end], colours[end], hover, marker=MARKS[end],
                   size=6)
        )  # fmt: skip
    widths = sorted(int(width) for width in runs["width"].unique())
    title = "With biases" if bias else "Without biases"
    edges = [
        {"type": "line", "x0": width - 0.5, "x1": width - 0.5, "y0": 0, "y1": 1, "yref": "paper",
         "line": {"color": "@grid", "width": 1}, "layer": "below"}
        for width in widths[1:]
    ]  # fmt: skip
    return Panel(
        title if step == 1 else f"{title} (one in {step})",
        traces,
        width_axis(widths, "width r; within each, all starts by their losses"),
        log_axis("final loss (target's variance 1)", span=span),
        {"shapes": edges},
        height=440,
        full=len(runs) >= 1000,
    )
