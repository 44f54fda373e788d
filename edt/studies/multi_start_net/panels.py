"""The figure of multi-starts of networks of modules."""

from __future__ import annotations

import pandas as pd

from edt.show.axes import percent_axis, place_axis
from edt.show.columns import Terms
from edt.show.hover import lines, rows, share
from edt.show.marks import bars, patterned, points
from edt.show.panel import Panel

__all__ = ["together"]

LINES = {
    "together": ("the network", "blue", "o"),
    "alone": ("at least one of its tickets", "orange", "^"),
    "ticket": ("a single ticket", "green", "D"),
}
CELLS = {
    "both": ("both win", "@green"),
    "only_together": ("only the network", "@blue"),
    "only_alone": ("only a ticket", "@orange"),
    "neither": ("neither", "@soft"),
}
#: Words of the tables.
TERMS = Terms(
    headings={
        "rate_together": "network wins", "rate_alone": "best part wins",
        "rate_ticket": "a part wins", "only_alone": "only a part",
        "ahead": "ahead (points)",
        "gain": "ahead in accuracy (points)", "accuracy_together": "accuracy, network",
        "accuracy_best": "accuracy, best part",
    },
)  # fmt: skip


def together(table: pd.DataFrame) -> list[Panel]:
    """Wins of networks and of their tickets alone; network by network.

    Args:
        table: `edt.studies.multi_start_net.run.agreement`.
    """
    names = [f"{row['parts']} tickets" for row in rows(table)]
    marks = []
    for k, (name, (text, colour, marker)) in enumerate(LINES.items()):
        told = [
            lines(
                text,
                share(row[f"rate_{name}"], row[f"rate_{name}_low"], row[f"rate_{name}_high"]),
                f"{row['networks']} networks",
            )
            for row in rows(table)
        ]
        marks.append(
            points([j + 0.12 * (k - 1) for j in range(len(table))], table[f"rate_{name}"], text,
                   f"@{colour}", told, marker, low=table[f"rate_{name}_low"],
                   high=table[f"rate_{name}_high"])
        )  # fmt: skip
    cells = []
    for name, (text, colour) in CELLS.items():
        parts = [row[name] / row["networks"] for row in rows(table)]
        told = [f"{text}: {row[name]} of {row['networks']} networks" for row in rows(table)]
        written = [f"{100 * part:.0f}" if part >= 0.06 else "" for part in parts]
        cells.append(bars(range(len(table)), parts, text, colour, told, written))
    return [
        Panel("Together and alone", marks, place_axis(names, ""),
              percent_axis("win (95%, over networks)")),
        Panel("Network by network", patterned(cells), place_axis(names, ""),
              percent_axis("share of networks (%)") | {"range": [0, 1], "showgrid": False},
              {"barmode": "stack", "bargap": 0.2}),
    ]  # fmt: skip
