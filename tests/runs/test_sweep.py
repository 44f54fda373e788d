"""What a sweep computes: the same as single calls, whoever computes it."""

from __future__ import annotations

import csv
import subprocess
import sys

import beside
import numpy as np
import pandas as pd
import pytest
import torch

import edt
from edt.ops.threads import core_threads
from edt.runs.engines import local
from edt.runs.engines.base import cores
from edt.runs.store import DirectoryError
from edt.runs.sweeps import SweepError, SweepSpec, make_plan, sweep
from edt.runs.sweeps.result import Sweep, outcome_rates
from edt.studies.exports import export
from edt.studies.kinds import status


def test_runs_are_those_of_single_calls(reference, small):
    """One network of the sweep, trained alone by the public function, bit for bit."""
    runs = Sweep.load(reference).runs
    row = runs[
        (runs["width"] == 3) & (runs["seed"] == 7) & (runs["lr"] == 0.03)
        & (runs["activation"] == "softplus")
    ].iloc[0]  # fmt: skip
    alone = edt.masked_train(
        small.make_task(0), widths=[3], seeds=[7], activation="softplus", lr=0.03, steps=200,
        progress=False,
    )  # fmt: skip
    assert row["loss"] == float(alone.loss[0])
    theta = Sweep.load(reference).networks([int(row["run"])]).theta
    assert torch.equal(theta, alone.networks.theta)


def test_workers_do_not_change_bits(reference, small, tmp_path, monkeypatch):
    here, there = [], []

    def counted(directory, job):
        here.append(job.name)
        return beside.late(directory, job)

    real = local._Worker.ask
    monkeypatch.setattr(local, "attempt", counted)
    monkeypatch.setattr(
        local._Worker, "ask", lambda self, job: there.append(job.name) or real(self, job)
    )
    sweep(small, tmp_path / "run", workers=3)
    assert here and len(there) > 1 and len(here) + len(there) == len(make_plan(small).members)
    for name in ("runs.parquet", "spectrum.parquet"):
        assert (tmp_path / "run" / name).read_bytes() == (reference / name).read_bytes(), name


def test_networks_come_in_the_order_asked_for(reference):
    done = Sweep.load(reference)
    chosen = done.runs[done.runs["activation"] == "tanh"]["run"].tolist()[:7][::-1]
    networks = done.networks(chosen)
    loss = edt.loss(networks, done.spec.make_task(0))
    expected = done.runs.set_index("run").loc[chosen, "loss"].to_numpy()
    assert np.array_equal(loss.numpy(), expected)
    with pytest.raises(ValueError, match="runs must be in"):
        done.networks([80])


def test_analysis_agrees_with_the_functions_it_stands_for(tmp_path):
    spec = SweepSpec(
        task={"name": "teacher_student", "n": 64, "normalise": True},
        grid={"width": [2, 3], "seed": "0..5", "steps": 300, "lr": 0.03, "tol": 1e-9},
        analysis=["spectrum", "embedding", "census"],
    )
    done = sweep(spec, tmp_path / "run", workers=0)
    lowest = done.tables["spectrum"].groupby("run")["eigenvalue"].min()
    runs = done.runs.set_index("run")
    # Both are the eigenvalues of one exact Hessian by a dense solver.
    assert np.allclose(lowest, runs["min_eig"], rtol=1e-6, atol=1e-12)
    split = done.tables["embedding"]
    word = runs["label"].where(runs["label"] != "uncertified", runs["verdict"])
    assert len(split) == 2 * runs[word == "minimum"]["width"].sum()
    agree = (split["n_neg"] == split["predicted_neg"]).mean()
    assert agree > 0.9  # the closed form may differ only where an eigenvalue is near its threshold
    assert set(done.tables["census"]["width"]) >= {2, 3}
    assert set(done.runs["outcome"]) <= set(edt.landscape.OUTCOMES)

    # What is called bad is what `edt.certify` calls a minimum, of the networks that are kept.
    failed = runs[runs["outcome"] != "good"]
    assert set(failed["label"]) <= set(edt.landscape.LABELS) and len(failed)
    certified = failed["label"].isin(["minimum", "flat minimum"])
    assert (failed["outcome"] == "bad").equals(certified)
    here = done.networks(failed.index.tolist())
    again = edt.certify(spec.make_task(0), here, steps=0)
    settled = certified.to_numpy() & (failed["distance"] < 1e-6).to_numpy()
    assert settled.any() and again.certified.numpy()[settled].all()
    assert np.array_equal(again.loss.numpy(), failed["loss"].to_numpy())
    # Without a budget the word of `edt.converge` has to do.
    plain = SweepSpec(**{**spec.to_dict(), "grid": {**spec.grid, "certify_steps": 0}})
    before = sweep(plain, workers=0).runs
    assert (before["label"] == "uncertified").all()
    assert before["verdict"].tolist() == done.runs["verdict"].tolist()


