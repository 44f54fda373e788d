"""The figure of the study of neurons until good."""

from __future__ import annotations

import pandas as pd

from edt.show.axes import percent_axis, width_axis
from edt.show.columns import Terms
from edt.show.hover import lines, rows, share
from edt.show.marks import line
from edt.show.panel import Panel

#: Ways in words, with colours, markers and dashes.
WAYS = {
    "split": ("split, neuron after neuron", "blue", "o", "solid"),
    "fresh": ("fresh neurons, one after another", "orange", "^", "dot"),
    "restart": ("started anew at that width", "soft", "D", "dash"),
}
#: Words of the tables.
TERMS = Terms(
    headings={
        "left": "not yet good", "ahead": "ahead of fresh starts (points)", "way": "given",
        "neurons": "neurons added", "minima": "bad minima",
    },
    cells={
        "width": {0: "all"},
        "way": {"split": "split neurons", "fresh": "fresh neurons", "restart": "fresh starts"},
    },
)  # fmt: skip


def escape_count(table: pd.DataFrame) -> list[Panel]:
    """Survival of bad minima, one panel a width and one for all.

    Args:
        table: from `edt.studies.escape_count.run.survival_table`.
    """
    widths = [width for width in table["width"].unique() if width]
    shown = [*widths, 0] if len(widths) > 1 else widths
    found = []
    for width in shown:
        subset = table[table["width"] == width]
        neurons = sorted(int(k) for k in subset["neurons"].unique())
        traces = []
        for way, (text, colour, marker, dash) in WAYS.items():
            part = subset[subset["way"] == way]
            hover = [
                lines(
                    f"{text}: {row['neurons']} more",
                    f"not good: {share(row['left'], row['left_low'], row['left_high'])}",
                    f"{row['minima']} bad minima of {row['teachers']} teachers",
                )
                for row in rows(part)
            ]
            traces.append(
                line(part["neurons"], part["left"], text, f"@{colour}", hover,
                     low=part["left_low"], high=part["left_high"], marker=marker, dash=dash)
            )  # fmt: skip
        title = f"Bad minima of width {width}" if width else "All widths"
        found.append(
            Panel(title, traces, width_axis(neurons, "neurons added"),
                  percent_axis("not good yet (95%, over teachers)"))
        )  # fmt: skip
    return found
