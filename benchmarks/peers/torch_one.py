"""PyTorch on one network 2 -> width -> 1: gradient by autograd, Hessian by `torch.func`."""

from __future__ import annotations

import torch
from torch.func import grad, jvp, vmap

from edt import Ensemble, Task

#: Numbers in one row of activations of a chunk of tangents: bounds memory to a few hundred MiB.
CHUNK_NUMBERS = 4_000_000


class OneNetwork:
    """Mean squared error of one dense softplus network, one hidden layer.

    Args:
        ens: a single network.
        task: N samples, one output.
    """

    def __init__(self, ens: Ensemble, task: Task) -> None:
        self._x, self._y = task.x, task.y[:, 0]
        self._theta = ens.theta.clone()
        self._leaf = ens.theta.clone().requires_grad_(True)
        width = int(ens.layer_widths[0, 1])
        self._sizes, self._shape = [2 * width, width, width, 1], (width, 2)
        self.coords = int(ens.theta.numel())
        self._chunk = max(1, CHUNK_NUMBERS // (int(task.N) * width))

    def _loss(self, theta: torch.Tensor) -> torch.Tensor:
        w, b, v, c = torch.split(theta, self._sizes)
        hidden = torch.nn.functional.softplus(self._x @ w.view(self._shape).T + b)
        miss = hidden @ v + c - self._y
        return (miss * miss).mean()

    def gradient(self) -> torch.Tensor:
        """``[P]``."""
        return torch.autograd.grad(self._loss(self._leaf), self._leaf)[0]

    def hessian(self, columns: int | None = None) -> torch.Tensor:
        """Columns of the Hessian, forward over reverse, ``[columns, P]``."""
        gradient = grad(self._loss)
        basis = torch.eye(self.coords, dtype=self._theta.dtype)[:columns]

        def column(tangent: torch.Tensor) -> torch.Tensor:
            product: torch.Tensor = jvp(gradient, (self._theta,), (tangent,))[1]
            return product

        out: torch.Tensor = vmap(column, chunk_size=self._chunk)(basis)
        return out