def test_runs_that_diverged_leave_the_spectra_of_the_others():
    """Their Hessians hold NaN, on which LAPACK fails: the shard would be lost with them."""
    spec = SweepSpec(
        task={"name": "teacher_student", "n": 32},
        grid={"width": [2, 3], "seed": 0, "optimizer": "sgd", "lr": [0.01, 1e9], "steps": 50,
              "activation": "relu"},
        analysis=["spectrum"],
    )  # fmt: skip
    done = sweep(spec, workers=0, progress=False)
    finite = np.isfinite(done.runs["loss"])
    assert finite.sum() == 2
    assert set(done.tables["spectrum"]["run"]) == set(done.runs["run"][finite])


def test_unmeasured_runs_are_not_called_minima(reference):
    runs = Sweep.load(reference).runs
    assert set(runs["outcome"]) <= {"good", "unconverged"}


def test_minibatches_masks_depth_and_float32():
    spec = SweepSpec(
        task={"name": "digits", "split": "test"},
        grid={
            "width": [4, [4, 4]], "seed": [0, 1], "sparsity": [0.0, 0.5], "steps": 20,
            "batch_size": 32, "optimizer": "sgd", "momentum": 0.9, "lr": 0.1, "dtype": "float32",
        },
    )  # fmt: skip
    runs = sweep(spec, workers=0).runs
    assert len(runs) == 8
    assert runs["train_loss"].between(0.0, 4.0).all()
    dense, sparse = (runs[runs["sparsity"] == s]["parameters"].to_numpy() for s in (0.0, 0.5))
    assert (sparse < dense).all()


def test_networks_that_sparsity_makes_constants_are_told():
    """A weight is left in every layer; whether they meet is luck, and without it nothing learns."""
    spec = SweepSpec(
        task="xor",
        grid={"width": 2, "seed": "0..19", "sparsity": [0.0, 0.9], "steps": 0, "bias": False},
    )
    runs = sweep(spec, workers=0).runs
    assert (runs["layers_cut"] == 0).all()
    dense, sparse = (runs[runs["sparsity"] == s] for s in (0.0, 0.9))
    assert dense["connected"].all() and set(sparse["connected"]) == {True, False}
    still = sparse[~sparse["connected"]]
    assert still["loss"].nunique() == 1  # that of the output 0
    assert (still["grad_max"] == 0.0).all()


def test_a_gpu_is_used_only_when_asked_for(tmp_path):
    assert SweepSpec().to_dict()["grid"].get("device") is None
    assert make_plan(SweepSpec()).shard(0).settings["device"] == "cpu"
    if edt.ops.cuda.usable():
        pytest.skip("there is one")
    spec = SweepSpec(task="xor", grid={"device": "cuda", "steps": 1})
    with pytest.raises(SweepError, match="1 of 1 parts failed"):
        sweep(spec, tmp_path / "run", workers=0)
    (failure,) = status(tmp_path / "run").failures
    assert "cuda" in failure["error"].lower()


def test_xarray_has_one_dimension_per_axis(reference):
    data = Sweep.load(reference).to_xarray()
    assert dict(data.sizes) == {"activation": 2, "width": 2, "lr": 2, "seed": 10}
    runs = Sweep.load(reference).runs
    row = runs.sample(1, random_state=0).iloc[0]
    at = data["loss"].sel({name: row[name] for name in ("activation", "width", "lr", "seed")})
    assert float(at) == row["loss"]


