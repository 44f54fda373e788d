"""Barriers and basins: known heights, and pages that are silent where width changes nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from edt.ensemble import Ensemble
from edt.studies.barriers.page import findings
from edt.studies.barriers.run import _pairs, barrier_table, basin_table
from edt.studies.barriers.spec import BarriersSpec
from edt.studies.common.targets import make_task


def pairs(narrow, wide, seed=0, teachers=6, each=6):
    """Barriers of two widths; teachers differ by a factor of their own."""
    draw = np.random.Generator(np.random.Philox(seed))
    rows = []
    for t in range(teachers):
        own = 10 ** draw.normal(0, 0.2)
        for width, size in ((4, narrow), (10, wide)):
            for k in range(each):
                height = size * own * draw.gamma(4.0, 0.25)
                rows.append({"target": t, "width": width, "first": k, "second": k + 1,
                             "plain": height, "aligned": height, "bent": height})  # fmt: skip
    return pd.DataFrame(rows)


def pushes(narrow, wide, seed=0, teachers=6, each=12):
    draw = np.random.Generator(np.random.Philox(seed))
    rows = []
    for t in range(teachers):
        for width, rate in ((3, narrow), (10, wide)):
            for k in range(each):
                back = bool(draw.random() < rate)
                rows.append({"target": t, "width": width, "seed": k // 4, "end": "bad",
                             "radius": 0.3, "push": k % 4, "back": back,
                             "outcome": "bad" if back else "good"})  # fmt: skip
    return pd.DataFrame(rows)


def said(pairs_of, pushes_of, seed=0):
    found = findings(barrier_table(pairs(*pairs_of, seed)), basin_table(pushes(*pushes_of, seed)))
    return (
        {one.speaks for one in found if one.claim == "barriers"},
        {one.speaks for one in found if one.claim == "c"},
    )


@pytest.mark.parametrize("seed", range(3))
def test_no_change_with_width_is_no_evidence(seed):
    assert said((0.3, 0.3), (0.5, 0.5), seed) == ({"silent"}, {"silent"})


def test_changes_speak_both_ways():
    assert said((0.5, 0.01), (0.95, 0.05)) == ({"for"}, {"for"})
    assert said((0.01, 0.5), (0.05, 0.95)) == ({"against"}, {"against"})


def test_tables_are_means():
    data = pairs(0.3, 0.1)
    table = barrier_table(data).set_index(["width", "path"])
    assert table.loc[(4, "plain"), "barrier"] == pytest.approx(
        data[data["width"] == 4]["plain"].mean()
    )
    assert np.isnan(table.loc[(4, "bent"), "change"]) and table.loc[(10, "bent"), "change"] < 0
    assert not len(barrier_table(data.head(0))) and not len(basin_table(pushes(1, 1).head(0)))


def test_mirror_images_have_a_barrier_until_they_are_aligned():
    """A network and itself with two neurons exchanged: the same function, and far apart."""
    spec = BarriersSpec(teachers=1, samples=40, widths=(4,), seeds=2, pairs=1)
    task = make_task(spec)
    one = task.info["teacher"].select([0])  # at loss 0: between its images the loss can only rise
    other = one.with_theta(one.theta.clone())
    swap = [1, 0, 2, 3]
    other.weight(0, 0).copy_(one.weight(0, 0)[swap])
    other.bias(0, 0).copy_(one.bias(0, 0)[swap])
    other.weight(0, 1).copy_(one.weight(0, 1)[:, swap])
    students = pd.DataFrame({"target": 0, "width": 4, "seed": [0, 1], "outcome": "good"})
    row = _pairs(spec, task, students, Ensemble.concat([one, other]), 0, 4).iloc[0]
    assert row["plain"] > 1e-3
    assert row["aligned"] < 1e-12 and row["bent"] < 1e-12
