"""Losses given as torch functions of outputs and targets: derivatives by autograd, on the CPU.

Slower than the kernels by far; for what they lack. Networks go one by one, so that the bits of one
do not depend on the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import func

from edt.ops import reference
from edt.ops.problem import Problem
from edt.ops.threads import one_blas_thread

__all__ = ["FunctionObjective", "SampleLoss"]

#: (outputs [N, d_out], targets) -> [N], twice differentiable.
SampleLoss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class FunctionObjective:
    """``L_b = sum_n c_n l(f(x_n; theta_b), y_n)``; see `edt.objectives.Objective`.

    Gauss-Newton matrices are ``J^T [l'']_+ J``: negative eigenvalues of a sample's second
    derivative count as 0, so that they are positive semidefinite.

    Args:
        problem: networks and inputs, float64 on the CPU.
        y: targets, as the function takes them.
        coef: ``[N]``, c.
        loss: the function.
    """

    squares = False

    def __init__(
        self, problem: Problem, y: torch.Tensor, coef: torch.Tensor, loss: SampleLoss
    ) -> None:
        self._problem, self._y, self._coef, self._loss = problem, y, coef, loss
        self.B = problem.networks
        ends = problem.layer_sizes.sum(1).cumsum(0)
        self.offsets = torch.cat([ends.new_zeros(1), ends])
        self.trainable = problem.state == 1
        self.coords = torch.stack([self.trainable[span].sum() for span in problem.spans()])
        zero = torch.zeros(problem.samples, problem.d_out, dtype=torch.float64)
        with torch.no_grad():
            size = float((coef * loss(zero, y)).sum().abs())
        self.scale = torch.full((self.B,), max(size, float(coef.sum())), dtype=torch.float64)

    def loss(
        self, theta: torch.Tensor, loss: torch.Tensor, active: torch.Tensor | None = None
    ) -> None:
        """Losses; see `Objective`."""
        for b, net in self._networks(theta, active):
            with torch.no_grad():
                loss[b] = self._value(net.outputs(net.coords))

    def loss_and_grad(
        self,
        theta: torch.Tensor,
        loss: torch.Tensor,
        grad: torch.Tensor,
        active: torch.Tensor | None = None,
    ) -> None:
        """Losses and gradient; see `Objective`."""
        for b, net in self._networks(theta, active):
            point = net.coords.detach().requires_grad_()
            with torch.enable_grad():
                value = self._value(net.outputs(point))
                slope = torch.autograd.grad(value, point, allow_unused=True)[0]
            loss[b] = value.detach()
            grad[net.span] = net.embed(torch.zeros_like(point) if slope is None else slope)

    def hessian(
        self,
        theta: torch.Tensor,
        out: torch.Tensor,
        out_offsets: torch.Tensor,
        active: torch.Tensor | None = None,
        *,
        ggn: bool = False,
    ) -> None:
        """Hessians or Gauss-Newton matrices; see `Objective`."""
        for b, net in self._networks(theta, active):
            size, at = net.coords.numel(), int(out_offsets[b])
            matrix = self._products(net, torch.eye(size, dtype=theta.dtype), ggn)
            out[at : at + size * size] = (0.5 * (matrix + matrix.T)).reshape(-1)

    def hvp(
        self,
        theta: torch.Tensor,
        vectors: torch.Tensor,
        out: torch.Tensor,
        active: torch.Tensor | None = None,
        *,
        ggn: bool = False,
    ) -> None:
        """Products with K vectors; see `Objective`."""
        for _, net in self._networks(theta, active):
            own = vectors[:, net.span][:, net.free]
            out[:, net.span] = net.embed(self._products(net, own, ggn))

    def _value(self, f: torch.Tensor) -> torch.Tensor:
        return self._coef @ self._loss(f, self._y)

    def _products(self, net: reference.Network, vectors: torch.Tensor, ggn: bool) -> torch.Tensor:
        """``H v`` or ``G v`` for rows ``[K, P]``."""
        point = net.coords.detach()
        if ggn:
            jacobian = net.jacobian(point)
            f = net.outputs(point)
            curve = func.vmap(func.hessian(self._one))(f, self._y)
            values, basis = torch.linalg.eigh(0.5 * (curve + curve.mT))
            lifted = (basis * values.clamp_min(0.0)[:, None, :]) @ basis.mT
            lifted = self._coef[:, None, None] * lifted
            moved = torch.einsum("nop,kp->kno", jacobian, vectors)
            return torch.einsum("kno,noq,nqp->kp", moved, lifted, jacobian)
        point.requires_grad_()
        with torch.enable_grad():
            value = self._value(net.outputs(point))
            slope = torch.autograd.grad(value, point, create_graph=True)[0]
            rows = [torch.autograd.grad(slope, point, v, retain_graph=True)[0] for v in vectors]
        return torch.stack(rows) if rows else torch.zeros_like(vectors)

    def _one(self, f: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self._loss(f[None], y[None])[0]

    def _networks(
        self, theta: torch.Tensor, active: torch.Tensor | None
    ) -> Iterator[tuple[int, reference.Network]]:
        with one_blas_thread():
            for b, net in enumerate(reference.networks(theta.detach(), self._problem)):
                if active is None or bool(active[b]):
                    yield b, net
