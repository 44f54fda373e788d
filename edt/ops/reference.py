"""The meaning of every op, in plain PyTorch: one network at a time, any dtype, any torch device.

For network b with coordinates c (its trainable parameters, in flat order; pruned ones are 0 and
frozen ones constant), outputs ``f_n(c)`` and target n:

    L(c)  = sum_n coef_n l(f_n(c), y_n),   l = |f - y|^2  or  log sum_o exp(f_o) - f_y
    g     = dL/dc,   H = d^2 L / dc^2,   J = df/dc  [N * d_out, P_b], row n * d_out + o
    G     = sum_n coef_n J_n^T (d^2 l / df^2) J_n        (generalised Gauss-Newton matrix)

Everything is differentiable by autograd in ``theta``, to any order, which is also how the compiled
ops get their rarely needed third derivatives. Slow: meant for reading and for tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import func

from edt.ops.activations import ACTIVATION_FUNCTIONS
from edt.ops.losses import LOSSES
from edt.ops.problem import Problem

__all__ = [
    "ggn_vp",
    "hessian",
    "hessian_blocks",
    "hvp",
    "jacobian",
    "loss",
    "loss_and_grad",
    "predict",
    "predict_vjp",
]


@dataclass
class Network:
    """One network as a function of its coordinates.

    Attributes:
        span: its slice of the flat vector.
        free: int64 ``[P]``, positions of the coordinates inside the slice.
        layer: int64 ``[P]``, the layer of each coordinate, 0..D.
        fixed: ``[size]``, frozen values, 0 elsewhere.
        coords: ``[P]``, current values.
        widths: d_in, h_1..h_D, d_out.
    """

    problem: Problem
    span: slice
    free: torch.Tensor
    layer: torch.Tensor
    fixed: torch.Tensor
    coords: torch.Tensor
    widths: list[int]
    task: int

    def outputs(self, coords: torch.Tensor, x: torch.Tensor | None = None) -> torch.Tensor:
        """``f(c)``, ``[N, d_out]``, at the problem's inputs or others."""
        flat = self.fixed.index_copy(0, self.free, coords)
        sigma = ACTIVATION_FUNCTIONS[self.problem.activation]
        h, at = self.problem.inputs(self.task) if x is None else x, 0
        for layer, (fan_in, fan_out) in enumerate(pairwise(self.widths)):
            if layer > 0:
                h = sigma(h)
            weight = flat[at : at + fan_in * fan_out].view(fan_out, fan_in)
            at += fan_in * fan_out
            h = h @ weight.T
            if self.problem.bias:
                h = h + flat[at : at + fan_out]
                at += fan_out
        return h

    def sample_losses(self, f: torch.Tensor) -> torch.Tensor:
        """``l(f_n, y_n)``, ``[N]``, of outputs ``[N, d_out]``."""
        return LOSSES[self.problem.loss].sample(f, self.problem.targets(self.task))

    def loss(self, coords: torch.Tensor) -> torch.Tensor:
        """``L(c)``, a scalar."""
        return self.problem.coef[self.task] @ self.sample_losses(self.outputs(coords))

    def grad(self, coords: torch.Tensor) -> torch.Tensor:
        """``dL/dc``, ``[P]``."""
        return _grad(self.loss, coords)

    def hessian_product(self, v: torch.Tensor) -> torch.Tensor:
        """``H v``, ``[P]``."""
        return _grad(lambda c: self.grad(c) @ v, self.coords)

    def pull(self, u: torch.Tensor) -> torch.Tensor:
        """``J^T u``, ``[P]``, for ``u`` ``[N, d_out]``."""
        return _grad(lambda c: (self.outputs(c) * u).sum(), self.coords)

    def jacobian(self, coords: torch.Tensor) -> torch.Tensor:
        """``df/dc``, ``[N, d_out, P]``."""
        found: torch.Tensor = func.jacrev(self.outputs)(coords)
        return found

    def output_curvature(self, coords: torch.Tensor) -> torch.Tensor:
        """``coef_n d^2 l_n / df_n^2``, ``[N, d_out, d_out]``."""
        y = self.problem.targets(self.task)
        curvature = LOSSES[self.problem.loss].curvature(self.outputs(coords), y)
        return self.problem.coef[self.task][:, None, None] * curvature

    def embed(self, values: torch.Tensor) -> torch.Tensor:
        """``[..., P]`` over the coordinates -> ``[..., size]`` over all parameters, 0 elsewhere."""
        size = self.span.stop - self.span.start
        empty = values.new_zeros(*values.shape[:-1], size)
        return empty.index_copy(-1, self.free, values)


