"""The figure of the study of depth."""

from __future__ import annotations

import pandas as pd

from edt.show.columns import Terms
from edt.show.panel import Panel
from edt.studies.common.contrast import outcome_panels

#: Words of the tables.
TERMS = Terms(headings={"targets": "teachers"})


def words(table: pd.DataFrame) -> dict[str, str]:
    """What each depth is called."""
    return {
        str(depth): "one hidden layer" if depth == 1 else f"{depth} hidden layers"
        for depth in table["depth"].unique()
    }


def depth(table: pd.DataFrame) -> list[Panel]:
    """Good runs and certified bad minima against width, a line a depth.

    Args:
        table: of `edt.studies.depth.run.DepthRun.rates`.
    """
    return outcome_panels(table, "depth", words(table))
