"""What became of the runs of each width: one stacked bar a width."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from edt.arguments import checked
from edt.show.axes import percent_axis, width_axis
from edt.show.marks import stacked
from edt.show.panel import Panel
from edt.show.render import draw
from edt.show.style import LIGHT, Theme

#: Words for people, in the order of `edt.landscape.OUTCOMES`; colours; markers.
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
OUTCOME_COLOURS = {
    "good": "@blue", "bad": "@red", "saddle": "@orange", "channel": "@purple",
    "saturated": "@green", "drifting": "@sky", "unconverged": "@soft", "diverged": "@ink",
}  # fmt: skip
OUTCOME_MARKERS = {
    "good": "o", "bad": "s", "saddle": "X", "channel": "^", "saturated": "D", "drifting": "v",
    "unconverged": "P", "diverged": "*",
}  # fmt: skip


def plot_outcomes(
    outcomes: pd.DataFrame,
    *,
    good_name: str = "zero loss",
    ax: Axes | None = None,
    theme: Theme = LIGHT,
) -> Figure:
    """Share of runs with each outcome against width.

    Args:
        outcomes: from `edt.studies.outcome_table`.
        good_name: what a good run has reached.
        ax: axes of yours; default a new figure.
        theme: colours.
    """
    return draw(outcome_panels(outcomes, good_name=good_name), theme=theme, ax=ax)


def outcome_panels(table: pd.DataFrame, *, good_name: str = "zero loss") -> list[Panel]:
    """The panel of `plot_outcomes`; arguments as there."""
    widths = table["width"].tolist()
    bars = stacked(
        [f"width {width}" for width in widths],
        {text: table[name].tolist() for name, text in {**WORDS, "good": good_name}.items()},
        [OUTCOME_COLOURS[name] for name in WORDS],
        "runs",
        widths,
    )
    return [
        Panel(
            "Where the runs end",
            bars,
            width_axis(widths),
            percent_axis("share of runs (%)") | {"range": [0, 1], "showgrid": False},
            {"barmode": "stack", "bargap": 0.18},
            full=True,
        )
    ]


checked(__name__)
