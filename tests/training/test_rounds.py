"""Rounds of L-BFGS without verdicts against rounds of `converge`."""

from __future__ import annotations

import pytest
import torch

import edt
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
