"""A run that continues another is one long run, to the bit."""

from __future__ import annotations

import pytest
import torch
from small_trainings import KINDS, equal, same, small_training, threads

import edt
from edt.training import CheckpointError, TrainResult

RULES = {
    "gd": {"optimizer": "gd", "lr": 0.1, "weight_decay": 1e-3},
    "sgd": {"optimizer": "sgd", "momentum": 0.9, "nesterov": True, "lr": 0.02},
    "dampened": {"optimizer": "sgd", "momentum": 0.9, "dampening": 0.5, "lr": 0.02},
    "adam": {"optimizer": "adam", "schedule": "cosine"},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.1, "schedule": "one-cycle"},
}


@pytest.fixture(params=KINDS)
def call(request, cases):
    """A function that trains, on every kind of engine there is on the CPU."""
    return small_training(request.param, cases)


def parts(call, first, *, file=None, cut=None, **more):
    """40 steps as ``first`` and the rest; the schedule is that of all 40."""
    factors = edt.training.schedules.learning_rate_factors(more.pop("schedule", None), 40)
    more["schedule"] = lambda step: float(factors[step])
    whole = call(**more)
    start = call(steps=first, **more)
    if file is not None:
        start.save(file)
        modules = (
            [start.networks.to_module(b) for b in range(4)] if call.kind == "modules" else None
        )
        start = TrainResult.load(file, modules)
    return whole, call(given=None, continue_from=start, **more)


@pytest.mark.parametrize("rule", RULES)
def test_two_runs_are_one(call, rule, tmp_path):
    for first, file in ((13, None), (5, tmp_path / "first.safetensors")):
        same(*parts(call, first, file=file, record=8, **RULES[rule]))
        if call.kind == "modules":
            break


def test_parameters_on_the_way_and_any_threads(call):
    with threads(1):
        whole, both = parts(call, 13, record=8, record_params=True)
    same(whole, both)
    equal(whole.recorded.params, both.recorded.params, "params")
    if call.kind != "modules":
        with threads(2):
            alone = parts(lambda given=call.networks[[1]], **more: call(given=given, **more), 13)
        assert torch.equal(alone[1].networks.theta, both.networks.network(1).theta)


def test_a_checkpoint_continues(call, tmp_path):
    whole = call(record=8, record_params=True)
    call(steps=16, record=8, record_params=True, checkpoint=tmp_path / "a")
    options = {"record": 8, "record_params": True, "continue_from": tmp_path / "a"}
    same(whole, call(**options))
    # Interrupted itself, and resumed.
    cut = call(**options, checkpoint=tmp_path / "b", max_seconds=0.0)
    assert cut.interrupted and 16 <= int(cut.steps.min()) < 40
    same(whole, call(**options, checkpoint=tmp_path / "b"))


def test_an_interrupted_result_continues(call):
    whole = call(record=4)
    heard = []

    def interrupt(step, *_):
        if step == 12 and 12 not in heard:
            heard.append(step)
            raise KeyboardInterrupt
        heard.append(step)

    cut = call(record=4, on_record=interrupt)
    assert cut.interrupted and cut.steps.tolist() == [12] * 4
    same(whole, call(given=None, record=4, continue_from=cut, on_record=interrupt))
    assert heard == [0, 4, 8, 12, 12, *range(16, 41, 4)]


@pytest.mark.parametrize("kind", ["chains", "minibatches"])
def test_validation_goes_on(cases, kind):
    call = small_training(kind, cases)
    other = cases.task(n=30, seed=2)
    options = {"validation": other, "validate_every": 4, "lr": [0.05, 0.5, 2.0, 0.2]}
    for patience in (None, 3):
        whole, both = parts(call, 12, patience=patience, **options)
        same(whole, both)
        for name in ("loss", "step", "losses"):
            equal(getattr(whole.validation, name), getattr(both.validation, name), name)
        assert torch.equal(whole.validation.best.theta, both.validation.best.theta)
    assert "stopped" in whole.status
    start = call(steps=13, validation=other, validate_every=4, lr=0.01)
    with pytest.raises(ValueError, match="validate_every: continue_from found the least loss"):
        call(given=None, continue_from=start, validation=other, validate_every=4)


def test_what_had_ended_is_decided_anew(cases):
    call = small_training("chains", cases)
    losses = call().loss
    target = float(losses.median())
    whole, both = parts(call, 30, loss_target=target)
    same(whole, both)
    assert set(whole.status) == {"target", "max_steps"}
    further = call(given=None, continue_from=whole, steps=50)
    assert further.steps.tolist() == [50] * 4 and set(further.status) == {"max_steps"}


def test_lost_networks_stay_lost(call):
    whole, both = parts(call, 13, optimizer="gd", lr=[0.05, 1e6, 0.05, 1e300])
    same(whole, both)
    assert whole.status[1] == whole.status[3] == "diverged"


def test_bad_input(cases, tmp_path):
    call = small_training("chains", cases)
    start = call(steps=10, optimizer="gd")
    for more, error, words in [
        ({"continue_from": 3}, TypeError, "continue_from must be a TrainResult or the directory"),
        ({"continue_from": start, "steps": 10}, ValueError, "steps counts from the beginning"),
        ({"continue_from": start}, ValueError, "optimizer: continue_from has moments of none"),
        ({"continue_from": tmp_path / "none"}, CheckpointError, "none"),
    ]:
        with pytest.raises(error, match=words):
            call(**{"given": None if more["continue_from"] is start else call.networks, **more})
    with pytest.raises(ValueError, match="networks of its own"):
        call(continue_from=start)
    call(steps=10, checkpoint=tmp_path)
    with pytest.raises(CheckpointError, match="of other networks"):
        call(given=call.networks[[0]], continue_from=tmp_path)
    start.optimizer = None
    with pytest.raises(ValueError, match="no optimiser's state"):
        call(given=None, continue_from=start)
