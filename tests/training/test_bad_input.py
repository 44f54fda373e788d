"""Wrong arguments: a clear error that names the argument, before any work or file."""

from __future__ import annotations

import pytest
import torch

import edt.training as training

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


def test_checkpoint_path_that_is_a_file(cases, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ValueError, match="directory"):
        training.masked_train(cases.task(), cases.ensemble([2]), checkpoint=tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"
