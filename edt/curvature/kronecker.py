"""Blocks that are Kronecker products, one a layer, and their sums over samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from edt.errors import ShapeError
from edt.scalars import number

__all__ = ["Kronecker", "KroneckerLayer", "Sums"]


@dataclass
class KroneckerLayer:
    """One layer's block ``(U_G x U_A) diag(values) (U_G x U_A)^T``.

    Attributes:
        inputs: A, float64 ``[in + 1, in + 1]`` (no 1 without biases).
        outputs: G, ``[out, out]``.
        basis_in, basis_out: their eigenvectors, in columns.
        values: ``[out, in + 1]``, products of eigenvalues, or those of E-KFAC.
        places: flat positions of ``[W b]``, int64 ``[out, in + 1]``.
        name: of the layer.
    """

    inputs: torch.Tensor
    outputs: torch.Tensor
    basis_in: torch.Tensor
    basis_out: torch.Tensor
    values: torch.Tensor
    places: torch.Tensor
    name: str

    def apply(self, rows: torch.Tensor, damping: float | None = None) -> torch.Tensor:
        """The block times ``[K, out, in + 1]``, or with ``damping`` its damped inverse times it."""
        turned = self.basis_out.T @ rows @ self.basis_in
        turned = turned * self.values if damping is None else turned / (self.values + damping)
        return self.basis_out @ turned @ self.basis_in.T

    def matrix(self) -> torch.Tensor:
        """The block, ``[out (in + 1), out (in + 1)]``."""
        basis = torch.kron(self.basis_out, self.basis_in)
        return (basis * self.values.reshape(-1)) @ basis.T


class Sums:
    """``sum_n c_n mean_t a a^T`` and ``sum_n c_n sum_t g g^T``, some samples at a time."""

    def __init__(self) -> None:
        self._left = self._right = torch.zeros((), dtype=torch.float64)
        self._weight = 0.0

    def add(self, inputs: torch.Tensor, ways: list[torch.Tensor], weights: torch.Tensor) -> None:
        """More samples.

        Args:
            inputs: ``[n, T, in + 1]``. ways: gradients ``[n, T, out]``. weights: ``[n]``.
        """
        self._left = self._left + torch.einsum(
            "n,nti,ntj->ij", weights / inputs.shape[1], inputs, inputs
        )
        for way in ways:
            self._right = self._right + torch.einsum("n,nto,ntp->op", weights, way, way)
        self._weight += float(weights.sum())

    def layer(self, places: torch.Tensor, name: str) -> KroneckerLayer:
        """The block of these sums."""
        left, right = self._left / self._weight, self._right
        if not right.dim():  # no gradients: G = I
            right = torch.eye(len(places), dtype=torch.float64)
        into, basis_in = torch.linalg.eigh(left)
        onto, basis_out = torch.linalg.eigh(right)
        values = torch.outer(onto, into)
        return KroneckerLayer(left, right, basis_in, basis_out, values, places, name)


class Kronecker:
    """Block-diagonal curvature of B networks; made by `kfac`.

    Attributes:
        layers: of every network, from inputs to outputs.
    """

    def __init__(self, networks: Any, layers: list[list[KroneckerLayer]]) -> None:
        self._networks, self.layers = networks, layers

    def product(self, vectors: torch.Tensor) -> torch.Tensor:
        """``K_b v_b`` for ``[total]`` or ``[K, total]``, float64; 0 off the layers' parameters."""
        return self._each(vectors, None)

    def inverse_product(self, vectors: torch.Tensor, damping: float = 1e-3) -> torch.Tensor:
        """``(K_b + damping I)^-1 v_b``, exactly; 0 off the layers' parameters."""
        return self._each(vectors, number("damping", damping, strict=True))

    def _each(self, vectors: torch.Tensor, damping: float | None) -> torch.Tensor:
        total = int(self._networks.total)
        if not isinstance(vectors, torch.Tensor) or vectors.shape[-1:] != (total,):
            given = list(vectors.shape) if isinstance(vectors, torch.Tensor) else vectors
            raise ShapeError(f"vectors must have shape [{total}] or [K, ...], got {given}")
        rows = vectors.detach().cpu().double().reshape(-1, total)
        out = torch.zeros_like(rows)
        for own in self.layers:
            for block in own:
                where = block.places
                found = block.apply(rows[:, where.reshape(-1)].reshape(-1, *where.shape), damping)
                out[:, where.reshape(-1)] = found.reshape(rows.shape[0], -1)
        return out.reshape(vectors.shape)

    def matrix(self, b: int) -> torch.Tensor:
        """All of network b's, ``[P_b, P_b]`` in flat order."""
        nets = self._networks
        first, size = int(nets.offsets[b]), int(nets.offsets[b + 1] - nets.offsets[b])
        out = torch.zeros(size, size, dtype=torch.float64)
        for block in self.layers[b]:
            where = block.places.reshape(-1) - first
            out[where[:, None], where[None, :]] = block.matrix()
        return out
