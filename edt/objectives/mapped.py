"""Objectives in other parameters: ``L_b(g_b(phi_b))`` for a map g of new parameters to a network's.

A map changes how many parameters are trained, and nothing about what the network can hold: that is
what sets the number of dimensions apart from the number of neurons.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Protocol

import torch

from edt.errors import ShapeError
from edt.objectives.protocol import Objective

__all__ = ["Factors", "MappedObjective", "Reparametrisation", "Subspace", "orthonormal"]


class Reparametrisation(Protocol):
    """A map ``theta_b = g_b(phi_b)`` for B networks of one size; rows are networks.

    Attributes:
        size: parameters phi of each network.
    """

    size: int

    def point(self, phi: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """``g(phi)``: ``[b, size] -> [b, P]`` for networks ``rows`` (int64 ``[b]``)."""

    def push(self, phi: torch.Tensor, rows: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """``J v``: ``[K, b, size] -> [K, b, P]``."""

    def pull(self, phi: torch.Tensor, rows: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
        """``J^T g``: ``[K, b, P] -> [K, b, size]``."""

    def pull_derivative(
        self, phi: torch.Tensor, rows: torch.Tensor, v: torch.Tensor, g: torch.Tensor
    ) -> torch.Tensor:
        """``(d/dt) J(phi + t v)^T g`` at t = 0: ``[K, b, size], [b, P] -> [K, b, size]``."""


class Subspace:
    """``theta = origin + U z``: a network moves in an affine subspace only.

    Args:
        origin: float64 ``[B, P]``.
        directions: float64 ``[B, P, d]``, columns U.

    Raises:
        ShapeError: sizes do not match.

    Reference: C. Li et al., "Measuring the intrinsic dimension of objective landscapes", ICLR 2018.
    """

    def __init__(self, origin: torch.Tensor, directions: torch.Tensor) -> None:
        if directions.dim() != 3 or directions.shape[:2] != origin.shape:
            raise ShapeError(
                f"directions must be [B, P, d] for an origin [B, P], got "
                f"{list(directions.shape)} for {list(origin.shape)}"
            )
        self.size = int(directions.shape[2])
        self._origin = origin
        # Both orders, so that sums run along contiguous memory: equal bits on any thread count.
        self._columns = directions.contiguous()
        self._rows = directions.transpose(1, 2).contiguous()

    def point(self, phi: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """See `Reparametrisation`."""
        return self._origin[rows] + self.push(phi, rows, phi[None])[0]

    def push(self, phi: torch.Tensor, rows: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """See `Reparametrisation`."""
        columns = self._columns[rows]
        return torch.stack([(columns * one[:, None, :]).sum(-1) for one in v])

    def pull(self, phi: torch.Tensor, rows: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
        """See `Reparametrisation`."""
        across = self._rows[rows]
        return torch.stack([(across * one[:, None, :]).sum(-1) for one in g])

    def pull_derivative(
        self, phi: torch.Tensor, rows: torch.Tensor, v: torch.Tensor, g: torch.Tensor
    ) -> torch.Tensor:
        """Zero: the map is linear."""
        return torch.zeros_like(v)


class Factors:
    """Every weight matrix as ``W = W_0 + F G - F_0 G_0``, inner dimension k; biases as they are.

    At the start (`start`) the network is that of ``origin``; parameters are
    ``k (out + in) + out`` a layer instead of ``out in + out``. With k at least the smaller side of
    each matrix every network can still be reached.

    Args:
        origin: float64 ``[B, P]``, theta_0.
        widths: (d_in, h_1, ..., d_out), of all networks.
        bias: whether layers have biases.
        inner: k.
        factors: float64 ``[B, n]``, F_0 (``[out, k]``) and G_0 (``[k, in]``), layer by layer.

    Raises:
        ShapeError: sizes do not match.

    Reference: S. Arora, N. Cohen, E. Hazan, "On the optimization of deep networks: implicit
    acceleration by overparameterization", ICML 2018.
    """

    def __init__(
        self,
        origin: torch.Tensor,
        widths: tuple[int, ...],
        bias: bool,
        inner: int,
        factors: torch.Tensor,
    ) -> None:
        self._layers = [(fan_out, fan_in) for fan_in, fan_out in pairwise(widths)]
        self._bias, self._k = bias, inner
        products = self.products(widths, inner)
        biases = sum(fan_out for fan_out, _ in self._layers) if bias else 0
        wanted = sum(a * b for a, b in self._layers) + biases
        if factors.shape != (origin.shape[0], products) or origin.shape[1] != wanted:
            raise ShapeError(
                f"factors must be [{origin.shape[0]}, {products}] and origin [B, {wanted}], got "
                f"{list(factors.shape)} and {list(origin.shape)}"
            )
        self.size = products + biases
        pieces, at = [], 0
        rest = origin
        for fan_out, fan_in in self._layers:
            count = inner * (fan_out + fan_in)
            pieces.append(factors[:, at : at + count])
            at += count
            rest = rest[:, fan_out * fan_in :]
            if bias:
                pieces.append(rest[:, :fan_out])
                rest = rest[:, fan_out:]
        #: Parameters at which the network is that of ``origin``, float64 ``[B, size]``.
        self.start = torch.cat(pieces, 1)
        everyone = torch.arange(origin.shape[0])
        self._constant = torch.zeros_like(origin)
        # Zero at the biases, which are parameters themselves.
        self._constant = origin - self.point(self.start, everyone)

    @staticmethod
    def products(widths: tuple[int, ...], inner: int) -> int:
        """Entries of all factors."""
        return sum(inner * (fan_in + fan_out) for fan_in, fan_out in pairwise(widths))

    def point(self, phi: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """See `Reparametrisation`."""
        out = []
        for f, g, b in self._parts(phi):
            out.append(_product(f, g).flatten(1))
            if b is not None:
                out.append(b)
        return self._constant[rows] + torch.cat(out, 1)

    def push(self, phi: torch.Tensor, rows: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """See `Reparametrisation`."""
        return torch.stack([self._push(phi, one) for one in v])

    def pull(self, phi: torch.Tensor, rows: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
        """See `Reparametrisation`."""
        return torch.stack([self._pull(phi, one, biases=True) for one in g])

    def pull_derivative(
        self, phi: torch.Tensor, rows: torch.Tensor, v: torch.Tensor, g: torch.Tensor
    ) -> torch.Tensor:
        """``(dF, dG) -> (g dG^T, dF^T g)``: J is linear in phi."""
        return torch.stack([self._pull(one, g, biases=False) for one in v])

    def _push(self, phi: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        out = []
        for (f, g, _), (df, dg, db) in zip(self._parts(phi), self._parts(v), strict=True):
            out.append((_product(df, g) + _product(f, dg)).flatten(1))
            if db is not None:
                out.append(db)
        return torch.cat(out, 1)

    def _pull(self, phi: torch.Tensor, grad: torch.Tensor, *, biases: bool) -> torch.Tensor:
        out, at = [], 0
        for (fan_out, fan_in), (f, g, b) in zip(self._layers, self._parts(phi), strict=True):
            slope = grad[:, at : at + fan_out * fan_in].view(-1, fan_out, fan_in)
            at += fan_out * fan_in
            out.append(_product(slope, g.transpose(1, 2)).flatten(1))
            out.append(_product(f.transpose(1, 2), slope).flatten(1))
            if b is not None:
                part = grad[:, at : at + fan_out]
                out.append(part if biases else torch.zeros_like(part))
                at += fan_out
        return torch.cat(out, 1)

    def _parts(
        self, phi: torch.Tensor
    ) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]]:
        """F ``[b, out, k]``, G ``[b, k, in]`` and bias of each layer."""
        out, at, k = [], 0, self._k
        for fan_out, fan_in in self._layers:
            f = phi[:, at : at + fan_out * k].view(-1, fan_out, k)
            at += fan_out * k
            g = phi[:, at : at + k * fan_in].view(-1, k, fan_in)
            at += k * fan_in
            b = phi[:, at : at + fan_out] if self._bias else None
            at += fan_out if self._bias else 0
            out.append((f, g, b))
        return out


class MappedObjective:
    """``L_b(g_b(phi_b))`` as an `edt.objectives.Objective` of phi.

    ``grad = J^T grad L`` and ``H v = J^T H_L J v + (D_v J)^T grad L``; the Gauss-Newton matrix is
    that of ``L`` in the new parameters (without the last term).

    Args:
        base: of B networks of one size P.
        maps: their maps.

    Raises:
        ShapeError: networks of different sizes.
    """

    def __init__(self, base: Objective, maps: Reparametrisation) -> None:
        sizes = base.offsets[1:] - base.offsets[:-1]
        if bool((sizes != sizes[0]).any()):
            raise ShapeError("networks of a mapped objective must have one size")
        self.base, self.maps = base, maps
        self.B = base.B
        self._inside = int(sizes[0])
        self.coords = torch.full((self.B,), maps.size, dtype=torch.int64)
        self.offsets = maps.size * torch.arange(self.B + 1)
        self.trainable = torch.ones(self.B * maps.size, dtype=torch.bool)
        self.scale = base.scale
        self.squares = base.squares
        self._theta = torch.zeros(self.B, self._inside, dtype=torch.float64)
        self._grad = torch.zeros_like(self._theta)

    def networks(self, phi: torch.Tensor) -> torch.Tensor:
        """Flat parameters of the networks, ``[B size] -> [B P]``."""
        everyone = torch.arange(self.B)
        return self.maps.point(phi.view(self.B, -1), everyone).flatten()

    def loss(
        self, theta: torch.Tensor, loss: torch.Tensor, active: torch.Tensor | None = None
    ) -> None:
        """Losses; see `Objective`."""
        self._place(theta, active)
        self.base.loss(self._theta.view(-1), loss, active)

    def loss_and_grad(
        self,
        theta: torch.Tensor,
        loss: torch.Tensor,
        grad: torch.Tensor,
        active: torch.Tensor | None = None,
    ) -> None:
        """Losses and gradient; see `Objective`."""
        rows, phi = self._place(theta, active)
        self.base.loss_and_grad(self._theta.view(-1), loss, self._grad.view(-1), active)
        pulled = self.maps.pull(phi, rows, self._grad[rows][None])[0]
        grad.view(self.B, -1)[rows] = pulled

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
        rows, phi = self._place(theta, active)
        count = vectors.shape[0]
        v = vectors.view(count, self.B, -1)[:, rows]
        inside = torch.zeros(count, self.B, self._inside, dtype=torch.float64)
        inside[:, rows] = self.maps.push(phi, rows, v)
        product = torch.zeros_like(inside)
        flat = self._theta.view(-1)
        self.base.hvp(flat, inside.view(count, -1), product.view(count, -1), active, ggn=ggn)
        found = self.maps.pull(phi, rows, product[:, rows])
        if not ggn:
            loss = torch.zeros(self.B, dtype=torch.float64)
            self.base.loss_and_grad(flat, loss, self._grad.view(-1), active)
            found = found + self.maps.pull_derivative(phi, rows, v, self._grad[rows])
        out.view(count, self.B, -1)[:, rows] = found

    def hessian(
        self,
        theta: torch.Tensor,
        out: torch.Tensor,
        out_offsets: torch.Tensor,
        active: torch.Tensor | None = None,
        *,
        ggn: bool = False,
    ) -> None:
        """Hessians or Gauss-Newton matrices, column by column; see `Objective`."""
        size = self.maps.size
        vectors = torch.eye(size, dtype=torch.float64).repeat(1, self.B)
        columns = torch.zeros_like(vectors)
        self.hvp(theta, vectors, columns, active, ggn=ggn)
        for b in self._rows(active).tolist():
            matrix = columns[:, b * size : (b + 1) * size]
            start = int(out_offsets[b])
            out[start : start + size * size] = (0.5 * (matrix + matrix.T)).reshape(-1)

    def _rows(self, active: torch.Tensor | None) -> torch.Tensor:
        return torch.arange(self.B) if active is None else torch.nonzero(active).flatten()

    def _place(
        self, theta: torch.Tensor, active: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The active rows and their phi; writes their networks."""
        rows = self._rows(active)
        phi = theta.view(self.B, -1)[rows]
        self._theta[rows] = self.maps.point(phi, rows)
        return rows, phi


def orthonormal(vectors: torch.Tensor) -> torch.Tensor:
    """Orthonormal columns that span, one after another, what the given columns span.

    Gram-Schmidt, done twice, elementwise: the first d columns do not depend on the others, nor the
    bits on threads or on the networks beside.

    Args:
        vectors: float64 ``[B, P, d]``, columns independent (random ones are).

    Returns:
        float64 ``[B, P, d]``, orthonormal to about 1e-15.

    Raises:
        ShapeError: other shapes.
    """
    if vectors.dim() != 3:
        raise ShapeError(f"vectors must have shape [B, P, d], got {list(vectors.shape)}")
    out = vectors.transpose(1, 2).contiguous()
    for j in range(out.shape[1]):
        one = out[:, j]
        for _ in range(2):
            for i in range(j):
                along = (out[:, i] * one).sum(-1, keepdim=True)
                one = one - along * out[:, i]
        out[:, j] = one / (one * one).sum(-1, keepdim=True).sqrt()
    return out.transpose(1, 2).contiguous()


def _product(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Batched matrix product of small matrices, ``[b, i, k], [b, k, j] -> [b, i, j]``."""
    return (left[:, :, None, :] * right.transpose(1, 2)[:, None, :, :]).sum(-1)