def test_exports_hold_the_same_numbers(reference, tmp_path):
    runs = Sweep.load(reference).runs
    export(reference, "csv", tmp_path)
    with (tmp_path / "runs.csv").open() as file:
        again = [float(row["loss"]) for row in csv.DictReader(file)]
    assert again == runs["loss"].tolist()
    export(reference, "parquet", tmp_path)
    assert pd.read_parquet(tmp_path / "runs.parquet").equals(runs)
    import xarray as xr

    export(reference, "xarray", tmp_path)
    with xr.open_dataset(tmp_path / "runs.nc") as data:
        assert np.array_equal(np.sort(data["loss"].values.ravel()), np.sort(runs["loss"]))
    with pytest.raises(ValueError, match="did you mean"):
        export(reference, "cvs", tmp_path)
    with pytest.raises(DirectoryError, match="not the directory of an edt run"):
        export(tmp_path / "nothing", "csv")


def test_status_of_a_finished_sweep(reference):
    found = status(reference)
    assert found.finished and not found.running
    assert found.runs_done == found.runs == 80
    assert found.share == 1.0 and not found.failures


def test_the_last_shard_is_lent_the_cores_of_lanes_that_have_ended(small, tmp_path, monkeypatch):
    """One job each: this process is done first, and the worker may use its thread."""
    (tmp_path / "edt.json").write_text("{}")  # a run's directory
    jobs = [make_plan(small).job(k) for k in range(2)]
    told = []
    real = local._Worker.lend
    monkeypatch.setattr(local._Worker, "lend", lambda self, n: told.append(n) or real(self, n))
    seen = list(local.Processes(2, threads=3).run(str(tmp_path), jobs))
    assert sorted(manifest.name for manifest in seen) == sorted(job.name for job in jobs)
    assert told[-1] == 6
    assert core_threads() == torch.get_num_threads()  # nothing stays lent
    late = next(m for m in seen if m.threads != 3)
    assert late.threads == 6


def test_a_worker_imports_nothing_it_does_not_need():
    code = "import sys, edt.runs.engines.worker; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    packages = {name.partition(".")[0] for name in ran.stdout.split()}
    assert "torch" in packages
    # scipy by itself would double what edt adds to the import of torch.
    assert not packages & {"scipy", "sklearn", "matplotlib", "plotly", "typer", "ray", "submitit"}


def test_worker_processes_are_for_work_that_is_worth_starting_them(small, tmp_path, monkeypatch):
    from edt.runs import experiment as module

    made = []
    real = module.make_engine
    monkeypatch.setattr(
        module, "make_engine", lambda *a, **b: made.append(a) or real("local", 0, 1)
    )
    sweep(small, tmp_path / "small")
    monkeypatch.setattr(module, "WORTH", 0.0)
    sweep(small, tmp_path / "large")
    assert [workers for _, workers, _ in made] == [0, min(cores(), torch.get_num_threads())]


def test_medians_are_of_runs_with_a_loss(reference):
    """A run that diverged counts as one that is not good; it has no loss to take a median of."""
    runs = Sweep.load(reference).runs.copy()
    whole = outcome_rates(runs)
    assert whole["finite"].tolist() == whole["runs"].tolist()
    first = (runs["width"] == 2) & (runs["lr"] == 0.01) & (runs["activation"] == "tanh")
    lost = runs.index[first][:4]
    runs.loc[lost, ["outcome", "loss"]] = ["diverged", np.inf]
    runs.loc[lost[0], "loss"] = np.nan
    rates = outcome_rates(runs)
    mine = (rates["width"] == 2) & (rates["lr"] == 0.01) & (rates["activation"] == "tanh")
    row = rates[mine].iloc[0]
    kept = runs.loc[first, "loss"].drop(lost)
    assert (row["runs"], row["finite"]) == (10, 6)
    assert row["median_loss"] == kept.median()
    runs.loc[first, "loss"] = np.nan
    assert np.isnan(outcome_rates(runs)[mine].iloc[0]["median_loss"])
