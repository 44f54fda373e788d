"""Pictures of the multi-start experiment."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from edt.show.rates import rate_line
from edt.show.style import (
    LIGHT,
    Theme,
    key_below,
    new_figure,
    percent_axis,
    readable_on,
    styled,
)

#: The four ways a network and its tickets can fare.
CELLS = {
    "both": "both win",
    "only_together": "only the network wins",
    "only_alone": "only a ticket alone wins",
    "neither": "neither wins",
}


#: Rates: column, colour of the theme, marker, what it is, line.
LINES = (
    ("together", "blue", "o", "the wide network", "-"),
    ("alone", "green", "s", "its best ticket alone (multi-start)", "--"),
    ("ticket", "orange", "^", "one ticket alone", ":"),
)


def cell_colours(theme: Theme) -> dict[str, str]:
    """Colour of each of `CELLS`."""
    return {
        "both": theme.blue,
        "only_together": theme.sky,
        "only_alone": theme.orange,
        "neither": theme.soft,
    }


def plot_multi_start(agreement: pd.DataFrame, r: int, *, theme: Theme = LIGHT) -> Figure:
    """Success against width, together and alone (left); agreement network by network (right).

    Args:
        agreement: from `edt.studies.multi_start.run.agreement_table`.
        r: neurons of a ticket.
        theme: colours.
    """
    widths = agreement["width"].tolist()
    with styled(theme):
        figure, axes = new_figure(2, size=(13.5, 5.6), width_ratios=[1.0, 1.0])
        left, right = axes[0]
        for name, colour, marker, text, line in LINES:
            rate_line(
                left, widths, agreement, getattr(theme, colour), marker, text, theme,
                value=f"rate_{name}", low=f"rate_{name}_low", high=f"rate_{name}_high", line=line,
            )  # fmt: skip
        left.set_xticks(widths)
        left.grid(False, axis="x")
        left.set_xlabel(f"width m (floor(m/{r}) tickets of {r} neurons)")
        percent_axis(left, "win (95%, over teachers)")
        left.set_title("Together and alone")
        key_below(left)
        colours = cell_colours(theme)
        base = np.zeros(len(widths))
        at = np.arange(len(widths))
        for name, text in CELLS.items():
            share = (agreement[name] / agreement["networks"]).to_numpy(dtype=float)
            right.bar(at, share, 0.8, bottom=base, color=colours[name], label=text,
                      edgecolor=theme.paper)  # fmt: skip
            for x, low, part in zip(at, base, share, strict=True):
                if part >= 0.06:
                    right.text(x, low + part / 2, f"{100 * part:.0f}", ha="center", va="center",
                               fontsize=11, color=readable_on(colours[name]))  # fmt: skip
            base += share
        right.set_xticks(at, [str(width) for width in widths])
        right.grid(False)
        right.set_xlabel("width m")
        right.set_ylim(0, 1)
        right.set_yticks([0, 0.25, 0.5, 0.75, 1.0], ["0%", "25%", "50%", "75%", "100%"])
        right.set_ylabel("share of networks (%)")
        right.set_title("Network by network")
        right.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), reverse=True)
    return figure
