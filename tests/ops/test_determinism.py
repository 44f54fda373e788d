"""A network's results, bit for bit: alone or in a crowd, with any number of threads."""

from __future__ import annotations

import pytest
import torch

from edt import _core, functional

CROWD = ((7, 3), (2, 2), (16, 5), (1, 1), (5, 9), (3, 3), (12, 4), (8, 8))


def everything(ens, task, index, vectors):
    """All results, one list a network."""
    same = {"task_index": index}
    spans = [slice(int(a), int(b)) for a, b in zip(ens.offsets[:-1], ens.offsets[1:], strict=True)]
    theta = ens.theta.clone().requires_grad_(True)
    outputs = functional.predict(ens, task, theta, index)
    (outputs.square() * outputs.detach().cos()).sum().backward()
    pulled, losses = theta.grad, functional.loss(ens, task, **same)
    also, grad = functional.loss_and_grad(ens, task, **same)
    products = functional.hvp(ens, task, vectors, **same)
    gauss_newton = functional.ggn_vp(ens, task, vectors, **same)
    lists = [
        functional.hessian(ens, task, **same),
        functional.hessian(ens, task, ggn=True, **same),
        functional.jacobian(ens, task, **same),
    ]
    blocks = functional.hessian_blocks(ens, task, **same)
    return [
        [
            outputs[b].detach(),
            losses[b],
            also[b],
            *(flat[..., span] for flat in (grad, pulled, products, gauss_newton)),
            *(matrices[b] for matrices in lists),
            *blocks[b],
        ]
        for b, span in enumerate(spans)
    ]


def same_bits(one, two):
    return len(one) == len(two) and all(map(torch.equal, one, two))


@pytest.fixture(params=["narrow", "deep", "entropy", "wide", "many", "many deep"])
def crowd(request, cases):
    """Networks of many sizes, enough samples for several blocks, and vectors."""
    shape = {
        "narrow": {"hidden": tuple((h,) for h, _ in CROWD), "d_in": 4},
        "deep": {"hidden": CROWD, "d_in": 3, "d_out": 2, "masks": "mixed"},
        "entropy": {"hidden": CROWD, "d_out": 3, "loss": "cross_entropy", "masks": "sparse"},
        # Dense layers whose gradients are outer products, with some columns left over.
        "wide": {"hidden": tuple((3 * h, 2 * w) for h, w in CROWD), "d_in": 21},
        # More samples than one chunk: threads share a network's sums.
        "many": {"hidden": tuple((h,) for h, _ in CROWD), "samples": 4500},
        "many deep": {"hidden": CROWD, "d_out": 2, "samples": 5000, "masks": "mixed"},
    }[request.param]
    case = cases.Case("softplus", **{"samples": 611, "targets": 3, "seed": 3, **shape})
    ens, task, index = case.build()
    draw = torch.Generator().manual_seed(9)
    vectors = torch.randn(6, ens.total, generator=draw, dtype=torch.float64)
    return ens, task, index, vectors


def test_alone_and_in_a_crowd(crowd):
    ens, task, index, vectors = crowd
    together = everything(ens, task, index, vectors)
    for b in range(ens.B):
        span = slice(int(ens.offsets[b]), int(ens.offsets[b + 1]))
        # Only this network's task, so that the data set differs too.
        alone = everything(ens.network(b), task, index[b : b + 1], vectors[:, span].contiguous())
        assert same_bits(alone[0], together[b]), b


def test_threads(crowd):
    ens, task, index, vectors = crowd
    found = {}
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found[threads] = everything(ens, task, index, vectors)
            assert _core.get_num_threads() == threads
    finally:
        torch.set_num_threads(1)
    for threads in (2, 3):
        for b in range(ens.B):
            assert same_bits(found[1][b], found[threads][b]), (threads, b)


def test_vectors_do_not_see_each_other(crowd):
    """A vector's product is the same alone and among K."""
    ens, task, index, vectors = crowd
    for product in (functional.hvp, functional.ggn_vp):
        together = product(ens, task, vectors, task_index=index)
        for k in range(len(vectors)):
            assert torch.equal(product(ens, task, vectors[k], task_index=index), together[k])


@pytest.mark.skipif(
    not {"avx2", "avx512"} <= set(_core.isas()),
    reason="needs EDT_ISAS=all, AVX2 and AVX-512",
)
def test_avx512_and_avx2_give_the_same_bits(crowd):
    before, found = _core.isa(), {}
    try:
        for isa in ("avx512", "avx2"):
            _core.select_isa(isa)
            found[isa] = everything(*crowd)
    finally:
        _core.select_isa(before)
    for one, two in zip(found["avx512"], found["avx2"], strict=True):
        assert same_bits(one, two)


def test_diverged_neighbour_does_not_disturb(crowd):
    """NaN and overflow in one network stay there."""
    ens, task, index, vectors = crowd
    clean = everything(ens, task, index, vectors)
    spoilt = ens.with_theta(ens.theta.clone())
    spoilt.theta[int(ens.offsets[2]) : int(ens.offsets[3])] = float("nan")
    spoilt.theta[int(ens.offsets[5]) : int(ens.offsets[6])] = 1e200
    found = everything(spoilt, task, index, vectors)
    for b in set(range(ens.B)) - {2, 5}:
        assert same_bits(found[b], clean[b]), b
    assert not torch.isfinite(found[2][1])
    assert not torch.isfinite(found[5][1])
