"""Hidden activations: the one table of what is known about them.

The functions define what each activation means; the vector code in ``csrc/math/activations.h`` is
tested against them and against mpmath. Derivatives are those of autograd: at the kinks of relu and
leaky_relu the left derivatives, at the one of elu and selu those of the exponential branch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from edt.ensemble.symmetry import Reflection, Symmetry
from edt.errors import unknown_choice

__all__ = [
    "ACTIVATIONS",
    "Activation",
    "Cube",
    "Erf",
    "G",
    "Sin",
    "Square",
    "activation_module",
    "check_activation",
    "name_of",
]


@dataclass(frozen=True)
class Activation:
    """One activation.

    Attributes:
        name: as in ``csrc/math/activations_list.h``.
        function: elementwise, differentiable; the result is a new tensor.
        module: makes a `torch.nn.Module` that applies it.
        symmetry: what it does to a neuron; its ``parity`` is that of the function.
    """

    name: str
    function: Callable[[torch.Tensor], torch.Tensor]
    module: Callable[[], nn.Module]
    symmetry: Symmetry

    @property
    def code(self) -> int:
        """Number in the compiled core, which is not needed before."""
        from edt import _core

        return _core.CODES["activation"].index(self.name)


class Erf(nn.Module):
    """``erf(z / sqrt(2))``."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.function(z)

    @staticmethod
    def function(z: torch.Tensor) -> torch.Tensor:
        return torch.erf(z * 0.5**0.5)


class Sin(nn.Module):
    """``sin(z)``."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return torch.sin(z)


class Square(nn.Module):
    """``z^2 / 2``."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.function(z)

    @staticmethod
    def function(z: torch.Tensor) -> torch.Tensor:
        return z * z / 2


class Cube(nn.Module):
    """``z^3``."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.function(z)

    @staticmethod
    def function(z: torch.Tensor) -> torch.Tensor:
        return z * z * z


class G(nn.Module):
    """``sigmoid(4 z) + softplus(z)``."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.function(z)

    @staticmethod
    def function(z: torch.Tensor) -> torch.Tensor:
        # Not F.softplus, which drops exp(-z) above a threshold.
        return torch.sigmoid(4 * z) - functional.logsigmoid(-z)


def _softplus(z: torch.Tensor) -> torch.Tensor:
    # Not F.softplus: it drops exp(-z) above a threshold. Not logaddexp: its second derivative is
    # inf / inf where exp(-z) overflows.
    return -functional.logsigmoid(-z)


def _identity(z: torch.Tensor) -> torch.Tensor:
    # A product, so that the result is a new tensor with a gradient of its own.
    return z * 1.0


def _gelu(z: torch.Tensor) -> torch.Tensor:
    # Not F.gelu, nor special.ndtr: 1 + erf(z / sqrt 2) loses the tail at negative z.
    return z * torch.erfc(-z * 0.5**0.5) / 2


def _exponential(z: torch.Tensor, scale: float, alpha: float) -> torch.Tensor:
    # Not F.elu nor F.selu: at 0 their first derivative is that of the exponential branch, their
    # second that of the other one.
    below = torch.expm1(z.clamp(max=0.0))
    return torch.where(z > 0.0, scale * z, scale * alpha * below)


def _elu(z: torch.Tensor) -> torch.Tensor:
    return _exponential(z, 1.0, 1.0)


def _selu(z: torch.Tensor) -> torch.Tensor:
    return _exponential(z, 1.0507009873554804934, 1.6732632423543772848)


def _leaky_relu(z: torch.Tensor) -> torch.Tensor:
    return functional.leaky_relu(z, 0.01)


def _leaky_module() -> nn.Module:
    return nn.LeakyReLU(0.01)


def _softplus_module() -> nn.Module:
    # torch's default threshold of 20 drops exp(-20) = 2e-9; at 40 nothing a float64 could hold.
    return nn.Softplus(threshold=40.0)


_ODD, _EVEN = Reflection(0.0, 0.0, -1), Reflection(0.0, 0.0, 1)
_RAMP = Reflection(1.0, 0.0, 1)
_LEAKY = Reflection(1.01, 0.0, 1)

#: Name -> activation.
ACTIVATIONS: dict[str, Activation] = {
    a.name: a
    for a in (
        Activation("identity", _identity, nn.Identity, Symmetry(_ODD, degree=1, mixing=True)),
        Activation("relu", torch.relu, nn.ReLU, Symmetry(_RAMP, degree=1)),
        Activation("leaky_relu", _leaky_relu, _leaky_module, Symmetry(_LEAKY, degree=1)),
        Activation("tanh", torch.tanh, nn.Tanh, Symmetry(_ODD)),
        Activation("sigmoid", torch.sigmoid, nn.Sigmoid, Symmetry(Reflection(0.0, 1.0, -1))),
        Activation("softplus", _softplus, _softplus_module, Symmetry(_RAMP)),
        Activation("gelu", _gelu, nn.GELU, Symmetry(_RAMP)),
        Activation("silu", functional.silu, nn.SiLU, Symmetry(_RAMP)),
        Activation("elu", _elu, nn.ELU, Symmetry()),
        Activation("selu", _selu, nn.SELU, Symmetry()),
        Activation("erf", Erf.function, Erf, Symmetry(_ODD)),
        Activation("sin", torch.sin, Sin, Symmetry(_ODD, half_period=math.pi)),
        Activation("square", Square.function, Square, Symmetry(_EVEN, degree=2, mixing=True)),
        Activation("cube", Cube.function, Cube, Symmetry(_ODD, degree=3)),
        Activation("g", G.function, G, Symmetry()),
    )
}


def check_activation(name: object) -> str:
    """Return the name if it is one of `ACTIVATIONS`.

    Raises:
        ValueError: it is not; suggests the nearest.
    """
    if not isinstance(name, str) or name not in ACTIVATIONS:
        raise unknown_choice("activation", name, list(ACTIVATIONS))
    return name


def activation_module(name: str) -> nn.Module:
    """A `torch.nn.Module` that applies the named activation."""
    return ACTIVATIONS[check_activation(name)].module()


def name_of(module: nn.Module) -> str:
    """The name of the activation a module applies.

    Raises:
        ValueError: not one of ours, or with a parameter (slope, alpha, ...) we do not offer.
    """
    kinds: dict[type[nn.Module], str] = {type(a.module()): name for name, a in ACTIVATIONS.items()}
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
