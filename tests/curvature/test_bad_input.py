"""Wrong arguments of curvature: an error that names argument and value, before any work."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import edt
from edt.curvature import spectrum
from edt.errors import ShapeError

X = torch.linspace(-1, 1, 12, dtype=torch.float64)[:, None]
TASK = edt.Task(X, torch.sin(3 * X))
ENS = edt.Ensemble.init([2, 3], [0], d_in=1, d_out=1)
FUNCTIONS = [
    edt.hessian_spectrum, edt.count_directions, edt.index, edt.escape_dimensions,
    edt.extreme_eigenpairs, edt.spectral_density, edt.hessian_trace, edt.hessian_diagonal,
    edt.hessian_split, edt.lanczos,
]  # fmt: skip


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_networks_that_diverged_are_named(function):
    """LAPACK would speak of ill-conditioned matrices; estimates would be NaN without error."""
    theta = ENS.theta.clone()
    theta[ENS.offsets[1] + 2] = float("nan")
    kind = "1 of 1 networks, network 0" if function is edt.lanczos else "1 of 2 networks, network 1"
    options = {"network": 1, "k": 2} if function is edt.lanczos else {}
    with pytest.raises(ValueError, match=f"networks must hold finite parameters, .* in {kind}"):
        function(ENS.with_theta(theta), TASK, **options)


@pytest.mark.parametrize(
    "function", [edt.hessian_spectrum, edt.count_directions, edt.hessian_split]
)
def test_hessians_that_overflow_are_named(function):
    relu = edt.Ensemble.init([2, 2], [0, 1], d_in=1, d_out=1, activation="cube")
    theta = relu.theta.clone()
    theta[relu.offsets[1] :] = 1e200
    with pytest.raises(ValueError, match="Hessian of network 1 must be finite"):
        function(relu.with_theta(theta), TASK)


def test_spectra_of_what_is_finite_among_what_diverged():
    ens = edt.Ensemble.init([2, 3, 4, 5], [0], d_in=1, d_out=1, activation="cube")
    theta = ens.theta.clone()
    theta[ens.offsets[1]] = float("inf")
    theta[ens.offsets[2] : ens.offsets[3]] = 1e200
    index = torch.zeros(4, dtype=torch.int64)
    found = spectrum.finite_spectra(ens.with_theta(theta), TASK, index)
    whole = edt.hessian_spectrum(ens, TASK)
    assert found[1] is None and found[2] is None
    assert torch.equal(found[0], whole[0]) and torch.equal(found[3], whole[3])
    none = ens.with_theta(torch.full_like(theta, float("nan")))
    assert spectrum.finite_spectra(none, TASK, index) == [None] * 4


@pytest.mark.parametrize("function", [*FUNCTIONS, edt.HessianOperator], ids=lambda f: f.__name__)
def test_what_is_no_ensemble(function):
    with pytest.raises(TypeError, match=r"networks must be an edt\.Ensemble, got Sequential"):
        function(TASK, torch.nn.Sequential())
    with pytest.raises(TypeError, match=r"task must be an edt\.Task or a pair"):
        function(ENS, 3)


@pytest.mark.parametrize(
    ("options", "kind", "says"),
    [
        ({"network": "first"}, TypeError, "network must be an integer in 0.*got 'first'"),
        ({"network": 9}, IndexError, r"network must be in 0\.\.1, got 9"),
        ({"task_index": "first"}, TypeError, "task_index must be an integer >= 0, got 'first'"),
    ],
)
def test_one_network(options, kind, says):
    for function in (edt.HessianOperator, edt.lanczos):
        with pytest.raises(kind, match=says):
            function(ENS, TASK, **options)


def test_operators_check_their_task_when_made():
    with pytest.raises(ValueError, match=r"task_index\[0\] must be in 0\.\.0, got 1"):
        edt.HessianOperator(ENS, TASK, task_index=1)
    with pytest.raises(ShapeError, match=r"task must have d_out = 1 like the networks"):
        edt.HessianOperator(ENS, (X, torch.cat([X, X], 1)))


def test_complex_vectors_keep_their_imaginary_part():
    operator = edt.HessianOperator(ENS, TASK)
    size = operator.shape[0]
    vector = np.linspace(0, 1, size) + 1j * np.linspace(1, 3, size)
    matrix = edt.hessian(ENS, TASK)[0].numpy()
    np.testing.assert_allclose(operator @ vector, matrix @ vector, rtol=1e-12, atol=1e-13)


def test_whole_numbers_of_numpy_are_whole():
    pairs = edt.extreme_eigenpairs(ENS, TASK, k=np.int64(2))
    assert pairs[0].values.numel() == 2
    with pytest.raises(TypeError, match=r"k must be an integer >= 1, got 1\.5"):
        edt.extreme_eigenpairs(ENS, TASK, k=1.5)


def test_old_names_say_the_new_ones():
    for function in (edt.spectral_density, edt.hessian_diagonal):
        with pytest.raises(TypeError, match=r"takes probes=, not vectors=, since version 0\.2"):
            function(TASK, ENS, vectors=2)


@pytest.mark.parametrize(("word", "letters"), [("lowest", "SA"), ("highest", "LA")])
def test_words_and_letters_for_the_ends_of_a_spectrum(word, letters):
    one, other = (edt.extreme_eigenpairs(TASK, ENS, 2, which=w) for w in (word, letters))
    assert all(torch.equal(a.values, b.values) for a, b in zip(one, other, strict=True))
    line, same = (
        edt.landscape.loss_line(TASK, ENS, w, at=[0.0, 0.1], progress=False)
        for w in (word, letters)
    )
    assert torch.equal(line.loss, same.loss) and line.kind == same.kind == word
