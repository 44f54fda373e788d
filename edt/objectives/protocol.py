"""What optimisers, flows and spectra need to know of a loss: the `Objective` protocol."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch

__all__ = ["Objective"]


@runtime_checkable
class Objective(Protocol):
    """Losses ``L_b(theta_b)`` of B networks with their first and second derivatives.

    Parameters and gradients are flat ``[total]`` (network after network), in float64 unless the
    objective is over float32 data. Methods write into tensors given by the caller, for the
    networks marked in ``active`` (uint8 ``[B]``, default: all); what belongs to the others is left
    as it is. Pruned and frozen parameters have zero gradient and no place in the Hessian.

    Attributes:
        B: number of networks.
        offsets: int64 ``[B + 1]``; network b owns ``theta[offsets[b]:offsets[b + 1]]``.
        coords: int64 ``[B]``, trainable parameters ``P_b``.
        trainable: bool ``[total]``.
        scale: float64 ``[B]``, the size S of the targets (`edt.training.descent.Descent.noise`).
        squares: whether the loss is a weighted sum of squared residuals (least squares).

    Objectives may have more, which optimisers use where it is there: ``rounding`` float64 ``[B]``
    (error of the losses last computed, where it is more than `edt.objectives.noise` expects),
    ``lbfgs`` and ``second_directional`` (`edt.objectives.CoreObjective`), and ``rows``,
    ``outputs``, ``residual`` and ``jacobian`` (likewise).
    """

    @property
    def B(self) -> int:
        """Number of networks."""

    @property
    def offsets(self) -> torch.Tensor:
        """int64 ``[B + 1]``."""

    @property
    def coords(self) -> torch.Tensor:
        """int64 ``[B]``."""

    @property
    def trainable(self) -> torch.Tensor:
        """bool ``[total]``."""

    @property
    def scale(self) -> torch.Tensor:
        """float64 ``[B]``."""

    @property
    def squares(self) -> bool:
        """Whether it is a sum of squares."""

    def loss(
        self, theta: torch.Tensor, loss: torch.Tensor, active: torch.Tensor | None = None
    ) -> None:
        """Write the losses into ``loss`` float64 ``[B]``."""

    def loss_and_grad(
        self,
        theta: torch.Tensor,
        loss: torch.Tensor,
        grad: torch.Tensor,
        active: torch.Tensor | None = None,
    ) -> None:
        """Write losses ``[B]`` and gradient ``[total]``."""

    def hessian(
        self,
        theta: torch.Tensor,
        out: torch.Tensor,
        out_offsets: torch.Tensor,
        active: torch.Tensor | None = None,
        *,
        ggn: bool = False,
    ) -> None:
        """Write symmetric ``[P_b, P_b]`` Hessians at ``out[out_offsets[b]:]``.

        With ``ggn`` their generalised Gauss-Newton parts, which are positive semidefinite.
        """

    def hvp(
        self,
        theta: torch.Tensor,
        vectors: torch.Tensor,
        out: torch.Tensor,
        active: torch.Tensor | None = None,
        *,
        ggn: bool = False,
    ) -> None:
        """Write ``H_b v_b`` into ``out`` for K vectors; both ``[K, total]``, contiguous."""
