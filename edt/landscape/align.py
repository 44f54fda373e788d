"""Distance between two irreducible functions, up to permutation and the activation's symmetries."""

from __future__ import annotations

import math

import numpy as np
import torch

from edt.landscape.irreducible import Core, reduce_phase
from edt.landscape.symmetry import SYMMETRIES, Symmetry


def aligned_distance(one: Core, other: Core) -> float:
    """Relative distance of parameters after the best alignment of neurons.

    Layer by layer from the inputs, neurons of ``other`` are matched with those of ``one`` (the
    assignment with the least sum of squared distances of input weights and, in the last hidden
    layer, output weights), each reflected or shifted where that brings it closer. What
    reflections leave behind is added up and compared too, so ramps (softplus, relu, ...) agree
    only if their linear rests cancel.

    Args:
        one, other: from `edt.landscape.irreducible.reduce_network`.

    Returns:
        ``|theta_1 - theta_2| / max(|theta_1|, |theta_2|)`` over all parameters; infinite when
        widths, sizes or activations differ.

    Reference: R. Jonker, A. Volgenant, Computing 38 (1987) 325 (the assignment).
    """
    if (
        one.activation != other.activation
        or one.widths != other.widths
        or one.linear.shape != other.linear.shape
    ):
        return math.inf
    symmetry = SYMMETRIES[one.activation]
    weights, biases = list(other.weights), list(other.biases)
    linear = other.linear
    depth = len(weights) - 1
    for layer in range(depth):
        ramp = symmetry.reflection is not None and not symmetry.free and depth == 1
        signs = (1.0, -1.0) if symmetry.free or ramp else (1.0,)
        order, sign, flip = _match(one, weights, biases, layer, signs, symmetry)
        row, shift = weights[layer][order], biases[layer][order]
        column = weights[layer + 1][:, order]
        factor = flip
        if symmetry.reflection is not None:
            turned = column * (sign < 0.0)
            reflection = symmetry.reflection
            biases[layer + 1] = biases[layer + 1] + turned @ (
                reflection.slope * shift + reflection.offset
            )
            linear = linear + reflection.slope * turned @ row if depth == 1 else linear
            factor = flip * torch.where(sign < 0.0, float(reflection.sign), 1.0)
        rest, _ = reduce_phase(one.biases[layer] - sign * shift, symmetry)
        weights[layer], biases[layer] = sign[:, None] * row, one.biases[layer] - rest
        weights[layer + 1] = column * factor
    mine = [*one.weights, *one.biases, one.linear, one.quadratic]
    theirs = [*weights, *biases, linear, other.quadratic]
    gap = sum(float((a - b).square().sum()) for a, b in zip(mine, theirs, strict=True))
    size = max(sum(float(a.square().sum()) for a in parts) for parts in (mine, theirs))
    return math.sqrt(gap / size) if size > 0.0 else 0.0


def _match(
    one: Core,
    weights: list[torch.Tensor],
    biases: list[torch.Tensor],
    layer: int,
    signs: tuple[float, ...],
    symmetry: Symmetry,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """For each neuron of ``one``: its partner (int64 ``[h]``), reflected -1, shifted -1."""
    from scipy.optimize import linear_sum_assignment  # heavy, and rarely needed

    last = layer == len(weights) - 2
    costs, flips = [], []
    for sign in signs:
        gap = (one.weights[layer][:, None] - sign * weights[layer][None]).square().sum(2)
        rest, flip = reduce_phase(one.biases[layer][:, None] - sign * biases[layer][None], symmetry)
        gap = gap + rest.square()
        if last:
            reflected = sign < 0.0 and symmetry.reflection is not None
            turn = float(symmetry.reflection.sign) if reflected and symmetry.reflection else 1.0
            a, b = one.weights[layer + 1].T[:, None], weights[layer + 1].T[None]
            gap = gap + (a - turn * flip[..., None] * b).square().sum(2)
        costs.append(gap)
        flips.append(flip)
    cost = torch.stack(costs)  # [signs, h, h]
    best, which = cost.min(dim=0)
    rows, columns = linear_sum_assignment(best.numpy())
    order = torch.from_numpy(np.asarray(columns, dtype=np.int64))
    at = torch.from_numpy(np.asarray(rows, dtype=np.int64))
    chosen = which[at, order]
    turned = torch.tensor(signs, dtype=torch.float64)[chosen]
    return order, turned, torch.stack(flips)[chosen, at, order]
