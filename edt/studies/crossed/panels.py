"""The figure of the study of crossed tickets and rests."""

from __future__ import annotations

import pandas as pd

from edt.show.axes import percent_axis, place_axis
from edt.show.columns import Terms
from edt.show.hover import lines, rows, share
from edt.show.marks import bars, patterned, points
from edt.show.panel import Panel

#: Groups in words, with their colours and markers.
WORDS = {
    "ticket": ("winning ticket", "blue", "o"),
    "random": ("random neurons of the same student", "orange", "^"),
    "loser": ("ticket that loses alone", "purple", "s"),
    "fresh": ("fresh neurons", "green", "D"),
}
#: Components, as columns of `edt.studies.crossed.run.component_table`.
PARTS = {"ticket": "ticket", "rest": "rest", "interaction": "the two together, and luck"}
#: Several of them, in a sentence.
MANY = {
    "random": "random neurons of the same students", "loser": "tickets that lose alone",
    "fresh": "fresh neurons",
}  # fmt: skip
#: Words of the tables.
TERMS = Terms(
    headings={"group": "neurons", "rate": "win", "rest": "rest", "total": "variance of wins"},
    cells={"group": {name: look[0] for name, look in WORDS.items()}},
)


def crossed(groups: pd.DataFrame, parts: pd.DataFrame) -> list[Panel]:
    """Win rates of each group; shares of the variance.

    Args:
        groups, parts: `edt.studies.crossed.run.group_table` and ``component_table``.
    """
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
        Panel("Whose is the outcome?", patterned(shares),
              place_axis([str(group) for group in parts["group"]], ""),
              percent_axis("share of the variance of the outcome"),
              {"barmode": "stack", "bargap": 0.2}),
    ]  # fmt: skip
