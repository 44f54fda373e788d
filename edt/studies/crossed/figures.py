"""Pictures of the crossed study."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from edt.show.style import LIGHT, Theme, key_below, new_figure, percent_axis, styled

#: Groups in words, with their colours and markers.
WORDS = {
    "ticket": ("winning ticket", "blue", "o"),
    "random": ("random neurons of the same student", "orange", "^"),
    "loser": ("ticket that loses alone", "purple", "s"),
    "fresh": ("fresh neurons", "green", "D"),
}
#: Components, as columns of `edt.studies.crossed.run.component_table`.
PARTS = {"ticket": "ticket", "rest": "rest", "interaction": "the two together, and luck"}


def plot_crossed(groups: pd.DataFrame, parts: pd.DataFrame, *, theme: Theme = LIGHT) -> Figure:
    """Win rates of each group (left); shares of the variance (right).

    Args:
        groups, parts: `edt.studies.crossed.run.group_table` and ``component_table``.
        theme: colours.
    """
    with styled(theme):
        figure, axes = new_figure(2, size=(13.5, 5.6), width_ratios=[1.0, 1.0])
        left, right = axes[0]
        for k, row in enumerate(groups.to_dict("records")):
            text, colour, marker = WORDS[row["group"]]
            value = row["rate"]
            left.errorbar(
                [k], [value], [[value - row["rate_low"]], [row["rate_high"] - value]],
                fmt=marker, color=getattr(theme, colour), markersize=10, label=text,
            )  # fmt: skip
        left.set_xticks([])
        percent_axis(left, "win among the same rests (95%, over teachers)")
        left.set_title("What stands where the ticket stood")
        key_below(left)
        at, base = np.arange(len(parts)), np.zeros(len(parts))
        colours = (theme.blue, theme.orange, theme.soft)
        for (name, text), colour in zip(PARTS.items(), colours, strict=True):
            share = parts[name].to_numpy(dtype=float)
            right.bar(at, share, 0.8, bottom=base, color=colour, label=text, edgecolor=theme.paper)
            base = base + share
        right.set_xticks(at, [str(group) for group in parts["group"]])
        percent_axis(right, "share of the variance of the outcome")
        right.set_title("Whose is the outcome?")
        key_below(right)
    return figure
