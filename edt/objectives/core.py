"""The objective of finite data: calls of the compiled core, on the CPU or on a GPU.

Optimisers, flows and spectra decide network by network on a few numbers each, and factorise one
matrix at a time with LAPACK: on the CPU. What costs time grows with the samples (losses,
gradients, Hessians, products with them, outputs) and runs where the networks are.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch

from edt.objectives.hosted import Hosted
from edt.ops.calls import Calls, calls_of
from edt.ops.compiled import matrix_offsets
from edt.ops.cpu import CpuCalls
from edt.ops.losses import LOSSES
from edt.ops.problem import Problem

__all__ = ["CoreObjective"]


class CoreObjective:
    """``L_b = sum_n c_n l(f(x_n; theta_b), y_n)`` for one `Problem`.

    See `edt.objectives.Objective` for attributes and methods; tensors given and written are on the
    CPU. Nothing is compiled before the first call. After a change of data or masks in place every
    call raises RuntimeError.

    Args:
        problem: structure of the networks, and data on their device.

    Attributes:
        problem: as given.
        rows: residuals per network, None where the loss is no sum of squares.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.B = problem.networks
        self.squares = LOSSES[problem.loss].squares
        self.rows: int | None = problem.samples * problem.d_out if self.squares else None

    @cached_property
    def calls(self) -> Calls:
        """The core's calls, with tensors where the data lie."""
        return calls_of(self.problem, self.problem.x.device)

    @cached_property
    def _calls(self) -> CpuCalls | Hosted:
        """The same with tensors on the CPU."""
        return self.calls if isinstance(self.calls, CpuCalls) else Hosted(self.calls)

    @cached_property
    def host(self) -> CpuCalls:
        """Calls on the CPU, for what Levenberg-Marquardt asks for."""
        return self.calls if isinstance(self.calls, CpuCalls) else CpuCalls(self.problem.cpu())

    @property
    def coords(self) -> torch.Tensor:
        """int64 ``[B]``, trainable parameters of each network."""
        return self.calls.coords

    @cached_property
    def offsets(self) -> torch.Tensor:
        """int64 ``[B + 1]``, where networks begin in flat vectors."""
        ends = self.problem.layer_sizes.sum(1).cumsum(0)
        return torch.cat([ends.new_zeros(1), ends])

    @cached_property
    def trainable(self) -> torch.Tensor:
        """bool ``[total]``."""
        return (self.problem.state == 1).cpu()

    @cached_property
    def scale(self) -> torch.Tensor:
        """float64 ``[B]``, the mean of `edt.ops.losses.Loss.size`."""
        host = self.host.problem
        loss = LOSSES[host.loss]
        y = host.y if host.y.dim() > loss.dims else host.y[None]
        total: torch.Tensor = (host.coef.to(torch.float64) * loss.size(y)).sum(-1)
        return total[[host.task_of(b) for b in range(self.B)]]

    @cached_property
    def _roots(self) -> torch.Tensor:
        """Square roots of the coefficients, one per residual, ``[T, N * d_out]``."""
        return self.host.problem.coef.sqrt().repeat_interleave(self.problem.d_out, 1)

    def loss(
        self, theta: torch.Tensor, loss: torch.Tensor, active: torch.Tensor | None = None
    ) -> None:
        """Losses; see `Objective`."""
        self._calls.loss(theta, loss, active)

    def loss_and_grad(
        self,
        theta: torch.Tensor,
        loss: torch.Tensor,
        grad: torch.Tensor,
        active: torch.Tensor | None = None,
    ) -> None:
        """Losses and gradient; see `Objective`."""
        self._calls.loss_and_grad(theta, loss, grad, active)

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
        self._calls.hessian(theta, out, out_offsets, active, ggn=ggn)

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
        self._calls.hvp(theta, vectors, out, active, ggn=ggn)

    def outputs(self, theta: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        """Outputs ``[B, N, d_out]``; only the rows of the chosen networks are written."""
        # What is not written to is not backed by memory.
        out = theta.new_empty(self.B, self.problem.samples, self.problem.d_out)
        self._calls.predict(theta, out, self.marked(chosen))
        return out

    def pull(
        self,
        theta: torch.Tensor,
        cotangent: torch.Tensor,
        out: torch.Tensor,
        active: torch.Tensor | None = None,
    ) -> None:
        """``J^T u``, flat, for u ``[B, N, d_out]``; entries of other networks are left alone."""
        self._calls.vjp(theta, cotangent, out, active)

    def marked(self, chosen: torch.Tensor) -> torch.Tensor:
        """uint8 ``[B]``, 1 for the chosen networks."""
        active = torch.zeros(self.B, dtype=torch.uint8)
        active[chosen] = 1
        return active

    def residual(self, outputs: torch.Tensor, b: int) -> torch.Tensor:
        """``sqrt(c_n) (f_no - y_no)``, ``[N * d_out]``, of network b's outputs ``[N, d_out]``."""
        host = self.host.problem
        t = host.task_of(b)
        return self._roots[t] * (outputs - host.targets(t)).reshape(-1)

    def jacobians(self, theta: torch.Tensor, chosen: torch.Tensor) -> list[torch.Tensor]:
        """Derivatives of the `residual` of the chosen networks by their coordinates, and itself.

        Returns:
            ``[N * d_out, P_b + 1]`` of each, contiguous columns; the last is the residual.
        """
        rows, sizes = self.problem.samples * self.problem.d_out, self.coords[chosen]
        # Every matrix starts on a cache line: LAPACK's last bits depend on that.
        places = matrix_offsets(sizes + 1, torch.full_like(sizes, rows), theta.element_size())
        starts, offsets = places[:-1], torch.zeros(self.B, dtype=torch.int64)
        offsets[chosen] = starts
        out, active = theta.new_empty(int(places[-1])), self.marked(chosen)
        self.host.jacobian(theta, out, offsets, active, residual=True)
        outputs = theta.new_empty(self.B, self.problem.samples, self.problem.d_out)
        self.host.predict(theta, outputs, active)
        found = []
        for b, start, size in zip(chosen.tolist(), starts.tolist(), sizes.tolist(), strict=True):
            both = out[start : start + (size + 1) * rows].view(size + 1, rows)
            both[size] = self.residual(outputs[b], b)
            found.append(both.T)
        return found

    def second_directional(
        self,
        theta: torch.Tensor,
        step: torch.Tensor,
        reach: torch.Tensor,
        chosen: torch.Tensor,
        out: torch.Tensor,
    ) -> None:
        """See `CpuCalls.second_directional`; reach ``[k]``, of the chosen."""
        everywhere = theta.new_ones(self.B)
        everywhere[chosen] = reach
        self.host.second_directional(theta, step, everywhere, out, self.marked(chosen))

    @property
    def lbfgs(self) -> Any:
        """`CpuCalls.lbfgs`; missing where the work is done on a GPU."""
        if not isinstance(self.calls, CpuCalls):
            raise AttributeError("L-BFGS in the core is the CPU's")
        return self.calls.lbfgs

    @property
    def newton(self) -> Any:
        """`CpuCalls.newton`; missing where the work is done on a GPU."""
        if not isinstance(self.calls, CpuCalls):
            raise AttributeError("Newton in the core is the CPU's")
        return self.calls.newton

    @property
    def levenberg(self) -> Any:
        """`CpuCalls.levenberg`, on the CPU wherever the rest is done; for squared errors."""
        return self.host.levenberg

    @property
    def excursions(self) -> Any:
        """`CpuCalls.excursions`, on the CPU wherever the rest is done; for squared errors."""
        return self.host.excursions
