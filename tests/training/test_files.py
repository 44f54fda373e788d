"""Checkpoints and results: round trips, and every way a file can be bad."""

from __future__ import annotations

import pytest
import torch

import edt.training as training
from edt.training import schedules
from edt.training.record import record_steps

OPTIONS = {"steps": 20, "lr": 0.02, "progress": False}


def test_result_round_trip(cases, tmp_path):
    ens, data = cases.ensemble([2, 5], pruned=0.2), cases.task()
    result = training.masked_train(data, ens, record_params=True, **OPTIONS)
    result.save(tmp_path / "result.safetensors")
    back = training.TrainResult.load(tmp_path / "result.safetensors")
    assert torch.equal(back.networks.theta, result.networks.theta)
    assert torch.equal(back.networks.state, result.networks.state)
    assert back.history.equals(result.history) and back.status == result.status
    assert back.to_pandas().equals(result.to_pandas())
    assert "2 networks" in repr(back) and sorted(p.name for p in tmp_path.iterdir()) == [
        "result.safetensors",
        "result.safetensors.json",
    ]


def damage_truncate(path):
    path.write_bytes(path.read_bytes()[:-40])


def damage_flip(path):
    data = bytearray(path.read_bytes())
    data[-9] ^= 0x10
    path.write_bytes(bytes(data))


def damage_empty(path):
    path.write_bytes(b"")


def damage_text(path):
    path.write_text("not a checkpoint")


@pytest.mark.parametrize("damage", [damage_truncate, damage_flip, damage_empty, damage_text])
def test_damaged_checkpoint_is_named(cases, tmp_path, damage):
    ens, data = cases.ensemble([2, 5]), cases.task()
    training.masked_train(data, ens, checkpoint=tmp_path, **OPTIONS)
    file = tmp_path / "train.safetensors"
    damage(file)
    before = file.read_bytes()
    with pytest.raises(training.CheckpointError, match=r"train\.safetensors"):
        training.masked_train(data, ens, checkpoint=tmp_path, **OPTIONS)
    assert file.read_bytes() == before
    fresh = training.masked_train(data, ens, checkpoint=tmp_path, resume=False, **OPTIONS)
    assert fresh.status == ["max_steps"] * 2


def test_checkpoint_of_another_run_says_what_differs(cases, tmp_path):
    ens, data = cases.ensemble([2, 5]), cases.task()
    training.masked_train(data, ens, checkpoint=tmp_path, **OPTIONS)
    changes = {
        "lr": (data, ens, {**OPTIONS, "lr": 0.03}),
        "steps": (data, ens, {**OPTIONS, "steps": 21}),
        "optimizer": (data, ens, {**OPTIONS, "optimizer": "adamw"}),
        "task": (cases.task(seed=6), ens, OPTIONS),
        "networks": (data, cases.ensemble([2, 6]), OPTIONS),
        "initial parameters": (data, cases.ensemble([2, 5], seed=1), OPTIONS),
    }
    for what, (other, networks, options) in changes.items():
        with pytest.raises(training.CheckpointError, match=what):
            training.masked_train(other, networks, checkpoint=tmp_path, **options)


def test_resume_true_needs_a_checkpoint(cases, tmp_path):
    with pytest.raises(training.CheckpointError, match="no checkpoint"):
        training.masked_train(
            cases.task(), cases.ensemble([2]), checkpoint=tmp_path, resume=True, **OPTIONS
        )
    assert not list(tmp_path.iterdir())


def test_record_steps():
    assert record_steps("log", 100).tolist()[:4] == [0, 1, 2, 3]
    assert record_steps("log", 100)[-1] == 100 and record_steps("log", 0).tolist() == [0]
    assert 12 <= record_steps("log", 100).numel() <= 18
    assert record_steps(30, 100).tolist() == [0, 30, 60, 90, 100]
    assert record_steps([5, 2, 2], 10).tolist() == [2, 5] and record_steps(None, 9).numel() == 0


@pytest.mark.parametrize("name", sorted(schedules.NAMED))
def test_named_schedules_are_sane(name):
    factors = schedules.learning_rate_factors(name, 200)
    assert factors.shape == (200,) and factors.min() >= 0.0 and factors.max() <= 1.0
    assert schedules.NAMED[name](7, 200) == factors[7]
    assert schedules.learning_rate_factors(name, 0).shape == (0,)


def test_schedule_values():
    total = 100
    cosine = schedules.learning_rate_factors(schedules.Cosine(floor=0.1), total)
    assert cosine[0] == 1.0 and cosine[50] == pytest.approx(0.55, rel=1e-14)
    step = schedules.learning_rate_factors(schedules.Step(every=10, factor=0.5), total)
    assert step[9] == 1.0 and step[10] == 0.5 and step[99] == 0.5**9
    warm = schedules.learning_rate_factors(schedules.Warmup(5, schedules.Linear()), total)
    assert warm[0] == pytest.approx(0.2) and warm[50] == pytest.approx(0.5)
