"""Wide networks and their tickets: success against width, and agreement network by network."""

from __future__ import annotations

import pandas as pd

from edt.arguments import checked
from edt.show.axes import percent_axis, place_axis, width_axis
from edt.show.columns import Terms
from edt.show.hover import lines, rows, share
from edt.show.marks import line, stacked
from edt.show.panel import Panel

#: Rates: column, colour, marker, what it is, line.
LINES = (
    ("together", "@blue", "o", "the wide network", "solid"),
    ("alone", "@green", "s", "its best ticket alone (multi-start)", "dash"),
    ("ticket", "@orange", "^", "one ticket alone", "dot"),
)
#: The four ways a network and its tickets can fare: what it is, and its colour.
CELLS = {
    "both": ("both win", "@blue"),
    "only_together": ("only the network wins", "@sky"),
    "only_alone": ("only a ticket alone wins", "@orange"),
    "neither": ("neither wins", "@soft"),
}
#: Words of the tables.
TERMS = Terms(
    headings={
        "rate_together": "network wins", "rate_alone": "best ticket wins",
        "rate_ticket": "a ticket wins",
    },
)  # fmt: skip


def multi_start(table: pd.DataFrame, r: int) -> list[Panel]:
    """Success against width, together and alone; agreement network by network.

    Args:
        table: from `edt.studies.multi_start.run.agreement_table`.
        r: neurons of a ticket.
    """
    traces = []
    for name, colour, marker, text, dash in LINES:
        rate = f"rate_{name}"
        hover = [
            lines(
                f"width {row['width']}, {text}",
                share(row[rate], row[f"{rate}_low"], row[f"{rate}_high"]),
                f"{row['networks']:,} networks of {row['tickets']} tickets",
            )
            for row in rows(table)
        ]
        traces.append(
            line(table["width"], table[rate], text, colour, hover, low=table[f"{rate}_low"],
                 high=table[f"{rate}_high"], marker=marker, dash=dash)
        )  # fmt: skip
    widths = [int(width) for width in table["width"]]
    cells = stacked(
        [f"width {width}" for width in widths],
        {text: table[name].tolist() for name, (text, _) in CELLS.items()},
        [colour for _, colour in CELLS.values()],
        "networks",
    )
    return [
        Panel("Together and alone", traces,
              width_axis(widths, f"width m (⌊m/{r}⌋ tickets of {r} neurons)"),
              percent_axis("win (95%, over teachers)")),
        Panel("Network by network", cells, place_axis([str(width) for width in widths], "width m"),
              percent_axis("share of networks (%)") | {"range": [0, 1], "showgrid": False},
              {"barmode": "stack", "bargap": 0.2}),
    ]  # fmt: skip


checked(__name__)
