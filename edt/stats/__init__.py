"""Intervals, nulls and tests: what a page may say of its numbers, and how surely."""

from __future__ import annotations

from edt.arguments import checked
from edt.stats.association import (
    Tested,
    auc,
    auc_test,
    information_test,
    mutual_information,
    permuted,
)
from edt.stats.clusters import (
    bca,
    cluster_rate,
    jackknife,
    mean_interval,
    paired_interval,
    ratio_interval,
)
from edt.stats.crossed import Components, expected_losers, variance_components
from edt.stats.interval import SEED, Interval
from edt.stats.rates import (
    DRAWS,
    combinatorial_tickets,
    disjoint_tickets,
    effective_tickets,
    wilson,
)
from edt.stats.unseen import Richness, chao1, good_turing

__all__ = [
    "DRAWS",
    "SEED",
    "Components",
    "Interval",
    "Richness",
    "Tested",
    "auc",
    "auc_test",
    "bca",
    "chao1",
    "cluster_rate",
    "combinatorial_tickets",
    "disjoint_tickets",
    "effective_tickets",
    "expected_losers",
    "good_turing",
    "information_test",
    "jackknife",
    "mean_interval",
    "mutual_information",
    "paired_interval",
    "permuted",
    "ratio_interval",
    "variance_components",
    "wilson",
]

checked(__name__)
