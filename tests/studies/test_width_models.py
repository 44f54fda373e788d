"""Laws of width fitted to a sweep: the escape covariate, and which cells are used."""

from __future__ import annotations

import dataclasses
import math
import re

import numpy as np
import pandas as pd
import pytest

from edt.studies import demo_spec, success_table, width_sweep
from edt.studies.common import models_page
from edt.studies.common.models_page import collinear_text
from edt.studies.common.models_panel import models
from edt.studies.common.success_table import ALL
from edt.studies.common.targets import make_task
from edt.studies.common.width_models import (
    collinearity,
    compare_models,
    escape_dimensions,
    model_counts,
    opened_per_neuron,
    ticket_table,
)
from edt.studies.width.splits import empty_splits
from edt.studies.width.story import Story
from edt.success import Counts, compare


def splits(rows):
    """Rows (target, width, level, runs on it, neuron, inside, escape dimensions)."""
    names = ["target", "width", "level", "level_runs", "neuron", "inside", "n_neg"]
    return pd.DataFrame(rows, columns=names)


TABLE = splits(
    [
        (0, 4, 0, 3, 0, True, 1), (0, 4, 0, 3, 1, True, 3),  # mean 2, weight 3
        (0, 4, 1, 1, 0, True, 4), (0, 4, 1, 1, 1, True, 8),  # mean 6, weight 1
        (0, 4, 1, 1, 1, False, 50),  # outside (0, 1): not counted
        (0, 6, 0, 2, 0, True, 5),
        (1, 5, 0, 1, 0, True, 2),
    ]
)  # fmt: skip


def test_opened_per_neuron():
    """Width 4: (3 * 2 + 1 * 6) / 4 = 3."""
    found = opened_per_neuron(TABLE)
    assert found.values.tolist() == [[0, 4, 3.0], [0, 6, 5.0], [1, 5, 2.0]]


def test_escape_dimensions_add_up():
    """e(4) = 3; e(5): nearest is 4 (ties: the narrower) = 3; e(6) = e(7) = 5."""
    assert escape_dimensions(TABLE, 0, [3, 4, 5, 6, 7, 8], 4)[1:] == [0.0, 3.0, 6.0, 11.0, 16.0]
    assert math.isnan(escape_dimensions(TABLE, 0, [3], 4)[0])
    assert escape_dimensions(TABLE, 1, [4, 8], 4) == [0.0, 8.0]
    assert math.isnan(escape_dimensions(TABLE, 2, [4, 8], 4)[1])


