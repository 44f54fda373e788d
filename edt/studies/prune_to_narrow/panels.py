"""The figure of the study of cut winners."""

from __future__ import annotations

import pandas as pd

from edt.show.axes import percent_axis, width_axis
from edt.show.columns import Terms
from edt.show.hover import lines, rows, share
from edt.show.marks import bars, line, patterned
from edt.show.panel import Panel

#: Rules in words, with colours, markers and dashes.
RULES = {
    "matched": ("neurons that are the teacher's", "blue", "o", "solid"),
    "strongest": ("strongest neurons", "orange", "^", "dot"),
    "random": ("random neurons", "soft", "D", "dash"),
    "rewound": ("the teacher's, from their start", "purple", "s", "dashdot"),
    "fresh": ("fresh students of width r", "green", "v", "longdash"),
}
#: Words of the tables.
TERMS = Terms(
    headings={"rule": "cut down to", "ahead": "ahead of random neurons (points)"},
    cells={"rule": {name: look[0] for name, look in RULES.items()}},
)


def prune(table: pd.DataFrame) -> list[Panel]:
    """Good remains against width; what the remains by matched neurons are.

    Args:
        table: from `edt.studies.prune_to_narrow.run.remains_table`.
    """
    widths = sorted({int(width) for width in table["width"]})
    traces = []
    for rule, (text, colour, marker, dash) in RULES.items():
        subset = table[table["rule"] == rule]
        hover = [
            lines(
                f"width {row['width']}, {text}",
                f"good: {share(row['good'], row['good_low'], row['good_high'])}",
                f"{row['winners']} winners of {row['teachers']} teachers",
            )
            for row in rows(subset)
        ]
        traces.append(
            line(subset["width"], subset["good"], text, f"@{colour}", hover,
                 low=subset["good_low"], high=subset["good_high"], marker=marker, dash=dash)
        )  # fmt: skip
    subset = table[table["rule"] == "matched"]
    other = (1.0 - subset["good"] - subset["bad"] - subset["channel"]).clip(lower=0.0)
    stacked = [
        bars(subset["width"], values, text, f"@{colour}",
             [f"width {row['width']}, {text}: {share(float(value))}"
              for row, value in zip(rows(subset), values, strict=True)])
        for values, text, colour in (
            (subset["good"], "good", "green"), (subset["bad"], "certified bad minimum", "red"),
            (subset["channel"], "channel to infinity", "purple"), (other, "other", "soft"),
        )
    ]  # fmt: skip
    return [
        Panel("Winners cut down to r neurons, trained on", traces,
              width_axis(widths, "width of the winner"),
              percent_axis("good at the bottom (95%, over teachers)")),
        Panel("What is left, the teacher's neurons kept", patterned(stacked),
              width_axis(widths, "width of the winner"), percent_axis("share of the winners"),
              {"barmode": "stack", "bargap": 0.18}),
    ]  # fmt: skip
