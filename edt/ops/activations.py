"""Functions of the activations, and their numbers in the compiled core, by name."""

from __future__ import annotations

from collections.abc import Callable

import torch

from edt.ensemble.activations import ACTIVATIONS

__all__ = ["ACTIVATION_CODES", "ACTIVATION_FUNCTIONS"]

#: Name -> elementwise function in plain PyTorch.
ACTIVATION_FUNCTIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    name: activation.function for name, activation in ACTIVATIONS.items()
}

#: Name -> number in the compiled core.
ACTIVATION_CODES: dict[str, int] = {
    name: activation.code for name, activation in ACTIVATIONS.items()
}
