"""The figure of the width of networks of modules."""

from __future__ import annotations

import pandas as pd

from edt.arguments import checked
from edt.show.axes import percent_axis, width_axis
from edt.show.columns import Terms
from edt.show.hover import lines, rows, share
from edt.show.marks import line, points
from edt.show.panel import Panel

#: Lines of the left panel: words, colour, marker, dash.
LINES = {
    "rate": ("networks that fit", "blue", "o", "solid"),
    "disjoint": ("if they were disjoint narrow networks", "orange", "^", "dash"),
    "combinatorial": ("if all narrow networks inside counted", "green", "D", "dot"),
}
#: Words of the tables.
TERMS = Terms(
    headings={
        "width": "channels", "fit": "training samples right", "accuracy": "test accuracy",
        "n_eff": "effective tickets", "disjoint": "disjoint tickets would give",
        "combinatorial": "overlapping tickets would give",
        "ahead_disjoint": "ahead of disjoint (points)",
        "ahead_combinatorial": "ahead of overlapping (points)",
    },
)  # fmt: skip


def width(success: pd.DataFrame, runs: pd.DataFrame, fits: float) -> list[Panel]:
    """Wins against width, measured and as tickets would have them; how much each network fits.

    Args:
        success: `edt.studies.width_net.run.success`.
        runs: table ``runs``.
        fits: share of the training data from which on a network wins.
    """
    left = []
    for name, (text, colour, marker, dash) in LINES.items():
        low, high = success[f"{name}_low"], success[f"{name}_high"]
        hover = [
            lines(f"{row['width']} channels, {text}",
                  share(row[name], row[f"{name}_low"], row[f"{name}_high"]),
                  f"{row['runs']} networks of {row['parameters']:,} parameters")
            for row in rows(success)
        ]  # fmt: skip
        left.append(
            line(success["width"], success[name], text, f"@{colour}", hover, low=low, high=high,
                 marker=marker, dash=dash)
        )  # fmt: skip
    across = width_axis([int(m) for m in success["width"]], "channels of the first layer")
    told = [f"seed {row['seed']}: {100 * row['fit']:.1f}% right" for row in rows(runs)]
    right = [points(runs["width"], runs["fit"], "one network", "@blue", told, "o")]
    return [
        Panel("Fits against width", left, across, percent_axis("networks that fit (95%)")),
        Panel(f"What each network fits; it wins from {100 * fits:g}% on", right, across,
              percent_axis("training samples right")),
    ]  # fmt: skip


checked(__name__)
