"""Pictures of index against loss."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from edt.show.style import LIGHT, Theme, key_below, new_figure, percent_axis, styled

#: Colours and markers of widths, in order.
STYLES = (
    ("blue", "o"),
    ("orange", "^"),
    ("green", "s"),
    ("purple", "D"),
    ("red", "v"),
    ("sky", "p"),
)


def plot_index_loss(points: pd.DataFrame, *, theme: Theme = LIGHT) -> Figure:
    """Share of negative eigenvalues against loss; filled where no neuron is to spare.

    Args:
        points: `edt.studies.index_loss.run.distinct_points`.
        theme: colours.
    """
    with styled(theme):
        figure, axes = new_figure(1, size=(10.0, 5.8))
        ax = axes[0, 0]
        for k, (width, part) in enumerate(points.groupby("width")):
            colour, marker = STYLES[k % len(STYLES)]
            for whole, own in part.groupby(part["core"] == part["width"]):
                ax.plot(
                    own["loss"], own["share"], marker, color=getattr(theme, colour), markersize=6,
                    alpha=0.75, fillstyle="full" if whole else "none",
                    label=f"width {width}" if whole else None,
                )  # fmt: skip
        ax.set_xscale("log")
        ax.set_xlabel("loss (share of the target's variance)")
        percent_axis(ax, "negative eigenvalues")
        ax.set_title("Critical points")
        key_below(ax)
    return figure
