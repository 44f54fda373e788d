"""Ensembles and results as tables and arrays of numpy, pandas and xarray."""

from __future__ import annotations

import doctest
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import edt
from edt.ensemble import exchange
from edt.frames import Tabular


@pytest.fixture(scope="module")
def task():
    return edt.tasks.teacher_student(teacher_width=2, d_in=2, n=20)


@pytest.fixture(scope="module")
def networks():
    ens = edt.Ensemble.init([2, 3], range(2), d_in=2, d_out=1, sparsity=0.3)
    frozen = torch.zeros(ens.total, dtype=torch.bool)
    frozen[ens.state.nonzero()[5]] = True
    return ens.with_frozen(frozen)


def test_every_parameter_finds_its_place(networks):
    """The labels of the flat vector against the views of each weight and bias."""
    data = networks.to_xarray().to_dataframe()
    for row in data.to_dict("records"):
        place = (row["network"], row["layer"])
        if row["in"] >= 0:
            value = networks.weight(*place)[row["out"], row["in"]]
        else:
            value = networks.bias(*place)[row["out"]]
        assert float(value) == row["theta"]
    assert len(data) == networks.total
    assert not data.duplicated(["network", "layer", "out", "in"]).any()
    words = np.array(["pruned", "trainable", "frozen"])
    assert (data["state"].to_numpy() == words[networks.state.numpy()]).all()


def test_no_biases_no_negative_places():
    ens = edt.Ensemble.init([(2, 3), (1, 1)], d_in=2, d_out=2, bias=False)
    assert (ens.layout.entries()["in"] >= 0).all()
    assert (ens.layout.entries()["layer"] == 2).sum() == 2 * 3 + 2 * 1


def test_ensemble_as_a_table(networks):
    table = networks.to_pandas()
    assert table["widths"].tolist() == [2, 2, 3, 3]
    assert table["coords"].tolist() == networks.coords.tolist()
    assert table["frozen"].tolist() == [1, 0, 0, 0]
    total = table["coords"] + table["pruned"] + table["frozen"]
    assert total.equals(table["parameters"])
    assert table["layers_cut"].tolist() == [0] * 4


def test_ensemble_as_a_table_says_which_layers_pruning_emptied():
    ens = edt.Ensemble.init([(2, 3), (1, 1), (4, 1)], d_in=2, d_out=2)
    state = ens.state.clone()
    for b, layer in ((0, 1), (1, 0), (1, 2)):
        ens.layout.weight(state, b, layer)[:] = 0
    ens.layout.weight(state, 2, 0)[0] = 0  # a row is no layer
    assert ens.with_state(state).to_pandas()["layers_cut"].tolist() == [1, 2, 0]


def test_results_of_networks_of_modules_say_which_layers_pruning_emptied():
    """Networks of two and of three layers; biases are no weights."""

    def chain(*widths):
        layers = [nn.Linear(a, b) for a, b in pairwise(widths)]
        return nn.Sequential(
            *layers[:1], *(part for one in layers[1:] for part in (nn.Tanh(), one))
        )

    ens = edt.ModuleEnsemble([chain(2, 3, 1), chain(2, 3, 4, 1), chain(2, 2, 1)])
    state = ens.state.clone()
    for b, names in enumerate((["0.weight"], ["2.weight", "4.weight"], ["2.bias"])):
        for block in ens.blocks(b):
            if block.name in names:
                begin = int(ens.offsets[b])
                state[begin + block.start : begin + block.stop] = 0
    cut = ens.with_state(state)
    assert cut.layers_cut.tolist() == [1, 2, 0]
    task = edt.tasks.teacher_student(teacher_width=2, d_in=2, n=30, dtype=torch.float32)
    trained = edt.masked_train(task, cut, steps=2, lr=0.01, progress=False)
    ended = edt.converge(task, cut, lbfgs_steps=2, newton_steps=0, progress=False)
    flown = edt.gradient_flow(task, cut, max_time=0.1, progress=False)
    for result in (trained, ended, flown):
        assert result.to_pandas()["layers_cut"].tolist() == [1, 2, 0]


def test_ensemble_as_arrays_shares_memory(networks):
    ens = networks.with_theta(networks.theta)
    arrays = ens.to_numpy()
    arrays["theta"][0] = 7.5
    assert float(ens.theta[0]) == 7.5
    with pytest.raises(ValueError, match="read-only"):
        arrays["state"][0] = 0
    widths = [tuple(row[1:-1]) for row in arrays["layer_widths"].tolist()]
    given = {name: arrays[name] for name in ("theta", "state", "ids")}
    again = edt.Ensemble(widths, 2, 1, **given)
    assert torch.equal(again.theta, networks.with_theta(ens.theta).theta)
    assert torch.equal(again.state, ens.state)
    again.theta[0] = 0.0  # copied: an ensemble owns its parameters
    assert arrays["theta"][0] == 7.5


def results(task, networks):
    """One of every result class that is cheap to make."""
    trained = edt.masked_train(task, networks, steps=5, progress=False)
    yield trained
    yield edt.converge(task, networks, max_seconds=0.0, progress=False)
    yield edt.gradient_flow(task, networks, max_time=0.1, progress=False)
    yield edt.count_directions(networks, task)
    yield edt.hessian_trace(networks, task, products=6)
    yield edt.landscape.connect(
        task, trained.networks, networks, points=3, curve=None, align=False, progress=False
    )


def test_results_agree_in_every_form(task, networks):
    for result in results(task, networks):
        assert isinstance(result, Tabular)
        table, arrays, data = result.to_pandas(), result.to_numpy(), result.to_xarray()
        assert list(arrays) == list(table.columns)
        assert data.sizes[table.columns[0]] == networks.B == len(table)
        for name, array in arrays.items():
            assert array.dtype.kind in "iufbU", (type(result), name)
            known = table[name].notna().to_numpy()
            assert array[known].tolist() == table[name][known].tolist()


def test_history_has_the_ends_beside_it(task, networks):
    result = edt.masked_train(task, networks, steps=5, progress=False)
    data = result.to_xarray()
    assert data["loss"].equals(result.history["loss"])
    assert data["final_loss"].values.tolist() == result.loss.tolist()
    assert data["status"].values.tolist() == result.status
    assert "final_loss" not in result.history


def test_columns_become_plain_arrays(tmp_path):
    """Gaps, text and flags survive a file that needs no pickle."""

    class Result(Tabular):
        def to_pandas(self):
            return pd.DataFrame(
                {
                    "network": range(3),
                    "index": pd.Series([1, None, 3], dtype="Int64"),
                    "word": ["a", "bcd", "e"],
                    "good": [True, False, True],
                    "loss": np.array([0.5, np.nan, 1.5], dtype=np.float32),
                }
            )

    np.savez(tmp_path / "result.npz", **Result().to_numpy())
    with np.load(tmp_path / "result.npz", allow_pickle=False) as back:
        assert back["index"].tolist()[::2] == [1.0, 3.0] and np.isnan(back["index"][1])
        assert back["word"].tolist() == ["a", "bcd", "e"] and back["good"].dtype == bool
        assert back["network"].dtype == np.int64 and back["loss"].dtype == np.float64
    assert Result().to_xarray().sizes == {"network": 3}


def test_examples():
    names = {"Ensemble": edt.Ensemble}
    tests = doctest.DocTestFinder().find(exchange, globs=names)
    ran = [doctest.DocTestRunner().run(test) for test in tests]
    assert sum(one.failed for one in ran) == 0 and sum(one.attempted for one in ran) >= 4
