"""The figure of the study of failures."""

from __future__ import annotations

import pandas as pd

from edt.show.axes import percent_axis, place_axis, width_axis
from edt.show.columns import Terms
from edt.show.hover import lines, rows, share
from edt.show.marks import bars, patterned, points
from edt.show.panel import Panel

#: Kinds of failed ends: column of the table, words, colour.
KINDS = {
    "minimum": ("certified minimum", "red"),
    "channel": ("channel to infinity", "purple"),
    "saturated": ("saturated units", "green"),
    "other": ("other", "soft"),
}
#: Ways to go on in words, with colours and markers.
WAYS = {
    "inside": ("split inside", "blue", "o"),
    "outside": ("split outside", "sky", "s"),
    "fresh": ("fresh neuron", "orange", "^"),
    "kick": ("kicked, no neuron", "soft", "D"),
}
#: Words of the tables.
TERMS = Terms(
    headings={
        "rate": "fail", "bad": "certified bad minima", "minimum": "minima, of those that fail",
        "channel": "channels", "saturated": "saturated", "lower": "get lower",
        "good": "reach a good end", "label": "end", "way": "then", "strict": "with a way down",
    },
    cells={"way": {name: look[0] for name, look in WAYS.items()}},
)  # fmt: skip


def failures(table: pd.DataFrame, ways: pd.DataFrame) -> list[Panel]:
    """What failed ends are against width; who gets away to a good end.

    Args:
        table, ways: `edt.studies.failures.run.failure_table` and ``escape_rates``.
    """
    widths = [int(width) for width in table["width"]]
    stacked = []
    for name, (text, colour) in KINDS.items():
        parts = (table[name].fillna(0.0) * table["rate"]).tolist()
        hover = [
            lines(
                f"width {row['width']}, {text}",
                f"{row['failed']:,} of {row['runs']:,} runs failed",
                f"of these {share(row[name], row[f'{name}_low'], row[f'{name}_high'])}",
            )
            for row in rows(table)
        ]
        stacked.append(bars(widths, parts, text, f"@{colour}", hover))
    labels = list(dict.fromkeys(ways["label"]))
    marks = []
    for k, (way, (text, colour, marker)) in enumerate(WAYS.items()):
        subset = ways[ways["way"] == way]
        hover = [
            lines(
                f"{row['label']}, {text}",
                f"good: {share(row['good'], row['good_low'], row['good_high'])}",
                f"lower: {share(row['lower'], row['lower_low'], row['lower_high'])}",
                f"{row['ends']} ends, {row['tries']} tries",
            )
            for row in rows(subset)
        ]
        at = [labels.index(label) + 0.16 * (k - 1.5) for label in subset["label"]]
        marks.append(
            points(at, subset["good"], text, f"@{colour}", hover, marker, low=subset["good_low"],
                   high=subset["good_high"])
        )  # fmt: skip
    return [
        Panel("What failed runs are", patterned(stacked), width_axis(widths),
              percent_axis("share of all runs"), {"barmode": "stack", "bargap": 0.18}),
        Panel("Does a neuron more open a way out?", marks, place_axis(labels, ""),
              percent_axis("ends from which some try reaches a good one")),
    ]  # fmt: skip
