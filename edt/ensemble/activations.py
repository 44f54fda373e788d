"""Hidden activations: their names, and their `torch.nn` modules.

The order of `ACTIVATIONS` is the numbering of the compiled core (csrc/math/activations.h).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from edt.errors import unknown_choice

__all__ = [
    "ACTIVATIONS",
    "Cube",
    "Erf",
    "G",
    "Sin",
    "Square",
    "activation_module",
    "check_activation",
    "name_of",
]

ACTIVATIONS: tuple[str, ...] = (
    "identity",
    "relu",
    "leaky_relu",
    "tanh",
    "sigmoid",
    "softplus",
    "gelu",
    "silu",
    "elu",
    "selu",
    "erf",
    "sin",
    "square",
    "cube",
    "g",
)


class Erf(nn.Module):
    """``erf(z / sqrt(2))``."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return torch.erf(z * 0.5**0.5)


class Sin(nn.Module):
    """``sin(z)``."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return torch.sin(z)


class Square(nn.Module):
    """``z^2 / 2``."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return z * z / 2


class Cube(nn.Module):
    """``z^3``."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return z * z * z


class G(nn.Module):
    """``sigmoid(4 z) + softplus(z)``."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        # Not F.softplus, which drops exp(-z) above a threshold.
        return torch.sigmoid(4 * z) - functional.logsigmoid(-z)


_MODULES: dict[str, Callable[[], nn.Module]] = {
    "identity": nn.Identity,
    "relu": nn.ReLU,
    "leaky_relu": lambda: nn.LeakyReLU(0.01),
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    # torch's default threshold of 20 drops exp(-20) = 2e-9; at 40 nothing a float64 could hold.
    "softplus": lambda: nn.Softplus(threshold=40.0),
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "erf": Erf,
    "sin": Sin,
    "square": Square,
    "cube": Cube,
    "g": G,
}


def check_activation(name: object) -> str:
    """Return the name if it is one of `ACTIVATIONS`.

    Raises:
        ValueError: it is not; suggests the nearest.
    """
    if not isinstance(name, str) or name not in ACTIVATIONS:
        raise unknown_choice("activation", name, ACTIVATIONS)
    return name


def activation_module(name: str) -> nn.Module:
    """A `torch.nn.Module` that applies the named activation."""
    return _MODULES[check_activation(name)]()


def name_of(module: nn.Module) -> str:
    """The name of the activation a module applies.

    Raises:
        ValueError: not one of ours, or with a parameter (slope, alpha, ...) we do not offer.
    """
    kinds: dict[type[nn.Module], str] = {type(make()): name for name, make in _MODULES.items()}
    name = kinds.get(type(module))
    if name is None:
        raise ValueError(
            f"activation module must be one of {', '.join(k.__name__ for k in kinds)}, "
            f"got {module!r}"
        )
    if isinstance(module, nn.LeakyReLU) and module.negative_slope != 0.01:
        raise ValueError(f"LeakyReLU must have negative_slope=0.01, got {module!r}")
    if isinstance(module, nn.Softplus) and (module.beta != 1 or module.threshold < 20):
        raise ValueError(f"Softplus must have beta=1 and threshold >= 20, got {module!r}")
    if isinstance(module, nn.GELU) and module.approximate != "none":
        raise ValueError(f"GELU must be exact (approximate='none'), got {module!r}")
    if isinstance(module, nn.ELU) and module.alpha != 1.0:
        raise ValueError(f"ELU must have alpha=1, got {module!r}")
    return name
