"""Integers stay integers along every road: TOML, numpy, pandas, Parquet, CSV, JSON, xarray."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from edt.cli import main as program
from edt.runs.sweeps import SweepSpec, read_spec, sweep
from edt.runs.sweeps.plan import integers_as_array
from edt.studies.exports import export

#: Neighbours that are one number as floats, and the largest there is.
SEEDS = [0, 7, 2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("integers")
    (folder / "s.toml").write_text(f'task = "xor"\n[grid]\nsteps = 5\nseed = {SEEDS}\n')
    spec = read_spec(folder / "s.toml")
    assert spec == SweepSpec.from_dict(json.loads(json.dumps(spec.to_dict())))
    return sweep(spec, folder / "run", workers=0), folder


def test_every_road(run, tmp_path, capsys):
    done, folder = run
    assert done.runs["seed"].tolist() == SEEDS and done.runs["seed"].dtype == np.uint64
    assert pd.read_parquet(folder / "run" / "runs.parquet")["seed"].tolist() == SEEDS
    assert type(done).load(folder / "run").runs["seed"].tolist() == SEEDS
    assert done.to_numpy()["seed"].tolist() == SEEDS
    assert done.to_xarray()["seed"].values.tolist() == SEEDS
    (csv,) = [file for file in export(folder / "run", "csv", tmp_path) if file.name == "runs.csv"]
    assert pd.read_csv(csv, dtype={"seed": "uint64"})["seed"].tolist() == SEEDS
    (file,) = [name for name in export(folder / "run", "xarray", tmp_path) if name.suffix == ".nc"]
    with xr.open_dataset(file, engine="scipy") as data:
        assert [int(value) for value in data["seed"].values] == SEEDS
    with pytest.raises(SystemExit):
        program(["resume", str(folder / "run"), "--json"])
    spec = json.loads(capsys.readouterr().out)["spec"]
    assert spec["grid"]["seed"] == SEEDS


def test_networks_of_neighbouring_seeds_differ(run):
    """As floats 2^53 and 2^53 + 1 would start alike."""
    done, _ = run
    theta = done.networks(range(len(SEEDS))).theta.reshape(len(SEEDS), -1)
    assert len({tuple(row.tolist()) for row in theta}) == len(SEEDS)


def test_exported_integers_up_to_53_bits_are_numbers(tmp_path):
    spec = SweepSpec(task="xor", grid={"steps": 5, "seed": [1, 2**40]})
    sweep(spec, tmp_path / "run", workers=0)
    (file,) = export(tmp_path / "run", "xarray", tmp_path)
    with xr.open_dataset(file, engine="scipy") as data:
        assert data["seed"].values.tolist() == [1, 2**40]


def test_whole_numbers():
    assert integers_as_array([1, 2**63]).dtype == np.uint64
    assert integers_as_array([1]).dtype == np.int64
    with pytest.raises(ValueError, match=r"seed must be in 0..2\*\*64-1"):
        SweepSpec(task="xor", grid={"seed": 2**64})
    with pytest.raises(ValueError, match="steps must be in 0"):
        SweepSpec(task="xor", grid={"steps": 10**30})
