"""Distance between two irreducible functions, up to permutation and the activation's symmetries."""

from __future__ import annotations

import math

import numpy as np
import torch

from edt.landscape.irreducible import Core, reduce_phase
from edt.landscape.layers import along
from edt.landscape.symmetry import Symmetry


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
    shapes = [[part.shape for part in (*core.weights, core.linear)] for core in (one, other)]
    if one.activations != other.activations or shapes[0] != shapes[1]:
        return math.inf
    symmetries = one.symmetries
    weights, biases = list(other.weights), list(other.biases)
    linear = other.linear
    depth = len(weights) - 1
    for layer, symmetry in enumerate(symmetries):
        ramp = symmetry.reflection is not None and not symmetry.free and depth == 1 and one.plain
        signs = (1.0, -1.0) if symmetry.free or ramp else (1.0,)
        order, sign, flip = _match(one, weights, biases, layer, signs, symmetry)
        row, shift = weights[layer][order], biases[layer][order]
        column = weights[layer + 1][:, order]
        factor = flip
        if symmetry.reflection is not None:
            turned = column * along((sign < 0.0).to(column.dtype), column, 1)
            reflection = symmetry.reflection
            each = turned if turned.dim() == 2 else turned.flatten(2).sum(2)  # of all taps
            biases[layer + 1] = biases[layer + 1] + each @ (
                reflection.slope * shift + reflection.offset
            )
            if ramp:
                linear = linear + reflection.slope * turned @ row
            factor = flip * torch.where(sign < 0.0, float(reflection.sign), 1.0)
        rest, _ = reduce_phase(one.biases[layer] - sign * shift, symmetry)
        weights[layer], biases[layer] = along(sign, row, 0) * row, one.biases[layer] - rest
        weights[layer + 1] = column * along(factor, column, 1)
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
        mine, theirs = one.weights[layer].flatten(1), weights[layer].flatten(1)
        gap = (mine[:, None] - sign * theirs[None]).square().sum(2)
        rest, flip = reduce_phase(one.biases[layer][:, None] - sign * biases[layer][None], symmetry)
        gap = gap + rest.square()
        if last:
            reflected = sign < 0.0 and symmetry.reflection is not None
            turn = float(symmetry.reflection.sign) if reflected and symmetry.reflection else 1.0
            a, b = (w[layer + 1].movedim(1, 0).flatten(1) for w in (one.weights, weights))
            gap = gap + (a[:, None] - turn * flip[..., None] * b[None]).square().sum(2)
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
