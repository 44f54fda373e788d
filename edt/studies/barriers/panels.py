"""The figure of the study of barriers and basins."""

from __future__ import annotations

import pandas as pd

from edt.show.axes import log_axis, percent_axis, size_axis, width_axis
from edt.show.columns import Terms
from edt.show.hover import lines, rows, share, value
from edt.show.marks import line
from edt.show.panel import Panel
from edt.studies.common.contrast import STYLES

#: Paths in words, with colours, markers and dashes.
PATHS = {
    "plain": ("straight, as they are", "soft", "D", "dash"),
    "aligned": ("straight, aligned", "blue", "o", "solid"),
    "bent": ("aligned, with a bend", "orange", "^", "dot"),
}
#: Barriers below this are drawn there: the axis is logarithmic.
LEAST = 1e-8
#: Words of the tables.
TERMS = Terms(
    headings={"back": "come back", "targets": "teachers"},
    cells={"path": {name: look[0] for name, look in PATHS.items()}},
)


def barriers(table: pd.DataFrame, basins: pd.DataFrame) -> list[Panel]:
    """Barriers against width; returns of bad and good ends against the length of the push.

    Args:
        table, basins: `edt.studies.barriers.run.barrier_table` and ``basin_table``.
    """
    found = []
    widths = sorted({int(width) for width in table["width"]})
    traces = []
    for path, (text, colour, marker, dash) in PATHS.items():
        subset = table[table["path"] == path]
        hover = [
            lines(f"width {row['width']}, {text}",
                  value(row["barrier"], row["barrier_low"], row["barrier_high"]),
                  f"{row['pairs']} pairs of {row['teachers']} teachers")
            for row in rows(subset)
        ]  # fmt: skip
        traces.append(
            line(subset["width"], subset["barrier"].clip(lower=LEAST), text, f"@{colour}", hover,
                 low=subset["barrier_low"].clip(lower=LEAST), high=subset["barrier_high"],
                 marker=marker, dash=dash)
        )  # fmt: skip
    if widths:
        found.append(
            Panel("Barriers between good ends", traces, width_axis(widths),
                  log_axis("mean barrier (share of the variance)", traces))
        )  # fmt: skip
    for end, title in (("bad", "Pushed bad minima that come back"), ("good", "Pushed good ends")):
        subset = basins[basins["end"] == end]
        traces = []
        for k, (width, part) in enumerate(subset.groupby("width")):
            colour, marker, dash = STYLES[k % len(STYLES)]
            hover = [
                lines(f"width {row['width']}, pushed by {row['radius']:g}",
                      share(row["back"], row["back_low"], row["back_high"]),
                      f"good: {share(row['good'], row['good_low'], row['good_high'])}",
                      f"{row['ends']} ends, {row['pushes']} pushes")
                for row in rows(part)
            ]  # fmt: skip
            traces.append(
                line(part["radius"], part["back"], f"width {width}", f"@{colour}", hover,
                     low=part["back_low"], high=part["back_high"], marker=marker, dash=dash)
            )  # fmt: skip
        if traces:
            radii = sorted({float(radius) for radius in subset["radius"]})
            found.append(
                Panel(title, traces, size_axis(radii, "length of the push, in norms"),
                      percent_axis("come back (95%, over teachers)"))
            )  # fmt: skip
    return found
