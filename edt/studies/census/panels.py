"""Numbers of critical subspaces and of global-minimum subspaces, beside a census."""

from __future__ import annotations

import numpy as np
import pandas as pd

from edt.arguments import checked
from edt.show.axes import percent_axis, width_axis
from edt.show.columns import Terms
from edt.show.hover import lines, rows, share
from edt.show.marks import line, shade
from edt.show.panel import Panel, axis

#: Words of the tables.
TERMS = Terms(
    headings={
        "open": "neither", "log10_minima": "log10 of minima T",
        "log10_critical": "log10 of critical ΣG", "minima_share": "minima among them",
        "dominated": "minima outnumber",
    },
)  # fmt: skip


def counting(table: pd.DataFrame, shares: pd.DataFrame) -> list[Panel]:
    """Numbers of subspaces against width; their share beside measured shares.

    Args:
        table: from `edt.landscape.prediction_table` or `dominance_table`.
        shares: from `edt.landscape.census_table`, one row a width.
    """
    widths = table["width"].tolist()
    traces = []
    for name, text, colour, marker in (
        ("log10_minima", "of global minima", "@green", "s"),
        ("log10_critical", "critical, from widths below", "@red", "o"),
    ):
        subset = table[np.isfinite(table[name])]
        hover = [f"width {row['width']}, {text}: log10 = {row[name]:.2f}" for row in rows(subset)]
        traces.append(line(subset["width"], subset[name], text, colour, hover, marker=marker))
    won = table[table["dominated"]]["width"]
    when = f"minima outnumber from m = {int(won.min())}" if len(won) else "minima never outnumber"
    strip = [shade(int(won.min()) - 0.5, max(widths) + 0.6, "@green/0.12")] if len(won) else []
    hover = [
        lines(
            f"width {row['width']}: {row['bad']:,} of {row['runs']:,} end in a bad minimum",
            share(row["bad_share"], row["bad_share_spread_low"], row["bad_share_spread_high"]),
        )
        for row in rows(shares)
    ]
    critical = 1.0 - table["minima_share"]
    return [
        Panel(f"Subspaces, not basins: {when}", traces, width_axis(widths),
              axis("log10 of the number of subspaces"), {"shapes": strip}),
        Panel(
            "Measured, beside the count",
            [
                line(shares["width"], shares["bad_share"], "runs that end in a bad minimum (95%)",
                     "@red", hover, low=shares["bad_share_spread_low"],
                     high=shares["bad_share_spread_high"]),
                line(table["width"], critical, "critical ones among all subspaces", "@soft",
                     [f"width {width}: {share(part)} of subspaces are critical"
                      for width, part in zip(widths, critical, strict=True)],
                     marker=None, dash="dash"),
            ],
            width_axis(shares["width"].tolist()),
            percent_axis("share"),
        ),
    ]  # fmt: skip


checked(__name__)
