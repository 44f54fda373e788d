"""Share of negative eigenvalues against loss."""

from __future__ import annotations

import pandas as pd

from edt.arguments import checked
from edt.show.axes import log_axis, percent_axis
from edt.show.columns import Terms
from edt.show.hover import lines, rows
from edt.show.marks import points as marks
from edt.show.panel import Panel

#: Colours and markers of widths, in order.
STYLES = (
    ("@blue", "o"), ("@orange", "^"), ("@green", "s"), ("@purple", "D"), ("@red", "v"),
    ("@sky", "p"),
)  # fmt: skip
#: Words of the tables.
TERMS = Terms(
    headings={
        "irreducible": "without a spare neuron", "share_low": "negative below the median loss",
        "share_high": "negative above it",
    },
)  # fmt: skip


def index_loss(points: pd.DataFrame) -> list[Panel]:
    """Share of negative eigenvalues against loss; hollow where a neuron is to spare.

    Args:
        points: `edt.studies.index_loss.run.distinct_points`.
    """
    traces = []
    for k, (width, part) in enumerate(points.groupby("width")):
        colour, marker = STYLES[k % len(STYLES)]
        for whole, subset in part.groupby(part["core"] == part["width"]):
            hover = [
                lines(
                    f"width {row['width']}, teacher {row['target'] + 1}: {row['label']}",
                    f"index {row['index']} of {row['coords']}, loss {row['loss']:.4g}",
                    f"core of {row['core']} neurons; met {row['met']} times",
                )
                for row in rows(subset)
            ]
            name = f"width {width}" if whole else f"width {width}, a neuron to spare"
            traces.append(
                marks(subset["loss"], subset["share"], name, colour, hover, marker, size=7.0,
                      hollow=not whole)
            )  # fmt: skip
    x = log_axis("loss (share of the target's variance)", traces, along="x")
    return [Panel("Critical points", traces, x, percent_axis("negative eigenvalues"), full=True)]


checked(__name__)
