"""Wrong arguments: a clear error that names the argument, before any work or file."""

from __future__ import annotations

import pytest
import torch

import edt.training as training
from edt.flow import gradient_flow

TRAIN = [
    ({"optimizer": "adamm"}, ValueError, "did you mean"),
    ({"optimizer": 3}, ValueError, "optimizer"),
    ({"lr": -1.0}, ValueError, "lr"),
    ({"lr": float("nan")}, ValueError, "lr"),
    ({"lr": [0.1, 0.1, 0.1]}, ValueError, "lr"),
    ({"lr": [0.1, -0.1]}, ValueError, r"lr\[1\]"),
    ({"lr": "big"}, TypeError, "lr"),
    ({"weight_decay": -1e-3}, ValueError, "weight_decay"),
    ({"steps": -1}, ValueError, "steps"),
    ({"steps": 1.5}, TypeError, "steps"),
    ({"steps": True}, TypeError, "steps"),
    ({"batch_size": 0}, ValueError, "batch_size"),
    ({"batch_size": 8, "tol": 1e-3}, ValueError, "tol"),
    ({"momentum": 0.9}, ValueError, "momentum"),
    ({"optimizer": "sgd", "nesterov": True}, ValueError, "nesterov"),
    ({"betas": (0.9, 1.0)}, ValueError, "betas"),
    ({"betas": 0.9}, ValueError, "betas"),
    ({"eps": -1.0}, ValueError, "eps"),
    ({"schedule": "cosin"}, ValueError, "did you mean"),
    ({"schedule": 3}, TypeError, "schedule"),
    ({"schedule": lambda t: -1.0}, ValueError, "schedule"),
    ({"task_index": [0, 1]}, ValueError, "task_index"),
    ({"task_index": [0.0, 0.0]}, TypeError, "task_index"),
    ({"task_index": [0]}, ValueError, "task_index"),
    ({"data_seed": -1}, ValueError, "data_seed"),
    ({"data_seed": 0.5}, TypeError, "data_seed"),
    ({"data_seed": [1]}, ValueError, "data_seed"),
    ({"record": "logs"}, ValueError, "record"),
    ({"record": [500]}, ValueError, "record"),
    ({"record": 0}, ValueError, "record"),
    ({"device": "cuda:7"}, ValueError, "device"),
    ({"dtype": torch.float16}, ValueError, "dtype"),
    ({"max_seconds": -1}, ValueError, "max_seconds"),
    ({"resume": "maybe"}, ValueError, "resume"),
    ({"widths": [3]}, ValueError, "widths"),
    ({"activation": "relu"}, ValueError, "networks are given, so activation"),
    ({"init": "he"}, ValueError, "networks are given, so scheme"),
    ({"scheme": "he", "init": "he"}, ValueError, "give scheme alone"),
    ({"optimizer": "sgd", "nesterov": "yes", "momentum": 0.9}, TypeError, "nesterov must be True"),
    ({"record_params": "no"}, TypeError, "record_params must be True or False, got 'no'"),
    ({"record": "all"}, ValueError, "record must be 'log', an integer, .*got 'all'"),
    ({"steps": 10**12}, ValueError, "steps must be <= 1,000,000,000, got 1,000,000,000,000"),
    ({"schedule": lambda t: "fast"}, TypeError, "schedule must return a number, got 'fast'"),
    ({"schedule": torch.optim.lr_scheduler.StepLR}, TypeError, "schedule must be None, .*StepLR"),
    ({"task_index": "first"}, TypeError, "task_index must hold integers, got 'first'"),
    ({"validation": 5}, TypeError, "validation must be an edt.Task or a pair"),
    (
        {"validation": (torch.zeros(4, 1), torch.zeros(4, 1))},
        ValueError,
        "validation must have d_in",
    ),
    ({"dtype": "float32"}, ValueError, "dtype must be torch.float32 .*got 'float32'"),
    ({"checkpoint": 3}, TypeError, "checkpoint must be the path of a directory, got 3"),
    ({"checkpoint": ""}, ValueError, "checkpoint must be the path of a directory, got ''"),
    ({"checkpoint": None, "resume": True}, ValueError, "resume=True needs checkpoint"),
]


