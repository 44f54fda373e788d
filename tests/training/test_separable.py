"""Losses without a minimum: what `converge` says where hidden units separate the samples."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import edt
from edt.training.separable import separated_share

LOSSES = ("logistic", "bce", "cross_entropy", "soft_cross_entropy")


def targets(loss: str, ones: torch.Tensor) -> torch.Tensor:
    """0 or 1 ``[N]`` as a loss takes it."""
    if loss == "cross_entropy":
        return ones
    if loss == "soft_cross_entropy":
        return torch.stack([1 - ones, ones], 1).double()
    return (2.0 * ones - 1 if loss == "logistic" else ones.double())[:, None].double()


def task_of(loss: str, x: torch.Tensor, ones: torch.Tensor, **options: Any) -> edt.Task:
    extra = {"n_classes": 2} if loss == "cross_entropy" else {}
    return edt.Task(x, targets(loss, ones), loss, **extra, **options)


def shares(task: Any, networks: Any) -> list[float]:
    index = torch.zeros(networks.B, dtype=torch.int64)
    return separated_share(task, networks, index, torch.arange(networks.B)).tolist()  # type: ignore[no-any-return]


def chain(d_out: int, width: int = 4, **options: Any) -> edt.Ensemble:
    return edt.Ensemble.init([width], [3], d_in=1, d_out=d_out, **options)


def outputs_of(loss: str) -> int:
    return 2 if "cross" in loss else 1


@pytest.mark.parametrize("loss", LOSSES)
def test_data_in_two_halves_have_no_minimum(loss: str, tmp_path: Path) -> None:
    x = torch.linspace(-1, 1, 10, dtype=torch.float64)[:, None]
    task = task_of(loss, x, (x[:, 0] > 0.05).long())
    start = edt.masked_train(
        task, chain(outputs_of(loss)), steps=100, lr=0.05, progress=False
    ).networks
    result = edt.converge(task, start, progress=False)
    assert result.verdict == ["separable"] and result.separated.tolist() == [pytest.approx(1.0)]
    assert "no minimum" in result.evidence(0).meaning
    assert bool(result.to_pandas()["index"].isna().all())
    # What the verdict says: a larger readout lowers the loss, until that is 0 to rounding.
    ended, falling = result.networks, []
    for factor in (0.01, 0.1, 0.2, 0.4):
        theta = ended.theta.clone()
        theta[8:] *= factor
        falling.append(float(edt.loss(task, ended.with_theta(theta))[0]))
    assert all(after < before for before, after in pairwise(falling))
    result.save(tmp_path / "ends")
    back = edt.ConvergeResult.load(tmp_path / "ends")
    assert torch.equal(back.separated, result.separated) and back.verdict == ["separable"]
    assert bool(result.recheck(task)["agrees"].all())
    # A bound on the norm makes a minimum.
    bounded = edt.converge(task, start, maxnorm=10.0, progress=False)
    assert bounded.verdict != ["separable"]


@pytest.mark.parametrize("loss", LOSSES)
def test_conflicting_labels_have_a_minimum(loss: str) -> None:
    # Every input comes with both labels, one of them more often: the best odds are 2 : 1.
    x = torch.linspace(-1, 1, 4, dtype=torch.float64).repeat(3)[:, None]
    ones = torch.tensor([0, 0, 1, 1] * 2 + [1, 1, 0, 0])
    task = task_of(loss, x, ones)
    networks = chain(outputs_of(loss))
    assert shares(task, networks) == [0.0]
    result = edt.converge(task, networks, progress=False)
    assert result.verdict != ["separable"] and result.separated.tolist() == [0.0]


@pytest.mark.parametrize("loss", LOSSES)
def test_some_samples_can_be_separated_and_others_not(loss: str) -> None:
    # Two samples contradict each other; a direction that leaves them alone separates the rest.
    x = torch.tensor([[-1.0], [-0.5], [0.0], [0.0], [0.5], [1.0]], dtype=torch.float64)
    task = task_of(loss, x, torch.tensor([0, 0, 0, 1, 1, 1]), weights=torch.arange(1.0, 7.0))
    separated = (1 + 2 + 5 + 6) / 21
    assert shares(task, chain(outputs_of(loss))) == [pytest.approx(separated)]
    # The contradicting ones between the others' labels: none can.
    mixed = task_of(loss, x, torch.tensor([1, 0, 0, 1, 0, 1]))
    straight = chain(outputs_of(loss), 1, activation="identity")
    assert shares(mixed, straight) == [0.0]


def test_directions_are_those_of_trained_weights() -> None:
    x = torch.linspace(-1, 1, 6, dtype=torch.float64)[:, None]
    task = task_of("logistic", x, (x[:, 0] > 0).long())
    networks = chain(1)
    assert shares(task, networks) == [pytest.approx(1.0)]
    state = networks.state.clone()
    # Hidden layer: 4 weights and 4 biases; then 4 weights and a bias of the readout.
    state[8:12] = 0
    assert shares(task, networks.with_state(state)) == [0.0]
    state[8:13] = 2
    assert shares(task, networks.with_state(state)) == [0.0]
    # A frozen part does not matter to the rest.
    state[8:13] = torch.tensor([2, 1, 1, 1, 1])
    assert shares(task, networks.with_state(state)) == [pytest.approx(1.0)]


def test_soft_targets_keep_their_margins() -> None:
    x = torch.linspace(-1, 1, 6, dtype=torch.float64)[:, None]
    classes = torch.tensor([0, 0, 1, 1, 2, 2])
    smooth = edt.Task(x, classes, "cross_entropy", label_smoothing=0.1)
    assert shares(smooth, chain(3)) == [0.0]
    # Halves of two classes: the third can be left behind for ever, by all samples.
    halves = torch.tensor([[0.5, 0.5, 0.0]] * 6, dtype=torch.float64)
    assert shares(edt.Task(x, halves, "soft_cross_entropy"), chain(3)) == [pytest.approx(1.0)]
    assert shares(edt.Task(x, torch.full((6, 1), 0.3).double(), "bce"), chain(1)) == [0.0]


def test_other_losses_have_their_minima() -> None:
    x = torch.linspace(-1, 1, 6, dtype=torch.float64)[:, None]
    for loss in ("mse", "squared_hinge", "huber"):
        task = edt.Task(x, x.sign(), loss)
        assert all(share != share for share in shares(task, chain(1)))


def test_modules_are_looked_at_by_their_last_layer() -> None:
    x = torch.linspace(-1, 1, 6, dtype=torch.float64)[:, None]
    classes = (x[:, 0] > 0).long()
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    networks = edt.ModuleEnsemble([module])
    task = edt.ModuleTask((x, classes), "cross_entropy")
    assert shares(task, networks) == [pytest.approx(1.0)]
    mixed = edt.ModuleTask((x[[0, 0, 5, 5]], torch.tensor([0, 1, 0, 1])), "cross_entropy")
    assert shares(mixed, networks) == [0.0]
    ended = edt.ModuleEnsemble([nn.Sequential(module, nn.Tanh())])
    assert all(share != share for share in shares(task, ended))


@pytest.mark.parametrize("seed", range(4))
def test_programs_agree_with_points_of_the_convex_hull(seed: int) -> None:
    """By Gordan: no direction separates where 0 is inside the hull of the signed samples."""
    from scipy.optimize import nnls

    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(14, 1, generator=draw, dtype=torch.float64)
    ones = torch.randint(2, (14,), generator=draw)
    networks = edt.Ensemble.init([2, 5, 9], [seed], d_in=1, d_out=1)
    task = task_of("logistic", x, ones)
    for b, share in enumerate(shares(task, networks)):
        module = networks.to_module(b)
        hidden = torch.cat([module[:-1](x), torch.ones(14, 1)], 1).detach().double()
        signed = (2.0 * ones - 1)[:, None] * hidden
        # Weights >= 1 with sum_n w_n signed_n = 0 exist exactly where nothing separates.
        _, rest = nnls(signed.T.numpy(), -signed.sum(0).numpy())
        assert (share == 0.0) == (rest < 1e-9)
