"""Networks on exact critical points, and small helpers shared by the landscape tests."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import edt
from edt.ensemble import Ensemble
from edt.landscape import critical_task
from edt.landscape.layers import Layer, pack, unpack
from edt.landscape.symmetry import SYMMETRIES


def networks(widths, count=1, *, d_in=2, d_out=1, activation="tanh", bias=True, first=0, **more):
    """Random networks of order-one weights: every width with ``count`` seeds."""
    return Ensemble.init(
        widths,
        range(first, first + count),
        d_in=d_in,
        d_out=d_out,
        activation=activation,
        scheme="normal",
        scale=1.3,
        bias=bias,
        **more,
    )


def inputs(n, d_in, seed=0):
    """Standard normal ``[n, d_in]``."""
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(n, d_in, generator=draw, dtype=torch.float64)


def on_critical_points(ens, n=61, seed=0, residual=1.0):
    """(task, task_index) at which each network of ``ens`` stands on a critical point."""
    data = critical_task(ens, inputs(n, ens.d_in, seed), residual=residual, seed=seed)
    return data, torch.arange(ens.B)


def slope(ens, data, index):
    """Largest gradient entry of each network, over all parameters that are trainable."""
    _, grad = edt.loss_and_grad(ens, data, task_index=index)
    return torch.stack(
        [
            grad[int(a) : int(b)].abs().max()
            for a, b in zip(ens.offsets[:-1], ens.offsets[1:], strict=True)
        ]
    )


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


@pytest.fixture(autouse=True, scope="package")
def one_thread():
    """Threads cost more than they give on matrices this small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def make():
    """The functions above."""
    return SimpleNamespace(
        networks=networks,
        inputs=inputs,
        on_critical_points=on_critical_points,
        slope=slope,
        moved=moved,
        reflect=reflect,
    )