def runs(targets):
    rows = [
        {"target": t, "width": m, "outcome": "good" if s < 4 * (m - 2) else "bad"}
        for t in range(targets) for m in (2, 4, 6, 8) for s in range(30)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_counts_leave_out_narrow_widths_and_pooled_rows():
    success = success_table(runs(2), 4)
    counts = model_counts(success, TABLE, 4)
    assert counts.width.tolist() == [4, 6, 8] * 2 and counts.groups == 2
    assert counts.covariates["escape"].tolist() == [0, 6, 16, 0, 4, 8]
    assert counts.wins.tolist() == [8, 16, 24] * 2
    found = compare_models(success, TABLE, 4)
    assert {"escape", "escape-logit"} <= set(found.fits)


def test_without_splits_there_is_no_escape_model():
    success = success_table(runs(3), 4)
    assert "escape" not in compare_models(success, TABLE, 4).fits  # target 2 was not split
    assert "escape" not in compare_models(success, empty_splits(), 4).fits
    assert compare_models(success, TABLE, 8) is None


def test_one_target_cannot_tell_escape_from_geometric():
    """With one target and one e(w) the two are the same law (1e-6: the optimiser's tolerance)."""
    one = TABLE[(TABLE["target"] == 1)].assign(target=0)
    found = compare_models(success_table(runs(1), 4), one, 4)
    assert found.fits["escape"].aic == pytest.approx(found.fits["geometric"].aic, abs=1e-6)


def test_rosenbrock_is_a_task_of_the_sweep():
    spec = demo_spec("rosenbrock", quick=True, widths=(1, 2), seeds=2, steps=100, lbfgs_steps=50)
    assert make_task(spec).x.shape == (121, 2) and not spec.realisable
    sweep = width_sweep(dataclasses.replace(spec, newton_steps=2, split_widths=()), progress=False)
    assert len(sweep.runs) == 4 and sweep.success()["good"].sum() >= 1
    with pytest.raises(ValueError, match="square"):
        dataclasses.replace(spec, samples=120)


def test_the_ranking_shows_dots_on_a_scale_that_is_named():
    """Bars from 0 would show nothing true on a scale that is not linear."""
    found = compare_models(success_table(runs(2), 2), TABLE, 2)
    _, ranking = models(found)
    (dots,) = ranking.traces
    free = found.table[found.table["price"] == "free"]
    assert dots["type"] == "scatter" and "square roots" in ranking.x["title"]["text"]
    assert np.allclose(np.square(dots["x"]), free["delta_aic"].clip(lower=0.0), rtol=1e-4)
    for at, label in zip(ranking.x["tickvals"], ranking.x["ticktext"], strict=True):
        assert round(at**2) == int(label.replace(",", ""))


def test_a_page_has_one_meaning_of_p():
    """A p-value is a test's; what a ticket costs is called its price."""
    found = compare_models(success_table(runs(2), 2), TABLE, 2)
    text = models_page.models_table(found) + models_page.tests_table(found)
    text += str(models_page.models_notes(found))
    assert "price)" in text and "1 − p)" not in text and ">p<" not in text


def test_a_count_of_tickets_has_one_verdict():
    """Where the intervals of one width would let a count pass that all widths together reject."""
    table = pd.DataFrame([
        {"target": t, "width": m, "outcome": "good" if s < wins else "bad"}
        for t in range(2) for m, wins in ((4, 5), (6, 9), (8, 16)) for s in range(20)
    ])  # fmt: skip
    story = Story.__new__(Story)  # of nothing but a table of rates
    story.spec, story.success = demo_spec("teacher"), success_table(table, 4)
    row = story.success[(story.success["target"] == ALL) & (story.success["width"] == 8)].iloc[0]
    assert row["disjoint_high"] > row["rate_low"] and row["rate"] > row["disjoint"]
    beside = story.lottery_text()
    verdicts = r"rejected|too (low|high)|agrees|consistent|within"
    assert "should succeed in" in beside and not re.search(verdicts, beside)
    found = compare_models(story.success, TABLE, 4)
    text = models_page.counts_text(found)
    assert len(re.findall(r"tickets (?:not )?rejected", text)) == 3
    for name in ("⌊m/r⌋", "m − r + 1", "C(m, r)"):
        assert text.count(f"{name} tickets") == 1
    assert "⌊m/r⌋ tickets rejected" in text
    assert "rejected" not in models_page.models_text(found)


def counted(per_neuron, widths=(4, 6, 8, 10)):
    """Counts whose covariate grows by so many dimensions a neuron, target by target."""
    cells = [(t, m) for t in range(len(per_neuron)) for m in widths]
    group, width = (np.array(column) for column in zip(*cells, strict=True))
    escape = np.array(per_neuron)[group] * (width - 4.0)
    ones = np.ones(len(cells), dtype=np.int64)
    return Counts(group, width, 30 + 5 * (width - 4), 100 * ones, 4, {"escape": escape})


def test_escape_dimensions_that_are_width_are_called_so():
    one = collinear_text(compare(counted((2.0, 2.0))))
    assert "nearly one here" in one and "1.0000" in one and "no evidence" in one
    # Targets that differ in what a neuron opens are what can tell the two apart.
    assert collinearity(counted((1.0, 6.0))) < 0.9
    assert "nearly one" not in collinear_text(compare(counted((1.0, 6.0))))
    assert collinear_text(compare(Counts(*(np.array(v) for v in (
        [0, 0], [2, 4], [30, 51], [100, 100])), 2))) == ""  # fmt: skip


def test_covariates_that_part_are_not_called_one():
    counts = counted((2.0, 2.0))
    counts.covariates["escape"][:] = [0, 9, 3, 12, 0, 9, 3, 12]
    assert collinearity(counts) < 0.9
    assert "nearly one" not in collinear_text(compare(counts))


def test_one_number_of_tickets():
    table = ticket_table(success_table(runs(3), 4), 4)
    assert table["width"].tolist() == [6, 8] and table["targets"].tolist() == [3, 3]
    assert (table["p"] > 0.9).all()  # targets that are alike
    assert (table["least"] == table["most"]).all()
    assert not len(ticket_table(success_table(runs(1), 4), 4))
