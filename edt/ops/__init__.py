"""Differentiable ops over ensembles: outputs, losses, gradients, Hessians, their products."""

from __future__ import annotations

from edt.ops.activations import ACTIVATION_CODES, ACTIVATION_FUNCTIONS
from edt.ops.api import (
    ggn_vp,
    hessian,
    hessian_blocks,
    hvp,
    jacobian,
    loss,
    loss_and_grad,
    predict,
)
from edt.ops.functional import functional_call

__all__ = [
    "ACTIVATION_CODES",
    "ACTIVATION_FUNCTIONS",
    "functional_call",
    "ggn_vp",
    "hessian",
    "hessian_blocks",
    "hvp",
    "jacobian",
    "loss",
    "loss_and_grad",
    "predict",
]
