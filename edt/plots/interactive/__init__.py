"""The figures of reports once more, to point at: panels for plotly, from tables only.

Each module has the panels of one of `edt.plots`, from the same arguments. They are data: plotly
draws them in the page, or in a notebook (`Panel.plotly`).
"""

from __future__ import annotations

from edt.plots.interactive.census import census, counting
from edt.plots.interactive.controls import controls
from edt.plots.interactive.curves import curves
from edt.plots.interactive.escapes import descent, escape, ways
from edt.plots.interactive.levels import levels
from edt.plots.interactive.loss_levels import loss_levels
from edt.plots.interactive.models import models
from edt.plots.interactive.multi import multi_start
from edt.plots.interactive.outcomes import outcomes
from edt.plots.interactive.panel import Panel
from edt.plots.interactive.perturb import adversary, tickets, wins
from edt.plots.interactive.splits import splits
from edt.plots.interactive.spurious import safran_shamir
from edt.plots.interactive.success import each_target, success
from edt.plots.interactive.sweep import sweep
from edt.plots.interactive.xor import xor

__all__ = [
    "Panel",
    "adversary",
    "census",
    "controls",
    "counting",
    "curves",
    "descent",
    "each_target",
    "escape",
    "levels",
    "loss_levels",
    "models",
    "multi_start",
    "outcomes",
    "safran_shamir",
    "splits",
    "success",
    "sweep",
    "tickets",
    "ways",
    "wins",
    "xor",
]
