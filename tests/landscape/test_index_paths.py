"""Index along training, and the plateaus on the way."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

import edt
from edt.landscape import index_along_path, plateaus


@pytest.fixture(scope="module")
def trained():
    data = edt.tasks.teacher_student(2, 2, n=64, scale=2.0, seed=1)
    start = edt.Ensemble.init([2, 3], range(3), d_in=2, d_out=1, scheme="glorot")
    result = edt.masked_train(
        data, start, optimizer="gd", lr=0.1, steps=3000, record_params=True, progress=False
    )
    return data, result


def test_index_along_a_path(trained):
    data, result = trained
    path = index_along_path(data, result)
    assert path["step"].values.tolist() == result.history["step"].values.tolist()
    np.testing.assert_array_equal(path["loss"], result.history["loss"])
    np.testing.assert_array_equal(path["grad_norm"], result.history["grad_norm"])
    for row in (0, 7, len(path["step"]) - 1):
        here = result.networks.with_theta(torch.from_numpy(result.history["params"].values[row]))
        found = edt.curvature.count_directions(here, data)
        assert path["index"][row].values.tolist() == found.n_neg.tolist()
        assert path["n_flat"][row].values.tolist() == found.n_zero.tolist()
        np.testing.assert_array_equal(path["min_eig"][row], found.min_eig)
    # Random starts stand high: several ways down, fewer at the end.
    assert (path["index"][0] > path["index"][-1]).all()


def test_tensors_and_networks_that_ended(trained):
    data, result = trained
    thetas = torch.from_numpy(result.history["params"].values[:3]).clone()
    first = slice(0, int(result.networks.offsets[1]))
    thetas[1, first] = float("nan")
    thetas[2] = float("nan")
    path = index_along_path(data, thetas, result.networks)
    assert path["index"][:, 0].values.tolist() == [int(path["index"][0, 0]), -1, -1]
    assert bool(np.isnan(path["loss"][2]).all())
    assert int(path["index"][1, 1]) >= 0
    whole = index_along_path(data, result)
    assert path["index"][1, 1:].equals(whole["index"][1, 1:])


def test_several_targets():
    data = edt.tasks.teacher_student(2, 2, n=64, teachers=2, seed=1)
    start = edt.Ensemble.init([2], range(4), d_in=2, d_out=1)
    index = torch.tensor([0, 1, 0, 1])
    result = edt.masked_train(
        data, start, optimizer="gd", steps=20, task_index=index, record_params=True, progress=False
    )
    path = index_along_path(data, result)
    np.testing.assert_array_equal(path["loss"], result.history["loss"])
    swapped = index_along_path(data, result, task_index=1 - index)
    assert not np.allclose(path["loss"], swapped["loss"])


def made_up(grad):
    grad = np.array(grad, dtype=float)[:, None]
    steps = np.arange(len(grad))
    names = ("loss", "grad_norm", "index", "n_flat", "min_eig")
    values = {name: (("step", "network"), np.tile(steps[:, None] * 1.0, 1)) for name in names}
    values["grad_norm"] = (("step", "network"), grad)
    return xr.Dataset(values, coords={"step": steps, "network": [0]})


@pytest.mark.parametrize(
    ("grad", "expected"),
    [
        ([1.0, 0.1, 1.0, 0.01], [1]),
        ([1.0, 0.5, 1.0, 0.01], []),  # too shallow
        ([1.0, 0.1, 0.2, 0.05, 0.9, 0.01], [3]),  # one plateau with a ripple in it
        ([1.0, 0.1, 0.8, 0.05, 0.9, 0.01], [1, 3]),
        ([1.0, 0.5, 0.1], []),  # still going down
        ([1.0, 0.1, 0.1, 1.0], [2]),
        ([1.0, np.nan, 0.1, 1.0, np.nan], [2]),
    ],
)
def test_plateaus(grad, expected):
    found = plateaus(made_up(grad))
    assert found["step"].tolist() == expected
    assert found["index"].tolist() == expected


def test_a_real_plateau():
    """Gradient descent started beside a saddle that splitting made stays, then leaves."""
    data = edt.tasks.teacher_student(2, 2, n=64, scale=2.0, seed=1)
    minima = edt.landscape.find_minima(data, widths=[1], seeds=range(4), progress=False)
    narrow = minima.networks.select(minima.where("bad"))
    wide = edt.embed.split(narrow, 0, 0.5).networks
    index = edt.index(wide, data)
    assert int(index.min()) >= 1
    draw = torch.Generator().manual_seed(0)
    noise = torch.randn(wide.total, generator=draw, dtype=torch.float64)
    start = wide.with_theta(wide.theta + 0.02 * noise)
    result = edt.masked_train(
        data, start, optimizer="gd", lr=0.1, steps=30_000, record_params=True, progress=False
    )
    found = plateaus(index_along_path(data, result, progress=False))
    assert len(found) >= 1
    for _, row in found.iterrows():
        b = int(row["network"])
        if abs(row["loss"] - float(minima.loss[minima.where("bad")[b]])) < 1e-3 * row["loss"]:
            assert row["index"] >= 1
            break
    else:
        pytest.fail("no run paused at the saddle it started beside")


def test_bad_input(trained):
    data, result = trained
    bare = edt.masked_train(data, result.networks, steps=2, progress=False)
    with pytest.raises(ValueError, match="record_params=True"):
        index_along_path(data, bare)
    with pytest.raises(ValueError, match="networks must be given"):
        index_along_path(data, torch.zeros(3, 5))
    with pytest.raises(ValueError, match="path must have shape"):
        index_along_path(data, torch.zeros(3, 5), result.networks)
    with pytest.raises(ValueError, match="depth must lie"):
        plateaus(index_along_path(data, result), depth=1.5)
