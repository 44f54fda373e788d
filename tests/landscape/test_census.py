"""Planted minima are counted exactly; trained ones agree with what must hold between tasks."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch

import edt
from edt.ensemble import Ensemble
from edt.landscape import (
    Minima,
    Tolerances,
    aligned_distance,
    census,
    census_table,
    critical_subspaces,
    crossover,
    dominance_table,
    embed,
    find_minima,
    loss_levels,
    minimum_subspaces,
    minimum_table,
    prediction_table,
    reduce_network,
)
from edt.landscape.layers import unpack
from edt.landscape.symmetry import SYMMETRIES
from edt.stats import chao1, good_turing


def as_minima(ens, task, outcome="bad", verdict="minimum", task_index=None):
    """Pretend that these networks are where runs ended."""
    count = ens.B
    index = torch.zeros(count, dtype=torch.int64) if task_index is None else task_index

    def words(value):
        return list(value) if isinstance(value, list) else [value] * count

    return Minima(
        networks=ens,
        task_index=index,
        loss=edt.loss(ens, task, task_index=index),
        grad_max=torch.zeros(count, dtype=torch.float64),
        threshold=torch.zeros(count, dtype=torch.float64),
        outcome=words(outcome),
        status=["converged"] * count,
        verdict=words(verdict),
        index=torch.zeros(count, dtype=torch.int64),
        n_flat=torch.zeros(count, dtype=torch.int64),
        min_eig=torch.ones(count, dtype=torch.float64),
        iterations=torch.zeros(count, dtype=torch.int64),
    )


@pytest.fixture
def data(make):
    x = 3.0 * make.inputs(120, 2)
    return edt.Task(x, torch.sin(x).sum(dim=1, keepdim=True))


@pytest.mark.parametrize("activation", ["tanh", "softplus", "relu", "sin", "sigmoid", "cube", "g"])
def test_planted_minima_are_counted_exactly(make, data, activation):
    """7 functions under random group actions and embeddings into three widths."""
    base = make.networks([3], 7, activation=activation, first=20)
    repeats = [5, 4, 3, 3, 2, 1, 1]
    planted, truth, width = [], [], []
    for seed, extra in enumerate((0, 1, 3)):
        order = torch.tensor([k for k, count in enumerate(repeats) for _ in range(count)])
        wide = embed.grow(base.select(order), 3 + extra, shares="signed", seed=seed)
        planted.append(make.moved(wide.networks, seed))
        truth += order.tolist()
        width += [3 + extra] * len(order)
    mixed = torch.from_numpy(np.random.default_rng(0).permutation(len(truth)))
    ens = Ensemble.concat(planted).select(mixed)
    truth, width = np.array(truth)[mixed], np.array(width)[mixed]
    verdict = ["minimum" if w == 3 else "flat" for w in width]
    found = census(data, as_minima(ens, data, verdict=verdict))
    runs = found.runs
    assert len(found.minima) == 7
    # The same partition as the truth, whatever the numbers.
    assert len(set(zip(runs["minimum"], truth, strict=True))) == 7
    assert (found.minima["cores"] == 1).all()
    assert (found.minima["functions"] == 1).all()
    assert (found.minima["narrowest"] == 3).all()
    assert (found.minima["widest"] == 6).all()
    dead = runs["dead"]  # relu neurons may be dead on the data, whatever was planted
    assert (runs["core_width"] + dead <= 3 + dead).all()
    if activation != "relu":
        assert (runs["core_width"] == 3).all()
        assert (runs["duplicates"] == width - 3).all()
    table = found.table().set_index("width")
    for w in (3, 4, 6):
        assert table["distinct"][w] == 7
        assert table["once"][w] == 2
        assert table["twice"][w] == 1
        assert table["irreducible"][w] == (7 if w == 3 else 0) or activation == "relu"
        assert table["coverage"][w] == good_turing(repeats).value
        assert table["chao1"][w] == chao1(repeats).total.value
    # Far from both tolerances.
    joined, _ = found.gaps["parameters"]
    assert joined < 1e-3 * Tolerances().parameters


def test_minima_of_one_loss_are_told_apart(make):
    """Mirror images of a function on mirrored data: equal loss, two functions."""
    x = make.inputs(60, 2)
    x = torch.cat([x, -x])
    data = edt.Task(x, x.square().sum(dim=1, keepdim=True))
    ens = make.networks([2])
    mirrored = ens.with_theta(ens.theta)
    mirrored.weight(0, 0).mul_(-1.0)
    found = census(data, as_minima(Ensemble.concat([ens, mirrored, ens]), data))
    assert found.runs["level"].tolist() == [0, 0, 0]
    assert found.runs["function"].tolist() == [0, 1, 0]
    assert found.runs["minimum"].tolist() == [0, 1, 0]
    joined, parted = found.gaps["function"]
    assert joined < 1e-12
    assert parted > 0.01


def test_one_function_from_many_parameters(make):
    """Two relu neurons that never bend on the data: a continuum if flat, else separate minima."""
    x = 0.5 + torch.rand(90, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    data = edt.Task(x, torch.sin(9 * x).sum(dim=1, keepdim=True))
    ens = make.networks([3], activation="relu", first=4)
    ens.weight(0, 0)[:2] = torch.tensor([[1.0, 0.2], [0.2, 1.0]], dtype=torch.float64)
    ens.bias(0, 0)[:2] = 0.1
    ens.weight(0, 1)[0, :2] = 1.0
    other = ens.with_theta(ens.theta)
    shift = torch.tensor([0.1, -0.1], dtype=torch.float64)
    other.weight(0, 0)[0] += shift
    other.weight(0, 0)[1] -= shift
    both = Ensemble.concat([ens, other])
    flat = census(data, as_minima(both, data, verdict="flat"))
    assert flat.runs["function"].tolist() == [0, 0]
    assert flat.runs["core"].tolist() == [0, 1]
    assert flat.runs["minimum"].tolist() == [0, 0]
    strict = census(data, as_minima(both, data))
    assert strict.runs["minimum"].tolist() == [0, 1]
    # A flat point with the parameters of a strict minimum is that minimum.
    mixed = census(
        data, as_minima(Ensemble.concat([other, ens]), data, verdict=["flat", "minimum"])
    )
    assert mixed.runs["minimum"].tolist() == [1, 0]
    third = Ensemble.concat([ens, make.moved(ens, 3), other])
    verdict = ["minimum", "flat", "flat"]
    assert census(data, as_minima(third, data, verdict=verdict)).runs["minimum"].tolist() == [
        0,
        0,
        1,
    ]


def test_good_runs_are_one_minimum():
    data = edt.tasks.teacher_student(2, 3, n=100, seed=2)
    teacher = data.info["teacher"]
    near = [teacher.with_theta(teacher.theta * (1 + k * 1e-7)) for k in range(4)]
    ens = Ensemble.concat(near)
    minima = as_minima(ens, data, outcome="good", verdict="unmeasured")
    minima.status = ["target"] * 4
    found = census(data, minima)
    assert found.runs["minimum"].tolist() == [0] * 4
    assert found.runs["core"].tolist() == [-1] * 4
    assert found.minima["core_width"].tolist() == [-1]
    assert math.isnan(found.table()["coverage"][0])


def test_runs_that_did_not_settle(make, data):
    ens = make.networks([2], 3)
    found = census(data, as_minima(ens, data, outcome=["bad", "unconverged", "channel"]))
    assert found.runs["minimum"].tolist() == [0, -1, -1]
    assert found.cores[1] is None
    table = found.table()
    assert table[["runs", "good", "bad", "open"]].values.tolist() == [[3, 0, 1, 2]]
    assert table["settled_share"].tolist() == [1.0]


def test_good_runs_above_the_bottom_are_at_no_minimum(make, data):
    """Where loss 0 is out of reach: numbers of minima stay whole beside them."""
    minima = as_minima(make.networks([2], 3), data, outcome=["bad", "good", "good"])
    minima.status = ["converged", "target", "converged"]
    found = census(data, minima)
    assert found.runs["minimum"].dtype == "int64" and found.runs["minimum"].tolist()[1] == -1
    assert len(found.minima) == 2


def test_targets_are_counted_apart(make):
    x = make.inputs(80, 2)
    data = edt.Task(x, torch.stack([torch.sin(x[:, :1]), x[:, 1:]]))
    ens = make.networks([2, 3], 2)
    ens = Ensemble.concat([ens, ens])
    index = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    found = census(data, as_minima(ens, data, task_index=index))
    assert found.runs["minimum"].nunique() == 8
    table = found.table()
    assert table["target"].tolist() == [0, 0, 1, 1, -1, -1]
    assert table["distinct"].tolist() == [2, 2, 2, 2, 4, 4]


def test_tables_follow_from_the_runs(make, data):
    ens = make.networks([2, 3], 5)
    found = census(data, as_minima(ens, data))
    again = found.runs.copy()
    pd.testing.assert_frame_equal(minimum_table(again), found.minima)
    pd.testing.assert_frame_equal(census_table(again), found.table())
    assert found.representatives().tolist() == found.minima["representative"].tolist()
    assert found.representatives("good").numel() == 0
    predicted = found.prediction(4)
    pd.testing.assert_frame_equal(predicted, prediction_table(again, 4))
    assert repr(found) == "Census(10 runs: 10 bad minima, 0 good)"


def test_prediction_beside_the_census(make, data):
    """Two bad minima of width 2, one of width 3, counted in subspaces at every width."""
    ens = Ensemble.concat([make.networks([2], 2), make.networks([3])])
    wide = embed.grow(ens, 5).networks
    minima = as_minima(Ensemble.concat([ens, wide]), data)
    predicted = census(data, minima).prediction(3).set_index("width")
    assert predicted.index.tolist() == [2, 3, 5]
    for m in (3, 5):
        bad = 2 * critical_subspaces(2, m) + critical_subspaces(3, m)
        good = minimum_subspaces(3, m)
        row = predicted.loc[m]
        assert row["log10_minima"] == pytest.approx(math.log10(good))
        assert row["log10_critical"] == pytest.approx(math.log10(bad))
        assert row["minima_share"] == pytest.approx(good / (good + bad))
        assert row["dominated"] == (good > bad)
        assert row["bad_share"] == 1.0
    assert predicted["minima_share"][2] == 0.0
    assert predicted["log10_minima"][2] == -math.inf
    # Without a census: one irreducible point of every smaller width.
    table = dominance_table(6, range(6, 30)).set_index("width")
    assert table.index[table["dominated"]].min() == crossover(6, cumulative=True)
    assert table["dominated"].iloc[-1]
    with pytest.raises(ValueError, match="irreducible must map widths"):
        dominance_table(3, [3], {0: 1})


@pytest.fixture(scope="module")
def trained():
    """Students of tanh and of sigmoid on one target: the same functions, other parameters."""
    data = edt.tasks.teacher_student(2, 3, n=128, scale=2.0, seed=1)
    return data, {
        name: find_minima(
            data, widths=[2, 3], seeds=range(25), activation=name, finish="all", progress=False
        )
        for name in ("tanh", "sigmoid")
    }


def test_tanh_and_sigmoid_have_the_same_minima(trained):
    """``tanh(z) = 2 sigmoid(2 z) - 1``: a bijection of parameters, so losses must agree."""
    data, minima = trained
    found = {name: census(data, minima[name]) for name in minima}
    levels = [
        loss_levels(c.minima.query("outcome == 'bad'")["loss"].to_numpy()).loss
        for c in found.values()
    ]
    common = [a for a in levels[0] if np.isclose(levels[1], a, rtol=1e-9).any()]
    # Those met often enough must be met by both.
    assert len(common) >= 2
    for c in found.values():
        often = c.minima[(c.minima["outcome"] == "bad") & (c.minima["count"] >= 8)]
        assert len(often) >= 1
        for loss in often["loss"]:
            assert np.isclose(common, loss, rtol=1e-9).any()
        # Bad minima are isolated here: one core, one function, one loss each.
        assert c.minima.query("outcome == 'bad'")["loss"].is_unique
        assert c.gaps["parameters"][0] < 0.1 * Tolerances().parameters


def test_good_students_of_equal_width_are_the_teacher(trained):
    data, minima = trained
    teacher = data.info["teacher"]
    coef = torch.full((data.N,), 1 / data.N, dtype=torch.float64)
    exact = reduce_network(unpack(teacher, 0), "tanh", data.x, coef, 1e-9)
    found = census(data, minima["tanh"])
    good = found.runs.query("outcome == 'good' and width == 3 and verdict == 'minimum'")
    assert len(good) >= 3
    for b in good["run"]:
        # max|grad| <= 1e-10 over curvatures down to 1e-5.
        assert aligned_distance(exact, found.cores[b]) < 1e-5


def test_symmetric_starts_give_symmetric_ends(make):
    """Equivariance: a start and its image under the group end at the same minimum."""
    data = edt.tasks.teacher_student(2, 3, n=64, scale=2.0, seed=1)
    start = Ensemble.init([3], range(8), d_in=2, d_out=1, scheme="glorot")
    both = Ensemble.concat([start, make.moved(start, 1)])
    assert SYMMETRIES["tanh"].free
    ended = edt.converge(data, both, progress=False)
    found = census(data, Minima.of(ended, 1e-8))
    for b in range(8):
        if found.runs["outcome"][b] == found.runs["outcome"][b + 8] == "bad":
            assert found.runs["minimum"][b] == found.runs["minimum"][b + 8]
    assert (found.runs["outcome"] == "bad").sum() >= 6
