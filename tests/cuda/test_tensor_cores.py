"""Dense layers of wide networks in float64 on the tensor cores (csrc/cuda/tensor.cuh), over the
shim, which counts the products of 8 x 8 x 4, and the instructions that they are: of 16 x 8 x 4 on
cards that have these.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from engine_calls import on_cuda
from kernel_calls import products
from op_cases import Case, compare

from edt.ops.checks import problem_of

#: Odd sizes beyond tiles of 64 x 128, samples that fill theirs but for a few.
CASE = Case("sin", "cross_entropy", hidden=((131, 70),), d_in=129, d_out=5, samples=250)
PADDED = 256
#: (multiprocessors, units an item, rows and columns of a gradient's rectangle): few blocks are
#: enough, or as many as there can be.
SHAPES = {"large tiles": (2, 64, (64, 128)), "small tiles": (1000, 32, (32, 64))}


@pytest.fixture
def tiny_blocks(shim):
    """Every network is wide."""
    shim.set_limits(2, 1100, 2200)
    return shim


def results(case):
    """All results; networks are built anew, so that no schedule is found again."""
    ens, task, index = case.build()
    draw = torch.Generator().manual_seed(1)
    vectors = torch.randn(1, ens.total, dtype=case.dtype, generator=draw)
    cotangent = torch.randn(ens.B, task.N, case.d_out, dtype=case.dtype, generator=draw)
    return products(ens, task, index, vectors, cotangent)


def pieces(whole, each):
    return [min(each, whole - at) for at in range(0, whole, each)]


def count(rows, columns, depth):
    """Products of a result: tiles of 8 warps, 2 x 4, each of 32 x 32, or of 16 x 16 where one large
    tile would not be filled; 8 or 16 of the depth at once.
    """
    side, at_once = (32, 8) if rows > 32 and columns > 64 else (16, 16)
    tiles = -(-rows // (2 * side)) * -(-columns // (4 * side))
    return tiles * 8 * (side // 8) ** 2 * -(-depth // at_once) * at_once // 4


@pytest.mark.parametrize(("shape", "capability"), [("large tiles", 80), ("small tiles", 90)])
def test_every_product_is_one_of_the_tensor_cores(tiny_blocks, shape, capability):
    sms, each, (height, width) = SHAPES[shape]
    tiny_blocks.set_limits(sms, 1100, 2200)
    tiny_blocks.set_card(capability=capability)

    def made():
        eights, instructions = tiny_blocks.tensor_products()
        assert instructions * (2 if capability >= 90 else 1) == eights
        return eights

    ens, task, index = CASE.build()
    problem = problem_of(ens, task, index)
    layers = list(pairwise([CASE.d_in, *CASE.hidden[0], CASE.d_out]))
    tiles = PADDED // 128
    up = [tiles * sum(count(n, 128, i) for n in pieces(o, each)) for i, o in layers]
    down = [tiles * sum(count(n, 128, o) for n in pieces(i, each)) for i, o in layers]
    down[0] = 0
    gradient = [
        sum(count(j, i, PADDED) for j in pieces(o, height) for i in pieces(n, width))
        for n, o in layers
    ]
    tiny_blocks.tensor_products()
    on_cuda.predict(ens.theta, problem)
    assert made() == sum(up)
    on_cuda.loss_and_grad(ens.theta, problem)
    assert made() == sum(up) + sum(down) + sum(gradient)
    # V a and W Ra on the way up; dL/dz once, W^T Rd and V^T d on the way down; two terms of rows.
    on_cuda.hvp(ens.theta, torch.ones(1, ens.total, dtype=torch.float64), problem)
    twice = sum(up) + sum(up[1:]) + 2 * sum(down) + sum(gradient) + sum(gradient[1:])
    assert made() == sum(up) + sum(down) + twice


@pytest.mark.parametrize("change", [{"dtype": torch.float32}, {"masks": "very sparse"}], ids=str)
def test_nothing_else_takes_them(tiny_blocks, change):
    tiny_blocks.tensor_products()
    results(replace(CASE, **change))
    assert tiny_blocks.tensor_products() == (0, 0)


@pytest.mark.parametrize(("shape", "capability"), [("large tiles", 90), ("small tiles", 80)])
def test_results(tiny_blocks, shape, capability):
    tiny_blocks.set_limits(SHAPES[shape][0], 1100, 2200)
    tiny_blocks.set_card(capability=capability)
    # As in test_wide.py: ten times the terms of the usual cases.
    compare(CASE, products, vectors=1, roundings=200)


def test_neither_the_shape_of_tiles_nor_the_order_of_threads_changes_a_bit(tiny_blocks):
    """Nor the instruction, as far as the order is the kernels'."""
    case = replace(CASE, hidden=((70, 9),), d_in=67, samples=100)
    wanted = results(case)
    for sms, order, capability in (
        *((1000, "forward", 90), (2, "backward", 90), (2, "shuffled", 90)),
        *((1000, "shuffled", 90), (2, "forward", 80), (1000, "shuffled", 80)),
    ):
        tiny_blocks.set_card(capability=capability)
        tiny_blocks.set_limits(sms, 1100, 2200)
        tiny_blocks.set_order(order, 3)
        for name, value in results(case).items():
            assert all(map(torch.equal, value, wanted[name])), name


def test_neighbours_change_no_bit(tiny_blocks):
    """Beside others a network's layers are cut otherwise: 8 multiprocessors want 4 blocks."""
    tiny_blocks.set_limits(8, 1100, 2200)
    ens, task, index = Case(
        hidden=((70, 37), (35, 90), (8, 129)), d_in=9, d_out=2, samples=100
    ).build()
    vectors = torch.randn(2, ens.total, dtype=torch.float64, generator=torch.manual_seed(0))
    cotangent = torch.randn(3, task.N, 2, dtype=torch.float64)
    together = products(ens, task, index, vectors, cotangent)
    alone = ens[:1]
    apart = products(alone, task, index[:1], vectors[:, : alone.total].clone(), cotangent[:1])
    for name, value in apart.items():
        other = together[name]
        other = other[..., : alone.total] if value.shape[-1] == alone.total else other[:1]
        assert torch.equal(value, other), name
