"""The controls: dimension on one axis, neurons that learn on the other."""

from __future__ import annotations

import pandas as pd

from edt.arguments import checked
from edt.show.axes import log_axis, percent_axis, width_axis
from edt.show.columns import Terms
from edt.show.hover import lines, rows, share
from edt.show.marks import line
from edt.show.panel import Panel, Part

#: Control to (text, colour, marker).
LOOKS = {
    "width": ("ordinary networks", "@blue", "o"),
    "features": ("extra neurons: only outputs train", "@orange", "s"),
    "frozen": ("extra neurons: frozen", "@red", "v"),
    "factored": ("factored weights, no more neurons", "@green", "D"),
    "rotated": ("rotated parameters, all of them", "@sky", "P"),
    "subspace": ("random subspace", "@purple", "^"),
}
#: Words of the tables.
TERMS = Terms(
    headings={
        "setting": "k or d", "runs": "networks", "rate_ordinary": "ordinary",
        "model": "regression on",
        "parameters": "coefficients", "delta_aic": "ΔAIC", "b_dimension": "slope, parameters",
    },
    cells={
        "control": {name: look[0] for name, look in LOOKS.items()},
        "setting": {0: "–"},
        "model": {"dimension": "parameters", "learning": "neurons that learn"},
    },
)  # fmt: skip


def controls(rates: pd.DataFrame, r: int) -> list[Panel]:
    """Success against trained parameters, and against neurons that learn.

    Args:
        rates: from `edt.studies.controls.run.rate_table`.
        r: neurons of the teacher.
    """
    present = [name for name in LOOKS if (rates["control"] == name).any()]
    by_dimension, by_neurons = (
        [_points(rates[rates["control"] == name], across, name) for name in present]
        for across in ("dimension", "learning")
    )
    low, high = float(rates["dimension"].min()), float(rates["dimension"].max())
    neurons = sorted({int(m) for m in rates["learning"]})
    y = percent_axis("runs that reach zero loss (95% over teachers)")
    return [
        Panel("Same success for the same number of parameters?", by_dimension,
              log_axis("trained parameters", span=(low / 1.15, high * 1.15)), y),
        Panel("Or for the same number of neurons?", by_neurons,
              width_axis(neurons, f"neurons whose input weights learn<br>(teacher: {r})"), y),
    ]  # fmt: skip


def _points(subset: pd.DataFrame, across: str, name: str) -> Part:
    text, colour, marker = LOOKS[name]
    hover = [
        lines(
            f"{text}: {row['good']:,} of {row['runs']:,} runs",
            share(row["rate"], row["rate_low"], row["rate_high"]),
            f"width {row['width']}, {row['dimension']:,} trained parameters",
            "" if name == "width" else f"trained in the ordinary way {share(row['rate_ordinary'])}",
        )
        for row in rows(subset)
    ]
    return line(subset[across], subset["rate"], text, colour, hover, low=subset["rate_low"],
                high=subset["rate_high"], marker=marker, joined=name == "width",
                zorder=1 if name == "width" else 2)  # fmt: skip


checked(__name__)