def networks(theta: torch.Tensor, problem: Problem) -> Iterator[Network]:
    """The networks of an ensemble with parameters ``theta``, one by one."""
    rows, sizes = problem.layer_widths.tolist(), problem.layer_sizes
    for b, span in enumerate(problem.spans()):
        state, values = problem.state[span], theta[span]
        free = torch.nonzero(state == 1).flatten()
        layer = torch.repeat_interleave(torch.arange(sizes.shape[1]), sizes[b]).to(state.device)
        yield Network(
            problem=problem,
            span=span,
            free=free,
            layer=layer[free],
            fixed=torch.where(state == 2, values.detach(), torch.zeros_like(values)),
            coords=values[free],
            widths=rows[b],
            task=problem.task_of(b),
        )


def predict(theta: torch.Tensor, problem: Problem) -> torch.Tensor:
    """Outputs ``f_n`` of every network, ``[B, N, d_out]`` (logits for cross-entropy)."""
    return torch.stack([net.outputs(net.coords) for net in networks(theta, problem)])


def predict_vjp(theta: torch.Tensor, cotangent: torch.Tensor, problem: Problem) -> torch.Tensor:
    """``J^T u``, flat ``[total]``, for ``u = cotangent`` ``[B, N, d_out]``."""
    nets = networks(theta, problem)
    return torch.cat([net.embed(net.pull(u)) for net, u in zip(nets, cotangent, strict=True)])


def loss(theta: torch.Tensor, problem: Problem) -> torch.Tensor:
    """``L``, float64 ``[B]``."""
    found = [net.loss(net.coords) for net in networks(theta, problem)]
    return torch.stack(found).to(torch.float64)


def loss_and_grad(theta: torch.Tensor, problem: Problem) -> tuple[torch.Tensor, torch.Tensor]:
    """``L`` float64 ``[B]`` and ``g`` flat ``[total]`` (0 at pruned and frozen parameters)."""
    grads = [net.embed(net.grad(net.coords)) for net in networks(theta, problem)]
    return loss(theta, problem), torch.cat(grads)


def hvp(theta: torch.Tensor, vectors: torch.Tensor, problem: Problem) -> torch.Tensor:
    """``H v`` of each vector, ``[K, total]`` -> ``[K, total]``."""
    parts = []
    for net in networks(theta, problem):
        rows = func.vmap(net.hessian_product)(vectors[:, net.span][:, net.free])
        parts.append(net.embed(rows))
    return torch.cat(parts, -1)


def ggn_vp(theta: torch.Tensor, vectors: torch.Tensor, problem: Problem) -> torch.Tensor:
    """``G v`` of each vector, ``[K, total]`` -> ``[K, total]``."""
    parts = []
    for net in networks(theta, problem):
        J, A = net.jacobian(net.coords), net.output_curvature(net.coords)
        pushed = torch.einsum("nop,kp->kno", J, vectors[:, net.span][:, net.free])
        pulled = torch.einsum("nop,noq,knq->kp", J, A, pushed)
        parts.append(net.embed(pulled))
    return torch.cat(parts, -1)


def hessian(theta: torch.Tensor, problem: Problem, *, ggn: bool = False) -> list[torch.Tensor]:
    """``H`` (or ``G``) of every network over its coordinates, ``[P_b, P_b]`` each."""
    found = []
    for net in networks(theta, problem):
        if net.free.numel() == 0:
            found.append(theta.new_zeros(0, 0))
        elif ggn:
            J, A = net.jacobian(net.coords), net.output_curvature(net.coords)
            found.append(torch.einsum("nop,noq,nqr->pr", J, A, J))
        else:
            found.append(func.jacrev(net.grad)(net.coords))
    return found


def hessian_blocks(
    theta: torch.Tensor, problem: Problem, *, ggn: bool = False
) -> list[list[torch.Tensor]]:
    """Diagonal block of every layer 0..D of every network's ``H`` (or ``G``)."""
    whole = hessian(theta, problem, ggn=ggn)
    depth = problem.layer_widths.shape[1] - 2
    return [
        [matrix[net.layer == layer][:, net.layer == layer] for layer in range(depth + 1)]
        for net, matrix in zip(networks(theta, problem), whole, strict=True)
    ]


def jacobian(theta: torch.Tensor, problem: Problem) -> list[torch.Tensor]:
    """``J`` of every network, ``[N * d_out, P_b]``, row ``n * d_out + o``."""
    return [net.jacobian(net.coords).flatten(0, 1) for net in networks(theta, problem)]


def _grad(function: Callable[[torch.Tensor], torch.Tensor], point: torch.Tensor) -> torch.Tensor:
    """`torch.func.grad` of a scalar function."""
    found: torch.Tensor = func.grad(function)(point)
    return found
