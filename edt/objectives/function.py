"""Losses given as torch functions of outputs and targets, on the kernels of networks.

The function is differentiated by autograd where it is one, in the outputs, on the CPU; networks go
through the core, on the CPU or on a GPU. With ``u_n = c_n l'(f_n)`` and ``A_n = c_n l''(f_n)``

    grad L = J^T u,    H = J^T A J + sum_n u_n d^2 f_n,    G = J^T [A]_+ J.

``sum_n u_n d^2 f_n`` is the Hessian of a squared error with targets ``f - s u``, divided by 2 s,
with a power of two s so large that what the squares add, ``J^T J / s``, is below rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import func

from edt.objectives.core import CoreObjective
from edt.ops import reference
from edt.ops.problem import Problem
from edt.ops.threads import one_blas_thread

__all__ = ["FunctionObjective", "SampleLoss", "output_curvature"]

#: (outputs [N, d_out], targets) -> [N], twice differentiable.
SampleLoss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
#: Numbers held at once: of Jacobians, and of inputs that are written down for each network.
ROOM = 2**25
#: What ``J^T J`` weighs beside the outputs' bending: 2 to this power below it.
BELOW = 60


def output_curvature(
    loss: SampleLoss, f: torch.Tensor, y: torch.Tensor, *, lift: bool
) -> torch.Tensor:
    """``l''_n``, ``[N, d_out, d_out]``, backwards twice.

    Args:
        loss: the function. f: ``[N, d_out]``. y: ``[N, ...]``.
        lift: whether negative eigenvalues become 0.
    """

    def total(out: torch.Tensor) -> torch.Tensor:
        return loss(out, y).sum()

    pull: Any = func.vjp(func.grad(total), f)[1]
    eye = torch.eye(f.shape[-1], dtype=f.dtype, device=f.device)
    curve = torch.stack([pull(unit.expand_as(f).clone())[0] for unit in eye], -2)
    if not lift:
        return curve
    values, basis = torch.linalg.eigh(0.5 * (curve + curve.mT))
    out: torch.Tensor = (basis * values.clamp_min(0.0)[..., None, :]) @ basis.mT
    return out


class FunctionObjective:
    """``L_b = sum_n c_n l(f(x_n; theta_b), y_n)``; see `edt.objectives.Objective`.

    Gauss-Newton matrices are ``J^T [l'']_+ J``: negative eigenvalues of a sample's second
    derivative count as 0, so that they are positive semidefinite. The function sees the outputs of
    one network at a time, so that the bits of one do not depend on the others.

    Args:
        problem: networks and inputs ``[N, d_in]``, in one dtype with y and c, on their device.
        y: targets, as the function takes them.
        coef: ``[N]``, c.
        loss: the function.
    """

    squares = False

    def __init__(
        self, problem: Problem, y: torch.Tensor, coef: torch.Tensor, loss: SampleLoss
    ) -> None:
        self._problem = problem
        self._y, self._coef, self._loss = y.cpu(), coef.cpu(), loss
        self._core = CoreObjective(problem)
        self.B, self.samples = problem.networks, len(y)
        self.offsets, self.trainable = self._core.offsets, self._core.trainable
        zero = torch.zeros(problem.samples, problem.d_out, dtype=coef.dtype)
        with torch.no_grad():
            size = float(self._value(zero, self._y, self._coef).abs())
        self.scale = torch.full((self.B,), max(size, float(coef.sum())), dtype=torch.float64)

    @property
    def coords(self) -> torch.Tensor:
        """int64 ``[B]``, trainable parameters of each network."""
        return self._core.coords

    def loss(
        self, theta: torch.Tensor, loss: torch.Tensor, active: torch.Tensor | None = None
    ) -> None:
        """Losses; see `Objective`."""
        f = self._core.outputs(theta, self._chosen(active))
        with torch.no_grad(), one_blas_thread():
            for b in self._chosen(active).tolist():
                loss[b] = self._value(f[b].clone(), self._y, self._coef)

    def loss_and_grad(
        self,
        theta: torch.Tensor,
        loss: torch.Tensor,
        grad: torch.Tensor,
        active: torch.Tensor | None = None,
    ) -> None:
        """Losses and gradient; see `Objective`."""
        chosen = self._chosen(active)
        f = self._core.outputs(theta, chosen)
        u = torch.zeros_like(f)
        with one_blas_thread():
            for b in chosen.tolist():
                loss[b], u[b] = self._slope(f[b], self._y, self._coef)
        self._core.pull(theta, u, grad, active)

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
            samples: network -> the samples it takes, int64, as many for each.
        """
        index = torch.stack([samples(b) for b in chosen.tolist()])
        size = index.shape[1]
        place = torch.zeros(self.B, dtype=torch.int64)
        place[chosen] = torch.arange(len(chosen))
        batch = self._on(self._problem.x[index.to(self._problem.x.device)], place)
        f = batch.outputs(theta, chosen)
        u = torch.zeros_like(f)
        factor = len(self._coef) / size
        with one_blas_thread():
            for b, rows in zip(chosen.tolist(), index, strict=True):
                loss[b], u[b] = self._slope(f[b], self._y[rows], factor * self._coef[rows])
        batch.pull(theta, u, grad, self._core.marked(chosen))

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
        chosen = self._chosen(active)
        f = self._core.outputs(theta, chosen)
        sizes = self.coords.tolist()
        matrices = {}
        for b in chosen.tolist():
            at = int(out_offsets[b])
            matrices[b] = out[at : at + sizes[b] ** 2].view(sizes[b], sizes[b]).zero_()
        for part, some, scale in [] if ggn else self._bent(theta, f, chosen):
            part.hessian(theta, out, out_offsets, part.marked(some))
            for b, two_s in zip(some.tolist(), scale.tolist(), strict=True):
                matrices[b] /= two_s
        if self._problem.d_out == 1:
            added = torch.zeros_like(out)
            for part, some in self._weighed(f, chosen, lift=ggn):
                part.hessian(theta, added, out_offsets, part.marked(some), ggn=True)
            out += added
            return
        with one_blas_thread():
            for b, matrix in matrices.items():
                matrix += self._squares(theta, f[b], b, lift=ggn)

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
        chosen = self._chosen(active)
        f = self._core.outputs(theta, chosen)
        if self._problem.d_out == 1:
            for part, some in self._weighed(f, chosen, lift=ggn):
                part.hvp(theta, vectors, out, part.marked(some), ggn=True)
        else:
            self._pulled(theta, f, vectors, out, chosen, lift=ggn)
        if ggn:
            return
        for part, some, scale in self._bent(theta, f, chosen):
            bent = torch.zeros_like(vectors)
            part.hvp(theta, vectors, bent, part.marked(some))
            for b, two_s in zip(some.tolist(), scale.tolist(), strict=True):
                span = slice(int(self.offsets[b]), int(self.offsets[b + 1]))
                out[:, span] += bent[:, span] / two_s

    def _value(self, f: torch.Tensor, y: torch.Tensor, coef: torch.Tensor) -> torch.Tensor:
        return coef @ self._loss(f, y)

    def _slope(
        self, f: torch.Tensor, y: torch.Tensor, coef: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """A network's loss, and ``u``, of outputs ``[n, d_out]``."""
        # A copy: the last bits of vector code depend on the place in memory.
        point = f.clone().requires_grad_()
        with torch.enable_grad():
            value = self._value(point, y, coef)
            if not value.requires_grad:
                return value, torch.zeros_like(f)
            slope = torch.autograd.grad(value, point, allow_unused=True)[0]
        return value.detach(), torch.zeros_like(f) if slope is None else slope

    def _curve(self, f: torch.Tensor, *, lift: bool) -> torch.Tensor:
        """``A``, ``[N, d_out, d_out]``, of a network's outputs."""
        curve = output_curvature(self._loss, f.clone(), self._y, lift=lift)
        return self._coef[:, None, None] * curve

    def _on(
        self,
        x: torch.Tensor,
        index: torch.Tensor,
        y: torch.Tensor | None = None,
        coef: torch.Tensor | None = None,
    ) -> CoreObjective:
        """The networks at other inputs, or under squared errors.

        Args:
            x: ``[n, d_in]`` for all networks, or ``[T, n, d_in]``.
            index: int64 ``[B]``, whose inputs, targets and weights a network takes.
            y: ``[T, n, d_out]``, targets; None: 0.
            coef: ``[T, n]``, weights of squares; None: 1.
        """
        given = x if x.dim() == 3 else y if y is not None else coef
        many, n = 1 if given is None else len(given), x.shape[-2]
        y = x.new_zeros(n, self._problem.d_out) if y is None else y.to(x.device)
        coef = x.new_ones(many, n) if coef is None else coef.to(x.device)
        index = index.to(x.device)
        return CoreObjective(self._problem._replace(x=x, y=y, coef=coef, task_index=index))

    def _groups(self, networks: list[int]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """(networks int64 ``[T]``, place of each among them ``[B]``), as many as have room."""
        many = max(1, ROOM // max(1, self._problem.x.numel()))
        for first in range(0, len(networks), many):
            some = torch.tensor(networks[first : first + many])
            place = torch.zeros(self.B, dtype=torch.int64)
            place[some] = torch.arange(len(some))
            yield some, place

    def _weighed(
        self, f: torch.Tensor, chosen: torch.Tensor, *, lift: bool
    ) -> Iterator[tuple[CoreObjective, torch.Tensor]]:
        """(squared errors whose Gauss-Newton matrices are ``J^T A J``, networks): of one output."""
        for some, place in self._groups(chosen.tolist()):
            with one_blas_thread():
                curves = [self._curve(f[b], lift=lift) for b in some.tolist()]
            half = 0.5 * torch.stack(curves)[..., 0, 0]
            yield self._on(self._problem.x, place, coef=half), some

    def _bent(
        self, theta: torch.Tensor, f: torch.Tensor, chosen: torch.Tensor
    ) -> Iterator[tuple[CoreObjective, torch.Tensor, torch.Tensor]]:
        """(squared errors, networks, ``2 s`` of each): see the head of this file; some at a time.

        Networks whose ``u`` is 0 are left out: so is what their outputs' bending adds.
        """
        with one_blas_thread():
            u = {b: self._slope(f[b], self._y, self._coef)[1] for b in chosen.tolist()}
        for some, place in self._groups([b for b, tilt in u.items() if bool((tilt != 0).any())]):
            tilts = torch.stack([u[b] for b in some.tolist()])
            most = (1.0 + f[some].abs().amax((1, 2))) / tilts.abs().amax((1, 2))
            power = (torch.frexp(most).exponent + BELOW).clamp(-100, 100)
            s = torch.ldexp(torch.ones_like(most), power)
            targets = f[some] - s[:, None, None] * tilts
            yield self._on(self._problem.x, place, targets), some, 2 * s

    def _pulled(
        self,
        theta: torch.Tensor,
        f: torch.Tensor,
        vectors: torch.Tensor,
        out: torch.Tensor,
        chosen: torch.Tensor,
        *,
        lift: bool,
    ) -> None:
        """Write ``J^T A J v``: pushed forward by PyTorch, pulled back by the core."""
        pushed = theta.new_zeros(len(vectors), *f.shape)
        nets = list(reference.networks(theta.detach(), self._problem.cpu()))
        with one_blas_thread():
            for b in chosen.tolist():
                net, curve = nets[b], self._curve(f[b], lift=lift)
                for k, v in enumerate(vectors[:, net.span][:, net.free]):
                    moved = func.jvp(net.outputs, (net.coords,), (v,))[1]
                    pushed[k, b] = (curve @ moved[..., None])[..., 0]
        for w, row in zip(pushed, out, strict=True):
            self._core.pull(theta, w, row, self._core.marked(chosen))

    def _squares(self, theta: torch.Tensor, f: torch.Tensor, b: int, *, lift: bool) -> torch.Tensor:
        """``J^T A J`` of network b with outputs f, ``[P_b, P_b]``, symmetric to the bit."""
        curve, size, outs = self._curve(f, lift=lift), int(self.coords[b]), f.shape[1]
        total = theta.new_zeros(size, size)
        active = self._core.marked(torch.tensor([b]))
        for rows, part in self._parts(max(1, ROOM // max(1, size * outs))):
            across = theta.new_empty(size, rows.stop - rows.start, outs)
            part.host.jacobian(theta, across, torch.zeros(self.B, dtype=torch.int64), active)
            weighed = [(across * curve[rows, :, o]).sum(-1) for o in range(outs)]
            total += torch.stack(weighed, -1).flatten(1) @ across.flatten(1).T
        return 0.5 * (total + total.T)

    def _parts(self, samples: int) -> Iterator[tuple[slice, CoreObjective]]:
        """The inputs in chunks, and the networks there."""
        for first in range(0, self.samples, samples):
            rows = slice(first, min(first + samples, self.samples))
            if rows.stop - rows.start == self.samples:
                yield rows, self._core
            else:
                yield rows, self._on(self._problem.x[rows], torch.zeros(self.B, dtype=torch.int64))

    def _chosen(self, active: torch.Tensor | None) -> torch.Tensor:
        return torch.arange(self.B) if active is None else torch.nonzero(active).flatten()
