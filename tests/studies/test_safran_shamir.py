"""The Safran-Shamir table: resumption, threads, and numbers that follow from the runs."""

from __future__ import annotations

import dataclasses
import math

import pandas as pd
import pytest
import torch

from edt.landscape.safran_shamir import run_starts
from edt.stats import wilson
from edt.studies import SafranShamirRun, SafranShamirSpec, run_safran_shamir, table_beside_published
from edt.studies.safran_shamir.published import SAFRAN_SHAMIR, compare_counts, difference, holm

SMALL = SafranShamirSpec(teachers=(5, 8), extra=(0, 1), starts=20, seed=2)


@pytest.fixture(scope="module")
def done():
    return run_safran_shamir(SMALL, progress=False)


def test_parts_resume_to_the_same_bytes(tmp_path, done, monkeypatch):
    monkeypatch.setattr("edt.studies.safran_shamir.run.PART", 12)
    folder = tmp_path / "run"
    first = run_safran_shamir(SMALL, folder, progress=False)
    assert len(list((folder / "parts").glob("*.parquet"))) == 8
    before = (folder / "runs.parquet").read_bytes()
    (folder / "parts" / "teacher-008-student-008-starts-000012.parquet").unlink()
    run_safran_shamir(SMALL, folder, progress=False)
    assert (folder / "runs.parquet").read_bytes() == before
    loaded = SafranShamirRun.load(folder)
    pd.testing.assert_frame_equal(loaded.tables["runs"], first.tables["runs"])
    assert loaded.spec == SMALL
    # Parts of other sizes step other runs together: sums round differently, ends are the same.
    same = done.tables["runs"]
    pd.testing.assert_frame_equal(first.tables["runs"], same, rtol=0, atol=1e-7)
    assert first.tables["runs"]["spurious"].equals(same["spurious"])


def test_threads_change_nothing(monkeypatch):
    # Several queues, so that threads have something to share.
    monkeypatch.setitem(run_starts.__globals__, "QUEUE", 8)
    options = {"seed": 0, "tol": 2e-9, "max_steps": 100_000, "finish": "all"}
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = run_starts(7, 7, range(20), **options)
        torch.set_num_threads(2)
        two = run_starts(7, 7, range(20), **options)
    finally:
        torch.set_num_threads(threads)
    pd.testing.assert_frame_equal(one, two, check_exact=True)


def test_every_run_reaches_the_tolerance(done):
    runs = done.tables["runs"]
    assert len(runs) == 80
    assert (runs["status"] == "converged").all()
    assert (runs["grad_max"] <= SMALL.tol).all()
    cells = runs.groupby(["teacher", "student"])["run"]
    assert all(own.tolist() == list(range(20)) for _, own in cells)
    good = runs[~runs["spurious"]]
    # At max|grad| 2e-9 the loss of a solution is grad^2 over a curvature, if that is above 1e-6.
    assert (good[good["student"] == good["teacher"]]["loss"] < 1e-12).all()


def test_table_follows_from_the_runs(done):
    runs, table = done.tables["runs"], done.table()
    pd.testing.assert_frame_equal(table, table_beside_published(runs.copy()))
    assert table[["teacher", "student"]].to_numpy().tolist() == [[5, 5], [5, 6], [8, 8], [8, 9]]
    for row in table.to_dict("records"):
        own = runs[(runs["teacher"] == row["teacher"]) & (runs["student"] == row["student"])]
        rate = wilson(int(own["spurious"].sum()), len(own))
        assert (row["rate"], row["rate_low"], row["rate_high"]) == (rate.value, rate.low, rate.high)
        assert math.isnan(row["rate_reported"]) == (
            (row["teacher"], row["student"]) not in SAFRAN_SHAMIR
        )


def test_comparison_finds_a_difference_where_there_is_one():
    runs = pd.DataFrame(
        {
            "teacher": [10] * 200 + [11] * 200,
            "student": [10] * 200 + [11] * 200,
            # 34.6% is reported at 10 and 45.5% at 11: one far off, one close.
            "spurious": [True] * 150 + [False] * 50 + [True] * 91 + [False] * 109,
            "loss": 0.02,
            "status": "converged",
            "min_eig": 0.1,
            "steps": 100,
        }
    )
    table = table_beside_published(runs)
    assert table["p_adjusted"][0] < 1e-6 and table["difference_low"][0] > 0.3
    assert table["p_adjusted"][1] > 0.9
    assert table["difference_low"][1] < 0.0 < table["difference_high"][1]


def test_difference_and_adjustment():
    # Newcombe's own example (method 10): 56/70 and 48/80 give 0.0524 to 0.3339.
    found = difference(56, 70, 48, 80)
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)
    none = difference(0, 10, 0, 20)
    assert none.value == 0.0 and none.low < 0.0 < none.high
    assert holm([0.01, math.nan, 0.04, 0.03])[0] == pytest.approx(0.03)
    assert math.isnan(holm([0.01, math.nan])[1])
    assert compare_counts(346, 1000, 0.346, 1000).p_value == pytest.approx(1.0)


def test_bad_specs():
    for change, says in (
        ({"teachers": ()}, "at least one entry"),
        ({"teachers": (7, 6)}, "rising"),
        ({"extra": (-1,)}, "extra entries must be >= 0"),
        ({"extra": (1, 0)}, "rising"),
        ({"starts": 0}, "starts"),
        ({"tol": 0.0}, "tol"),
        ({"finish": "most"}, "finish must be one of"),
    ):
        with pytest.raises(ValueError, match=says):
            dataclasses.replace(SMALL, **change)
