"""Density, trace, diagonal, split and factored inertia against dense linear algebra."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import edt
from edt import curvature
from edt.curvature.density import _solver
from edt.curvature.factored import factored_inertia, spectral_norm
from edt.curvature.inputs import signs
from edt.curvature.trace import _hutch_pp, _hutchinson
from edt.curvature.verdicts import zero_threshold


def run(work, matrix):
    answer = None
    try:
        while True:
            block = next(work) if answer is None else work.send(answer)
            answer = block @ matrix
    except StopIteration as stop:
        return stop.value


def symmetric(values, seed=0):
    draw = torch.Generator().manual_seed(seed)
    size = len(values)
    turn = torch.linalg.qr(torch.randn(size, size, generator=draw, dtype=torch.float64)).Q
    return turn @ torch.diag(torch.as_tensor(values, dtype=torch.float64)) @ turn.T


def test_quadrature_is_exact_for_polynomials():
    values = np.linspace(-1.0, 2.0, 50)
    matrix = symmetric(values)
    start = signs(50, 3, 0)
    found = run(_solver(start, 6), matrix)
    torch.testing.assert_close(found.weights.sum(1), torch.ones(3, dtype=torch.float64))
    for v in range(3):
        q = start[v] / start[v].norm()
        power = q.clone()
        for degree in range(12):
            # q^T H^degree q, degree up to 2m - 1 = 11.
            expected = float(q @ power)
            rule = float((found.nodes[v] ** degree * found.weights[v]).sum())
            assert rule == pytest.approx(expected, rel=1e-10, abs=1e-12)
            power = matrix @ power


def test_all_steps_give_the_whole_spectrum():
    values = np.array([-1.0, 0.5, 2.0, 3.0])
    found = run(_solver(signs(4, 1, 3), 4), symmetric(values))
    np.testing.assert_allclose(found.nodes[0].numpy(), values, rtol=0, atol=1e-12)
    # An invariant subspace reached early: two distinct eigenvalues, four steps.
    double = run(_solver(signs(6, 2, 0), 4), symmetric([1.0] * 3 + [4.0] * 3))
    heavy = double.weights > 1e-10
    torch.testing.assert_close(
        double.nodes[heavy], torch.tensor([1.0, 4.0, 1.0, 4.0], dtype=torch.float64)
    )


def test_density_of_networks(cases, place):
    ens, data = cases.ensemble([5, 8]), cases.task()
    found = curvature.spectral_density(*place(ens, data), steps=30, probes=40)
    for b, density in enumerate(found):
        values = torch.linalg.eigvalsh(cases.torch_hessian(ens, data, b))
        assert density.size == len(values)
        for function in (lambda t: t, torch.abs, lambda t: (t > 0.1).double()):
            # Five standard errors: one test in a million fails by chance, and seeds are fixed.
            error = 5.0 * density.error(function) + 1e-12
            assert density.mean(function) == pytest.approx(
                float(function(values).mean()), abs=error
            )
        ends = float(values[0]) - 1.0, float(values[-1]) + 1.0
        grid = torch.linspace(*ends, 4001, dtype=torch.float64)
        area = torch.trapezoid(density.density(grid, 0.05), grid)
        assert float(area) == pytest.approx(1.0, abs=1e-6)
        steps = density.cdf(torch.tensor([-1e9, 1e9]))
        assert steps.tolist() == pytest.approx([0.0, 1.0])
    with pytest.raises(ValueError, match="width"):
        found[0].density(torch.zeros(1), 0.0)
    with pytest.raises(ValueError, match="probes"):
        curvature.spectral_density(ens, data, probes=0)
    with pytest.raises(TypeError, match="steps"):
        curvature.spectral_density(ens, data, steps=2.5)


def test_trace_of_networks(cases, place):
    ens, data = cases.ensemble([5, 8, 2], pruned=0.2), cases.task()
    exact = [float(cases.torch_hessian(ens, data, b).trace()) for b in range(3)]
    ens, data = place(ens, data)
    for method in ("hutch++", "hutchinson"):
        found = curvature.hessian_trace(ens, data, products=15, method=method)
        for b in range(3):
            slack = 6.0 * float(found.error[b]) + 1e-12 * abs(exact[b])
            assert float(found.trace[b]) == pytest.approx(exact[b], abs=slack)
            assert int(found.products[b]) <= 15
    # Enough products for all of it: exact.
    found = curvature.hessian_trace(ens, data, products=100)
    assert found.error.tolist() == [0.0] * 3
    np.testing.assert_allclose(found.trace.numpy(), exact, rtol=1e-12)
    with pytest.raises(ValueError, match="products"):
        curvature.hessian_trace(ens, data, products=2)
    with pytest.raises(ValueError, match="did you mean"):
        curvature.hessian_trace(ens, data, method="hutch")


def test_hutch_pp_is_better_where_the_spectrum_decays():
    # Eigenvalues 1/i^2: the first ten of 200 hold most of the norm.
    matrix = symmetric(1.0 / np.arange(1, 201) ** 2.0)
    exact = float(matrix.trace())
    errors = {"plain": [], "plus": []}
    for seed in range(20):
        errors["plain"].append(run(_hutchinson(200, 30, seed), matrix)[0] - exact)
        errors["plus"].append(run(_hutch_pp(200, 30, seed), matrix)[0] - exact)
    plain, plus = (float(np.sqrt(np.mean(np.square(e)))) for e in errors.values())
    # Theory for this decay: the Frobenius norm left after 10 vectors is some 1/30 of the whole.
    assert plus < 0.2 * plain
    # Both are unbiased: the mean of 20 is within four of its standard errors.
    for values in errors.values():
        assert abs(np.mean(values)) < 4.0 * np.std(values) / 20**0.5 + 1e-12


def test_diagonal(cases, place):
    ens, data = cases.ensemble([4, 6], pruned=0.2, frozen=0.1), cases.task()
    mean, error = curvature.hessian_diagonal(*place(ens, data), probes=200)
    rough, spread = curvature.hessian_diagonal(*place(ens, data), probes=12)
    free = ens.state == 1
    exact = torch.zeros_like(mean)
    exact[free] = torch.cat([cases.torch_hessian(ens, data, b).diagonal() for b in range(2)])
    # 200 products are more than either network's coordinates: no randomness.
    torch.testing.assert_close(mean, exact, rtol=1e-10, atol=1e-12)
    assert bool((error == 0.0).all())
    assert bool((rough[~free] == 0.0).all())
    # 12 probes: t-distributed errors; 10 standard errors is about one in ten million.
    assert bool(((rough - exact)[free].abs() <= 10.0 * spread[free] + 1e-10).all())


def test_split(cases, place):
    ens, data = cases.ensemble([3, 5], pruned=0.1), cases.task()
    for b, parts in enumerate(curvature.hessian_split(*place(ens, data))):
        hess = cases.torch_hessian(ens, data, b)
        torch.testing.assert_close(parts.hessian, torch.linalg.eigvalsh(hess), rtol=0, atol=1e-12)
        assert float(parts.ggn[0]) >= -1e-13
        # Traces add up; the lowest eigenvalue of H is at least that of R (Weyl).
        total = float(parts.ggn.sum() + parts.residual.sum())
        assert total == pytest.approx(float(hess.trace()), rel=1e-12)
        assert float(parts.hessian[0]) >= float(parts.residual[0]) - 1e-12
        assert parts.share > 0.0
    # At zero residual nothing is left of R.
    row = ens.layer_widths[0].tolist()
    outputs = cases.forward(cases.part(ens, 0), row, data.x)
    exact = curvature.hessian_split(*place(ens.network(0), type(data)(data.x, outputs)))[0]
    assert exact.share < 1e-13


def test_inertia_without_eigenvalues(cases, place):
    for seed in range(6):
        ens = cases.ensemble([4], seed=seed, pruned=0.3 if seed % 2 else 0.0)
        ens, data = place(ens, cases.critical(ens, seed=seed))
        dense = curvature.count_directions(ens, data)
        factored = curvature.count_directions(ens, data, method="ldl")
        for name in ("n_neg", "n_zero", "n_pos"):
            assert torch.equal(getattr(dense, name), getattr(factored, name))
        torch.testing.assert_close(dense.eps_H, factored.eps_H, rtol=0.01, atol=0)
        assert bool(factored.min_eig.isnan().all())
    with pytest.raises(ValueError, match="directions"):
        curvature.count_directions(ens, data, directions=True, method="ldl")
    with pytest.raises(ValueError, match="method"):
        curvature.count_directions(ens, data, method="lu")


@pytest.mark.parametrize("seed", range(5))
def test_negative_count_on_random_matrices(seed):
    draw = np.random.default_rng(seed)
    size = int(draw.integers(1, 60))
    values = draw.standard_normal(size) * 10.0 ** draw.integers(-6, 3, size)
    matrix = symmetric(values, seed)
    # Entries near zero in the diagonal force blocks of size 2.
    if seed == 4:
        matrix.fill_diagonal_(0.0)
        values = np.linalg.eigvalsh(matrix.numpy())
    clear = np.abs(values).max() * 1e-12
    for shift in (0.0, 0.3, -0.2):
        assert np.abs(values + shift).min() > clear
        assert curvature.negative_count(matrix, shift) == int((values < -shift).sum())
    assert spectral_norm(matrix) == pytest.approx(float(np.abs(values).max()), rel=0.01)


def test_factored_inertia_of_trivial_matrices():
    assert factored_inertia(torch.zeros(0, 0, dtype=torch.float64)) == (0, 0, 0, 0.0)
    zero = factored_inertia(torch.zeros(3, 3, dtype=torch.float64))
    assert zero[:3] == (0, 3, 0)
    swap = torch.tensor([[0.0, 1.0], [1.0, 0.0]], dtype=torch.float64)
    assert factored_inertia(swap)[:3] == (1, 0, 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("width", [3, 20])
def test_rounding_has_no_sign(dtype, width):
    """A positive semidefinite matrix has no negative eigenvalue, however many are zero."""
    x = torch.linspace(-1.0, 1.0, 6, dtype=dtype)[:, None]
    task = edt.Task(x, torch.sin(3.0 * x))
    ens = edt.Ensemble.init([width], [0], d_in=1, d_out=1, dtype=dtype)
    size = int(ens.coords[0])  # 10 or 61 coordinates, 6 samples
    (found,) = edt.spectral_density(ens, task, steps=size, ggn=True, seed=1)
    assert found.dtype == dtype
    below, zero, above = found.signs()
    assert (found.nodes < 0.0).any()  # rounding has signs of its own
    assert below == 0.0
    # The exact share by the same rule: decaying eigenvalues are zero sooner in float32.
    exact = torch.linalg.eigvalsh(edt.hessian(ens, task, ggn=True)[0].double())
    share = float((exact.abs() <= zero_threshold(exact, dtype)).double().mean())
    assert share >= (size - 6) / size
    # 8 probes, each with the share of the null space along it: off by 0.1 at 10 coordinates.
    assert abs(zero - share) < 0.15
    assert below + zero + above == 1.0
    at = torch.tensor([-1.0, -1e-300, 0.0, found.nodes.max()], dtype=torch.float64)
    assert found.cdf(at).tolist() == pytest.approx([0.0, 0.0, zero, 1.0], abs=1e-12)
    # The threshold is that of an exact spectrum of this norm and size.
    spectrum = torch.zeros(size, dtype=torch.float64)
    spectrum[-1] = found.nodes.abs().max()
    assert found.threshold == zero_threshold(spectrum, dtype)
