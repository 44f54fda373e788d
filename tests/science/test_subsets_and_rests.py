"""Wins of networks, of all their subsets, and of crossed rests, trained again by scipy."""

from __future__ import annotations

import itertools

import pytest
import torch

from edt.lottery import run_trial
from edt.lottery.crossed import cross
from edt.lottery.subsets import subset_tickets
from edt.studies.common.spec_parts import TeacherSpec
from edt.studies.common.targets import teacher_task

#: Losses this far from the threshold, either way, are no matter of the optimiser.
CLEAR = 30.0


@pytest.fixture(scope="module")
def setting():
    spec = TeacherSpec(
        teachers=1, teacher_width=2, samples=40, good=1e-4, steps=2000, lbfgs_rounds=3
    )
    task = teacher_task(spec)
    x = task.x.to(torch.float64)
    y = (task.y if task.y.dim() == 2 else task.y[0]).to(torch.float64)[:, 0]
    return spec, task, x, y


def start(spec, task, width, seeds):
    return spec.recipe.start(
        [width], seeds, d_in=task.d_in, d_out=1, activation="tanh", bias=True, dtype=torch.float64
    )


def wins(own, thetas, x, y, width, limit):
    """(loss below the limit, and clearly so or clearly not) of each start, by scipy."""
    losses = [own.trained(theta, x, y, width)[1] for theta in thetas]
    return [value <= limit for value in losses], losses


def test_all_subsets_of_a_network(setting, own):
    """The rate of winning subsets agrees with scipy's: both go down from the same starts."""
    spec, task, x, y = setting
    limit = spec.good * float(task.variance[0])
    wide = start(spec, task, 4, range(4))
    index = torch.zeros(4, dtype=torch.int64)
    cut = subset_tickets(wide, 2, index)
    found = run_trial(task, cut.tickets.alone(), spec.protocol, cut.tickets.task_index).win
    thetas = []
    for b in range(4):
        weight, bias, out, last = own.unpack(wide.select([b]).theta, x.shape[1], 4)
        for pair in itertools.combinations(range(4), 2):
            rows = list(pair)
            thetas.append(torch.cat([weight[rows].flatten(), bias[rows], out[rows], last[None]]))
    other, _ = wins(own, thetas, x, y, 2, limit)
    assert len(other) == len(found) == 24
    # Two optimisers may end in different basins from one start; rates may not differ by much.
    same = sum(a == b for a, b in zip(found.tolist(), other, strict=True))
    assert same >= 0.7 * 24
    assert abs(int(found.sum()) - sum(other)) <= 6


def test_crossed_rests(setting, own):
    spec, task, x, y = setting
    limit = spec.good * float(task.variance[0])
    heads, rests = start(spec, task, 2, range(3)), start(spec, task, 2, range(100, 104))
    networks = cross(heads, rests)
    found = run_trial(task, networks, spec.protocol, torch.zeros(12, dtype=torch.int64))
    thetas = []
    for i, j in itertools.product(range(3), range(4)):
        one = own.unpack(heads.select([i]).theta, x.shape[1], 2)
        other = own.unpack(rests.select([j]).theta, x.shape[1], 2)
        both = [torch.cat([a, b]) for a, b in zip(one[:3], other[:3], strict=True)]
        thetas.append(torch.cat([both[0].flatten(), both[1], both[2], one[3][None]]))
    for b, theta in enumerate(thetas):
        assert torch.equal(theta, networks.select([b]).theta)
        mine = float(own.loss(theta, x, y, 4))
        assert mine > limit
    other, losses = wins(own, thetas, x, y, 4, limit)
    same = sum(a == b for a, b in zip(found.win.tolist(), other, strict=True))
    assert same >= 0.7 * 12, losses


def test_losses_of_ends_are_plain_losses(setting, own):
    spec, task, x, y = setting
    networks = start(spec, task, 3, range(5))
    ends = run_trial(task, networks, spec.protocol, torch.zeros(5, dtype=torch.int64))
    for b in range(5):
        mine = float(own.loss(ends.networks.select([b]).theta.double(), x, y, 3))
        assert mine == pytest.approx(float(ends.loss[b]), rel=1e-6, abs=1e-18)
