"""What became of the runs of each width: one stacked bar a width."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from edt.show.style import LIGHT, Theme, new_figure, readable_on, styled, width_axis

#: Words for people, in the order of `edt.landscape.OUTCOMES`.
WORDS = {
    "good": "good",
    "bad": "bad minimum",
    "channel": "channel to infinity",
    "saturated": "saturated units",
    "drifting": "still drifting",
    "saddle": "saddle",
    "unconverged": "undecided",
    "diverged": "diverged",
}


def outcome_colours(theme: Theme) -> dict[str, str]:
    """Colour of each outcome."""
    return {
        "good": theme.blue,
        "bad": theme.red,
        "saddle": theme.orange,
        "channel": theme.purple,
        "saturated": theme.green,
        "drifting": theme.sky,
        "unconverged": theme.soft,
        "diverged": theme.ink,
    }


def plot_outcomes(
    outcomes: pd.DataFrame, *, good_name: str = "zero loss", theme: Theme = LIGHT
) -> Figure:
    """Share of runs with each outcome against width.

    Args:
        outcomes: from `edt.studies.outcome_table`.
        good_name: what a good run has reached.
        theme: colours.
    """
    colours = outcome_colours(theme)
    widths = outcomes["width"].to_numpy()
    totals = outcomes[list(WORDS)].sum(axis=1).to_numpy()
    with styled(theme):
        figure, axes = new_figure(1, size=(11.0, 5.2))
        ax = axes[0, 0]
        base = np.zeros(len(widths))
        for name, word in WORDS.items():
            share = outcomes[name].to_numpy() / totals
            if not share.any():
                continue
            ax.bar(
                widths,
                share,
                0.82,
                bottom=base,
                color=colours[name],
                edgecolor=theme.paper,
                linewidth=1.0,
                label=good_name if name == "good" else word,
            )
            for x, low, part in zip(widths, base, share, strict=True):
                if part >= 0.07 and len(widths) <= 20:
                    ax.text(
                        x,
                        low + part / 2,
                        f"{100 * part:.0f}",
                        ha="center",
                        va="center",
                        fontsize=11,
                        color=readable_on(colours[name]),
                    )
            base += share
        width_axis(ax, widths.tolist())
        ax.set_ylim(0, 1)
        ax.set_yticks([0, 0.25, 0.5, 0.75, 1.0], ["0%", "25%", "50%", "75%", "100%"])
        ax.set_ylabel("share of runs (%)")
        ax.grid(False)
        ax.set_title("Where the runs end")
        ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), reverse=True)
    return figure
