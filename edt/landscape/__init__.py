"""The loss landscape: embeddings, escape dimensions in closed form, loss levels, counting."""

from __future__ import annotations

from edt.landscape import embed
from edt.landscape.counting import (
    bell,
    critical_subspaces,
    crossover,
    minimum_subspaces,
    stirling2,
)
from edt.landscape.critical import critical_task
from edt.landscape.embed import Embedding, split, split_every
from edt.landscape.grow import Growth, grow
from edt.landscape.inertia import SplitMatrices, grown_inertia, predicted_inertia, split_matrices
from edt.landscape.levels import Levels, loss_levels
from edt.landscape.outcome import OUTCOMES, outcomes

__all__ = [
    "OUTCOMES",
    "Embedding",
    "Growth",
    "Levels",
    "SplitMatrices",
    "bell",
    "critical_subspaces",
    "critical_task",
    "crossover",
    "embed",
    "grow",
    "grown_inertia",
    "loss_levels",
    "minimum_subspaces",
    "outcomes",
    "predicted_inertia",
    "split",
    "split_every",
    "split_matrices",
    "stirling2",
]
