"""The figures of reports once more, to point at: panels for plotly, from tables only.

Each module has the panels of one of `edt.plots`, from the same arguments. They are data: plotly
draws them in the page, or in a notebook (`Panel.plotly`).
"""

from __future__ import annotations

from edt.plots.interactive.levels import levels
from edt.plots.interactive.loss_levels import loss_levels
from edt.plots.interactive.models import models
from edt.plots.interactive.outcomes import outcomes
from edt.plots.interactive.panel import Panel
from edt.plots.interactive.splits import splits
from edt.plots.interactive.spurious import safran_shamir
from edt.plots.interactive.success import each_target, success
from edt.plots.interactive.sweep import sweep

__all__ = [
    "Panel",
    "each_target",
    "levels",
    "loss_levels",
    "models",
    "outcomes",
    "safran_shamir",
    "splits",
    "success",
    "sweep",
]
