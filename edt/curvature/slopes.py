"""What Fisher matrices and Kronecker factors add up: gradients ``s_nk`` at the outputs of samples.

``sum_k s_nk s_nk^T`` is a matrix ``A_n`` of sample n, ``sum_n c_n J_n^T A_n J_n`` the network's:

- "true": ``A_n = l''``, from the columns of its square root;
- "empirical": ``A_n = l' l'^T`` at the sample's own target;
- "mc": the mean of ``l' l'^T`` over targets that are drawn from the network's own law,
  ``y ~ exp(-l(f_n, y))``.

Reference: F. Kunstner, L. Balles, P. Hennig, "Limitations of the empirical Fisher", NeurIPS 2019.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from edt.errors import unknown_choice
from edt.ops.losses import LOSSES, Loss
from edt.scalars import integer

__all__ = ["FISHERS", "Slopes"]

FISHERS = ("true", "empirical", "mc")


@dataclass(frozen=True)
class Slopes:
    """Which gradients.

    Attributes:
        kind: one of `FISHERS`.
        draws: of targets a sample, for "mc".
        seed: of the draws. Networks of one task, and calls, see the same.
    """

    kind: str = "true"
    draws: int = 1
    seed: int = 0

    @classmethod
    def asked(cls, kind: Any, draws: Any, seed: Any, loss: str) -> Slopes:
        """Checked, for a loss by its name.

        Raises:
            TypeError, ValueError: an argument is wrong, or "mc" of a loss that is no likelihood.
        """
        if not isinstance(kind, str) or kind not in FISHERS:
            raise unknown_choice("kind", kind, FISHERS)
        many = integer("draws", draws)
        if many != 1 and kind != "mc":
            raise ValueError(f"draws needs kind='mc', got kind={kind!r}")
        if kind == "mc" and not (loss in LOSSES and LOSSES[loss].likelihood):
            raise likelihood_needed("drawing targets", loss)
        return cls(kind, many, integer("seed", seed, 0, 2**63 - 1))

    def generator(self) -> torch.Generator:
        """What one network's targets are drawn from, batch after batch."""
        return torch.Generator().manual_seed(self.seed)

    def at(
        self, loss: Loss, f: torch.Tensor, y: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """``s_nk``, ``[K, N, d_out]``.

        Args:
            f: outputs ``[N, d_out]``. y: targets. generator: of `generator`, on the CPU like f.
        """
        f = f.detach()
        if self.kind == "true":
            values, basis = torch.linalg.eigh(loss.curvature(f, y))
            roots: torch.Tensor = basis * values.clamp_min(0.0).sqrt()[:, None, :]
            return roots.permute(2, 0, 1)
        if self.kind == "empirical":
            return slope_of(loss, f, y)[None]
        drawn = [slope_of(loss, f, loss.draw(f, generator)) for _ in range(self.draws)]
        return torch.stack(drawn) / math.sqrt(self.draws)


def slope_of(loss: Loss, f: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """``dl_n / df_n``, ``[N, d_out]``."""
    point = f.detach().requires_grad_()
    with torch.enable_grad():
        total = loss.sample(point, y).sum()
    return torch.autograd.grad(total, point)[0]


def likelihood_needed(what: str, loss: str) -> ValueError:
    """The error for a loss that is the negative logarithm of no law of targets."""
    allowed = ", ".join(name for name, one in LOSSES.items() if one.likelihood)
    return ValueError(
        f"{what} needs a likelihood, one of {allowed}, got {loss}: take kind='empirical', or the "
        "Gauss-Newton matrix"
    )
