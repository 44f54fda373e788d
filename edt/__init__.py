"""edt: train many small masked networks at once, and see what width does to their landscape.

The names below are the whole public surface, by topic. Each is imported when first used, so
``import edt`` itself is instant.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

#: Where each public name lives.
_HOME: dict[str, str] = {
    # networks and data
    "Ensemble": "edt.ensemble",
    "ModuleEnsemble": "edt.ensemble",
    "ModuleTask": "edt.tasks",
    "only": "edt.ensemble",
    "Task": "edt.tasks",
    # loss and derivatives, network by network
    "predict": "edt.functional",
    "loss": "edt.functional",
    "loss_and_grad": "edt.functional",
    "hvp": "edt.functional",
    "ggn_vp": "edt.functional",
    "hessian": "edt.functional",
    "hessian_blocks": "edt.functional",
    "jacobian": "edt.functional",
    "functional_call": "edt.functional",
    # training, and to the bottom
    "masked_train": "edt.training",
    "converge": "edt.training",
    "gradient_flow": "edt.flow",
    "TrainResult": "edt.training",
    "ConvergeResult": "edt.training",
    # curvature
    "hessian_spectrum": "edt.curvature",
    "count_directions": "edt.curvature",
    "index": "edt.curvature",
    "escape_dimensions": "edt.curvature",
    "HessianOperator": "edt.curvature",
    "lanczos": "edt.curvature",
    "extreme_eigenpairs": "edt.curvature",
    "spectral_density": "edt.curvature",
    "hessian_trace": "edt.curvature",
    "hessian_diagonal": "edt.curvature",
    "hessian_split": "edt.curvature",
    # infinite data
    "population": "edt.infinite",
    # landscape
    "embed": "edt.landscape",
    "predicted_inertia": "edt.landscape",
    "split_matrices": "edt.landscape",
    "loss_levels": "edt.landscape",
    "certify": "edt.landscape",
    "channel_limits": "edt.landscape",
    "outcomes": "edt.landscape",
    # statistics of success
    "wilson": "edt.stats",
    "effective_tickets": "edt.stats",
    "disjoint_tickets": "edt.stats",
    "combinatorial_tickets": "edt.stats",
    # scikit-learn
    "EnsembleRegressor": "edt.estimators",
    "EnsembleClassifier": "edt.estimators",
    # studies
    "width_sweep": "edt.studies",
    "WidthSweep": "edt.studies",
    "WidthSweepSpec": "edt.studies",
    # sweeps
    "sweep": "edt.runs.sweeps",
    "Sweep": "edt.runs.sweeps",
    "SweepSpec": "edt.runs.sweeps",
    # errors
    "EdtError": "edt.errors",
}

#: Subpackages reachable as attributes without importing them first.
_SUBPACKAGES = (
    "curvature",
    "ensemble",
    "errors",
    "estimators",
    "flow",
    "infinite",
    "landscape",
    "lottery",
    "nets",
    "nn",
    "objectives",
    "ops",
    "plots",
    "runs",
    "show",
    "stats",
    "success",
    "studies",
    "tasks",
    "training",
)

if TYPE_CHECKING:
    from edt import tasks
    from edt.curvature import (
        HessianOperator,
        count_directions,
        escape_dimensions,
        extreme_eigenpairs,
        hessian_diagonal,
        hessian_spectrum,
        hessian_split,
        hessian_trace,
        index,
        lanczos,
        spectral_density,
    )
    from edt.ensemble import Ensemble, ModuleEnsemble, only
    from edt.errors import EdtError
    from edt.estimators import EnsembleClassifier, EnsembleRegressor
    from edt.flow.gradient_flow import gradient_flow
    from edt.functional import (
        functional_call,
        ggn_vp,
        hessian,
        hessian_blocks,
        hvp,
        jacobian,
        loss,
        loss_and_grad,
        predict,
    )
    from edt.infinite import population
    from edt.landscape import (
        certify,
        channel_limits,
        embed,
        loss_levels,
        outcomes,
        predicted_inertia,
        split_matrices,
    )
    from edt.runs.sweeps import Sweep, SweepSpec, sweep
    from edt.stats import combinatorial_tickets, disjoint_tickets, effective_tickets, wilson
    from edt.studies import WidthSweep, WidthSweepSpec, width_sweep
    from edt.tasks import ModuleTask, Task
    from edt.training import ConvergeResult, TrainResult, converge, masked_train

__all__ = [
    "ConvergeResult",
    "EdtError",
    "Ensemble",
    "EnsembleClassifier",
    "EnsembleRegressor",
    "HessianOperator",
    "ModuleEnsemble",
    "ModuleTask",
    "Sweep",
    "SweepSpec",
    "Task",
    "TrainResult",
    "WidthSweep",
    "WidthSweepSpec",
    "__version__",
    "certify",
    "channel_limits",
    "combinatorial_tickets",
    "converge",
    "count_directions",
    "disjoint_tickets",
    "effective_tickets",
    "embed",
    "escape_dimensions",
    "extreme_eigenpairs",
    "functional_call",
    "ggn_vp",
    "gradient_flow",
    "hessian",
    "hessian_blocks",
    "hessian_diagonal",
    "hessian_spectrum",
    "hessian_split",
    "hessian_trace",
    "hvp",
    "index",
    "jacobian",
    "lanczos",
    "loss",
    "loss_and_grad",
    "loss_levels",
    "masked_train",
    "only",
    "outcomes",
    "population",
    "predict",
    "predicted_inertia",
    "spectral_density",
    "split_matrices",
    "sweep",
    "tasks",
    "width_sweep",
    "wilson",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(import_module(_HOME[name]), name)
        globals()[name] = value
        return value
    if name in _SUBPACKAGES:
        return import_module(f"edt.{name}")
    raise AttributeError(f"module 'edt' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME, *_SUBPACKAGES})
