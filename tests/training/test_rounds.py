"""Rounds of L-BFGS without verdicts against rounds of `converge`."""

from __future__ import annotations

import pytest
import torch

import edt
from edt.training import rounds
from edt.training.rounds import PROGRESS, descend_in_rounds


@pytest.mark.parametrize("enough", [None, 1e-3])
def test_rounds_are_those_of_converge(cases, enough):
    task = cases.task(n=60)
    ens = cases.ensemble([1, 2, 4, 6])
    index = torch.zeros(ens.B, dtype=torch.int64)
    start = edt.loss(task, ens)
    start[1] = float("nan")  # said to have diverged before: left alone
    state, fell = descend_in_rounds(
        task.objective(ens, index), ens.theta, start, rounds=4, steps=30, enough=enough, tol=1e-6
    )
    theta, loss = ens.theta.clone(), start.clone()
    before = torch.full_like(loss, float("inf"))
    took_part, closed = torch.zeros(2, ens.B, dtype=torch.bool)
    for _ in range(4):
        going = ~closed & (loss < PROGRESS * before)
        if enough is not None:
            going &= loss > enough
        before = loss.clone()
        for b in torch.nonzero(going).flatten().tolist():
            span = slice(int(ens.offsets[b]), int(ens.offsets[b + 1]))
            ended = edt.converge(
                task, ens.with_theta(theta).network(b), tol=1e-6, lbfgs_steps=30, newton_steps=0,
                progress=False,
            )  # fmt: skip
            theta[span], loss[b] = ended.networks.theta, ended.loss[0]
            closed[b] = ended.status[0] == "converged"
        took_part |= going
    assert torch.equal(fell, took_part)
    assert not bool(fell[1])
    assert torch.equal(state.theta, theta)
    assert torch.equal(state.loss[fell], loss[fell])
    assert int(state.lbfgs_iterations.max()) > 30


def test_in_sight_of_zero_without_lbfgs(monkeypatch):
    """Networks of five neurons arrive; those of one, told to be in sight, stay where they stood."""
    x = torch.randn(100, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    task = edt.Task(x, torch.tanh(x @ x[:3, :2]).sum(1, keepdim=True))
    start = edt.masked_train(task, widths=[1, 5], seeds=range(4), activation="tanh", steps=600,
                             lr=0.03, dtype=torch.float64, progress=False).networks  # fmt: skip
    loss = edt.loss(task, start)
    enough = 1e-8 * float(task.variance[0])

    def fall(chosen, share):
        monkeypatch.setattr(rounds, "IN_SIGHT", share)
        ens = start.select(chosen)
        objective = task.objective(ens, torch.zeros(ens.B, dtype=torch.int64))
        return descend_in_rounds(
            objective, ens.theta, loss[chosen], rounds=3, steps=40, enough=enough, tol=1e-10
        )[0]

    narrow, wide = torch.arange(4), torch.arange(4, 8)
    assert float(loss[narrow].min()) > 1e-3 > float(loss[wide].max())
    together, plain = fall(torch.arange(8), float("inf")), fall(torch.arange(8), 0.0)
    assert bool((together.loss[wide] <= enough).all())
    assert not bool(together.lbfgs_iterations[wide].any())
    # A valley that takes plain rounds all they have takes a few steps.
    assert (
        int(together.newton_iterations[wide].max()) < 20 < int(plain.lbfgs_iterations[wide].min())
    )
    stay = start.select(narrow).theta.numel()
    assert torch.equal(together.theta[:stay], plain.theta[:stay])
    assert torch.equal(together.loss[narrow], plain.loss[narrow])
    assert bool((together.newton_iterations[narrow] > 0).all())
    alone = fall(wide[1:2], float("inf"))
    assert torch.equal(alone.loss, together.loss[wide[1:2]])


@pytest.mark.parametrize("compiled", [True, False], ids=["core", "plain"])
def test_a_network_goes_as_far_as_alone(monkeypatch, compiled):
    """Beside targets of a hundred times the size, of which the same loss is a smaller share."""
    monkeypatch.setattr(rounds, "IN_SIGHT", float("inf"))
    if not compiled:
        monkeypatch.setattr("edt.training.levenberg.SMALL", 0)
    x = torch.randn(100, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y = torch.tanh(x @ x[:3, :2]).sum(1, keepdim=True)
    task, which = edt.Task(x, torch.stack([y, 10.0 * y])), torch.arange(2)
    start = edt.masked_train(task, widths=[5], seeds=range(2), activation="tanh", steps=600,
                             lr=0.03, task_index=which, progress=False).networks  # fmt: skip
    loss = edt.loss(task, start, task_index=which)

    def fall(chosen):
        ens = start.select(chosen)
        return descend_in_rounds(
            task.objective(ens, which[chosen]), ens.theta, loss[chosen], rounds=1, steps=40,
            enough=1e-5, tol=1e-14,
        )[0]  # fmt: skip

    alone, both = fall(which[:1]), fall(which)
    assert int(alone.newton_iterations[0]) and float(alone.loss[0]) <= 1e-5
    assert torch.equal(alone.loss, both.loss[:1])
    assert torch.equal(alone.theta, both.theta[: alone.theta.numel()])
