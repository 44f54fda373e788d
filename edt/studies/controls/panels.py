"""Dimension on one axis, neurons that learn on the other: `edt.studies.controls.figures`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from edt.show.axes import log_axis, percent_axis, width_axis
from edt.show.hover import lines, rows, share
from edt.show.marks import line
from edt.show.panel import Panel, Part
from edt.studies.controls.figures import LOOKS


def controls(rates: pd.DataFrame, r: int) -> list[Panel]:
    """Panels of `edt.studies.controls.figures.plot_controls`.

    Args:
        rates: from `edt.studies.controls.run.rate_table`.
        r: neurons of the teacher.
    """
    present = [name for name in LOOKS if (rates["control"] == name).any()]
    left, right = [], []
    for k, name in enumerate(present):
        own = rates[rates["control"] == name]
        shift = k - (len(present) - 1) / 2
        left.append(_points(own["dimension"].to_numpy(dtype=float) * 1.012**shift, own, name))
        right.append(_points(own["learning"].to_numpy(dtype=float) + 0.1 * shift, own, name))
    low, high = float(rates["dimension"].min()), float(rates["dimension"].max())
    neurons = sorted({int(m) for m in rates["learning"]})
    y = percent_axis("runs that reach zero loss (95% Wilson)")
    return [
        Panel("Same success for the same dimension?", left,
              log_axis("trained parameters", span=(low / 1.15, high * 1.15)), y),
        Panel("Or for the same number of neurons?", right,
              width_axis(neurons, f"neurons whose input weights learn<br>(teacher: {r})"), y),
    ]  # fmt: skip


def _points(x: npt.NDArray[np.float64], own: pd.DataFrame, name: str) -> Part:
    text, colour, marker = LOOKS[name]
    hover = [
        lines(
            f"{text}: {row['good']:,} of {row['runs']:,} runs",
            share(row["rate"], row["rate_low"], row["rate_high"]),
            f"width {row['width']}, {row['dimension']:,} trained parameters",
            "" if name == "width" else f"trained in the ordinary way {share(row['rate_ordinary'])}",
        )
        for row in rows(own)
    ]
    return line(x, own["rate"], text, f"@{colour}", hover, low=own["rate_low"],
                high=own["rate_high"], marker=marker, joined=name == "width",
                zorder=1 if name == "width" else 2)  # fmt: skip
