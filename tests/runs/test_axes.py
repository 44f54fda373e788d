"""Every axis reaches the call it is for: runs are those of direct calls, bit for bit."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

import edt
from edt.curvature import count_directions
from edt.landscape import Minima, census, certify, outcomes, split_every
from edt.landscape.minima import certify_runs
from edt.runs.sweeps import AXES, Sweep, SweepSpec, sweep
from edt.runs.sweeps.axes import SCHEDULES

TASK = {"name": "teacher_student", "n": 48, "teachers": 2, "normalise": True}
#: What the other axes are while one varies; enough steps that every setting shows.
BASE = {"width": 3, "steps": 60, "lr": 0.05, "seed": 5}
#: To the bottom: few steps before, so that the first stage has work.
BOTTOM = {"steps": 20, "tol": 1e-9, "lbfgs_steps": 300}

CASES = [
    ("task", [0, 1], {}),
    ("activation", ["tanh", "softplus", "relu"], {}),
    ("init", ["torch", "glorot", "he", "normal"], {}),
    ("init_scale", [1.0, 0.3], {}),
    ("bias", [True, False], {}),
    ("dtype", ["float64", "float32"], {}),
    ("sparsity", [0.0, 0.5], {"width": 8}),
    ("optimizer", ["gd", "adam", "adamw"], {"weight_decay": 0.01}),
    ("optimizer", ["sgd", "adam"], {"momentum": 0.9}),
    ("steps", [60, 61], {}),
    ("schedule", list(SCHEDULES), {}),
    ("batch_size", [0, 16], {}),
    ("momentum", [0.0, 0.8], {"optimizer": "sgd"}),
    ("nesterov", [False, True], {"optimizer": "sgd", "momentum": 0.8}),
    ("beta1", [0.9, 0.5], {}),
    ("beta2", [0.999, 0.9], {}),
    ("eps", [1e-8, 1e-2], {}),
    ("tol", [1e-2, 1e-9], BOTTOM),
    ("method", ["lbfgs+newton", "newton", "lm", "cg"], BOTTOM),
    ("lbfgs_steps", [10, 300], BOTTOM),
    ("newton_steps", [1, 200], {**BOTTOM, "method": "newton"}),
    ("certify_steps", [0, 300], {**BOTTOM, "lbfgs_steps": 10, "newton_steps": 1}),
    ("target", [0, 1], {}),
    ("width", [3, 4, [3, 2]], {}),
    ("lr", [0.05, 0.01], {}),
    ("weight_decay", [0.0, 0.1], {}),
    ("seed", [5, 6], {}),
    ("seed", [5, 6], {"batch_size": 16}),
]  # fmt: skip


def test_every_axis_is_here():
    # Training on a GPU has a test of its own (`test_sweep.py`).
    assert {axis for axis, _, _ in CASES} == set(AXES) - {"device"}


def direct(spec, row):
    """Networks of a run, from the public functions."""
    task = spec.make_task(row["task"])
    width = [int(m) for m in str(row["width"]).split("-")]
    networks = edt.Ensemble.init(
        widths=[width], seeds=[row["seed"]], d_in=task.d_in, d_out=task.d_out,
        activation=row["activation"], scheme=row["init"], scale=row["init_scale"],
        bias=row["bias"], dtype=getattr(torch, row["dtype"]), sparsity=row["sparsity"] or None,
    )  # fmt: skip
    more = {}
    if row["optimizer"] == "sgd":
        more = {"momentum": row["momentum"], "nesterov": row["nesterov"]}
    trained = edt.masked_train(
        task, networks, optimizer=row["optimizer"], steps=row["steps"], lr=row["lr"],
        weight_decay=row["weight_decay"], betas=(row["beta1"], row["beta2"]), eps=row["eps"],
        batch_size=row["batch_size"] or None, schedule=row["schedule"], data_seed=row["seed"],
        task_index=[row["target"]], device="cpu", progress=False, **more,
    )  # fmt: skip
    if not row["tol"]:
        return trained
    ended = edt.converge(
        task, trained.networks, task_index=[row["target"]], tol=row["tol"], method=row["method"],
        lbfgs_steps=row["lbfgs_steps"], newton_steps=row["newton_steps"], progress=False,
    )  # fmt: skip
    good = float(ended.loss[0]) <= spec.good * float(task.variance[row["target"]])
    if good or not row["certify_steps"]:
        return ended
    return certify(
        task, ended.networks, task_index=[row["target"]], steps=row["certify_steps"]
    )  # fmt: skip


@pytest.mark.parametrize(("axis", "values", "others"), CASES)
def test_reaches_the_call(axis, values, others, tmp_path):
    task = [TASK, {**TASK, "seed": 1}] if axis == "task" else TASK
    spec = SweepSpec(task=task, grid={**BASE, **others, axis: values})
    done = sweep(spec, tmp_path, workers=0)
    assert len(done.runs) == len(values)
    ends = []
    for row in done.runs.to_dict("records"):
        alone = direct(spec, row)
        (networks,) = (done.networks([row["run"]]),)
        assert torch.equal(networks.theta, alone.networks.theta), row[axis]
        assert row["loss"] == float(alone.loss[0])
        ends.append(networks.theta.numpy().tobytes())
    # An axis that changed nothing would pass the above on both sides.
    assert len(set(ends)) == len(values)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A sweep to the bottom with every step of the analysis."""
    spec = SweepSpec(
        task={"name": "teacher_student", "n": 64, "normalise": True},
        grid={"width": [2, 3], "seed": "0..7", "steps": 300, "lr": 0.03, "tol": 1e-9},
        analysis=["spectrum", "embedding", "census"],
        mus=[0.5, 1.5],
        shard_seconds=0.006,
    )
    sweep(spec, tmp_path_factory.mktemp("measured") / "run", workers=0)
    return Sweep.load(tmp_path_factory.getbasetemp() / "measured0" / "run")


