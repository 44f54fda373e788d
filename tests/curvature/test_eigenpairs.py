"""Extreme eigenpairs against dense eigenvalues, with bounds that hold."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import edt
from edt import curvature
from edt.curvature.eigenpairs import solver
from edt.errors import ShapeError
from edt.ops.threads import one_blas_thread


def solve(matrix, k, which, **options):
    """Run one network's solver on a given matrix."""
    defaults = {
        "tol": 1e-10, "block": min(k, 4), "basis": 3 * k + 24, "max_products": 4000, "seed": 0
    }  # fmt: skip
    options = {**defaults, **options}
    work = solver(matrix.shape[0], k, which, **options)
    answer = None
    with one_blas_thread():  # as around solvers that are driven
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


def wanted(values, k, which):
    values = np.sort(values)
    if which == "SA":
        return values[:k]
    if which == "LA":
        return values[-k:]
    if which == "LM":
        return np.sort(values[np.argsort(-np.abs(values))[:k]])
    return np.concatenate([values[: k - (k + 1) // 2], values[len(values) - (k + 1) // 2 :]])


@pytest.mark.parametrize("which", ["SA", "LA", "LM", "BE"])
@pytest.mark.parametrize("k", [1, 3, 6])
def test_known_spectrum(which, k):
    values = np.concatenate([-np.logspace(-3, 0, 20), np.logspace(-4, 1, 100)])
    found = solve(symmetric(values), k, which)
    assert found.converged
    # A residual of 1e-10 ||H|| bounds the error; the factor 10 is the norm.
    np.testing.assert_allclose(found.values.numpy(), wanted(values, k, which), rtol=0, atol=1e-9)
    errors = np.abs(found.values.numpy() - wanted(values, k, which))
    assert (errors <= found.residuals.numpy() + 1e-13).all()
    gram = found.vectors @ found.vectors.T
    torch.testing.assert_close(gram, torch.eye(k, dtype=torch.float64), rtol=0, atol=1e-12)
    assert found.products < 120 * 10


def test_multiple_eigenvalues_and_exhausted_spaces():
    values = np.array([-2.0] * 3 + [0.0] * 20 + [1.0] * 17)
    matrix = symmetric(values)
    found = solve(matrix, 5, "SA", block=4)
    np.testing.assert_allclose(found.values.numpy(), [-2, -2, -2, 0, 0], rtol=0, atol=1e-12)
    # k = P: everything, from a basis that ends up complete.
    whole = solve(matrix, 40, "SA")
    assert whole.converged
    np.testing.assert_allclose(whole.values.numpy(), values, rtol=0, atol=1e-12)
    zero = solve(torch.zeros(7, 7, dtype=torch.float64), 2, "SA")
    assert zero.converged
    assert zero.values.tolist() == [0.0, 0.0]
    one = solve(torch.full((1, 1), 3.0, dtype=torch.float64), 1, "LA")
    assert one.values.tolist() == [3.0]


def test_budget_is_kept_and_reported():
    values = np.linspace(0.0, 1.0, 400) ** 8
    found = solve(symmetric(values), 4, "SA", max_products=40)
    assert not found.converged
    assert found.products <= 40 + 4 + 4
    # Not converged, but what is said of it is still true: an eigenvalue lies within each residual.
    near = np.abs(found.values.numpy()[:, None] - values[None, :]).min(1)
    assert (near <= found.residuals.numpy() + 1e-14).all()


def test_restarts_are_used(monkeypatch):
    values = np.concatenate([[-1.0, -0.9, -0.8], np.linspace(0, 1, 300)])
    small = solve(symmetric(values), 3, "SA", basis=12)
    np.testing.assert_allclose(small.values.numpy(), [-1.0, -0.9, -0.8], rtol=0, atol=1e-9)
    # More products than a basis of 12 holds: it was restarted, and often.
    assert small.products > 36


def test_networks_together(cases, place, equal):
    ens, data = cases.ensemble([4, 6, 2], pruned=0.2, frozen=0.1), cases.task()
    far, far_data = place(ens, data)
    found = curvature.extreme_eigenpairs(far, far_data, 3)
    ggn = curvature.extreme_eigenpairs(far, far_data, 2, which="LA", ggn=True)
    for b, pairs in enumerate(found):
        hess = cases.torch_hessian(ens, data, b)
        expected = torch.linalg.eigvalsh(hess)
        torch.testing.assert_close(pairs.values, expected[:3], rtol=0, atol=1e-9)
        alone = curvature.extreme_eigenpairs(far.network(b), far_data, 3)[0]
        # Vectors are as exact as their residuals over the gaps, beside rounding of unlike order.
        equal(alone.values, pairs.values, atol=1e-9)
        equal(alone.vectors, pairs.vectors, atol=1e-6)
        assert float(ggn[b].values[0]) >= 0.0
    with pytest.raises(ValueError, match=r"k must be in 1\.\."):
        curvature.extreme_eigenpairs(ens, data, 40)
    with pytest.raises(ValueError, match="which"):
        curvature.extreme_eigenpairs(ens, data, which="smallest")
    with pytest.raises(ValueError, match="basis"):
        curvature.extreme_eigenpairs(ens, data, 3, basis=3)
    with pytest.raises(ValueError, match="tol"):
        curvature.extreme_eigenpairs(ens, data, 3, tol=-1.0)
    with pytest.raises(TypeError, match="networks"):
        curvature.extreme_eigenpairs(None, data, 3)
    with pytest.raises(ShapeError, match="theta"):
        curvature.extreme_eigenpairs(ens, data, 3, theta=torch.zeros(3, dtype=torch.float64))


def test_float32(cases, place):
    ens = cases.ensemble([4], dtype=torch.float32)
    data = cases.task(dtype=torch.float32)
    pairs = curvature.extreme_eigenpairs(*place(ens, data), 2, which="LA")[0]
    expected = torch.linalg.eigvalsh(cases.torch_hessian(ens, data).double())
    # Products carry float32 rounding of sums of 37 terms.
    torch.testing.assert_close(pairs.values, expected[-2:], rtol=1e-5, atol=0)
    assert pairs.converged


#: For tests of many cases: none of them is one in a thousand.
SURE = 1e-6
#: A failing case is printed as it is: making it smaller takes minutes.
NO_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate)


@st.composite
def spectra(draw):
    """Eigenvalues with clusters and multiplicities above any block."""
    levels = draw(st.lists(st.integers(-6, 6), min_size=1, max_size=5))
    counts = [draw(st.integers(1, 14)) for _ in levels]
    values = np.repeat(np.array(levels, dtype=float), counts)
    bulk = draw(st.sampled_from([0, 5, 40]))
    spread = np.linspace(-1.0, 2.0, bulk) ** draw(st.sampled_from([1, 3]))
    # A cluster: levels apart by less than any start tells at once.
    tight = np.repeat(levels[0], 3) + np.array([0.0, 1e-4, 2e-4])
    return np.sort(np.concatenate([values, spread, tight]))


@given(
    spectra(), st.integers(1, 16), st.sampled_from(["SA", "LA", "LM", "BE"]), st.integers(1, 5),
    st.integers(0, 99),
)  # fmt: skip
@settings(deadline=None, max_examples=40, phases=NO_SHRINKING)
def test_repeated_eigenvalues_are_found_as_often_as_they_occur(values, k, which, block, seed):
    k = min(k, len(values))
    matrix = symmetric(values, seed)
    found = solve(matrix, k, which, block=block, confirm=SURE)
    norm = np.abs(values).max()
    exact = wanted(values, k, which)
    if not found.converged:  # clusters at restarts' edges take their time, and it is said
        assert found.products >= 4000
    elif which == "LM":  # of equal magnitudes either sign will do
        found_sizes = np.sort(np.abs(found.values.numpy()))
        np.testing.assert_allclose(found_sizes, np.sort(np.abs(exact)), atol=1e-8 * norm)
    else:
        np.testing.assert_allclose(found.values.numpy(), exact, rtol=0, atol=1e-8 * norm)
    gram = found.vectors @ found.vectors.T
    torch.testing.assert_close(gram, torch.eye(k, dtype=torch.float64), rtol=0, atol=1e-10)
    dense = solve(matrix, k, which, dense=len(values))
    assert dense.converged and dense.products == len(values)
    np.testing.assert_allclose(
        np.sort(np.abs(dense.values.numpy())), np.sort(np.abs(exact)), rtol=0, atol=1e-12 * norm
    )


@given(spectra(), st.integers(1, 6), st.integers(5, 60), st.integers(0, 99))
@settings(deadline=None, max_examples=40, phases=NO_SHRINKING)
def test_what_is_called_converged_is_right(values, k, budget, seed):
    """With any budget: too few products are said, never hidden."""
    k = min(k, len(values))
    found = solve(symmetric(values, seed), k, "SA", block=2, max_products=budget, confirm=SURE)
    if found.converged:
        norm = np.abs(values).max()
        np.testing.assert_allclose(found.values.numpy(), values[:k], rtol=0, atol=1e-8 * norm)


def constant_units(width, constants):
    """A minimum of ``width`` units with ``constants`` more that do not see the input."""
    x = torch.linspace(-2.0, 2.0, 30, dtype=torch.float64)[:, None]
    task = edt.Task(x, torch.sin(3.0 * x))
    small = edt.converge(
        task, edt.Ensemble.init([width], [1], d_in=1, d_out=1), progress=False
    ).networks
    wide = edt.Ensemble([width + constants], 1, 1)
    wide.weight(0, 0)[:width] = small.weight(0, 0)
    wide.bias(0, 0)[:width] = small.bias(0, 0)
    wide.weight(0, 1)[:, :width] = small.weight(0, 1)
    wide.bias(0, 1)[:] = small.bias(0, 1)
    # Units that see no input and say the same: the loss bends the same way for each of them.
    wide.weight(0, 1)[:, width:] = 0.3
    return wide, task


@pytest.mark.parametrize("block", [None, 1, 4])
def test_equal_negative_directions_of_constant_units(block):
    ens, task = constant_units(2, 40)
    exact = torch.linalg.eigvalsh(edt.hessian(ens, task)[0])
    repeats = int((exact.diff() < 1e-9 * exact.abs().max())[:60].sum())
    assert repeats > 8  # more copies than any block
    for k in (3, 12, 20):
        # The budget keeps the matrix from being formed.
        (found,) = edt.extreme_eigenpairs(ens, task, k, block=block, max_products=4000)
        assert found.converged
        torch.testing.assert_close(found.values, exact[:k], rtol=0, atol=1e-8)
        values, _ = edt.lanczos(ens, task, 0, k)
        torch.testing.assert_close(values, exact[:k], rtol=0, atol=1e-8)


def test_few_coordinates_beside_many():
    x = torch.linspace(-1.0, 1.0, 9, dtype=torch.float64)[:, None]
    task = edt.Task(x, x)
    ens = edt.Ensemble.init([1, 3, 2], [0], d_in=1, d_out=1)
    state = ens.state.clone()
    state[ens.offsets[2] :] = 2  # all frozen
    ens = ens.with_state(state)
    found = edt.extreme_eigenpairs(ens, task, 6, which="LA")
    assert [pairs.values.numel() for pairs in found] == [4, 6, 0]
    assert all(pairs.converged for pairs in found)
    for pairs, exact in zip(found, edt.hessian_spectrum(ens, task), strict=True):
        torch.testing.assert_close(pairs.values, exact[-6:], rtol=0, atol=1e-12)
    assert found[2].threshold == 0.0
    assert edt.lanczos(ens, task, 2)[1].shape == (0, 0)
    with pytest.raises(ValueError, match=r"k must be in 1\.\.10 .*largest network.*got 11"):
        edt.extreme_eigenpairs(ens, task, 11)
    with pytest.raises(ValueError, match=r"k must be in 1\.\.4"):
        edt.lanczos(ens, task, 0, k=5)


@pytest.mark.parametrize("basis", [40, 12])
def test_without_confirmation_it_ends_where_residuals_are_small(basis):
    """The values of the default for fewer products; restarts (a small basis) or none."""
    values = np.concatenate([-np.logspace(-3, 0, 20), np.logspace(-4, 1, 100)])
    matrix = symmetric(values)
    options = {"basis": basis, "tol": 1e-7}
    sure, quick = (solve(matrix, 2, "LA", confirm=given, **options) for given in (1e-3, 1.0))
    assert quick.converged and quick.products < sure.products
    assert quick.missed == 1.0 and sure.missed <= 1e-3
    np.testing.assert_allclose(quick.values.numpy(), values[-2:], rtol=0, atol=1e-11)
    image = quick.vectors @ matrix
    apart = torch.linalg.vector_norm(image - quick.values[:, None] * quick.vectors, dim=1)
    torch.testing.assert_close(quick.residuals, apart, rtol=1e-4, atol=1e-13)
    assert (apart <= 1e-7 * 10).all()


@pytest.mark.parametrize(
    ("k", "which", "copies"), [(1, "LA", 1), (1, "SA", 1), (1, "LM", 1), (2, "LA", 2)]
)
def test_no_more_is_missed_than_was_said(k, which, copies):
    """Over starts: many copies of an eigenvalue look converged while a few stand further out."""
    draw = [0.0] * 30 + [1.0] * 120 + [1.3] * copies
    values = torch.tensor([-v for v in draw] if which == "SA" else draw, dtype=torch.float64)
    matrix = torch.diag(values)
    starts, asked = 150, 0.05
    options = {"tol": 1e-2, "block": 1}

    def missing(confirm):
        """Of starts, those that end well below what stands out, by more than the ten tolerances."""
        runs = [solve(matrix, k, which, confirm=confirm, seed=s, **options) for s in range(starts)]
        assert all(run.converged and run.missed <= confirm for run in runs)
        return sum(float(run.values.abs().min()) < 1.3 - 0.13 for run in runs)

    assert missing(1.0) > 0.1 * starts
    # Three standard deviations of a count above what is promised.
    assert missing(asked) <= asked * starts + 3.0 * (asked * starts) ** 0.5


def test_restarts_keep_count_of_what_may_be_missed():
    """With a basis of 6 the polynomial has zeros of many restarts; it still grows."""
    values = np.concatenate([np.linspace(0.0, 1.0, 150), [1.02]])
    matrix = symmetric(values)
    tight, loose = (solve(matrix, 1, "LA", basis=basis, tol=1e-6) for basis in (6, 150))
    for found in (tight, loose):
        assert found.converged and 0.0 < found.missed <= 1e-3
        assert abs(float(found.values[0]) - 1.02) < 1e-9
    assert tight.products > 4 * 6 and loose.products < tight.products


def test_confirm_is_a_probability():
    ens, task = constant_units(2, 40)
    for asked, said in ((False, 1.0), (1e-6, 1e-6), (True, 1e-3)):
        (found,) = edt.extreme_eigenpairs(ens, task, 1, confirm=asked, max_products=4000)
        assert found.converged and found.missed <= said
    for wrong in (0.0, 2.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match=r"confirm must be .*got"):
            edt.extreme_eigenpairs(ens, task, 1, confirm=wrong)
    with pytest.raises(TypeError, match="confirm"):
        edt.extreme_eigenpairs(ens, task, 1, confirm="yes")
