"""The figure of the study of teachers chosen by escape dimensions."""

from __future__ import annotations

import numpy as np
import pandas as pd

from edt.arguments import checked
from edt.show.axes import percent_axis, width_axis
from edt.show.columns import Terms
from edt.show.hover import lines, rows, share
from edt.show.marks import line, points, rule
from edt.show.panel import Panel, axis

#: Groups of teachers in words, with colour, marker and dash.
GROUPS = {
    "few": ("few ways down", "blue", "o", "solid"),
    "many": ("many ways down", "orange", "^", "dash"),
}
#: Words of the tables.
TERMS = Terms(
    headings={
        "opened": "escape dimensions a neuron",
        "growth": "what a neuron adds", "n_eff": "effective tickets", "narrow": "narrowest wins",
        "wide": "widest wins", "opened_least": "fewest a neuron", "opened_most": "most a neuron",
        "group": "teachers with", "bad": "bad minima",
    },
    cells={"group": {name: look[0] for name, look in GROUPS.items()}},
)  # fmt: skip


def escape_teachers(rates: pd.DataFrame, teachers: pd.DataFrame) -> list[Panel]:
    """Success against width by group; what a neuron adds against the dimensions that it opens.

    Args:
        rates, teachers: `edt.studies.escape_teachers.run.rate_table` and ``teacher_table``.
    """
    left, right = [], []
    for group, (text, colour, marker, dash) in GROUPS.items():
        subset = rates[rates["group"] == group]
        hover = [
            lines(f"width {row['width']}, {text}",
                  f"wins: {share(row['rate'], row['rate_low'], row['rate_high'])}",
                  f"{row['runs']:,} runs, {row['teachers']} teachers")
            for row in rows(subset)
        ]  # fmt: skip
        left.append(
            line(subset["width"], subset["rate"], text, f"@{colour}", hover,
                 low=subset["rate_low"], high=subset["rate_high"], marker=marker, dash=dash)
        )  # fmt: skip
        each = teachers[teachers["group"] == group]
        hover = [
            lines(f"teacher {row['teacher']}: {row['opened']:.2f} a neuron",
                  f"a neuron adds {row['growth']:.2f} to −ln(failures)")
            for row in rows(each)
        ]  # fmt: skip
        right.append(points(each["opened"], each["growth"], text, f"@{colour}", hover, marker))
    if len(teachers):
        e, g = (teachers[name].to_numpy(dtype=float) for name in ("opened", "growth"))
        # Lines of the two laws through the mean: through the origin, and level.
        ends = np.array([e.min(), e.max()])
        right.append(rule(ends.tolist(), (ends * g.mean() / e.mean()).tolist()))
        right.append(rule(ends.tolist(), [float(g.mean())] * 2, dash="dot"))
    widths = sorted({int(width) for width in rates["width"]})
    return [
        Panel("Success against width", left, width_axis(widths),
              percent_axis("networks that win (95%, over teachers)")),
        Panel("Dashes: proportional; dots: no connection", right,
              axis("escape dimensions a neuron", rangemode="tozero"),
              axis("what a neuron adds to −ln(failures)", rangemode="tozero")),
    ]  # fmt: skip


checked(__name__)
