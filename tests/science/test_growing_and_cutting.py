"""Split neurons, ways down and cut networks, by code that shares nothing with edt."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edt.landscape import split_every
from edt.lottery.crossed import neurons_of
from edt.studies.common.finish import finish, leave
from edt.studies.common.spec_parts import TeacherSpec
from edt.studies.common.targets import teacher_task
from edt.studies.prune_to_narrow.run import _strongest


@pytest.fixture(scope="module")
def setting():
    task = teacher_task(TeacherSpec(teachers=1, teacher_width=3, samples=40))
    x = task.x.to(torch.float64)
    y = (task.y if task.y.dim() == 2 else task.y[0]).to(torch.float64)[:, 0]
    return task, x, y


def students(task, width, seeds):
    recipe = TeacherSpec(teacher_width=3).recipe
    return recipe.start(
        [width], seeds, d_in=2, d_out=1, activation="tanh", bias=True, dtype=torch.float64
    )


def test_bad_minima_open_when_a_neuron_is_split(setting, own):
    """scipy finds minima of width 2; split they keep their loss, and it falls along the lowest
    eigenvector of autograd's Hessian wherever that is negative."""
    task, x, y = setting
    start = students(task, 2, range(3))
    opened = 0
    for b in range(3):
        theta, value = own.trained(start.select([b]).theta, x, y, 2)
        minimum = start.select([b]).with_theta(theta)
        ended = finish(
            task, minimum, torch.tensor([0]), 1e-9, lbfgs_steps=0, newton_steps=40,
            certify_steps=40,
        )  # fmt: skip
        if ended.label != ["minimum"]:
            continue
        assert ended.loss[0] <= value * (1 + 1e-9)
        wide = split_every(ended.networks, 0.5).networks
        index = torch.zeros(wide.B, dtype=torch.int64)
        draw = torch.Generator().manual_seed(b)
        left, negative, drop = leave(task, wide, index, np.zeros(wide.B, dtype=bool), draw)
        for k in range(wide.B):
            own_loss, grad, hessian = own.curvature(wide.select([k]).theta, x, y, 3)
            assert own_loss == pytest.approx(float(ended.loss[0]), rel=1e-9)
            assert float(grad.abs().max()) < 1e-8
            values = torch.linalg.eigvalsh(hessian)
            unit = 10 * 2.0**-52 * len(values) * float(values.abs().max())
            # Within ten units of zero signs are rounding's.
            if float(values.abs()[values.abs() > unit].min()) > 10 * unit:
                assert negative[k] == int((values < -unit).sum())
            after = float(own.loss(left.select([k]).theta, x, y, 3))
            assert after == pytest.approx((1 - drop[k]) * own_loss, rel=1e-9)
            if float(values[0]) < -1e-6:
                opened += 1
                assert after < own_loss
    assert opened > 0


def test_cut_networks_compute_what_is_left(setting, own):
    task, x, y = setting
    wide = students(task, 6, range(3))
    kept = _strongest(wide, x, 3)
    narrow = neurons_of(wide, kept)
    for b in range(3):
        weight, bias, out, last = own.unpack(wide.select([b]).theta, 2, 6)
        size = (torch.tanh(x @ weight.T + bias) * out).var(0)
        assert set(kept[b].tolist()) == set(size.argsort(descending=True)[:3].tolist())
        rows = kept[b]
        theta = torch.cat([weight[rows].flatten(), bias[rows], out[rows], last[None]])
        assert torch.equal(theta, narrow.select([b]).theta)
        mine = float((torch.tanh(x @ weight[rows].T + bias[rows]) @ out[rows] + last - y)
                     .square().mean())  # fmt: skip
        assert mine == pytest.approx(float(own.loss(theta, x, y, 3)), rel=1e-12)
