"""Escape times by batch size: known speeds, the law of curvature, and batches that do nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from edt.studies.common.targets import teacher_task
from edt.studies.optimisers import panels
from edt.studies.optimisers.flows import plateau_table, plateaus_of
from edt.studies.optimisers.page import plateau_findings, speed_findings
from edt.studies.optimisers.run import _leave, time_table
from edt.studies.optimisers.spec import OptimisersSpec


def escapes(factor, seed=0, targets=6, saddles=3):
    """Full batches take 1,000 steps on average; small ones ``factor`` times as many."""
    draw = np.random.Generator(np.random.Philox(seed))
    rows = []
    for t in range(targets):
        for s in range(saddles):
            own = 1000 * 10 ** draw.normal(0, 0.3)
            for batch in (4, 96):
                for noise in range(1 if batch == 96 else 3):
                    more = 10 ** draw.normal(0, 0.1) * (factor if batch == 4 else 1.0)
                    rows.append(
                        {"target": t, "saddle": s, "batch": batch, "noise": noise, "kappa": 1.0,
                         "predicted": own, "steps": int(own * more), "left": True}
                    )  # fmt: skip
    return pd.DataFrame(rows)


def said(factor, seed=0):
    return [found.speaks for found in speed_findings(time_table(escapes(factor, seed)))]


def test_batches_that_do_nothing_are_not_said_to():
    """5% two-sided: of 12 data sets at most three may speak (99.8%)."""
    assert sum(said(1.0, seed) != ["silent"] for seed in range(12)) <= 3
    assert said(0.3) == ["for"] and said(3.0) == ["against"]
    assert speed_findings(time_table(escapes(1.0).head(0))) == []


def test_speeds_are_ratios():
    table = time_table(escapes(0.5, saddles=40)).set_index("batch")
    # 240 saddles, spread 0.12 decades each: half a per cent of a decade.
    assert 10 ** table.loc[4, "speed"] == pytest.approx(2.0, rel=0.1)
    assert np.isnan(table.loc[96, "speed"])
    assert table.loc[4, "saddles"] == 240


def test_full_batches_leave_as_fast_as_the_curvature_says():
    """Along the eigenvector plain descent grows by 1 + lr kappa a step, until the loss bends."""
    spec = OptimisersSpec(
        teachers=1, samples=48, steps=1500, saddles=2, batches=(48,), leave_steps=20_000,
        lbfgs_steps=300, certify_steps=100,
    )  # fmt: skip
    table = _leave(spec, teacher_task(spec), 0)
    assert len(table) > 0
    left = table[table["left"]]
    # A tenth of the loss is a step of order one: times agree within a factor of a few.
    assert (left["steps"] > 0.2 * left["predicted"]).all()
    assert (left["steps"] < 5.0 * left["predicted"]).all()


def test_steps_of_runs_that_did_not_leave_are_open_and_said_to_be():
    runs = escapes(1.0)
    runs.loc[runs["batch"] == 4, "left"] = False
    names = [f"{name}{end}" for name in ("good", "bad") for end in ("", "_low", "_high")]
    rates = dict.fromkeys(names, 0.5)
    outcomes = pd.DataFrame([{"setting": "Adam, start × 1", "width": 2, "moved": 1.0, **rates}])
    steps = panels.optimisers(outcomes, time_table(runs))[-1]
    drawn = {trace["name"]: trace for trace in steps.traces}
    assert drawn["measured (median)"]["x"] == [96]
    open_ = drawn["most had not left in so many"]
    assert open_["x"] == [4] and open_["marker"]["symbol"].endswith("-open")


def plateaus(power, seed=0, targets=4, saddles=12):
    """Saddles of curvatures over three decades, each met twice; time goes like kappa^power."""
    draw = np.random.Generator(np.random.Philox(seed))
    rows = []
    for t in range(targets):
        for s in range(saddles):
            kappa = 10 ** draw.uniform(-4, -1)
            for _ in range(2):
                stay = 10.0 * 10 ** draw.normal(0, 0.3) * kappa**power
                rows.append({"target": t, "seed": 0, "time": 1.0, "loss": 0.1 * 1.1**s,
                             "grad_norm": 1e-4, "index": 1, "kappa": kappa, "stay": stay,
                             "left": True})  # fmt: skip
    return pd.DataFrame(rows)


def test_plateaus_speak_where_time_goes_with_curvature_and_only_there():
    table = plateau_table(plateaus(-1.0), draws=300)
    row = table.iloc[0]
    assert (row["saddles"], row["teachers"]) == (48, 4) and row["correlation"] < -0.8
    assert row["product"] == pytest.approx(10.0, rel=0.5)
    assert [found.speaks for found in plateau_findings(table)] == ["for"]
    together = plateau_findings(plateau_table(plateaus(1.0), draws=300))
    assert [found.speaks for found in together] == ["against"]
    # Without a connection: 5% two-sided, of 12 data sets at most three may speak (99.8%).
    said = [plateau_findings(plateau_table(plateaus(0.0, seed), draws=300))[0].speaks
            for seed in range(12)]  # fmt: skip
    assert said.count("silent") >= 9
    assert plateau_findings(plateau_table(plateaus(1.0).head(0))) == []


def test_flow_stays_at_a_saddle_as_long_as_its_curvature_says():
    """A split minimum left along its way down: the time from a distance d is ln(1/d) / kappa, give
    or take a factor for where a tenth of the loss is gone."""
    spec = OptimisersSpec(teachers=1, samples=48, flows=4, flow_time=1e5)
    task = teacher_task(spec)
    seeds = list(range(4))
    start = spec.recipe.start([3], seeds, d_in=2, d_out=1, activation="tanh", bias=True)
    found = plateaus_of(task, start.with_theta(0.03 * start.theta), 0, seeds, spec.flow_time)
    assert len(found) and (found["stay"] >= 0).all() and (found["loss"] > 0).all()
    gone = found[found["left"] & found["kappa"].notna()]
    assert len(gone)
    products = gone["kappa"] * gone["stay"]
    # The gradient at a dip is small but not 0: the flow starts at most e^-15 off.
    assert ((products > 0.05) & (products < 20.0)).all()
