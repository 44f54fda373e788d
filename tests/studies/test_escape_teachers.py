"""Teachers chosen by escape dimensions: the choice, the test on known truths, and what is said."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from edt.studies.escape_teachers import escape_teachers_spec
from edt.studies.escape_teachers.page import findings
from edt.studies.escape_teachers.run import (
    EscapeTeachersRun,
    chosen,
    elasticity,
    growth_table,
    teacher_table,
)


def students(draw, law, teachers=12, seeds=200, widths=(4, 5, 6)):
    """Runs of teachers whose neurons open 0.5 to 2.5 ways down; ``law`` maps e to growth."""
    opened = np.linspace(0.5, 2.5, teachers)
    rows = []
    for t, e in enumerate(opened):
        for m in widths:
            fail = np.exp(-0.3 * draw.uniform(0.8, 1.2) - law(e) * (m - widths[0]))
            win = draw.random(seeds) >= fail
            rows.append(
                pd.DataFrame({"target": t, "group": "few" if e < 1.5 else "many", "opened": e,
                              "width": m, "win": win})
            )  # fmt: skip
    return pd.concat(rows, ignore_index=True)


def said(runs):
    return findings(growth_table(teacher_table(runs), draws=300))


def test_it_speaks_for_ways_down_where_they_are_the_cause_and_against_where_width_is():
    draw = np.random.default_rng(0)
    proportional = growth_table(teacher_table(students(draw, lambda e: 0.3 * e)), draws=300)
    row = proportional.iloc[0]
    assert row["elasticity_low"] < 1.0 < row["elasticity_high"] and row["p"] < 0.01
    assert [found.speaks for found in findings(proportional)] == ["for"]
    by_width = said(students(draw, lambda e: 0.45))
    assert [found.speaks for found in by_width] == ["against"]
    assert "not by their number" in by_width[0].text


def test_nothing_is_said_of_teachers_that_do_not_differ():
    runs = students(np.random.default_rng(1), lambda e: 0.3).assign(opened=1.0)
    assert said(runs) == []
    few = students(np.random.default_rng(1), lambda e: 0.3 * e, teachers=3)
    assert said(few) == []


def test_elasticity_is_one_where_growth_is_proportional_and_zero_where_it_is_level():
    e = np.array([0.5, 1.0, 2.0, 4.0])
    assert elasticity(np.stack([e, 3.0 * e], axis=1)) == pytest.approx(1.0)
    assert elasticity(np.stack([e, np.ones(4)], axis=1)) == pytest.approx(0.0, abs=1e-15)


def test_the_interval_of_the_elasticity_holds_the_truth():
    """400 sets of 12 teachers whose growth scatters by a fifth about proportionality."""
    draw = np.random.default_rng(2)
    held = 0
    for _ in range(400):
        e = np.sort(draw.uniform(0.5, 2.5, 12))
        g = 0.3 * e + 0.1 * draw.standard_normal(12)
        row = growth_table(pd.DataFrame({"opened": e, "growth": g}), draws=1).iloc[0]
        held += row["elasticity_low"] <= 1.0 <= row["elasticity_high"]
    assert 360 <= held <= 396  # 90 to 99%


def test_few_and_many_are_chosen_and_teachers_without_bad_minima_are_not():
    drawn = pd.DataFrame({"target": range(6), "opened": [2.0, np.nan, 1.0, 0.5, 3.0, 1.5]})
    kept = chosen(drawn, 4)
    assert kept["target"].tolist() == [3, 2, 0, 4]
    assert kept["group"].tolist() == ["few", "few", "many", "many"]
    assert len(chosen(drawn, 40)) == 5


def test_students_that_are_counted_are_others_than_those_that_chose(tmp_path):
    spec = escape_teachers_spec(
        quick=True, candidates=4, teachers=4, pilots=5, seeds=2, steps=200, samples=40,
        lbfgs_rounds=1, good=1e-3, certify_steps=10,
    )  # fmt: skip
    run = EscapeTeachersRun.run(spec, tmp_path, progress=False)
    seeds = run.tables["runs"]["seed"] % 1_000_000
    assert seeds.max() < 500_000 and set(run.tables["runs"]["width"]) <= set(spec.widths)
    known = run.tables["candidates"]["opened"].notna()
    assert run.tables["runs"]["target"].nunique() == min(4, int(known.sum()))
    with pytest.raises(ValueError, match="widths must begin with teacher_width"):
        escape_teachers_spec(widths=(5, 6))
    with pytest.raises(ValueError, match="teachers must be at most candidates"):
        escape_teachers_spec(teachers=60)
