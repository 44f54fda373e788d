"""Index against loss, to point at: `edt.studies.index_loss.figures`."""

from __future__ import annotations

import pandas as pd

from edt.show.axes import percent_axis
from edt.show.hover import lines, rows
from edt.show.marks import points as marks
from edt.show.panel import Panel, axis
from edt.studies.index_loss.figures import STYLES


def index_loss(points: pd.DataFrame) -> list[Panel]:
    """The panel of `edt.studies.index_loss.figures.plot_index_loss`; arguments as there."""
    traces = []
    for k, (width, part) in enumerate(points.groupby("width")):
        colour, marker = STYLES[k % len(STYLES)]
        hover = [
            lines(
                f"width {row['width']}, teacher {row['target'] + 1}: {row['label']}",
                f"index {row['index']} of {row['coords']}, loss {row['loss']:.4g}",
                f"core of {row['core']} neurons; met {row['met']} times",
            )
            for row in rows(part)
        ]
        traces.append(
            marks(part["loss"], part["share"], f"width {width}", f"@{colour}", hover, marker,
                  size=7.0)
        )  # fmt: skip
    return [
        Panel("Critical points", traces, axis("loss (share of the target's variance)", log=True),
              percent_axis("negative eigenvalues"), full=True)
    ]  # fmt: skip
