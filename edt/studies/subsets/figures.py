"""Pictures of the study of all subsets."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from edt.show.rates import rate_line
from edt.show.style import LIGHT, Theme, key_below, new_figure, percent_axis, styled

#: Rates: column, colour of the theme, marker, what it is, line.
LINES = (
    ("together", "blue", "o", "the wide network", "-"),
    ("some", "green", "s", "at least one of its subsets alone", "--"),
    ("ticket", "orange", "^", "one subset alone", ":"),
)


def plot_subsets(table: pd.DataFrame, runs: pd.DataFrame, *, theme: Theme = LIGHT) -> Figure:
    """Rates against width (left); win rate of networks against their winning subsets (right).

    Args:
        table: from `edt.studies.subsets.run.subset_table`.
        runs: table ``runs``.
        theme: colours.
    """
    widths = table["width"].tolist()
    with styled(theme):
        figure, axes = new_figure(2, size=(13.5, 5.6), width_ratios=[1.0, 1.0])
        left, right = axes[0]
        for name, colour, marker, text, dash in LINES:
            rate_line(
                left, widths, table, getattr(theme, colour), marker, text, theme,
                value=name, low=f"{name}_low", high=f"{name}_high", line=dash,
            )  # fmt: skip
        left.set_xticks(widths)
        left.set_xlabel("width m")
        percent_axis(left, "win (95%, over teachers)")
        left.set_title("The network, and its subsets")
        key_below(left)
        for k, (width, part) in enumerate(runs.groupby("width")):
            bins = quartiles(part)
            colour = (theme.blue, theme.orange, theme.green, theme.purple, theme.red)[k % 5]
            right.plot(bins["share"], bins["rate"], "o-", color=colour, label=f"width {width}")
        right.set_xlabel("share of its subsets that win alone (quarters of the networks)")
        percent_axis(right, "networks that win")
        right.set_title("Do more winning subsets make a winner?")
        key_below(right)
    return figure


def quartiles(part: pd.DataFrame) -> pd.DataFrame:
    """Win rates of quarters of the networks, by their share of winning subsets within teachers.

    Returns:
        ``share`` (mean), ``rate`` and ``networks`` of each quarter.
    """
    rank = part.groupby("target")["alone"].rank(method="first", pct=True)
    quarter = np.clip(np.ceil(4 * rank).astype(int), 1, 4)
    grouped = part.assign(share=part["alone"] / part["tickets"]).groupby(quarter)
    found = grouped.agg(
        share=("share", "mean"), rate=("together", "mean"), networks=("share", "size")
    )
    return found.reset_index(drop=True)
