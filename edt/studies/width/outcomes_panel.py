"""What became of the runs of each width: `edt.studies.width.outcomes_figure`."""

from __future__ import annotations

import pandas as pd

from edt.show.axes import percent_axis, width_axis
from edt.show.hover import lines, share
from edt.show.marks import bars
from edt.show.panel import NAMES, Panel
from edt.stats import wilson
from edt.studies.width.outcomes_figure import WORDS, outcome_colours


def outcomes(table: pd.DataFrame, *, good_name: str = "zero loss") -> list[Panel]:
    """The panel of `edt.plots.plot_outcomes`.

    Args:
        table: from `edt.studies.outcome_table`.
        good_name: what a good run has reached.
    """
    colours = outcome_colours(NAMES)
    widths = table["width"].tolist()
    totals = table[list(WORDS)].sum(axis=1).tolist()
    traces = []
    for name, word in {**WORDS, "good": good_name}.items():
        counts = [int(count) for count in table[name]]
        if not any(counts):
            continue
        found = [wilson(count, total) for count, total in zip(counts, totals, strict=True)]
        hover = [
            lines(
                f"width {width}, {word}: {count:,} of {total:,} runs",
                share(rate.value, rate.low, rate.high),
            )
            for width, count, total, rate in zip(widths, counts, totals, found, strict=True)
        ]
        parts = [rate.value for rate in found]
        text = [f"{100 * part:.0f}" if part >= 0.07 else "" for part in parts]
        traces.append(bars(widths, parts, word, colours[name], hover, text))
    return [
        Panel(
            "Where the runs end",
            traces,
            width_axis(widths),
            percent_axis("share of runs (%)") | {"range": [0, 1], "showgrid": False},
            {"barmode": "stack", "bargap": 0.18},
            full=True,
        )
    ]
