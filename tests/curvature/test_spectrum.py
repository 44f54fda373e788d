"""Spectra, index, operator and Lanczos against torch's own autograd."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edt import curvature
from edt.curvature.dense import eigensystems


@pytest.mark.parametrize("pruned", [0.0, 0.3])
def test_spectrum(cases, place, pruned):
    ens, data = cases.ensemble([2, 5, 3], pruned=pruned, frozen=pruned / 2), cases.task()
    found, vectors = curvature.hessian_spectrum(*place(ens, data), vectors=True)
    for b, values in enumerate(found):
        hess = cases.torch_hessian(ens, data, b)
        expected = torch.linalg.eigvalsh(hess)
        # Weyl: eigenvalues move by at most the difference of the Hessians, rounding of ||H||.
        size = float(expected.abs().max())
        torch.testing.assert_close(values, expected, rtol=0, atol=1e-13 * size * len(values))
        back = vectors[b] @ torch.diag(values) @ vectors[b].T
        torch.testing.assert_close(back, hess, rtol=0, atol=1e-12 * size)


def test_index_at_exact_critical_points(cases, place):
    for seed in range(8):
        ens = cases.ensemble([4], seed=seed)
        data = cases.critical(ens, seed=seed)
        expected = torch.linalg.eigvalsh(cases.torch_hessian(ens, data))
        there = place(ens, data)
        found = curvature.count_directions(*there, directions=True)
        assert int(found.n_neg[0]) == int((expected < -float(found.eps_H[0])).sum())
        assert int(found.n_neg + found.n_zero + found.n_pos) == len(expected)
        assert torch.equal(curvature.index(*there), found.n_neg)
        assert torch.equal(curvature.escape_dimensions(*there), found.n_neg)
        for way in found.directions[0]:
            curve = way @ cases.torch_hessian(ens, data) @ way
            assert float(curve) < 0.0 and float(way.norm()) == pytest.approx(1.0)


def test_threshold_scales_with_the_hessian():
    values = torch.tensor([-1e-3, 0.0, 2.0], dtype=torch.float64)
    assert curvature.zero_threshold(values) == pytest.approx(10 * 2.0**-52 * 3 * 2.0)
    assert curvature.zero_threshold(1e9 * values) == pytest.approx(
        1e9 * curvature.zero_threshold(values)
    )
    assert curvature.zero_threshold(values[:0]) == 0.0


def test_verdicts():
    assert curvature.verdict(0, 0) == "minimum"
    assert curvature.verdict(0, 2) == "flat"
    assert curvature.verdict(1, 2) == "saddle"


def test_operator_and_lanczos(cases, place):
    ens, data = cases.ensemble([4, 6], pruned=0.2), cases.task()
    hess = cases.torch_hessian(ens, data, 1).numpy()
    ens, data = place(ens, data)
    operator = curvature.HessianOperator(ens, data, 1)
    block = np.random.default_rng(0).standard_normal((hess.shape[0], 5))
    size = np.abs(hess).sum(1).max()
    # Two orders of the same sums of 37 products.
    np.testing.assert_allclose(operator @ block, hess @ block, rtol=0, atol=1e-13 * 40 * size)
    np.testing.assert_allclose(operator @ block[:, 0], hess @ block[:, 0], atol=1e-13 * 40 * size)
    values, vectors = curvature.lanczos(ens, data, 1, k=3)
    expected = np.linalg.eigvalsh(hess)[:3]
    np.testing.assert_allclose(values.numpy(), expected, rtol=0, atol=1e-10 * size)
    assert vectors.shape == (3, hess.shape[0])
    with pytest.raises(ValueError, match="k must be"):
        curvature.lanczos(ens, data, 1, k=hess.shape[0] + 1)
    with pytest.raises(ValueError, match="which"):
        curvature.lanczos(ens, data, 1, which="XX")
    with pytest.raises(IndexError, match="network"):
        curvature.HessianOperator(ens, data, 2)


def test_eigensystems_do_not_depend_on_company_or_threads():
    draw = torch.Generator().manual_seed(0)
    matrices = []
    for size in (3, 65, 97, 33, 97, 80):
        full = torch.randn(size, size, generator=draw, dtype=torch.float64)
        matrices.append(full + full.T)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        together = eigensystems(matrices)
        torch.set_num_threads(1)
        for matrix, (values, vectors) in zip(matrices, together, strict=True):
            shifted = torch.empty(matrix.numel() + 1, dtype=torch.float64)[1:].view_as(matrix)
            alone = eigensystems([shifted.copy_(matrix)])[0]
            assert torch.equal(alone[0], values) and torch.equal(alone[1], vectors)
    finally:
        torch.set_num_threads(threads)
