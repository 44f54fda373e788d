"""Accuracy against sparsity, as lottery-ticket papers show it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from edt.arguments import checked
from edt.show.axes import decades
from edt.show.columns import Terms
from edt.show.hover import lines, rows, share, value
from edt.show.marks import line
from edt.show.panel import Panel, Part, axis

#: What each method is, in a few words.
METHOD = {
    "ticket": "winning ticket",
    "reinit": "same mask, new weights",
    "random": "random mask, same densities",
    "shuffled": "mask and weights shuffled",
    "signed": "new weights, same signs",
    "oneshot": "one shot by magnitude",
    "snip": "SNIP",
    "grasp": "GraSP",
}
#: Colour, marker and line of each method.
LOOKS = {
    "ticket": ("@blue", "o", "solid"),
    "reinit": ("@orange", "s", "dash"),
    "random": ("@red", "^", "dot"),
    "shuffled": ("@purple", "v", "dashdot"),
    "signed": ("@green", "D", "dash"),
    "oneshot": ("@sky", "P", "dashdot"),
    "snip": ("@soft", "X", "dash"),
    "grasp": ("@soft", "*", "dot"),
}
#: Words of the tables.
TERMS = Terms(headings={f"accuracy_{name}": text for name, text in METHOD.items()})


def curves(table: pd.DataFrame) -> list[Panel]:
    """Test accuracy and the step of least validation loss against the weights that remain.

    Args:
        table: from `edt.studies.lottery.run.curve_table`.
    """
    least = float(table["remaining"].min())
    ticks = decades(least, 1.0, fine=100.0)
    x = axis("weights remaining (%)", log=True, ticks=ticks, span=(1.15, 0.87 * least),
             labels=[f"{100 * tick:g}" for tick in ticks])  # fmt: skip
    ends = table[["accuracy", "accuracy_low", "accuracy_high"]].to_numpy(dtype=float)
    floor = max(float(np.nanmin(ends)) - 0.03, -0.03)
    top = min(float(np.nanmax(ends)) + 0.03, 1.03)
    return [
        Panel("Accuracy at early stopping", _lines(table, "accuracy"), x,
              axis("test accuracy", span=(floor, top), tickformat=".0%")),
        Panel("How fast they learn", _lines(table, "best_step"), x,
              axis("step of the least validation loss", rangemode="tozero")),
    ]  # fmt: skip


def _lines(table: pd.DataFrame, name: str) -> list[Part]:
    traces = []
    for method in dict.fromkeys(table["method"]):
        subset = table[table["method"] == method]
        colour, marker, dash = LOOKS[method]
        low, high = f"{name}_low", f"{name}_high"
        hover = [
            lines(
                f"{METHOD[method]}, {100 * row['remaining']:.3g}% of the weights",
                ("accuracy " + share(row[name], row[low], row[high]))
                if name == "accuracy"
                else "step " + value(row[name], row[low], row[high]),
                f"{row['seeds']} seeds",
            )
            for row in rows(subset)
        ]
        traces.append(
            line(subset["remaining"], subset[name], METHOD[method], colour, hover, low=subset[low],
                 high=subset[high], marker=marker, dash=dash, size=8)
        )  # fmt: skip
    return traces


checked(__name__)
