"""Wide networks and their tickets: `edt.studies.multi_start.figures`."""

from __future__ import annotations

import pandas as pd

from edt.show.axes import percent_axis, place_axis, width_axis
from edt.show.hover import lines, rows, share
from edt.show.marks import DASHES, bars, line
from edt.show.panel import NAMES, Panel
from edt.stats import wilson
from edt.studies.multi_start.figures import CELLS, LINES, cell_colours


def multi_start(table: pd.DataFrame, r: int) -> list[Panel]:
    """Panels of `edt.studies.multi_start.figures.plot_multi_start`.

    Args:
        table: from `edt.studies.multi_start.run.agreement_table`.
        r: neurons of a ticket.
    """
    traces = []
    for k, (name, colour, marker, text, dash) in enumerate(LINES):
        hover = [
            lines(
                f"width {row['width']}, {text}",
                share(row[f"rate_{name}"], row[f"rate_{name}_low"], row[f"rate_{name}_high"]),
                f"{row['networks']:,} networks of {row['tickets']} tickets",
            )
            for row in rows(table)
        ]
        traces.append(
            line(table["width"] + 0.12 * (k - 1), table[f"rate_{name}"], text, f"@{colour}", hover,
                 low=table[f"rate_{name}_low"], high=table[f"rate_{name}_high"], marker=marker,
                 dash=DASHES[dash])
        )  # fmt: skip
    widths = [int(width) for width in table["width"]]
    return [
        Panel("Together and alone", traces,
              width_axis(widths, f"width m (floor(m/{r}) tickets of {r} neurons)"),
              percent_axis("win (95%, over teachers)")),
        _cells(table, widths),
    ]  # fmt: skip


def _cells(table: pd.DataFrame, widths: list[int]) -> Panel:
    colours = cell_colours(NAMES)
    traces = []
    for name, text in CELLS.items():
        rates = [wilson(int(row[name]), int(row["networks"])) for row in rows(table)]
        hover = [
            lines(f"width {row['width']}, {text}: {row[name]:,} of {row['networks']:,} networks",
                  share(rate.value, rate.low, rate.high))
            for row, rate in zip(rows(table), rates, strict=True)
        ]  # fmt: skip
        parts = [rate.value for rate in rates]
        written = [f"{100 * part:.0f}" if part >= 0.06 else "" for part in parts]
        traces.append(bars(range(len(widths)), parts, text, colours[name], hover, written))
    return Panel(
        "Network by network",
        traces,
        place_axis([str(width) for width in widths], "width m"),
        percent_axis("share of networks (%)") | {"range": [0, 1], "showgrid": False},
        {"barmode": "stack", "bargap": 0.2},
    )
