"""Controls of dimension against neurons: what trains, from where, and what is compared."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
import torch

from edt.lottery import run_trial
from edt.lottery.trial import run_objective_trial
from edt.stats import cluster_rate
from edt.studies.common.targets import teacher_task
from edt.studies.controls.page import answer
from edt.studies.controls.run import (
    Controls,
    attribution_table,
    hold,
    rate_table,
    run_controls,
    start_networks,
)
from edt.studies.controls.spec import ControlsSpec
from edt.tasks.given import objective_of

SMALL = ControlsSpec(
    teachers=2, teacher_width=2, widths=(2, 4), seeds=5, samples=40, steps=300, lbfgs_rounds=1,
    lbfgs_steps=100, good=1e-3, inners=(2, 3), margins=(0, 2),
)  # fmt: skip


def test_cells_and_dimensions():
    """P(m) = 4 m + 1; a subspace needs P(2) + 2 = 11 of the 17 dimensions of width 4."""
    assert SMALL.parameters(2) == 9 and SMALL.dimensions(4) == (11, 13)
    assert SMALL.dimensions(2) == ()  # 9 = P(2) is all there is: that is "rotated"
    assert SMALL.cells == [
        ("width", 2, 0), ("width", 4, 0), ("features", 4, 0), ("frozen", 4, 0),
        ("factored", 2, 2), ("factored", 2, 3), ("rotated", 2, 0), ("rotated", 4, 0),
        ("subspace", 4, 11), ("subspace", 4, 13),
    ]  # fmt: skip
    assert SMALL.networks == 10 * 10


def test_run_resume_and_load(tmp_path):
    folder = tmp_path / "run"
    done = run_controls(SMALL, folder, progress=False)
    runs = done.tables["runs"]
    assert len(runs) == SMALL.networks and runs["win"].any() and not runs["win"].all()
    sizes = runs.groupby(["control", "width", "setting"])["dimension"].first()
    assert sizes["width"].tolist() == [9, 17]
    assert sizes["features", 4, 0] == 9 + 2 and sizes["frozen", 4, 0] == 9
    # k (out + in) for both layers, and the biases.
    assert sizes["factored", 2, 3] == 3 * (2 + 2) + 2 + 3 * (2 + 1) + 1
    assert sizes["rotated"].tolist() == [9, 17] and sizes["subspace"].tolist() == [11, 13]
    before = (folder / "runs.parquet").read_bytes()
    next((folder / "parts").glob("subspace-*-0013.parquet")).unlink()
    again = run_controls(SMALL, folder, progress=False)
    assert (folder / "runs.parquet").read_bytes() == before
    pd.testing.assert_frame_equal(Controls.load(folder).tables["runs"], again.tables["runs"])
    assert len(done.rates()) == 10 and done.attribution()["delta_aic"].min() == 0.0


def test_held_neurons_stay():
    task = teacher_task(SMALL)
    start, index = start_networks(SMALL, task, 4)
    for outputs, trained in ((True, 11), (False, 9)):
        held = hold(start, 2, outputs=outputs)
        assert held.coords.tolist() == [trained] * 10
        ends = run_trial(task, held, SMALL.protocol, index).networks
        for b in (0, 7):
            assert torch.equal(ends.weight(b, 0)[2:], start.weight(b, 0)[2:])
            assert torch.equal(ends.bias(b, 0)[2:], start.bias(b, 0)[2:])
            assert not torch.equal(ends.weight(b, 0)[:2], start.weight(b, 0)[:2])
            same = torch.equal(ends.weight(b, 1)[:, 2:], start.weight(b, 1)[:, 2:])
            assert same is not outputs


def test_objective_trial_is_the_trial():
    """Adam in PyTorch and in the kernel: 1e-9, what 60 steps leave of roundings of 1e-16."""
    task = teacher_task(SMALL)
    protocol = dataclasses.replace(SMALL, steps=60, lbfgs_rounds=0).protocol
    start, index = start_networks(SMALL, task, 4)
    expected = run_trial(task, start, protocol, index)
    enough = (protocol.good * task.variance)[index]
    found = run_objective_trial(objective_of(start, task, index), start.theta, protocol, enough)
    torch.testing.assert_close(found.loss, expected.loss, rtol=1e-9, atol=0.0)
    assert torch.equal(found.win, expected.win) and torch.equal(found.steps, expected.steps)
    more = dataclasses.replace(SMALL, steps=60, lbfgs_rounds=1).protocol
    lower = run_objective_trial(objective_of(start, task, index), start.theta, more, enough)
    assert (lower.loss <= found.loss).all() and (lower.loss < found.loss).any()


def runs_of(cells):
    """(control, width, setting, learning, dimension, wins of seeds 0..n-1)."""
    return pd.DataFrame(
        [
            {"control": c, "target": 0, "width": m, "setting": s, "learning": n, "dimension": d,
             "seed": seed, "win": bool(won)}
            for c, m, s, n, d, wins in cells
            for seed, won in enumerate(wins)
        ]
    )  # fmt: skip


def test_pairs():
    """McNemar by hand: 0 against 6 of 6 has p = 2 / 2^6."""
    plain = [1] * 8 + [0] * 4
    table = rate_table(
        runs_of([("width", 4, 0, 4, 17, plain), ("frozen", 4, 0, 2, 9, [1] * 2 + [0] * 10)])
    ).set_index("control")
    row = table.loc["frozen"]
    assert (row["only_here"], row["only_ordinary"]) == (0, 6)
    assert row["p"] == pytest.approx(2 / 64) and row["rate_ordinary"] == pytest.approx(8 / 12)
    assert table.loc["width", "p"] == 1.0


def test_rates_and_differences_are_over_teachers():
    """Teachers that differ widen the interval of their rate, and not that of a paired gap."""
    plain = [[1] * 10, [1] * 2 + [0] * 8, [1] * 6 + [0] * 4]
    worse = [[0, *wins[1:]] for wins in plain]
    cells = [("width", 4, 0, 4, 17), ("frozen", 4, 0, 2, 9)]
    runs = pd.concat(
        runs_of([(*cell, wins)]).assign(target=target)
        for cell, of in zip(cells, (plain, worse), strict=True)
        for target, wins in enumerate(of)
    )
    ordinary, frozen = rate_table(runs).to_dict("records")
    over = cluster_rate([10, 2, 6], [10, 10, 10])
    assert (ordinary["rate_low"], ordinary["rate_high"]) == (over.low, over.high)
    assert math.isnan(ordinary["ahead"]) and ordinary["targets"] == 3
    assert frozen["ahead"] == pytest.approx(-0.1) and frozen["ahead_high"] < 0.2


@pytest.mark.parametrize(("slopes", "says"), [((3, 3, 3, 3), "help"), ((9, 0, 0, 0), "do not")])
def test_the_answer_wants_teachers_to_agree(slopes, says):
    """One teacher of four with a strong effect makes any p small: that is no help in general."""
    generator = np.random.Generator(np.random.Philox(7))
    runs = pd.concat(
        runs_of([(control, m, 0, m, d, generator.random(300)
                  < 1 / (1 + math.exp(-slope * math.log(m / 7))))]).assign(target=target)
        for target, slope in enumerate(slopes)
        for m in (4, 8, 12)
        for control, d in (("width", 20), ("rotated", 60))
    )  # fmt: skip
    found = attribution_table(runs)
    assert found.set_index("model").loc["dimension", "p"] < 1e-6
    assert f"more neurons that learn {says}" in answer(rate_table(runs), found).text


def test_attribution_finds_what_the_data_were_made_of():
    """Success follows ln learning neurons (slope 3) and ignores dimension."""
    generator = np.random.Generator(np.random.Philox(5))
    cells = []
    for learning in (4, 6, 8, 12):
        for dimension in (20, 40, 80):
            rate = 1 / (1 + math.exp(-3.0 * math.log(learning / 7)))
            cells.append(("width", learning, dimension, learning, dimension,
                          generator.random(400) < rate))  # fmt: skip
    found = attribution_table(runs_of(cells)).set_index("model")
    assert found.loc["learning", "p"] > 0.01 and found.loc["dimension", "p"] < 1e-10
    assert found.loc["both", "b_learning"] == pytest.approx(3.0, abs=0.5)  # about 4 standard errors
    assert abs(found.loc["both", "b_dimension"]) < 0.3
    assert attribution_table(runs_of(cells[:1])).empty


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"controls": ("width", "frozn")}, "did you mean"),
        ({"controls": ("frozen",)}, "'width'"),
        ({"widths": (4, 8)}, "teacher_width"),
        ({"widths": (1, 2)}, "teacher_width"),
        ({"margins": (-1,)}, "margins"),
        ({"inners": (0,)}, "inners"),
    ],
)
def test_bad_spec(changes, says):
    with pytest.raises(ValueError, match=says):
        dataclasses.replace(SMALL, **changes)
