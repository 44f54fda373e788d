"""Escapes from embedded bad minima, against what theory says about each of their numbers."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import edt
from edt.landscape import DESTINATIONS, escape_experiment, find_minima


@pytest.fixture(scope="module")
def teacher():
    return edt.tasks.teacher_student(2, 2, n=64, scale=2.0, seed=1)


@pytest.fixture(scope="module")
def minima(teacher):
    found = find_minima(teacher, widths=[1, 2], seeds=range(2), steps=1000, progress=False)
    return found.select(torch.tensor([0, 2, 3]))


@pytest.fixture(scope="module")
def found(teacher, minima):
    return escape_experiment(
        teacher, minima, add=(1, 2), copies=1, random=2, descent_steps=3000, progress=False
    )


def test_points(teacher, minima, found):
    bad = minima.where("bad").tolist()
    points = found.points
    assert sorted(points["source"].unique()) == bad
    assert len(points) == len(bad) * 2 * 2
    assert (points["width"] - points["narrow"]).equals(points["added"])
    narrow = minima.loss.numpy()[points["source"]]
    # Splitting keeps the loss to rounding.
    np.testing.assert_allclose(points["loss"], narrow, rtol=1e-12)
    # The narrow network knows the signs of the wide Hessian, without looking at it.
    for name in ("neg", "zero", "pos"):
        assert points[f"predicted_{name}"].equals(points[f"n_{name}"])
    index = edt.index(found.embedded, teacher)
    assert points["n_neg"].tolist() == index.tolist()
    assert points["n_neg"].max() > 1


def test_starts_leave_along_every_negative_direction(teacher, found):
    points, starts = found.points, found.starts
    negative = starts[starts["kind"] == "negative"]
    counted = negative.groupby("point").size().reindex(points.index, fill_value=0)
    assert (counted == 2 * points["n_neg"]).all()
    assert (starts[starts["kind"] == "random"].groupby("point").size() == 2).all()
    theta = found.embedded
    norm = torch.stack(
        [
            theta.theta[int(a) : int(b)].norm()
            for a, b in zip(theta.offsets[:-1], theta.offsets[1:], strict=True)
        ]
    ).numpy()[negative["point"]]
    fall = points["loss"].to_numpy()[negative["point"]] - negative["start_loss"]
    predicted = -0.5 * negative["eigenvalue"] * (1e-3 * norm) ** 2
    # Second order; the third-order term is odd in the sign and cancels in the mean of both.
    both = np.stack([fall.to_numpy(), predicted.to_numpy()]).reshape(2, -1, 2).mean(axis=2)
    strong = both[1] > 1e-9  # beyond the rounding of losses of order one
    assert strong.sum() >= 10
    np.testing.assert_allclose(both[0][strong], both[1][strong], rtol=0.05)


def test_ends(teacher, minima, found):
    points, starts = found.points, found.starts
    assert set(starts["destination"]) <= set(DESTINATIONS)
    loss = edt.loss(found.networks, teacher)
    assert starts["loss"].tolist() == loss.tolist()
    before = points["loss"].to_numpy()[starts["point"]]
    np.testing.assert_array_equal(starts["drop"], before - starts["loss"])
    downhill = starts["kind"] == "negative"
    assert (starts["drop"][downhill] > 0).all()
    assert (starts["loss"] <= starts["start_loss"]).all()
    limit = points["threshold"].to_numpy()[starts["point"]]
    assert ((starts["destination"] == "good") == (starts["loss"] <= limit)).all()
    # The way down from a strict saddle ends lower: no run is back where it began.
    assert not starts["destination"][downhill].isin(["same", "diverged"]).any()
    for row in (0, len(starts) // 2, len(starts) - 1):
        end = found.networks.network(row).theta
        begun = found.embedded.network(int(starts["point"][row])).theta
        assert starts["distance"][row] == pytest.approx(float((end - begun).norm()), rel=1e-12)
        gap = edt.predict(found.networks.network(row), teacher) - edt.predict(
            found.embedded.network(int(starts["point"][row])), teacher
        )
        rms = math.sqrt(float(gap.square().mean()))
        assert starts["function_distance"][row] == pytest.approx(rms, rel=1e-12)


def test_table(found):
    table = found.table()
    assert table["starts"].sum() == len(found.starts)
    for _, row in table.iterrows():
        group = found.starts[
            (found.starts["added"] == row["added"])
            & (found.starts["shares"] == row["shares"])
            & (found.starts["kind"] == row["kind"])
        ]
        assert row["good"] == (group["destination"] == "good").mean()
        assert row["good_low"] <= row["good"] <= row["good_high"]
        assert row["good_spread_low"] <= row["good"] <= row["good_spread_high"]
        assert row["agree"] == row["clear"] == row["points"]
        ends = row["good"] * row["starts"] + sum(row[w] for w in DESTINATIONS if w != "good")
        assert ends == pytest.approx(row["starts"])
    wide = found.table(by=["added"])
    # More copies, more ways down: linear in their number for scalar output.
    assert wide["mean_index"].is_monotonic_increasing
    assert repr(found).startswith(f"Escape({len(found.points)} points, {len(found.starts)} starts")


def test_time_to_escape(teacher, minima):
    """Along an eigenvector gradient descent grows the displacement by 1 + lr |lambda| a step."""
    bad = minima.select(minima.where("bad")[:2])
    found = escape_experiment(
        teacher, bad, add=(1,), copies=1, random=0, directions=1, step=1e-4,
        descent_steps=40_000, newton_steps=1, lbfgs_steps=1, progress=False,
    )  # fmt: skip
    starts = found.starts[found.starts["escape_steps"].notna()]
    assert len(starts) >= 4
    for _, row in starts.iterrows():
        b = int(row["point"])
        assert row["length"] == 1e-4 * float(found.embedded.network(b).theta.norm())
        fall = 0.01 * found.points["loss"][b]
        growth = math.log1p(row["lr"] * abs(row["eigenvalue"]))
        predicted = math.log(2 * fall / (abs(row["eigenvalue"]) * row["length"] ** 2))
        assert row["linear_steps"] == pytest.approx(predicted / (2 * growth))
        # Records are a third apart, and the last part of the way is not linear.
        assert 0.6 < row["escape_steps"] / row["linear_steps"] < 2.0


def test_plateau_minima_hold_their_runs():
    """With one input weight B is a number: on one side of mu in {0, 1} the point is a minimum."""
    x = torch.linspace(-2.0, 2.0, 61, dtype=torch.float64)[:, None]
    data = edt.Task(x, torch.tanh(3 * x) - 0.7 * torch.tanh(0.8 * x))
    start = edt.Ensemble.init([1], range(6), d_in=1, d_out=1, bias=False, scheme="normal")
    minima = find_minima(data, start, steps=500, progress=False)
    bad = minima.where("bad")
    assert bad.numel() >= 3
    found = escape_experiment(
        data, minima, add=(1,), shares=("equal", "signed"), copies=1, random=6, progress=False
    )
    points = found.points.set_index(["source", "shares"])
    for source in bad.tolist():
        counts = (points["n_neg"][source, "equal"], points["n_neg"][source, "signed"])
        assert sorted(counts) == [0, 1]
    held = found.points.index[found.points["n_neg"] == 0]
    starts = found.starts[found.starts["point"].isin(held)]
    assert len(starts) == 6 * bad.numel()
    assert (starts["destination"] == "same").all()
    assert (starts["verdict"] == "flat").all()  # along the line of mu


def test_masks_and_depth():
    data = edt.tasks.teacher_student(2, (2, 2), n=64, scale=2.0, seed=3)
    start = edt.Ensemble.init([(2, 1), (2, 2)], range(3), d_in=2, d_out=1, sparsity=0.2)
    minima = find_minima(data, start, steps=500, realisable=False, good=0.0, progress=False)
    found = escape_experiment(
        data, minima, add=(1,), shares=("signed",), copies=1, layer=1, random=1,
        descent_steps=0, progress=False,
    )  # fmt: skip
    assert (found.points["added"] == 1).all()
    assert found.points["predicted_neg"].equals(found.points["n_neg"])
    assert found.starts["escape_steps"].isna().all()
    pruned = found.networks.state == 0
    assert bool(pruned.any())
    assert float(found.networks.theta[pruned].abs().max()) == 0.0


def test_bad_input(teacher, minima):
    with pytest.raises(ValueError, match="shares must be one of"):
        escape_experiment(teacher, minima, shares=("equals",))
    with pytest.raises(ValueError, match="add entries must be >= 1"):
        escape_experiment(teacher, minima, add=(0,))
    with pytest.raises(ValueError, match="must not be empty"):
        escape_experiment(teacher, minima, add=())
    with pytest.raises(ValueError, match="step must be"):
        escape_experiment(teacher, minima, step=0.0)
    with pytest.raises(ValueError, match=r"hidden layer 0\.\.0, got 1"):
        escape_experiment(teacher, minima, layer=1)
    spoilt = minima.select(torch.tensor([0]))
    spoilt.outcome = ["saddle"]
    with pytest.raises(ValueError, match=r"at least one bad minimum, got Minima\(1 runs: 1 saddle"):
        escape_experiment(teacher, spoilt)
    with pytest.raises(ValueError, match="no start"):
        escape_experiment(teacher, minima, directions=0, random=0)


@pytest.fixture(scope="module")
def channels():
    """Minima of one and two channels read out by their mean, for a teacher of two."""

    def network(width, _):
        return nn.Sequential(
            nn.Conv2d(1, width, 2), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.Linear(width, 1),
        )  # fmt: skip

    def ensemble(widths, seeds):
        return edt.ModuleEnsemble.build(
            network, widths, seeds, input_shape=(1, 4, 4), dtype=torch.float64
        )

    x = torch.randn(48, 16, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    teacher = ensemble([2], [7])
    y = edt.predict(teacher.with_theta(3.0 * teacher.theta), x)[0]
    task = edt.Task(x, (y - y.mean()) / y.std())
    starts = ensemble([1, 2], range(1))
    return task, find_minima(task, starts, steps=200, lr=0.05, lbfgs_steps=100, newton_steps=30,
                             progress=False)  # fmt: skip


def test_channels_of_modules(channels):
    """Every number of points against the full Hessian; ways down lead down."""
    task, minima = channels
    bad = minima.where("bad")
    assert bad.numel() and all(minima.verdict[b] == "minimum" for b in bad)
    assert minima.to_pandas()["width"].tolist() == [1, 2]
    assert set(minima.label).pop() == "uncertified"
    found = escape_experiment(
        task, minima, add=(1,), shares=("positive",), copies=1, directions=1, random=0,
        descent_steps=50, lbfgs_steps=20, newton_steps=0, progress=False,
    )  # fmt: skip
    points, starts = found.points, found.starts
    assert (points["width"] - points["narrow"]).eq(1).all()
    for name in ("neg", "zero", "pos"):
        assert points[f"predicted_{name}"].equals(points[f"n_{name}"])
    assert points["n_neg"].tolist() == edt.index(found.embedded, task).tolist()
    assert points["n_neg"].max() >= 1
    assert starts["loss"].tolist() == edt.loss(found.networks, task).tolist()
    assert (starts["drop"][starts["kind"] == "negative"] > 0).all()
    assert len(found.table()) and set(starts["destination"]) <= set(DESTINATIONS)


def test_modules_of_a_chain_are_that_chain(teacher, minima):
    """Neurons of linear modules: the same points and ways as of the kernels' own networks."""
    modules = edt.ModuleEnsemble([minima.networks.to_module(b) for b in range(minima.networks.B)])
    twins = replace(minima, networks=modules)
    both = [
        escape_experiment(
            teacher,
            each,
            add=(2,),
            copies=1,
            random=1,
            descent_steps=0,
            lbfgs_steps=1,
            newton_steps=0,
            progress=False,
        )
        for each in (minima, twins)
    ]
    one, other = (each.points for each in both)
    pd.testing.assert_frame_equal(one, other, rtol=1e-8)
    one, other = (each.starts for each in both)
    # Eigenvalues near 0 and losses near an end keep what another order of summation leaves.
    names = ["point", "source", "kind", "sign", "eigenvalue", "length", "start_loss"]
    pd.testing.assert_frame_equal(one[names], other[names], rtol=1e-7)
