"""The perturb-rest experiment: tables, resume, determinism, refusals."""

from __future__ import annotations

import dataclasses

import pandas as pd
import pytest
import torch

from edt.lottery import Recipe
from edt.stats import wilson
from edt.studies.common.find_tickets import NoTicketError, choose, plant
from edt.studies.perturb_rest.run import PerturbRest, failing_paths, run_perturb_rest
from edt.studies.perturb_rest.spec import PerturbRestSpec
from edt.studies.perturb_rest.tables import win_table

SMALL = PerturbRestSpec(
    change="noise",
    teachers=1, teacher_width=2, width=4, samples=40, candidates=6, tickets=2, rests=4,
    random_rests=2, losers=0, sizes=(0.5, 8.0), steps=600, lbfgs_rounds=1, lbfgs_steps=300,
    good=1e-4, bisections=2, radii=(1.0,), population=4, generations=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("perturb") / "run"
    return run_perturb_rest(SMALL, folder, progress=False)


def test_tables(done):
    runs = done.tables["runs"]
    tickets = runs[runs["group"] == "winning"]["ticket"].nunique()
    assert len(runs) == tickets * (4 + 2) * 2
    assert (runs["distance"] / runs["size"] - 1).abs().max() < 1e-12
    wins = done.wins()
    row = wins[(wins["group"] == "winning") & (wins["size"] == 8.0)].iloc[0]
    expected = wilson(int(row["wins"]), int(row["runs"]))
    assert (row["rate"], row["rate_low"], row["rate_high"]) == (
        expected.value, expected.low, expected.high,
    )  # fmt: skip
    assert set(done.tables["adversary"]["method"]) == {"evolution", "random", "gradient"}


def test_same_bits_in_memory_on_one_thread_and_after_an_interruption(done, tmp_path):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        again = run_perturb_rest(SMALL, progress=False)
    finally:
        torch.set_num_threads(threads)
    for name, table in done.tables.items():
        pd.testing.assert_frame_equal(table, again.tables[name], check_exact=True)
    part = next((done.path / "parts").glob("winning-001.parquet"))
    before = (done.path / "runs.parquet").read_bytes()
    part.unlink()
    resumed = run_perturb_rest(SMALL, done.path, progress=False)
    assert (done.path / "runs.parquet").read_bytes() == before
    pd.testing.assert_frame_equal(resumed.tables["minimal"], done.tables["minimal"])
    loaded = PerturbRest.load(done.path)
    assert loaded.spec == SMALL
    pd.testing.assert_frame_equal(loaded.tables["runs"], done.tables["runs"])


@pytest.mark.parametrize("kind", ["planted", "magnitude"])
def test_other_tickets(kind):
    spec = dataclasses.replace(
        SMALL, ticket=kind, rests=2, sizes=(1.0,), random_rests=1, radii=(), bisections=0
    )
    runs = run_perturb_rest(spec, progress=False).tables["runs"]
    assert len(runs) and runs["shift"].isna().all() == (kind == "magnitude")


def test_planted_neurons_are_the_narrow_network():
    wide, narrow = (Recipe().start([m], range(3), d_in=2, d_out=2) for m in (5, 2))
    out = plant(wide, narrow)
    for b in range(3):
        assert (out.weight(b, 0)[:2] == narrow.weight(b, 0)).all()
        assert (out.weight(b, 1)[:, :2] == narrow.weight(b, 1)).all()
        assert (out.weight(b, 0)[2:] == wide.weight(b, 0)[2:]).all()


def test_tickets_are_shared_out_among_teachers():
    table = pd.DataFrame({"target": [0] * 5 + [1] * 2, "win": True, "alone": True})
    spec = dataclasses.replace(SMALL, teachers=2, tickets=5)
    assert choose(spec, table, win=True) == [0, 1, 2, 5, 6]
    assert choose(spec, table, win=False) == []
    with pytest.raises(NoTicketError, match="candidates"):
        choose(spec, table.assign(alone=False), win=True)


def test_failing_paths_bracket_the_first_failure():
    runs = pd.DataFrame(
        {
            "ticket": [0, 0, 0, 0, 1, 1],
            "rest": [0, 0, 1, 1, 0, 0],
            "size": [1.0, 2.0, 1.0, 2.0, 1.0, 2.0],
            "win": [True, False, False, True, True, True],
        }
    )
    paths = failing_paths(runs, 8)
    assert paths.to_dict("records") == [{"ticket": 0, "rest": 1, "low": 0.0, "high": 1.0}]


def test_win_table_counts_failing_tickets():
    runs = pd.DataFrame(
        {"group": "winning", "ticket": [0, 0, 1, 1], "target": 0, "size": 1.0,
         "win": [True, True, True, False],
         "distance": 1.0, "shift": 0.5, "same": 1.0}
    )  # fmt: skip
    row = win_table(runs).iloc[0]
    assert (row["runs"], row["wins"], row["failing"], row["tickets"]) == (4, 3, 1, 2)
    assert row["spread_low"] <= row["rate"] <= row["spread_high"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"width": 2}, "width must be above"),
        ({"ticket": "matchd"}, "did you mean"),
        ({"change": "flip", "sizes": (2.0,)}, "0..1"),
        ({"sizes": (2.0, 1.0)}, "rising"),
        ({"tickets": 0}, "tickets"),
        ({"good": 0.0}, "good"),
        ({"rests": 1.5}, "integer"),
    ],
)
def test_bad_specs(change, says):
    with pytest.raises((ValueError, TypeError), match=says):
        dataclasses.replace(SMALL, **change)
