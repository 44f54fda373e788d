"""How the outputs of networks bend along a step, pulled back to the parameters.

For a step p the second derivative of the outputs, ``f''_n = d^2 f(x_n; theta + s p) / ds^2`` at
s = 0, says how far the linear model behind a Gauss-Newton or Newton step is off. What an
optimiser needs of it is the vector

    b = sum_n c_n J_n^T A_n f''_n,      A_n = d^2 l_n / df^2.

f'' comes from three evaluations of the outputs (central differences, error O(h^2)); b is the
gradient of a squared error with made-up targets: that of ``sum_n c_n |f_n - z_n|^2`` at
``z_n = f_n - A_n f''_n / 2`` is ``sum_n c_n J_n^T A_n f''_n``. No tensor of third derivatives, no
Jacobian.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from edt import _core
from edt.objectives.coordinates import repeated
from edt.ops.compiled import make_dataset
from edt.ops.cpu import call_head

if TYPE_CHECKING:
    from edt.tasks import Task

__all__ = ["Bender"]

#: Bytes of samples held at once: every network has targets, hence data, of its own.
MEMORY = 64 * 2**20


class Bender:
    """Computes b for the networks of one (plan, task, task index).

    Args:
        plan, code: compiled structure, number of the activation.
        sizes: int64 ``[B]``, parameters of each network.
        task: float64 data.
        index: int64 ``[B]``.
    """

    def __init__(
        self, plan: Any, code: int, sizes: torch.Tensor, task: Task, index: torch.Tensor
    ) -> None:
        self._plan = plan
        self._sizes = sizes
        self._code = code
        self._task = task
        self._index = index

    def __call__(
        self,
        theta: torch.Tensor,
        step: torch.Tensor,
        reach: torch.Tensor,
        chosen: torch.Tensor,
        out: torch.Tensor,
    ) -> None:
        """Write b of the chosen networks into ``out`` (flat ``[total]``).

        Args:
            theta, step: flat.
            reach: float64 ``[k]``, h: outputs are taken at ``theta +- h p``.
            chosen: int64 ``[k]``.
            out: flat; entries of other networks are left alone.
        """
        task = self._task
        row = task.N * (task.d_in + task.d_out + 1) * 8
        share = max(1, MEMORY // row)
        for begin in range(0, chosen.numel(), share):
            part = slice(begin, begin + share)
            self._share(theta, step, reach[part], chosen[part], out)

    def _share(
        self,
        theta: torch.Tensor,
        step: torch.Tensor,
        reach: torch.Tensor,
        chosen: torch.Tensor,
        out: torch.Tensor,
    ) -> None:
        task = self._task
        active = torch.zeros(self._index.numel(), dtype=torch.uint8)
        active[chosen] = 1
        width = torch.zeros(self._index.numel(), dtype=torch.float64)
        width[chosen] = reach
        move = repeated(width, self._sizes) * step
        middle = self._outputs(theta, active, chosen)
        ahead = self._outputs(theta + move, active, chosen)
        behind = self._outputs(theta - move, active, chosen)
        h = reach[:, None, None]
        bend = ((ahead - middle) - (middle - behind)) / (h * h)
        if task.loss == "cross_entropy":
            p = torch.softmax(middle, -1)
            bend = 0.5 * p * (bend - (p * bend).sum(-1, keepdim=True))
        targets = middle - bend
        own = self._index[chosen]
        x = task.x.expand(task.T, task.N, task.d_in)[own]
        data = make_dataset(x, targets, task.coef[own], "mse", task.d_out)
        index = torch.zeros_like(self._index)
        index[chosen] = torch.arange(chosen.numel())
        loss = torch.empty(self._index.numel(), dtype=torch.float64)
        _core.loss_and_grad(
            *call_head(self._plan, data, index, self._code, theta, active),
            loss.data_ptr(),
            out.data_ptr(),
        )

    def _outputs(
        self, theta: torch.Tensor, active: torch.Tensor, chosen: torch.Tensor
    ) -> torch.Tensor:
        """Outputs ``[k, N, d_out]`` of the chosen networks."""
        task = self._task
        # Only the rows of active networks are written to, hence backed by memory.
        out = torch.empty(self._index.numel(), task.N, task.d_out, dtype=torch.float64)
        head = call_head(self._plan, task.data, self._index, self._code, theta, active)
        _core.predict(*head, out.data_ptr())
        return out[chosen]
