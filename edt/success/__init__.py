"""How success grows with width: likelihood models of counts of wins, fitted and compared.

Data are wins k of n runs at each width m, for one or several targets (groups). Every model gives
the probability of a win; each group keeps an intercept of its own (the price of a ticket), and the
rest of the parameters is shared. Widths below the reference width r, where no lottery makes a
prediction, are left out for all models alike, so that their likelihoods compare.
"""

from __future__ import annotations

from edt.arguments import checked
from edt.success.compare import Comparison, compare
from edt.success.counts import Counts
from edt.success.fit import Fit, fit, narrow_price
from edt.success.heterogeneity import SharedTickets, shared_tickets
from edt.success.models import MODELS, NESTED, Model, regression
from edt.success.uncertainty import bootstrap_interval, profile_interval, selection

__all__ = [
    "MODELS",
    "NESTED",
    "Comparison",
    "Counts",
    "Fit",
    "Model",
    "SharedTickets",
    "bootstrap_interval",
    "compare",
    "fit",
    "narrow_price",
    "profile_interval",
    "regression",
    "selection",
    "shared_tickets",
]

checked(__name__)
