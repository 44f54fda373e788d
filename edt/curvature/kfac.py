"""K-FAC and E-KFAC: the Gauss-Newton or Fisher matrix of each layer as a Kronecker product.

A layer's weights and bias ``[W b]`` (``[out, in + 1]``, row by row) see inputs ``a_n`` (with a 1 at
the end) and gradients ``g_nk`` at its outputs, k over the columns of a square root of ``l''`` (or
the one of the sample's loss). The layer's block is ``sum_n c_n sum_k (g g^T) x (a a^T)``, and

- K-FAC: ``G x A`` with ``A = sum_n c_n a_n a_n^T / sum_n c_n`` and
  ``G = sum_n c_n sum_k g_nk g_nk^T``;
- E-KFAC: the eigenvectors of G and A with the block's own diagonal in their basis,
  ``lambda_oi = sum_n c_n sum_k (u_o . g_nk)^2 (v_i . a_n)^2``, the nearest to it in that basis.

Reference: J. Martens, R. Grosse, "Optimizing neural networks with Kronecker-factored approximate
curvature", ICML 2015; T. George et al., "Fast approximate natural gradient descent in a
Kronecker-factored eigenbasis", NeurIPS 2018.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from edt.curvature.fisher import FISHERS, finite_data
from edt.ensemble.activations import ACTIVATIONS
from edt.ensemble.masks import TRAINABLE
from edt.errors import ShapeError, unknown_choice
from edt.ops.losses import LOSSES
from edt.scalars import flag, number

__all__ = ["Kronecker", "KroneckerLayer", "kfac"]


@dataclass
class KroneckerLayer:
    """One layer's block ``(U_G x U_A) diag(values) (U_G x U_A)^T``.

    Attributes:
        inputs: A, float64 ``[in + 1, in + 1]`` (no 1 without biases).
        outputs: G, ``[out, out]``.
        basis_in, basis_out: their eigenvectors, in columns.
        values: ``[out, in + 1]``, products of eigenvalues, or those of E-KFAC.
    """

    inputs: torch.Tensor
    outputs: torch.Tensor
    basis_in: torch.Tensor
    basis_out: torch.Tensor
    values: torch.Tensor

    def apply(self, rows: torch.Tensor, damping: float | None = None) -> torch.Tensor:
        """The block times ``[K, out, in + 1]``, or with ``damping`` its damped inverse times it."""
        turned = self.basis_out.T @ rows @ self.basis_in
        turned = turned * self.values if damping is None else turned / (self.values + damping)
        return self.basis_out @ turned @ self.basis_in.T

    def matrix(self) -> torch.Tensor:
        """The block, ``[out (in + 1), out (in + 1)]``."""
        basis = torch.kron(self.basis_out, self.basis_in)
        return (basis * self.values.reshape(-1)) @ basis.T


class Kronecker:
    """Block-diagonal curvature of B networks; made by `kfac`.

    Attributes:
        layers: of every network, from inputs to outputs.
    """

    def __init__(self, networks: Any, layers: list[list[KroneckerLayer]]) -> None:
        self._networks, self.layers = networks, layers

    def product(self, vectors: torch.Tensor) -> torch.Tensor:
        """``K_b v_b`` for ``[total]`` or ``[K, total]``, float64."""
        return self._each(vectors, None)

    def inverse_product(self, vectors: torch.Tensor, damping: float = 1e-3) -> torch.Tensor:
        """``(K_b + damping I)^-1 v_b``, exactly."""
        return self._each(vectors, number("damping", damping, strict=True))

    def _each(self, vectors: torch.Tensor, damping: float | None) -> torch.Tensor:
        nets = self._networks
        if not isinstance(vectors, torch.Tensor) or vectors.shape[-1:] != (nets.total,):
            given = list(vectors.shape) if isinstance(vectors, torch.Tensor) else vectors
            raise ShapeError(f"vectors must have shape [{nets.total}] or [K, ...], got {given}")
        rows = vectors.detach().cpu().double().reshape(-1, nets.total)
        out = torch.zeros_like(rows)
        for b, own in enumerate(self.layers):
            for layer, block in enumerate(own):
                where = self._places(b, layer)
                found = block.apply(rows[:, where.reshape(-1)].reshape(-1, *where.shape), damping)
                out[:, where.reshape(-1)] = found.reshape(rows.shape[0], -1)
        return out.reshape(vectors.shape)

    def matrix(self, b: int) -> torch.Tensor:
        """All of network b's, ``[P_b, P_b]`` in flat order."""
        nets = self._networks
        first, size = int(nets.offsets[b]), int(nets.offsets[b + 1] - nets.offsets[b])
        out = torch.zeros(size, size, dtype=torch.float64)
        for layer, block in enumerate(self.layers[b]):
            where = self._places(b, layer).reshape(-1) - first
            out[where[:, None], where[None, :]] = block.matrix()
        return out

    def _places(self, b: int, layer: int) -> torch.Tensor:
        """Flat positions of ``[W b]``, int64 ``[out, in + 1]``."""
        layout = self._networks.layout
        fan_in, fan_out = int(layout.fan_in[b, layer]), int(layout.fan_out[b, layer])
        weights = torch.arange(fan_out * fan_in).reshape(fan_out, fan_in)
        parts = [weights + int(layout.weight_at[b, layer])]
        if layout.has_bias:
            parts.append((torch.arange(fan_out) + int(layout.bias_at[b, layer]))[:, None])
        return torch.cat(parts, 1)


