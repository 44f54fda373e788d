"""The objective of finite data: one call of the compiled core per method."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from edt import _core
from edt.objectives.bend import Bender
from edt.ops import ACTIVATION_CODES
from edt.ops.compiled import matrix_offsets
from edt.ops.cpu import call_head
from edt.ops.problem import Problem

if TYPE_CHECKING:
    from edt.ensemble import Ensemble
    from edt.tasks import Task

__all__ = ["DataObjective"]


class DataObjective:
    """``L_b = sum_n c_n l(f(x_n; theta_b), y_n)`` for one (ensemble, task, task index).

    See `edt.objectives.Objective` for attributes and methods.

    Args:
        ens: the networks; only their structure is used.
        task: data of the dtype of ``ens``.
        task_index: int64 ``[B]``.
    """

    def __init__(self, ens: Ensemble, task: Task, task_index: torch.Tensor) -> None:
        self._plan = ens.plan
        self._data = task.data
        self._index = task_index.to(torch.int64).contiguous()
        self._code = ACTIVATION_CODES[ens.activation]
        self.B = int(ens.B)
        self.offsets = ens.offsets.to(torch.int64)
        self.coords = ens.coords.to(torch.int64)
        self.trainable = ens.state == 1
        self.scale = _target_scale(task)[self._index]
        self.squares = task.loss == "mse"
        self._task = task
        self._problem = Problem(
            ens.state,
            ens.layer_widths.to(torch.int64),
            ens.has_bias,
            ens.activation,
            task.x,
            task.y,
            task.coef,
            task.loss,
            task.d_out,
            self._index,
        )
        # Square roots of the coefficients, one per residual.
        self._roots = task.coef.sqrt().repeat_interleave(task.d_out, 1)
        #: Residuals per network, None where the loss is no sum of squares.
        self.rows: int | None = task.N * task.d_out if self.squares else None
        sizes = self.offsets[1:] - self.offsets[:-1]
        self._bender = Bender(self._plan, self._code, sizes, task, self._index)

    def _head(self, theta: torch.Tensor, active: torch.Tensor | None) -> tuple[Any, ...]:
        return call_head(self._plan, self._data, self._index, self._code, theta, active)

    def loss(
        self, theta: torch.Tensor, loss: torch.Tensor, active: torch.Tensor | None = None
    ) -> None:
        """Losses; see `Objective`."""
        _core.loss(*self._head(theta, active), loss.data_ptr())

    def loss_and_grad(
        self,
        theta: torch.Tensor,
        loss: torch.Tensor,
        grad: torch.Tensor,
        active: torch.Tensor | None = None,
    ) -> None:
        """Losses and gradient; see `Objective`."""
        _core.loss_and_grad(*self._head(theta, active), loss.data_ptr(), grad.data_ptr())

    def hessian(
        self,
        theta: torch.Tensor,
        out: torch.Tensor,
        out_offsets: torch.Tensor,
        active: torch.Tensor | None = None,
        *,
        ggn: bool = False,
    ) -> None:
        """Exact Hessians or Gauss-Newton matrices; see `Objective`."""
        _core.hessian(*self._head(theta, active), out.data_ptr(), out_offsets.data_ptr(), bool(ggn))

    def hvp(
        self,
        theta: torch.Tensor,
        vectors: torch.Tensor,
        out: torch.Tensor,
        active: torch.Tensor | None = None,
        *,
        ggn: bool = False,
    ) -> None:
        """Products with K vectors in one pass; see `Objective`."""
        count, total = vectors.shape
        _core.hvp(
            *self._head(theta, active),
            count,
            vectors.data_ptr(),
            out.data_ptr(),
            total,
            bool(ggn),
        )

    def outputs(self, theta: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        """Outputs ``[B, N, d_out]``; only the rows of the chosen networks are written."""
        task, active = self._task, torch.zeros(self.B, dtype=torch.uint8)
        active[chosen] = 1
        # What is not written to is not backed by memory.
        out = torch.empty(self.B, task.N, task.d_out, dtype=theta.dtype)
        _core.predict(*self._head(theta, active), out.data_ptr())
        return out

    def residual(self, outputs: torch.Tensor, b: int) -> torch.Tensor:
        """``sqrt(c_n) (f_no - y_no)``, ``[N * d_out]``, of network b's outputs ``[N, d_out]``."""
        t = int(self._index[b])
        miss = (outputs - self._problem.targets(t)).reshape(-1)
        return self._roots[t] * miss

    def jacobians(self, theta: torch.Tensor, chosen: torch.Tensor) -> list[torch.Tensor]:
        """Derivatives of the `residual` of the chosen networks by their coordinates, and itself.

        Returns:
            ``[N * d_out, P_b + 1]`` of each, contiguous columns; the last is the residual.
        """
        rows, sizes = self._task.N * self._task.d_out, self.coords[chosen]
        # Every matrix starts on a cache line: LAPACK's last bits depend on that.
        places = matrix_offsets(sizes + 1, torch.full_like(sizes, rows), theta.element_size())
        starts = places[:-1]
        active, offsets = (torch.zeros(self.B, dtype=kind) for kind in (torch.uint8, torch.int64))
        active[chosen], offsets[chosen] = 1, starts
        out = torch.empty(int(places[-1]), dtype=theta.dtype)
        _core.prefer_huge_pages(out.data_ptr(), out.nbytes)
        _core.jacobian(*self._head(theta, active), out.data_ptr(), offsets.data_ptr(), True)
        outputs = self.outputs(theta, chosen)
        found = []
        for b, start, size in zip(chosen.tolist(), starts.tolist(), sizes.tolist(), strict=True):
            both = out[start : start + (size + 1) * rows].view(size + 1, rows)
            both[size] = self.residual(outputs[b], b)
            found.append(both.T)
        return found

    def bend(
        self,
        theta: torch.Tensor,
        step: torch.Tensor,
        reach: torch.Tensor,
        chosen: torch.Tensor,
        out: torch.Tensor,
    ) -> None:
        """Bending of the outputs along a step, pulled back; see `edt.objectives.bend`."""
        self._bender(theta, step, reach, chosen, out)

    def lbfgs(
        self,
        theta: torch.Tensor,
        active: torch.Tensor,
        memory: int,
        iterations: int,
        tol: float,
        done: torch.Tensor,
        status: torch.Tensor,
        loss: torch.Tensor,
        grad_max: torch.Tensor,
    ) -> None:
        """L-BFGS inside the core, ``theta`` in place; never increases a loss.

        Args:
            memory: pairs kept.
            iterations: budget of each active network.
            tol: stop a network when ``max|grad|`` is at most this.
            done: int64 ``[B]``, iterations taken.
            status: int8 ``[B]``, 0 where the budget ended the run.
            loss, grad_max: float64 ``[B]`` at the end.
        """
        _core.lbfgs(
            *self._head(theta, active),
            int(memory),
            int(iterations),
            float(tol),
            done.data_ptr(),
            status.data_ptr(),
            loss.data_ptr(),
            grad_max.data_ptr(),
        )


def _target_scale(task: Task) -> torch.Tensor:
    """Loss of a zero output (mse), ``sum_n c_n |y_n|^2``; ``sum_n c_n`` otherwise; ``[T]``."""
    coef = task.coef.to(torch.float64).reshape(task.T, task.N)
    if task.loss == "mse":
        y = task.y.to(torch.float64).reshape(-1, task.N, task.d_out)
        coef = coef * (y * y).sum(-1)
    out: torch.Tensor = coef.sum(-1)
    return out
