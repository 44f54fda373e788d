"""Scores against their definitions by autograd; the surgeon against brute force; strong tickets."""

from __future__ import annotations

import pytest
import torch

import edt
from edt.ensemble import Ensemble
from edt.lottery import criteria
from edt.lottery.prune import density, prune_lowest


@pytest.fixture
def nets(cases):
    return cases.ensemble([4, 3], pruned=0.2)


def by_autograd(cases, ens, task, b):
    """Gradient and Hessian of one network over all its parameters (pruned ones included)."""
    row = ens.layer_widths[b].tolist()

    def loss(theta):
        return (cases.forward(theta, row, task.x) - task.y).square().sum(1).mean()

    theta = cases.part(ens, b).clone()
    return torch.func.grad(loss)(theta), torch.func.hessian(loss)(theta)


def test_scores_are_their_definitions(cases, nets):
    task = cases.task()
    scores = {name: getattr(criteria, name)(nets, task) for name in ("snip", "grasp", "obd")}
    for b in range(nets.B):
        theta, live = cases.part(nets, b), cases.part(nets, b, nets.state) != 0
        grad, hess = by_autograd(cases, nets, task, b)
        g = grad * live
        wanted = {
            "snip": (theta * g).abs(),
            "grasp": theta * (hess @ g) * live,
            "obd": 0.5 * hess.diagonal() * theta.square(),
        }
        for name, value in wanted.items():
            # Float64 sums of 37 samples.
            torch.testing.assert_close(
                cases.part(nets, b, scores[name]), value, rtol=1e-9, atol=1e-11
            )


def test_obd_estimate_converges_to_the_diagonal(cases, monkeypatch):
    ens, task = cases.ensemble([4, 3]), cases.task()
    exact = criteria.obd(task, ens)
    monkeypatch.setattr(criteria, "DENSE_LIMIT", 1)
    estimate = criteria.obd(task, ens, probes=4000)
    # The estimate's error falls as 1 / sqrt(probes): a few per cent of the largest score.
    assert float((estimate - exact).abs().max() / exact.abs().max()) < 0.1


def test_random_scores_depend_on_names_only():
    ens = Ensemble.init([3, 5], [0], d_in=2, d_out=1)
    names = torch.tensor([4, 9])
    scores = criteria.random_scores(ens, 1, names)
    alone = criteria.random_scores(ens.select([1]), 1, names[1:])
    assert (scores[int(ens.offsets[1]) :] == alone).all()


def test_surgeon_solves_the_quadratic_model_exactly(cases):
    """On a quadratic loss the surgeon's moved weights are the constrained minimum."""
    torch.manual_seed(0)
    ens = Ensemble.init([3], range(2), d_in=4, d_out=1, activation="identity")
    # Frozen inputs: linear in the output weights, so the loss is quadratic in the coordinates.
    frozen = torch.zeros(ens.total, dtype=torch.bool)
    for b in range(2):
        frozen[int(ens.offsets[b]) : int(ens.offsets[b]) + 15] = True
    ens = ens.with_frozen(frozen)
    task = cases.task(n=50, d_in=4)
    bottom = edt.converge(task, ens, progress=False).networks
    pruned = criteria.obs_prune(task, bottom, 0.34, damping=0.0)
    assert density(pruned).tolist() == pytest.approx([14 / 15] * 2)
    again = edt.converge(task, pruned, progress=False).networks
    # Retraining finds nothing left to gain.
    assert (edt.loss(pruned, task) - edt.loss(again, task)).abs().max() < 1e-10
    # And no other single weight would have been cheaper.
    for b in range(2):
        costs = []
        for weight in range(3):
            state = bottom.network(b).state.clone()
            state[15 + weight] = 0
            one = bottom.network(b).with_state(state)
            costs.append(float(edt.converge(task, one, progress=False).loss[0]))
        assert float(edt.loss(pruned, task)[b]) == pytest.approx(min(costs), abs=1e-10)


def test_surgeon_beats_magnitude(cases):
    ens, task = cases.ensemble([6, 6, 6]), cases.task(n=60)
    bottom = edt.converge(task, ens, progress=False).networks
    surgeon = criteria.obs_prune(task, bottom, 0.2)
    plain = bottom.with_state(prune_lowest(bottom, bottom.theta.abs(), 0.2, "global"))
    assert (density(surgeon) == density(plain)).all()
    assert float(edt.loss(surgeon, task).sum()) < float(edt.loss(plain, task).sum())
    with pytest.raises(ValueError, match="share"):
        criteria.obs_prune(task, bottom, 1.0)


def test_strong_tickets_are_untrained_and_better_than_random_masks(cases):
    task = cases.task(n=60)
    ens = Ensemble.init([24], range(3), d_in=2, d_out=1, scheme="he", activation="relu")
    strong = criteria.edge_popup(task, ens, 0.5, steps=150)
    live = strong.state != 0
    assert (strong.theta[live] == ens.theta[live]).all() and int(strong.coords.sum()) == 0
    chance = [
        ens.with_state(prune_lowest(ens, criteria.random_scores(ens, s, torch.arange(3)), 0.5))
        for s in range(10)
    ]
    best = torch.stack([edt.loss(net, task) for net in chance]).amin(0)
    assert (edt.loss(strong, task) < best).all()
    with pytest.raises(ValueError, match="density"):
        criteria.edge_popup(task, ens, 0.0)
