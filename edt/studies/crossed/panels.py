"""The crossed study, to point at: `edt.studies.crossed.figures`."""

from __future__ import annotations

import pandas as pd

from edt.show.axes import percent_axis, place_axis
from edt.show.hover import lines, rows, share
from edt.show.marks import bars, points
from edt.show.panel import Panel
from edt.studies.crossed.figures import PARTS, WORDS


def crossed(groups: pd.DataFrame, parts: pd.DataFrame) -> list[Panel]:
    """Panels of `edt.studies.crossed.figures.plot_crossed`; arguments as there."""
    marks = []
    for k, row in enumerate(rows(groups)):
        text, colour, marker = WORDS[row["group"]]
        told = lines(
            text,
            share(row["rate"], row["rate_low"], row["rate_high"]),
            f"{row['tickets']:,} of {row['teachers']} teachers; {row['losers']} lose with some "
            "rest",
        )
        marks.append(
            points([k], [row["rate"]], text, f"@{colour}", [told], marker, low=[row["rate_low"]],
                   high=[row["rate_high"]])
        )  # fmt: skip
    names = [str(group) for group in groups["group"]]
    shares = []
    for (name, text), colour in zip(PARTS.items(), ("@blue", "@orange", "@soft"), strict=True):
        hover = [
            lines(f"{row['group']}: {text}", share(row[name]),
                  "" if name == "interaction"
                  else f"by chance at most {share(row[f'{name}_limit'])} (95%)")
            for row in rows(parts)
        ]  # fmt: skip
        shares.append(bars(range(len(parts)), parts[name], text, colour, hover))
    return [
        Panel("What stands where the ticket stood", marks, place_axis(names, ""),
              percent_axis("win among the same rests (95%, over teachers)")),
        Panel("Whose is the outcome?", shares,
              place_axis([str(group) for group in parts["group"]], ""),
              percent_axis("share of the variance of the outcome"),
              {"barmode": "stack", "bargap": 0.2}),
    ]  # fmt: skip
