"""The figure of the study of targets."""

from __future__ import annotations

import pandas as pd

from edt.show.axes import log_axis, width_axis
from edt.show.columns import Terms
from edt.show.hover import lines, rows
from edt.show.marks import line
from edt.show.panel import Panel
from edt.studies.common.contrast import STYLES, outcome_panels
from edt.studies.targets.spec import TARGETS

#: Words of the tables.
TERMS = Terms(
    headings={"data": "target", "train": "train loss", "test": "test loss"},
    cells={"data": TARGETS},
)


def targets(table: pd.DataFrame) -> list[Panel]:
    """Certified bad minima, and train and test loss, against width.

    Args:
        table: of `edt.studies.targets.run.TargetsRun.rates`.
    """
    traces = []
    for k, data in enumerate(dict.fromkeys(table["data"])):
        subset = table[table["data"] == data]
        colour, marker, _ = STYLES[k % len(STYLES)]
        hover = [
            lines(f"width {row['width']}, {TARGETS[data]}", f"train {row['train']:.3g}",
                  f"test {row['test']:.3g} (medians)")
            for row in rows(subset)
        ]  # fmt: skip
        for name, dash in (("test", "solid"), ("train", "dot")):
            traces.append(
                line(subset["width"], subset[name].clip(lower=1e-12), f"{TARGETS[data]}, {name}",
                     f"@{colour}", hover, marker=marker, dash=dash)
            )  # fmt: skip
    widths = sorted({int(width) for width in table["width"]})
    return [
        *outcome_panels(table, "data", TARGETS, ("bad",)),
        Panel("Train and test loss", traces, width_axis(widths),
              log_axis("median loss (share of the variance)", traces)),
    ]  # fmt: skip