def test_spectrum_is_that_of_a_direct_call(measured):
    table, task = measured.tables["spectrum"], measured.spec.make_task(0)
    for run in measured.runs["run"]:
        (values,) = edt.hessian_spectrum(measured.networks([run]), task)
        found = table[table["run"] == run].sort_values("k")["eigenvalue"].to_numpy()
        assert np.array_equal(found, values.numpy())


def test_embedding_is_that_of_direct_calls(measured):
    table, task = measured.tables["embedding"], measured.spec.make_task(0)
    strict = measured.runs[measured.runs["verdict"] == "minimum"]["run"].tolist()
    assert strict and set(table["run"]) == set(strict)
    for run in strict:
        narrow = measured.networks([run])
        for mu in measured.spec.mus:
            wide = split_every(narrow, mu)
            counted = count_directions(wide.networks, task)
            rows = table[(table["run"] == run) & (table["mu"] == mu)].sort_values("neuron")
            assert rows["neuron"].tolist() == wide.neuron.tolist()
            assert rows["n_neg"].tolist() == counted.n_neg.tolist()
            assert rows["min_eig"].tolist() == counted.min_eig.tolist()


def test_census_is_that_of_a_direct_call(measured):
    spec, runs = measured.spec, measured.runs
    task = spec.make_task(0)
    trained = edt.masked_train(
        task, widths=[2, 3], seeds=range(8), steps=300, lr=0.03, record=None, progress=False
    )
    ended = edt.converge(task, trained.networks, tol=1e-9, newton_steps=200, progress=False)
    minima = Minima.of(ended, spec.good * task.variance)
    certify_runs(task, minima, stop_good=True, steps=AXES["certify_steps"].default, progress=False)
    minima.outcome = outcomes(
        minima.loss, minima.threshold, minima.verdict, minima.status, minima.label
    )
    assert minima.loss.tolist() == runs["loss"].tolist()
    assert minima.label == runs["label"].tolist()
    pd.testing.assert_frame_equal(
        measured.tables["census"], census(task, minima).table(), check_exact=True
    )
