"""The losses: what each means in PyTorch, and its number in the compiled core.

With outputs ``f [N, d_out]`` of a network and targets y, the loss of sample n is ``l(f_n, y_n)``.
The core has the same formulas. Everything that depends on the loss asks this table.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch

from edt import _core

__all__ = ["LOSSES", "CrossEntropy", "Loss", "SquaredError", "loss_code"]


class Loss(ABC):
    """One loss.

    Attributes:
        classes: whether targets are class numbers ``[N]`` instead of vectors ``[N, d_out]``.
        squares: whether it is a sum of squared residuals.
    """

    classes: bool
    squares: bool

    @abstractmethod
    def sample(self, f: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """``l(f_n, y_n)``: ``[..., N, d_out]`` -> ``[..., N]``."""

    @abstractmethod
    def curvature(self, f: torch.Tensor) -> torch.Tensor:
        """``A_n = d^2 l_n / df_n^2``, ``[N, d_out, d_out]``."""

    @abstractmethod
    def curve(self, f: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """``A_n v_n``, shape of ``f``."""

    @abstractmethod
    def size(self, y: torch.Tensor) -> torch.Tensor:
        """Size of l to compare its rounding with, float64 ``[..., N]``."""

    @property
    def dims(self) -> int:
        """Dimensions of the targets of one task."""
        return 1 if self.classes else 2


class SquaredError(Loss):
    """``|f - y|^2``, summed over outputs, no factor 1/2."""

    classes, squares = False, True

    def sample(self, f: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """See `Loss`."""
        return (f - y).square().sum(-1)

    def curvature(self, f: torch.Tensor) -> torch.Tensor:
        """``2 I``."""
        eye = torch.eye(f.shape[1], dtype=f.dtype, device=f.device)
        return 2 * eye.expand(f.shape[0], -1, -1)

    def curve(self, f: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """``2 v``."""
        return 2.0 * v

    def size(self, y: torch.Tensor) -> torch.Tensor:
        """The loss of a zero output."""
        y = y.to(torch.float64)
        return (y * y).sum(-1)


class CrossEntropy(Loss):
    """``log sum_o exp(f_o) - f_y`` of logits f and a class y."""

    classes, squares = True, False

    def sample(self, f: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """See `Loss`."""
        index = y.expand(f.shape[:-1])[..., None]
        return torch.logsumexp(f, -1) - f.gather(-1, index)[..., 0]

    def curvature(self, f: torch.Tensor) -> torch.Tensor:
        """``diag(p) - p p^T``, p the softmax of f."""
        p = torch.softmax(f, -1)
        return torch.diag_embed(p) - p[:, :, None] * p[:, None, :]

    def curve(self, f: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """``p v - p (p.v)``."""
        p = torch.softmax(f, -1)
        return p * (v - (p * v).sum(-1, keepdim=True))

    def size(self, y: torch.Tensor) -> torch.Tensor:
        """1."""
        return torch.ones_like(y, dtype=torch.float64)


#: By name.
LOSSES: dict[str, Loss] = {"mse": SquaredError(), "cross_entropy": CrossEntropy()}


def loss_code(name: str) -> int:
    """The compiled core's number of a loss."""
    return _core.CODES["loss"].index(name)
