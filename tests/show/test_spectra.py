"""What spectra and trajectories show: the numbers in the figure are those of the results."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import edt
from edt.plots import plot_spectrum, plot_trajectories, png


@pytest.fixture(scope="module")
def task():
    return edt.tasks.teacher_student(d_in=2, teacher_width=2, n=40)


@pytest.fixture(scope="module")
def networks():
    return edt.Ensemble.init(widths=[2, 3], seeds=range(2), d_in=2, d_out=1)


def test_steps_rise_at_the_eigenvalues(task, networks):
    spectra = edt.hessian_spectrum(networks, task)
    figure = plot_spectrum(spectra)
    (ax,) = figure.axes
    lines = [line for line in ax.lines if line.get_label().startswith("network")]
    counts = edt.count_directions(networks, task).n_neg.tolist()
    for line, values, negative in zip(lines, spectra, counts, strict=True):
        at, height = line.get_data()
        assert np.array_equal(at[1:], values.numpy())
        assert height[0] == 0.0 and height[-1] == 1.0
        assert f"{negative} of {values.numel()} negative" in line.get_label()
    assert png(figure, dpi=40) == png(plot_spectrum(spectra), dpi=40)


def test_rounding_counts_as_zero():
    (ax,) = plot_spectrum([torch.tensor([-1e-17, 0.0, 1.0])]).axes
    assert ax.lines[0].get_label() == "network 0: 0 of 3 negative, 2 zero"


def test_float32_spectra_have_float32_zeros():
    x = torch.linspace(-1.0, 1.0, 6)[:, None]
    task = edt.Task(x, torch.sin(3.0 * x))
    start = edt.Ensemble.init([20], [0], d_in=1, d_out=1, dtype=torch.float32)
    ens = edt.converge(task, start, progress=False).networks.to(torch.float32)
    counted = edt.count_directions(ens, task)
    spectra = edt.hessian_spectrum(ens, task)
    told = f"network 0: {int(counted.n_neg)} of 61 negative, {int(counted.n_zero)} zero"
    assert int(counted.n_zero) > int((spectra[0].abs() <= 1e-12).sum())
    (ax,) = plot_spectrum(spectra).axes
    assert ax.lines[0].get_label() == told
    (ax,) = plot_spectrum(list(spectra), dtype=torch.float32).axes
    assert ax.lines[0].get_label() == told
    dots = [line for line in ax.lines if line.get_marker() == "o"]
    assert len(dots[0].get_xdata()) == int(counted.n_neg)


def test_an_estimate_of_a_semidefinite_matrix_has_no_negative_part():
    x = torch.linspace(-1.0, 1.0, 6, dtype=torch.float64)[:, None]
    ens = edt.Ensemble.init([20], [0], d_in=1, d_out=1)
    density = edt.spectral_density(ens, edt.Task(x, torch.sin(3.0 * x)), ggn=True)
    (ax,) = plot_spectrum(density).axes
    assert ax.lines[0].get_label().startswith("network 0: about 0 of 61 negative, 5")


def test_an_estimate_is_drawn_beside_the_exact_spectrum(task, networks):
    one = networks.network(3)
    (density,) = edt.spectral_density(one, task, probes=4)
    (ax,) = plot_spectrum([*edt.hessian_spectrum(one, task), density], ["exact", "estimate"]).axes
    exact, estimate = (line for line in ax.lines if ":" in line.get_label())
    # Both are distribution functions: nowhere further apart than four probes' noise.
    at = np.concatenate([exact.get_xdata(), estimate.get_xdata()])
    apart = [np.interp(at, line.get_xdata(), line.get_ydata()) for line in (exact, estimate)]
    assert np.abs(apart[0] - apart[1]).max() < 0.35
    assert "about" in estimate.get_label()


@pytest.mark.parametrize(
    ("spectra", "more", "named"),
    [
        ([], {}, "spectra"),
        ([torch.ones(0)], {}, "spectra must hold eigenvalues"),
        ([torch.ones(2)], {"labels": ["a", "b"]}, "labels"),
        ([torch.ones(2)], {"linear": 0.0}, "linear"),
    ],
)
def test_bad_spectra_are_named(spectra, more, named):
    with pytest.raises(ValueError, match=named):
        plot_spectrum(spectra, **more)


@pytest.mark.parametrize("kind", ["train", "flow"])
def test_trajectories_are_the_history(task, networks, kind):
    if kind == "train":
        result = edt.masked_train(task, networks, steps=50, lr=1e-2, progress=False)
    else:
        result = edt.gradient_flow(task, networks, max_time=10.0, progress=False)
    figure = plot_trajectories(result, [0, 3])
    left, right = figure.axes
    for ax, name in ((left, "loss"), (right, "grad_norm")):
        for line, b in zip(ax.lines, (0, 3), strict=True):
            recorded = result.history[name].values[:, b]
            shown = recorded[np.isfinite(recorded) & (recorded > 0.0)]
            assert np.array_equal(line.get_ydata(), shown)
    words = [text.get_text() for text in left.get_legend().get_texts()]
    assert words == ["width 2 (1)", "width 3 (1)"]


def test_trajectories_need_a_history_and_known_networks(task, networks):
    silent = edt.masked_train(task, networks, steps=2, record=None, progress=False)
    with pytest.raises(ValueError, match="history"):
        plot_trajectories(silent)
    result = edt.masked_train(task, networks, steps=2, progress=False)
    for wrong in ([], [4], [-1]):
        with pytest.raises(ValueError, match="networks"):
            plot_trajectories(result, wrong)


def test_trajectories_of_modules_tell_them_apart_by_label():
    """Numbers before words; all networks of a label share a colour."""
    modules = [torch.nn.Linear(2, 1, dtype=torch.float64) for _ in range(4)]
    networks = edt.ModuleEnsemble(modules, labels=["wide", 2, 0.5, 2])
    task = edt.Task(torch.ones(3, 2, dtype=torch.float64), torch.ones(3, 1, dtype=torch.float64))
    result = edt.masked_train(task, networks, steps=3, record=1, progress=False)
    axes = plot_trajectories(result).axes
    words = [text.get_text() for text in axes[0].get_legend().get_texts()]
    assert words == ["width 0.5 (1)", "width 2 (2)", "width wide (1)"]
    colours = [line.get_color() for line in axes[0].lines]
    assert colours[1] == colours[3] and len(set(colours)) == 3
