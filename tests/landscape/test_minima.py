"""Where runs end: the search, the outcomes, and the container."""

from __future__ import annotations

import pytest
import torch

import edt
from edt.landscape import Minima, find_minima


@pytest.fixture(scope="module")
def teacher():
    return edt.tasks.teacher_student(2, 2, n=128, scale=2.0, seed=1)


def test_search(teacher):
    found = find_minima(teacher, widths=[1, 3], seeds=range(8), steps=1500, progress=False)
    assert len(found) == found.networks.B == 16
    limit = 1e-8 * float(teacher.variance[0])
    assert torch.equal(found.threshold, torch.full((16,), limit, dtype=torch.float64))
    loss, grad = edt.loss_and_grad(found.networks, teacher)
    # Reported numbers are those of the networks; the core is deterministic.
    assert torch.equal(loss, found.loss)
    for b, word in enumerate(found.outcome):
        assert (word == "good") == (float(loss[b]) <= limit)
        if word == "bad":
            span = slice(int(found.networks.offsets[b]), int(found.networks.offsets[b + 1]))
            assert float(grad[span].abs().max()) <= 1e-10
            assert int(found.index[b]) == 0
            assert float(found.min_eig[b]) > -1e-10
    # A width below the teacher's cannot be good; one above it is, sometimes.
    assert found.where("good").numel() > 0
    assert int(found.where("good").min()) >= 8
    assert found.where("bad").numel() > 0
    assert int(found.iterations.min()) > 0


def test_finishing_the_good_ones(teacher):
    start = edt.Ensemble.init([2], range(9, 16), d_in=2, d_out=1, scheme="glorot")
    early = find_minima(teacher, start, steps=1500, progress=False)
    late = find_minima(teacher, start, steps=1500, finish="all", progress=False)
    good = early.where("good")
    assert good.numel() >= 2
    assert torch.equal(good, late.where("good"))
    assert {late.verdict[b] for b in good.tolist()} == {"minimum"}
    assert float(late.grad_max[good].max()) <= 1e-10
    assert bool((late.loss[good] <= early.loss[good]).all())
    easy = find_minima(teacher, start, steps=1500, good=0.1, progress=False)
    assert {easy.verdict[b] for b in easy.where("good").tolist()} == {"unmeasured"}
    assert int(easy.index.max()) == -1 or easy.where("bad").numel() > 0


def test_tasks_without_zero_loss():
    x = torch.linspace(-2, 2, 40, dtype=torch.float64)[:, None]
    y = torch.sign(torch.sin(3 * x))
    data = edt.Task(x, torch.stack([y, torch.cos(2 * x)]))
    index = torch.arange(12) % 2
    start = edt.Ensemble.init([2], range(12), d_in=1, d_out=1)
    found = find_minima(
        data, start, task_index=index, steps=500, realisable=False, good=1e-6, progress=False
    )
    for t in (0, 1):
        best = float(found.loss[index == t].min())
        mine = found.threshold[index == t]
        assert torch.equal(mine, torch.full_like(mine, best * (1 + 1e-6)))
    # Target 0 jumps and cannot be met, yet its best run counts as good.
    assert float(found.threshold[0]) > 1e-3
    assert found.where("good").numel() >= 2


def test_a_diverged_run_sets_no_threshold():
    x = torch.linspace(-2, 2, 40, dtype=torch.float64)[:, None]
    data = edt.Task(x, torch.sign(torch.sin(3 * x)))
    start = edt.Ensemble.init([2], range(4), d_in=1, d_out=1)
    options = {"steps": 500, "realisable": False, "progress": False}
    theta = start.theta.clone()
    theta[start.offsets[1]] = float("nan")
    found = find_minima(data, start.with_theta(theta), **options)
    alone = find_minima(data, start.select([0, 2, 3]), **options)
    assert found.outcome[1] == "diverged"
    assert [found.outcome[b] for b in (0, 2, 3)] == alone.outcome
    assert torch.equal(found.threshold[[0, 2, 3]], alone.threshold)


def test_container(teacher):
    start = edt.Ensemble.init([1, 2], range(3), d_in=2, d_out=1)
    ended = edt.converge(teacher, start, progress=False)
    found = Minima.of(ended, 1e-8)
    frame = found.to_pandas()
    assert frame["loss"].tolist() == ended.loss.tolist()
    assert frame["outcome"].tolist() == found.outcome
    assert frame["width"].tolist() == [1, 1, 1, 2, 2, 2]
    part = found.select(torch.tensor([4, 1]))
    assert part.loss.tolist() == [float(ended.loss[4]), float(ended.loss[1])]
    assert part.verdict == [ended.verdict[4], ended.verdict[1]]
    assert torch.equal(part.networks.theta, ended.networks.select([4, 1]).theta)
    assert found.where(*set(found.outcome)).tolist() == list(range(6))
    assert repr(part).startswith("Minima(2 runs: ")


def test_bad_input(teacher):
    with pytest.raises(ValueError, match="finish must be one of 'all', 'bad'"):
        find_minima(teacher, widths=[2], finish="some", progress=False)
    with pytest.raises(ValueError, match="good must be"):
        find_minima(teacher, widths=[2], good=-1.0, progress=False)
    found = find_minima(teacher, widths=[1], steps=10, newton_steps=1, progress=False)
    with pytest.raises(ValueError, match="outcome must be one of"):
        found.where("perfect")


def test_a_pair_is_a_task_and_a_task_of_modules_is_none():
    x = torch.linspace(-1.0, 1.0, 8, dtype=torch.float64)[:, None]
    how = {"widths": [1], "seeds": [0], "steps": 2, "lbfgs_steps": 2, "newton_steps": 0}
    given = [find_minima(task, **how, certify_steps=0, progress=False).loss.tolist()
             for task in ((x, x.sin()), edt.Task(x, x.sin()))]  # fmt: skip
    assert given[0] == given[1]
    with pytest.raises(TypeError, match=r"task must be an edt\.Task or .* got ModuleTask"):
        find_minima(edt.ModuleTask((x, x)), **how, progress=False)
