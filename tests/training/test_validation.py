"""Early stopping by a validation loss, against evaluation of recorded parameters."""

from __future__ import annotations

import pytest
import torch

import edt
from edt.ensemble import Ensemble
from edt.ops.cpu import CpuCalls
from edt.training import masked_train


@pytest.fixture
def setting(cases, device):
    ens = Ensemble.init([3, 6], range(3), d_in=2, d_out=1, scheme="normal")
    return cases.task(n=12, seed=1), cases.task(n=30, seed=2), ens, device


def run(setting, **more):
    task, other, ens, device = setting
    options = {
        "steps": 300, "lr": 0.05, "batch_size": 5, "validation": other, "validate_every": 10,
        "device": device, "progress": False,
    }  # fmt: skip
    return masked_train(task, ens, **{**options, **more})


def test_best_is_the_best_of_the_recorded_parameters(setting, equal):
    result = run(setting, record=10, record_params=True)
    found = result.validation
    assert found.history["step"].values.tolist() == list(range(0, 301, 10))
    losses = torch.stack(
        [
            edt.loss(setting[2].with_theta(torch.from_numpy(row.copy())), setting[1])
            for row in result.history["params"].values
        ]
    )
    history = torch.from_numpy(found.history.values)
    equal(history, losses)
    assert (found.loss == history.amin(0)).all()
    assert (found.step == 10 * history.argmin(0)).all()
    equal(edt.loss(found.best, setting[1]), found.loss)


def test_patience_stops_and_changes_nothing_before(setting):
    free, stopped = run(setting), run(setting, patience=3)
    assert "stopped" in stopped.status
    for b, status in enumerate(stopped.status):
        if status == "stopped":
            assert int(stopped.steps[b]) == int(stopped.validation.step[b]) + 30
        end = int(stopped.steps[b]) // 10
        both = [r.validation.history.values[: end + 1, b] for r in (free, stopped)]
        assert (both[0] == both[1]).all()


def test_resumed_run_is_the_same(setting, tmp_path):
    whole = run(setting, patience=5)
    run(setting, patience=5, checkpoint=tmp_path, max_seconds=0.0)
    again = run(setting, patience=5, checkpoint=tmp_path)
    assert again.status == whole.status
    assert (again.validation.best.theta == whole.validation.best.theta).all()
    assert (again.networks.theta == whole.networks.theta).all()
    with pytest.raises(edt.training.CheckpointError, match="validation"):
        run(setting, patience=6, checkpoint=tmp_path)


def test_bad_input(setting):
    with pytest.raises(ValueError, match="patience needs"):
        run(setting, validation=None, patience=2)
    with pytest.raises(ValueError, match="validate_every"):
        run(setting, validate_every=0)
    y = torch.zeros(4, dtype=torch.int64)
    classes = edt.Task(torch.zeros(4, 2).double(), y, "cross_entropy", n_classes=2)
    with pytest.raises(ValueError, match="d_out"):
        run(setting, validation=classes)


def test_stopped_minibatch_runs_return_the_loss_of_their_parameters(setting):
    result = run(setting, patience=2, record=None)
    assert "stopped" in result.status
    loss, grad = edt.loss_and_grad(result.networks, setting[0])
    assert (result.loss == loss).all()
    for b in range(result.networks.B):
        part = slice(*result.networks.offsets[b : b + 2].tolist())
        assert result.grad_norm[b] == grad[part].abs().max()


def test_looks_at_validation_do_not_evaluate_the_training_loss(setting, monkeypatch):
    seen = []
    plain = CpuCalls.train

    def train(self, state, rule, until):
        before = state.loss.clone()
        plain(self, state, rule, until)
        seen.append((until, torch.equal(before.nan_to_num(9.0), state.loss.nan_to_num(9.0))))

    monkeypatch.setattr(CpuCalls, "train", train)
    run(setting, record=None)
    assert seen[-1] == (300, False)
    assert len(seen) >= 30
    assert all(same for _, same in seen[:-1])
