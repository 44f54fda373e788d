"""Random group actions on networks: the same function from other parameters."""

from __future__ import annotations

import math

import numpy as np
import torch

from edt.landscape.layers import Layer, pack, unpack
from edt.landscape.symmetry import SYMMETRIES


def moved(ens, seed, *, permute=True):
    """Every network of ``ens`` under a random element of its activation's symmetry group."""
    rng = np.random.default_rng(seed)
    return pack([_move(unpack(ens, b), ens.activation, rng, permute) for b in range(ens.B)], ens)


def _move(layers, activation, rng, permute):
    symmetry = SYMMETRIES[activation]
    layers = [
        Layer(
            layer.weight.clone(),
            layer.weight_state.clone(),
            None if layer.bias is None else layer.bias.clone(),
            layer.bias_state,
        )
        for layer in layers
    ]
    for depth in range(len(layers) - 1):
        into, out = layers[depth], layers[depth + 1]
        for i in range(into.weight.shape[0]):
            constant = symmetry.free and symmetry.reflection.offset != 0.0
            if symmetry.free and rng.random() < 0.5 and (out.bias is not None or not constant):
                reflect(into, out, i, symmetry.reflection)
            if symmetry.half_period and into.bias is not None:
                turns = int(rng.integers(-2, 3))
                into.bias[i] += turns * symmetry.half_period
                out.weight[:, i] *= (-1) ** turns
            if symmetry.degree:
                c = math.exp(rng.normal(0.0, 0.5))
                into.weight[i] *= c
                if into.bias is not None:
                    into.bias[i] *= c
                out.weight[:, i] /= c**symmetry.degree
        if permute:
            order = torch.from_numpy(rng.permutation(into.weight.shape[0]))
            into.weight, into.weight_state = into.weight[order], into.weight_state[order]
            if into.bias is not None:
                into.bias = into.bias[order]
            out.weight = out.weight[:, order].contiguous()
            out.weight_state = out.weight_state[:, order].contiguous()
    return layers


def reflect(into, out, i, reflection):
    """Turn neuron i; what is linear is left to the caller, constants go to the bias."""
    column = out.weight[:, i].clone()
    shift = 0.0 if into.bias is None else into.bias[i].clone()
    if out.bias is not None:
        out.bias += column * (reflection.slope * shift + reflection.offset)
    into.weight[i] *= -1
    if into.bias is not None:
        into.bias[i] *= -1
    out.weight[:, i] = reflection.sign * column
