"""The figure of the study of signs."""

from __future__ import annotations

import pandas as pd

from edt.show.axes import log_axis, percent_axis, width_axis
from edt.show.columns import Terms
from edt.show.hover import lines, rows, share
from edt.show.marks import line, points, rule
from edt.show.panel import Panel

#: Words of the tables.
TERMS = Terms(
    headings={"share": "minima among them", "points": "critical points", "level": "level of loss"},
    cells={"level": {-1: "all"}},
)


def signs(table: pd.DataFrame) -> list[Panel]:
    """Share of minima beside coin tosses; spread of the index beside the binomial one.

    Args:
        table: from `edt.studies.signs.run.coin_table`.
    """
    whole = table[table["level"] == -1]
    widths = [int(width) for width in whole["width"]]
    found = [
        lines(
            f"width {row['width']}: {row['minima']} of {row['points']} critical points are minima",
            f"coin tosses: {share(row['coins'])}",
        )
        for row in rows(whole)
    ]
    spreads = points(
        whole["width"], whole["dispersion"], "measured", "@blue",
        [f"width {row['width']}: {row['dispersion']:.2f} times the binomial variance"
         for row in rows(whole)],
    )  # fmt: skip
    tosses = line(
        whole["width"], [1.0] * len(whole), "independent signs (95% of data sets)", "@orange",
        [f"{row['null_low']:.2f} to {row['null_high']:.2f} by chance" for row in rows(whole)],
        low=whole["null_low"], high=whole["null_high"], marker="s", dash="dash",
    )  # fmt: skip
    level = [
        line(whole["width"], whole["share"], "minima found", "@blue", found),
        line(whole["width"], whole["coins"], "(1 − α)<sup>P</sup>", "@orange", found, marker="s",
             dash="dash"),
    ]  # fmt: skip
    return [
        Panel("Minima among critical points", level, width_axis(widths, "width"),
              percent_axis("share of the critical points")),
        Panel("How far the index spreads", [rule([min(widths), max(widths)], [1.0, 1.0]), tosses,
                                            spreads],
              width_axis(widths, "width"), log_axis("variance over the binomial one",
                                                    [tosses, spreads])),
    ]  # fmt: skip