def kfac(
    task: Any,
    networks: Any,
    *,
    kind: str = "true",
    corrected: bool = False,
    theta: torch.Tensor | None = None,
    task_index: Any = None,
) -> Kronecker:
    """K-FAC (or E-KFAC) of every network.

    Args:
        task: an `edt.Task` or ``(x, y)``.
        networks: B chains with nothing pruned or frozen (a mask would cut the Kronecker product).
        kind: "true": of the Gauss-Newton matrix, with all columns of ``l''`` instead of draws of
            targets; "empirical": of the empirical Fisher matrix.
        corrected: E-KFAC.
        theta, task_index: as in `edt.hessian`.

    Returns:
        `Kronecker`.

    Raises:
        TypeError, ValueError: an argument is wrong; names it.

    Example:
        >>> step = kfac(task, networks).inverse_product(gradient, damping=1e-2)  # doctest: +SKIP
    """
    if not isinstance(kind, str) or kind not in FISHERS:
        raise unknown_choice("kind", kind, FISHERS)
    corrected = flag("corrected", corrected)
    data, nets, flat, index = finite_data(task, networks, theta, task_index)
    if not bool((nets.state == TRAINABLE).all()):
        raise ValueError(
            "networks must have nothing pruned or frozen: a mask cuts Kronecker products"
        )
    problem = data.objective(nets, index).problem
    nets = nets.with_theta(flat)
    return Kronecker(nets, [_layers(nets, b, problem, kind, corrected) for b in range(nets.B)])


def _layers(nets: Any, b: int, problem: Any, kind: str, corrected: bool) -> list[KroneckerLayer]:
    t = problem.task_of(b)
    weights = problem.coef[t]
    activation, loss = ACTIVATIONS[nets.activation].function, LOSSES[problem.loss]
    with torch.enable_grad():
        a, inputs, sums = problem.inputs(t), [], []
        for layer in range(nets.depth + 1):
            inputs.append(a.detach())
            z = a @ nets.weight(b, layer).T
            if nets.has_bias:
                z = z + nets.bias(b, layer)
            z = z if z.requires_grad else z.detach().requires_grad_()
            sums.append(z)
            a = activation(z) if layer < nets.depth else z
        f = sums[-1]
        if kind == "empirical":
            heads = [loss.sample(f, problem.targets(t)).sum()]
        else:
            values, basis = torch.linalg.eigh(loss.curvature(f.detach(), problem.targets(t)))
            roots = basis * values.clamp_min(0.0).sqrt()[:, None, :]
            heads = [(roots[:, :, k] * f).sum() for k in range(f.shape[1])]
        slopes = [torch.autograd.grad(head, sums, retain_graph=True) for head in heads]
    out = []
    for layer in range(nets.depth + 1):
        each = inputs[layer]
        if nets.has_bias:
            each = torch.cat([each, torch.ones_like(each[:, :1])], 1)
        ways = [slope[layer] for slope in slopes]
        left = each.T @ (weights[:, None] * each) / weights.sum()
        right = sum((g.T @ (weights[:, None] * g) for g in ways), torch.zeros(()).double())
        into, basis_in = torch.linalg.eigh(left)
        onto, basis_out = torch.linalg.eigh(right)
        found = torch.outer(onto, into)
        if corrected:
            squares = weights[:, None] * (each @ basis_in).square()
            found = sum(((g @ basis_out).square().T @ squares for g in ways), 0.0 * found)
        out.append(KroneckerLayer(left, right, basis_in, basis_out, found))
    return out
