"""Cut winners: a network that is r neurons and ballast keeps its win, one that is not does not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from edt.studies.common.targets import make_teachers, teacher_task
from edt.studies.prune_to_narrow.page import findings
from edt.studies.prune_to_narrow.run import RULES, _part, _strongest, remains_table
from edt.studies.prune_to_narrow.spec import PruneSpec


def runs(rates, seed=0, teachers=6, winners=20):
    draw = np.random.Generator(np.random.Philox(seed))
    return pd.DataFrame(
        [
            {"target": t, "width": 8, "seed": s, "rule": rule, "cut_loss": 1.0, "threshold": 1e-6,
             "outcome": "good" if draw.random() < rates[rule] else "bad"}
            for t in range(teachers) for s in range(winners) for rule in RULES
        ]
    )  # fmt: skip


def words(rates, seed=0):
    return [found.speaks for found in findings(remains_table(runs(rates, seed)))]


def test_winners_that_are_r_neurons_are_no_evidence_against_multi_starts():
    assert words({**dict.fromkeys(RULES, 0.3), "matched": 1.0, "strongest": 1.0}) == ["against"]


def test_winners_that_lose_when_cut_speak_for():
    assert words(dict.fromkeys(RULES, 0.3)) == ["for"]


def test_narrow_networks_that_always_win_decide_nothing():
    """Random neurons of the same winner do as well: what was kept does not matter."""
    assert words(dict.fromkeys(RULES, 1.0)) == ["silent"]


def test_a_teacher_with_ballast_keeps_its_win():
    """Four neurons of the teacher and two of no weight: both rules find the four, exactly."""
    spec = PruneSpec(teachers=1, samples=40)
    task, teacher = teacher_task(spec), make_teachers(spec)
    weight, bias, out = teacher.weight(0, 0), teacher.bias(0, 0), teacher.weight(0, 1)
    wide = spec.recipe.start([6], [0], d_in=2, d_out=1, activation="tanh", dtype=torch.float64)
    wide.weight(0, 0)[[0, 2, 3, 5]], wide.bias(0, 0)[[0, 2, 3, 5]] = weight, bias
    wide.weight(0, 1).fill_(1e-9)
    wide.weight(0, 1)[:, [0, 2, 3, 5]] = out
    assert _strongest(wide, task.x, 4).tolist() == [[0, 2, 3, 5]]


def test_the_parts_say_what_was_kept():
    spec = PruneSpec(
        teachers=1, teacher_width=2, samples=40, seeds=6, widths=(4,), steps=800, good=1e-4,
        lbfgs_rounds=2, lbfgs_steps=300, newton_steps=20, certify_steps=20,
    )  # fmt: skip
    table = _part(spec, teacher_task(spec), 0, 4)
    assert len(table) > 0 and set(table["rule"]) == set(RULES)
    assert (table.groupby("rule").size() == table["seed"].nunique()).all()
    # Training on never ends above where it began.
    own = table[table["rule"].isin(["matched", "strongest", "random"])]
    assert (own["loss"] <= own["cut_loss"] * (1 + 1e-9)).all()
    remains = remains_table(table)
    assert remains["teachers"].eq(1).all() and remains["good_low"].eq(0.0).all()
    assert findings(remains)[0].speaks == "silent"  # one teacher says nothing of others
