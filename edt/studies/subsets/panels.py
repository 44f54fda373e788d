"""The figure of the study of all subsets."""

from __future__ import annotations

import numpy as np
import pandas as pd

from edt.arguments import checked
from edt.show.axes import percent_axis, width_axis
from edt.show.columns import Terms
from edt.show.hover import lines, rows, share
from edt.show.marks import DASHES, line
from edt.show.panel import Panel, axis

#: Rates: column, colour of the theme, marker, what it is, line.
LINES = (
    ("together", "blue", "o", "the wide network", "-"),
    ("some", "green", "s", "at least one of its subsets alone", "--"),
    ("ticket", "orange", "^", "one subset alone", ":"),
)
STYLES = (
    ("@blue", "o", "solid"), ("@orange", "^", "dash"), ("@green", "s", "dot"),
    ("@purple", "D", "dashdot"), ("@red", "v", "longdash"),
)  # fmt: skip
#: Words of the tables.
TERMS = Terms(
    headings={
        "together": "network wins", "some": "some subset wins", "ticket": "a subset wins",
        "random": "random neurons win", "tickets": "subsets", "only_alone": "only a subset",
    },
)  # fmt: skip


def subsets(table: pd.DataFrame, runs: pd.DataFrame) -> list[Panel]:
    """Rates against width; win rate of networks against their winning subsets.

    Args:
        table: from `edt.studies.subsets.run.subset_table`.
        runs: table ``runs``.
    """
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
        colour, marker, dash = STYLES[k % len(STYLES)]
        hover = [
            lines(f"width {width}, {row['networks']:.0f} networks", share(row["rate"]))
            for row in rows(found)
        ]
        quarters.append(
            line(
                found["share"],
                found["rate"],
                f"width {width}",
                colour,
                hover,
                marker=marker,
                dash=dash,
            )
        )
    return [
        Panel("The network, and its subsets", traces, width_axis(widths, "width m"),
              percent_axis("win (95%, over teachers)")),
        Panel("Do more winning subsets make a winner?", quarters,
              axis("share of its subsets that win alone (quarters of the networks)"),
              percent_axis("networks that win")),
    ]  # fmt: skip


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


checked(__name__)
