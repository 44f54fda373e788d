"""Directions in which a network's function, or its loss, does not change at all.

Along them the loss is constant, so at a critical point they are null vectors of the Hessian
whatever the data: zero eigenvalues that need no other explanation.

- Homogeneous activations, ``sigma(c z) = c^k sigma(z)``: the inputs of a neuron grow as its outputs
  shrink, ``dw = w, da = -k a``.
- Identity: any linear map between two layers, ``dW = E W, dV = -V E``.
- Copies, ``w_i = w_j`` (or mirror images where the activation is odd): what one gives out the other
  takes back, ``da_i = e, da_j = -e``.
- Cross-entropy: a number added to all outputs, from the bias or from any neuron of the last layer.
"""

from __future__ import annotations

import itertools

import torch

from edt.landscape.layers import Network
from edt.landscape.symmetry import SYMMETRIES
from edt.ops.losses import LOSSES
from edt.training.channels import ODD

__all__ = ["invariant_directions"]

#: Two neurons are copies when their input weights differ by less than this share.
COPY = 1e-9


def invariant_directions(layers: Network, activation: str, loss: str) -> torch.Tensor:
    """Orthonormal basis of the directions at the top of this file.

    Args:
        layers: from `edt.landscape.layers.unpack`.
        activation: of the hidden layers.
        loss: name in `edt.ops.losses.LOSSES`.

    Returns:
        float64 ``[parameters, k]`` in the flat order of the network; only directions all of whose
        parameters are trainable.

    Example:
        >>> ens = Ensemble.init([3], [0], d_in=2, d_out=1, activation="relu")
        >>> tuple(invariant_directions(unpack(ens, 0), "relu", "mse").shape)
        (13, 3)
    """
    at = 0
    weights, biases = [], []
    for layer in layers:
        count = layer.weight.numel()
        weights.append(torch.arange(at, at + count).view(layer.weight.shape))
        at += count
        size = 0 if layer.bias is None else layer.bias.numel()
        biases.append(torch.arange(at, at + size))
        at += size
    state = torch.cat(
        [
            part
            for layer in layers
            for part in (layer.weight_state.flatten(), layer.bias_state)
            if part is not None
        ]
    )
    symmetry = SYMMETRIES[activation]
    found: list[torch.Tensor] = []

    def keep(*moves: tuple[torch.Tensor, torch.Tensor]) -> None:
        way = torch.zeros(at, dtype=torch.float64)
        for places, values in moves:
            way[places.flatten()] += values.flatten().to(torch.float64)
        # A pruned or frozen entry cannot move, and without it the function would change.
        if bool(way.any()) and bool((state[way != 0.0] == 1).all()):
            found.append(way)

    for k, (low, high) in enumerate(itertools.pairwise(layers)):
        for i in range(low.weight.shape[0]):
            others = range(low.weight.shape[0]) if activation == "identity" else (i,)
            for j in others if symmetry.degree is not None else ():
                moves = [(weights[k][i], low.weight[j])]
                if low.bias is not None:
                    moves.append((biases[k][i], low.bias[j]))
                out = high.weight[:, i]
                keep(*moves, (weights[k + 1][:, j], -(symmetry.degree or 1) * out))
        for i, j, sign in _copies(low.weight, low.bias, activation):
            for o in range(high.weight.shape[0]):
                one = torch.ones(1, dtype=torch.float64)
                keep((weights[k + 1][o, i], one), (weights[k + 1][o, j], -sign * one))
    if LOSSES[loss].shifts:
        ones = torch.ones(layers[-1].weight.shape[0], dtype=torch.float64)
        for column in weights[-1].T:
            keep((column, ones))
        if layers[-1].bias is not None:
            keep((biases[-1], ones))
    if not found:
        return torch.zeros(at, 0, dtype=torch.float64)
    ways = torch.stack([way / way.norm() for way in found], dim=1)
    left, sizes, _ = torch.linalg.svd(ways, full_matrices=False)
    basis: torch.Tensor = left[:, sizes > 1e-9 * sizes[0]]
    return basis


def _copies(
    weight: torch.Tensor, bias: torch.Tensor | None, activation: str
) -> list[tuple[int, int, float]]:
    """Pairs (i, j, sign) with ``w_j = sign w_i`` to rounding, each j once."""
    rows = weight.to(torch.float64)
    if bias is not None:
        rows = torch.cat([rows, bias.to(torch.float64)[:, None]], dim=1)
    size = rows.norm(dim=1)
    out = []
    for j in range(rows.shape[0]):
        for i in range(j):
            limit = COPY * float(torch.maximum(size[i], size[j]))
            signs = (1.0, -1.0) if activation in ODD else (1.0,)
            near = next((s for s in signs if float((rows[j] - s * rows[i]).norm()) <= limit), None)
            if near is not None and limit > 0.0:
                out.append((i, j, near))
                break
    return out