@pytest.mark.parametrize(("bad", "kind", "says"), TRAIN, ids=[str(c[0])[:40] for c in TRAIN])
def test_masked_train_refuses(cases, tmp_path, bad, kind, says):
    options = {"steps": 10, "progress": False, "checkpoint": tmp_path / "new", **bad}
    with pytest.raises(kind, match=says):
        training.masked_train(cases.task(), cases.ensemble([2, 3]), **options)
    assert not list(tmp_path.iterdir())


CONVERGE = [
    ({"tol": 0.0}, ValueError, "tol"),
    ({"tol": "small"}, TypeError, "tol"),
    ({"lbfgs_steps": -1}, ValueError, "lbfgs_steps"),
    ({"newton_steps": 2.0}, TypeError, "newton_steps"),
    ({"memory": 0}, ValueError, "memory"),
    ({"task_index": [5, 0]}, ValueError, "task_index"),
    ({"max_seconds": float("inf")}, ValueError, "max_seconds"),
    ({"polish": "no"}, TypeError, "polish must be True or False, got 'no'"),
    ({"escape_saddles": 0}, TypeError, "escape_saddles must be True or False, got 0"),
    ({"checkpoint": 3}, TypeError, "checkpoint must be the path of a directory, got 3"),
    ({"resume": True}, ValueError, "resume=True needs checkpoint"),
    ({"resume": "maybe"}, ValueError, "resume must be one of"),
]


@pytest.mark.parametrize(("bad", "kind", "says"), CONVERGE, ids=[str(c[0]) for c in CONVERGE])
def test_converge_refuses(cases, bad, kind, says):
    with pytest.raises(kind, match=says):
        training.converge(cases.task(), cases.ensemble([2, 3]), progress=False, **bad)


def test_wrong_kinds_of_task_and_networks(cases):
    with pytest.raises(TypeError, match="task"):
        training.masked_train([1, 2, 3], cases.ensemble([2]))
    with pytest.raises(TypeError, match="networks"):
        training.masked_train(cases.task(), torch.nn.Linear(2, 1))
    with pytest.raises(TypeError, match="networks"):
        training.converge(cases.task(), [1])
    with pytest.raises(ValueError, match="widths"):
        training.masked_train(cases.task())
    with pytest.raises(ValueError, match="d_in"):
        training.masked_train(cases.task(d_in=3), cases.ensemble([2]))
    with pytest.raises(ValueError, match="d_out"):
        training.converge(cases.task(d_out=2), cases.ensemble([2]))


def test_new_networks_are_checked_by_their_argument(cases):
    with pytest.raises(ValueError, match=r"init must be one of 'torch', .*got 'xavier'"):
        training.masked_train(cases.task(), widths=[2], init="xavier")
    with pytest.raises(TypeError, match=r"got Sequential; edt\.Ensemble\.from_modules"):
        training.masked_train(cases.task(), torch.nn.Sequential())


def test_networks_may_come_first(cases):
    ens, task = cases.ensemble([2]), cases.task()
    for verb in (training.masked_train, training.converge):
        one, other = (verb(*order, progress=False) for order in ((task, ens), (ens, task)))
        assert torch.equal(one.networks.theta, other.networks.theta)


RUNS = {
    "masked_train": (training.masked_train, "run", {"steps": 10}),
    "converge": (training.converge, "_run", {}),
    "gradient_flow": (gradient_flow, "run", {"max_time": 1.0}),
}


@pytest.mark.parametrize("name", RUNS)
def test_checkpoints_that_cannot_be_written_are_refused_before_the_work(
    cases, tmp_path, monkeypatch, name
):
    """Found out at the end of a run, this would cost the run."""
    function, work, options = RUNS[name]
    monkeypatch.setitem(function.__globals__, work, lambda *_: pytest.fail("it has begun"))
    (tmp_path / "file").write_text("mine")
    place = tmp_path / "file" / "below"
    with pytest.raises(training.CheckpointError, match=r"checkpoint='.*below': cannot write"):
        function(cases.task(), cases.ensemble([2]), checkpoint=place, progress=False, **options)


def test_checkpoint_path_that_is_a_file(cases, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ValueError, match="directory"):
        training.masked_train(cases.task(), cases.ensemble([2]), checkpoint=tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"
