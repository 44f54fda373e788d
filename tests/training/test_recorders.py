"""Ready-made recorders against plain torch, and loggers against writers that only listen."""

from __future__ import annotations

import pytest
import torch
from small_trainings import chain

import edt
from edt.ensemble import Ensemble
from edt.training import masked_train, recorders


@pytest.fixture
def setting(cases):
    return cases.task(n=9, seed=1), Ensemble.init([2, 4], range(2), d_in=2, d_out=1)


def run(task, ens, *hooks):
    return masked_train(
        task, ens, steps=20, lr=0.05, record=10, record_params=True, progress=False,
        on_record=hooks, device="cpu",
    )  # fmt: skip


def along(result, ens):
    return [ens.with_theta(theta) for theta in result.recorded.params]


def test_curvature_is_that_of_the_dense_hessian(setting):
    task, ens = setting
    top, index = recorders.top_eigenvalue(task), recorders.negative_directions(task)
    result = run(task, ens, top, index)
    assert top.steps == index.steps == [0, 10, 20]
    for row, networks in enumerate(along(result, ens)):
        for b, matrix in enumerate(edt.hessian(task, networks)):
            values = torch.linalg.eigvalsh(matrix)
            # Eigenvalues of one matrix by two routes of LAPACK: rounding.
            torch.testing.assert_close(top.stacked()[row, b], values[-1], rtol=1e-9, atol=1e-12)
            assert int(index.stacked()[row, b]) == int((values < -1e-9 * values[-1]).sum())


def test_tangent_kernels_and_neurons(setting, cases):
    task, ens = setting
    ntk, neurons = recorders.ntk_spectrum(task, 3), recorders.neuron_trajectories()
    result = run(task, ens, ntk, neurons)
    for row, networks in enumerate(along(result, ens)):
        for b in range(ens.B):
            widths = networks.layer_widths[b].tolist()
            theta = cases.part(networks, b)
            outputs = lambda p, w=widths: cases.forward(p, w, task.x).flatten()  # noqa: E731
            matrix = torch.func.jacrev(outputs)(theta)
            expected = torch.linalg.svdvals(matrix)[:3] ** 2
            torch.testing.assert_close(ntk.stacked()[b][row], expected, rtol=1e-8, atol=1e-11)
            found = neurons.stacked()[b][row]
            assert found.shape == (widths[1], 4)
            assert torch.equal(found[:, :2], networks.weight(b, 0))
            assert torch.equal(found[:, 2], networks.bias(b, 0))
            assert torch.equal(found[:, 3], networks.weight(b, 1)[0])


@pytest.mark.parametrize("loss", ["cross_entropy", "bce", "logistic"])
def test_accuracy(loss):
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(40, 2, generator=draw, dtype=torch.float64)
    right = x[:, :1] > 0.2
    y = {"cross_entropy": right[:, 0].long(), "bce": right.double(), "logistic": 2.0 * right - 1.0}
    target = y[loss].double() if loss != "cross_entropy" else y[loss]
    task = edt.Task(x, target, loss=loss)
    ens = Ensemble.init([3, 3], [0], d_in=2, d_out=2 if loss == "cross_entropy" else 1)
    shares = recorders.accuracy(task)
    result = run(task, ens, shares)
    for row, networks in enumerate(along(result, ens)):
        f = edt.predict(task, networks)
        named = f.argmax(-1) == 1 if loss == "cross_entropy" else f[..., 0] > 0
        expected = (named == right[:, 0]).double().mean(1)
        torch.testing.assert_close(shares.stacked()[row], expected, rtol=1e-14, atol=1e-14)


def test_modules_are_measured_like_their_chains(setting):
    task, ens = setting
    modules = edt.ModuleEnsemble.build(chain, [2, 4], range(2), dtype=torch.float64)
    modules = modules.with_theta(ens.theta)
    found = []
    for networks in (ens, modules):
        kept = [recorders.top_eigenvalue(task), recorders.ntk_spectrum(task, 2)]
        run(task, networks, *kept)
        found.append(kept)
    torch.testing.assert_close(found[0][0].stacked(), found[1][0].stacked(), rtol=1e-8, atol=1e-10)
    for a, b in zip(found[0][1].stacked(), found[1][1].stacked(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)
    with pytest.raises(TypeError, match="chains of one activation"):
        run(task, modules, recorders.neuron_trajectories())


def test_networks_without_a_finite_loss_have_no_curvature(setting):
    task, ens = setting
    theta = ens.theta.clone()
    theta[0] = float("inf")
    top, index = recorders.top_eigenvalue(task), recorders.negative_directions(task)
    for recorder in (top, index):
        recorder(0, ens.with_theta(theta), edt.loss(task, ens.with_theta(theta)))
    assert top.values[0].isnan().tolist() == [True, False, False, False]
    assert index.values[0][0] == -1 and (index.values[0][1:] >= 0).all()


class Listener:
    def __init__(self):
        self.calls = []

    def __getattr__(self, name):
        return lambda *values, **more: self.calls.append((name, values, more))


def test_loggers(setting):
    board, run_of_wandb = Listener(), Listener()
    losses = torch.tensor([0.5, 2.0, float("nan"), 1.0])
    recorders.tensorboard(board)(7, None, losses)
    scalars, histogram, _ = board.calls
    assert scalars[:2] == ("add_scalars", ("loss", {"min": 0.5, "median": 1.0, "max": 2.0}, 7))
    assert torch.equal(histogram[1][1], torch.tensor([0.5, 2.0, 1.0]).log10())
    recorders.wandb(run_of_wandb)(7, None, losses)
    recorders.wandb(run_of_wandb)(8, None, losses[2:3])
    full, empty = run_of_wandb.calls
    expected = {"loss/min": 0.5, "loss/median": 1.0, "loss/max": 2.0, "networks": 3}
    assert full == ("log", (expected,), {"step": 7})
    assert empty == ("log", ({"networks": 0},), {"step": 8})


def test_bad_input(setting):
    task, ens = setting
    with pytest.raises(ValueError, match="the task's loss must be one of"):
        recorders.accuracy(task)
    with pytest.raises(ValueError, match=r"layer must be in 0\.\.0, got 3"):
        run(task, ens, recorders.neuron_trajectories(3))
    with pytest.raises(TypeError, match="measure must be a function"):
        recorders.Recorder(3)
