"""Hidden activations in plain PyTorch, and their numbers in the compiled core.

These functions define what each activation means; the vector code in ``csrc/math/activations.h``
is tested against them and against mpmath. Derivatives are those of autograd: at the kinks of
relu and leaky_relu the left derivative, at the one of elu and selu the derivative of the
exponential branch.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional as F

from edt.ensemble.activations import ACTIVATIONS

__all__ = ["ACTIVATION_CODES", "ACTIVATION_FUNCTIONS"]


def _softplus(z: torch.Tensor) -> torch.Tensor:
    # Not F.softplus: it drops exp(-z) above a threshold. Not logaddexp: its second derivative is
    # inf / inf where exp(-z) overflows.
    return -F.logsigmoid(-z)


#: Name -> elementwise function, in the order of the core's codes.
ACTIVATION_FUNCTIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    # A product, so that the result is a new tensor with a gradient of its own.
    "identity": lambda z: z * 1.0,
    "relu": torch.relu,
    "leaky_relu": lambda z: F.leaky_relu(z, 0.01),
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softplus": _softplus,
    # Not F.gelu, nor special.ndtr: 1 + erf(z / sqrt 2) loses the tail at negative z.
    "gelu": lambda z: z * torch.erfc(-z * 0.5**0.5) / 2,
    "silu": F.silu,
    "elu": F.elu,
    "selu": F.selu,
    "erf": lambda z: torch.erf(z * 0.5**0.5),
    "sin": torch.sin,
    "square": lambda z: z * z / 2,
    "cube": lambda z: z * z * z,
    "g": lambda z: torch.sigmoid(4 * z) + _softplus(z),
}

#: Name -> number in the compiled core (csrc/math/activations_list.h).
ACTIVATION_CODES: dict[str, int] = {name: code for code, name in enumerate(ACTIVATIONS)}
