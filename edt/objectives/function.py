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

__all__ = ["FunctionObjective", "SampleLoss", "lifted_curvature"]

#: (outputs [N, d_out], targets) -> [N], twice differentiable.
SampleLoss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def lifted_curvature(loss: SampleLoss, f: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """``[l''_n]_+`` with negative eigenvalues as 0, ``[N, d_out, d_out]``.

    Args:
        loss: the function. f: ``[N, d_out]``. y: ``[N, ...]``.
    """

    def one(f: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return loss(f[None], y[None])[0]

    curve = func.vmap(func.hessian(one))(f, y)
    values, basis = torch.linalg.eigh(0.5 * (curve + curve.mT))
    out: torch.Tensor = (basis * values.clamp_min(0.0)[:, None, :]) @ basis.mT
    return out


class FunctionObjective:
    """``L_b = sum_n c_n l(f(x_n; theta_b), y_n)``; see `edt.objectives.Objective`.

    Gauss-Newton matrices are ``J^T [l'']_+ J``: negative eigenvalues of a sample's second
    derivative count as 0, so that they are positive semidefinite.

    Args:
        problem: networks and inputs, on the CPU, in one dtype with y and c.
        y: targets, as the function takes them.
        coef: ``[N]``, c.
        loss: the function.
    """

    squares = False

    def __init__(
        self, problem: Problem, y: torch.Tensor, coef: torch.Tensor, loss: SampleLoss
    ) -> None:
        self._problem, self._y, self._coef, self._loss = problem, y, coef, loss
        self.B, self.samples = problem.networks, len(y)
        ends = problem.layer_sizes.sum(1).cumsum(0)
        self.offsets = torch.cat([ends.new_zeros(1), ends])
        self.trainable = problem.state == 1
        self.coords = torch.stack([self.trainable[span].sum() for span in problem.spans()])
        zero = torch.zeros(problem.samples, problem.d_out, dtype=coef.dtype)
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

    def step_gradient(
        self,
        theta: torch.Tensor,
        loss: torch.Tensor,
        grad: torch.Tensor,
        chosen: torch.Tensor,
        samples: Callable[[int], torch.Tensor],
    ) -> None:
        """Losses and gradients of minibatches, scaled to stand for the whole data.

        Args:
            theta: flat.
            loss: float64 ``[B]``, written for the chosen networks; grad: flat, likewise.
            chosen: int64, networks.
            samples: network -> the samples it takes, int64.
        """
        active = torch.zeros(self.B, dtype=torch.uint8)
        active[chosen] = 1
        for b, net in self._networks(theta, active):
            index = samples(b)
            point = net.coords.detach().requires_grad_()
            with torch.enable_grad():
                each = self._loss(
                    net.outputs(point, self._problem.inputs(0)[index]), self._y[index]
                )
                value = (len(self._coef) / len(index)) * (self._coef[index] @ each)
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
            lifted = lifted_curvature(self._loss, net.outputs(point), self._y)
            lifted = self._coef[:, None, None] * lifted
            moved = torch.einsum("nop,kp->kno", jacobian, vectors)
            return torch.einsum("kno,noq,nqp->kp", moved, lifted, jacobian)
        point.requires_grad_()
        with torch.enable_grad():
            value = self._value(net.outputs(point))
            slope = torch.autograd.grad(value, point, create_graph=True)[0]
            rows = [torch.autograd.grad(slope, point, v, retain_graph=True)[0] for v in vectors]
        return torch.stack(rows) if rows else torch.zeros_like(vectors)

    def _networks(
        self, theta: torch.Tensor, active: torch.Tensor | None
    ) -> Iterator[tuple[int, reference.Network]]:
        with one_blas_thread():
            for b, net in enumerate(reference.networks(theta.detach(), self._problem)):
                if active is None or bool(active[b]):
                    yield b, net
