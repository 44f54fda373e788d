"""The figure of perturbed rests of networks of modules."""

from __future__ import annotations

import pandas as pd

from edt.show.axes import percent_axis, place_axis
from edt.show.columns import Terms
from edt.show.hover import lines, rows, share
from edt.show.marks import points
from edt.show.panel import Panel, Part, axis

__all__ = ["WORDS", "groups"]

#: Groups in words, with their colours and markers.
WORDS = {
    "ticket": ("winning ticket", "blue", "o"),
    "random": ("other weights of the same network", "orange", "^"),
    "fresh": ("fresh weights under its mask", "green", "D"),
    "losing": ("ticket that loses alone", "purple", "s"),
}
#: The same under a mark.
SHORT = {
    "ticket": "winning", "random": "other weights", "fresh": "fresh weights", "losing": "losing",
}  # fmt: skip
#: Words of the tables.
TERMS = Terms(
    headings={"group": "weights", "rate": "win", "gain": "ahead in accuracy (points)"},
    cells={"group": {name: look[0] for name, look in WORDS.items()}},
)


def groups(table: pd.DataFrame, dense: float) -> list[Panel]:
    """Win rates and test accuracies of each group, at the largest change.

    Args:
        table: `edt.studies.perturb_rest_net.run.group_table`.
        dense: accuracy from which on a network wins.
    """
    last = table[table["size"] == table["size"].max()]
    wins: list[Part] = []
    accuracies: list[Part] = []
    for k, row in enumerate(rows(last)):
        text, colour, marker = WORDS[row["group"]]
        for marks, name in ((wins, "rate"), (accuracies, "accuracy")):
            told = lines(
                text,
                share(row[name], row[f"{name}_low"], row[f"{name}_high"]),
                f"{row['networks']:,} networks of {row['parents']} parents",
            )
            marks.append(
                points([k], [row[name]], text, f"@{colour}", [told], marker,
                       low=[row[f"{name}_low"]], high=[row[f"{name}_high"]])
            )  # fmt: skip
    names = [SHORT[str(group)] for group in last["group"]]
    # A single parent has no interval.
    low = min(float(last[["accuracy", "accuracy_low"]].min(axis=None)), dense)
    high = max(float(last[["accuracy", "accuracy_high"]].max(axis=None)), dense)
    edge = 0.08 * max(high - low, 0.01)
    return [
        Panel("Networks that win", wins, place_axis(names, "what is kept"),
              percent_axis("win with changed rests (95%, over parents)")),
        Panel("How good they are", accuracies, place_axis(names, "what is kept"),
              axis("mean test accuracy (95%, over parents)", tickformat=".0%",
                   span=(max(low - edge, 0.0), min(high + edge, 1.0)))),
    ]  # fmt: skip
