"""The loss landscape: embeddings, escape dimensions, escapes, minima and their counts."""

from __future__ import annotations

from edt.arguments import checked
from edt.landscape import embed
from edt.landscape.align import aligned_distance
from edt.landscape.census import Census, Tolerances, census
from edt.landscape.census_tables import (
    basin_table,
    census_table,
    dominance_table,
    minimum_table,
    prediction_table,
)
from edt.landscape.certificates import Certificates, certify
from edt.landscape.channels import ChannelLimit, ChannelNetwork, channel_limits
from edt.landscape.connect import Connection, connect, equal_pairs
from edt.landscape.counting import (
    bell,
    critical_subspaces,
    crossover,
    limiting_ratio,
    minimum_subspaces,
    stirling2,
    subspace_ratio,
)
from edt.landscape.critical import critical_task
from edt.landscape.embed import Embedding, split, split_every
from edt.landscape.escape import DESTINATIONS, Escape, escape_experiment, escape_table
from edt.landscape.grow import Growth, grow
from edt.landscape.index_paths import index_along_path, plateaus
from edt.landscape.inertia import (
    SplitMatrices,
    constant_inertia,
    grown_inertia,
    predicted_inertia,
    split_matrices,
)
from edt.landscape.irreducible import Core, reduce_network
from edt.landscape.labels import CERTIFIED, LABELS, Standing, label_of, overturned_by
from edt.landscape.levels import Levels, loss_levels
from edt.landscape.matching import Alignment, align_networks
from edt.landscape.minima import Minima, find_minima
from edt.landscape.outcome import OUTCOMES, outcomes
from edt.landscape.population import population_gradient, population_hessian, population_loss
from edt.landscape.safran_shamir import SafranShamir, safran_shamir, spurious_table
from edt.landscape.views import (
    LossLine,
    LossPlane,
    eigen_directions,
    loss_line,
    loss_plane,
    path_directions,
    random_directions,
)

__all__ = [
    "CERTIFIED",
    "DESTINATIONS",
    "LABELS",
    "OUTCOMES",
    "Alignment",
    "Census",
    "Certificates",
    "ChannelLimit",
    "ChannelNetwork",
    "Connection",
    "Core",
    "Embedding",
    "Escape",
    "Growth",
    "Levels",
    "LossLine",
    "LossPlane",
    "Minima",
    "SafranShamir",
    "SplitMatrices",
    "Standing",
    "Tolerances",
    "align_networks",
    "aligned_distance",
    "basin_table",
    "bell",
    "census",
    "census_table",
    "certify",
    "channel_limits",
    "connect",
    "constant_inertia",
    "critical_subspaces",
    "critical_task",
    "crossover",
    "dominance_table",
    "eigen_directions",
    "embed",
    "equal_pairs",
    "escape_experiment",
    "escape_table",
    "find_minima",
    "grow",
    "grown_inertia",
    "index_along_path",
    "label_of",
    "limiting_ratio",
    "loss_levels",
    "loss_line",
    "loss_plane",
    "minimum_subspaces",
    "minimum_table",
    "outcomes",
    "overturned_by",
    "path_directions",
    "plateaus",
    "population_gradient",
    "population_hessian",
    "population_loss",
    "predicted_inertia",
    "prediction_table",
    "random_directions",
    "reduce_network",
    "safran_shamir",
    "split",
    "split_every",
    "split_matrices",
    "spurious_table",
    "stirling2",
    "subspace_ratio",
]

checked(__name__)
