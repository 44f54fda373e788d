"""All subsets, to point at: `edt.studies.subsets.figures`."""

from __future__ import annotations

import pandas as pd

from edt.show.axes import percent_axis, width_axis
from edt.show.hover import lines, rows, share
from edt.show.marks import DASHES, line
from edt.show.panel import Panel, axis
from edt.studies.subsets.figures import LINES, quartiles

COLOURS = ("@blue", "@orange", "@green", "@purple", "@red")


def subsets(table: pd.DataFrame, runs: pd.DataFrame) -> list[Panel]:
    """Panels of `edt.studies.subsets.figures.plot_subsets`; arguments as there."""
    traces = []
    for name, colour, marker, text, dash in LINES:
        hover = [
            lines(
                f"width {row['width']}, {text}",
                share(row[name], row[f"{name}_low"], row[f"{name}_high"]),
                f"{row['networks']:,} networks of {row['tickets']:,} subsets each",
            )
            for row in rows(table)
        ]
        traces.append(
            line(table["width"], table[name], text, f"@{colour}", hover, low=table[f"{name}_low"],
                 high=table[f"{name}_high"], marker=marker, dash=DASHES[dash])
        )  # fmt: skip
    widths = [int(width) for width in table["width"]]
    quarters = []
    for k, (width, part) in enumerate(runs.groupby("width")):
        found = quartiles(part)
        hover = [
            lines(f"width {width}, {row['networks']:.0f} networks", share(row["rate"]))
            for row in rows(found)
        ]
        quarters.append(
            line(found["share"], found["rate"], f"width {width}", COLOURS[k % 5], hover)
        )
    return [
        Panel("The network, and its subsets", traces, width_axis(widths, "width m"),
              percent_axis("win (95%, over teachers)")),
        Panel("Do more winning subsets make a winner?", quarters,
              axis("share of its subsets that win alone (quarters of the networks)"),
              percent_axis("networks that win")),
    ]  # fmt: skip
