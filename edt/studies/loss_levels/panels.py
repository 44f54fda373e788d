"""Sorted final losses of every width, and what kind of end each run has."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from edt.arguments import checked
from edt.show.axes import log_axis, width_axis
from edt.show.hover import lines, rows
from edt.show.marks import edges, points, thinned
from edt.show.panel import Panel
from edt.show.render import draw
from edt.show.style import LIGHT, Theme
from edt.studies.loss_levels.tables import ENDS

#: Words for people, colours and markers of each kind of end.
WORDS = {
    "minimum": "minimum",
    "plateau": "plateau saddle",
    "channel": "channel to infinity",
    "saturated": "saturated neuron",
    "drifting": "still drifting",
    "saddle": "saddle",
    "undecided": "undecided",
}
LOOKS = {
    "minimum": ("@blue", "o"), "plateau": ("@orange", "s"), "channel": ("@purple", "^"),
    "saturated": ("@green", "v"), "drifting": ("@soft", "D"), "saddle": ("@red", "X"),
    "undecided": ("@soft", "x"),
}  # fmt: skip


def plot_loss_levels(
    runs: pd.DataFrame, *, ax: Axes | Sequence[Axes] | None = None, theme: Theme = LIGHT
) -> Figure:
    """One panel a bias setting: within each width the runs in the order of their losses.

    Args:
        runs: table ``runs`` of a loss-level experiment.
        ax: axes of yours, one a bias setting; default a new figure.
        theme: colours.
    """
    return draw(loss_levels(runs), theme=theme, ax=ax)


def loss_levels(runs: pd.DataFrame) -> list[Panel]:
    """Panels of `plot_loss_levels`.

    Args:
        runs: table ``runs`` of a loss-level experiment.
    """
    span = (float(runs["loss"].min()) / 1.2, float(runs["loss"].max()) * 1.2)
    return [
        _panel(runs[runs["bias"] == bias], bias, span)
        for bias in sorted(bool(bias) for bias in runs["bias"].unique())
    ]


def along_widths(runs: pd.DataFrame) -> pd.DataFrame:
    """Runs with finite losses, sorted by width and loss, with their ``place`` on the axis."""
    found: pd.DataFrame = runs[np.isfinite(runs["loss"])].sort_values(
        ["width", "loss"], kind="stable"
    )
    group = found.groupby("width")["loss"]
    rank, size = group.cumcount(), group.transform("size")
    found["place"] = found["width"] + 0.8 * ((rank + 0.5) / size - 0.5)
    return found


def _panel(runs: pd.DataFrame, bias: bool, span: tuple[float, float]) -> Panel:
    placed, step = thinned(along_widths(runs))
    traces = []
    for end in ENDS:
        subset = placed[placed["end"] == end]
        if not len(subset):
            continue
        colour, marker = LOOKS[end]
        hover = [
            lines(f"width {row['width']}, seed {row['seed']}: {WORDS[end]}",
                  f"loss {row['loss']:.6g}")
            for row in rows(subset)
        ]  # fmt: skip
        traces.append(
            points(
                subset["place"], subset["loss"], WORDS[end], colour, hover, marker=marker, size=6
            )
        )
    widths = sorted(int(width) for width in runs["width"].unique())
    title = "With biases" if bias else "Without biases"
    return Panel(
        title if step == 1 else f"{title} (one in {step})",
        traces,
        width_axis(widths, "width r; within each, all starts by their losses"),
        log_axis("final loss (target's variance 1)", span=span),
        {"shapes": edges([width - 0.5 for width in widths[1:]])},
        height=440,
        full=len(runs) >= 1000,
    )


checked(__name__)
