"""Loss levels: kinds of ends, levels, resumption, and numbers that follow from the runs."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch

from edt.ensemble import Ensemble
from edt.landscape import certify, embed, split_matrices
from edt.landscape.irreducible import reduce_network
from edt.landscape.layers import unpack
from edt.stats import wilson
from edt.studies import LossLevels, LossLevelsSpec, loss_level_table, run_loss_levels
from edt.studies.loss_levels.page import certificates, verdict
from edt.studies.loss_levels.run import MERGE
from edt.studies.loss_levels.tables import (
    ENDS,
    REPORTED_PLATEAUS,
    label_ends,
    label_levels,
    relabelled,
    uncertified_ends,
)
from edt.tasks import rosenbrock
from edt.training import converge

SMALL = LossLevelsSpec(
    widths=(1, 2),
    starts=3,
    points=11,
    max_time=1e4,
    lbfgs_steps=300,
    newton_steps=60,
    certify_steps=100,
)


@pytest.fixture(scope="module")
def done():
    return run_loss_levels(SMALL, progress=False)


def test_runs(done):
    runs = done.tables["runs"]
    assert len(runs) == SMALL.networks == 2 * (6 + 12)
    ended = runs[runs["end"] == "minimum"]
    assert len(ended) and (ended["grad_max"] <= SMALL.tol).all() and (ended["index"] == 0).all()
    assert set(ended["label"]) <= {"minimum", "flat minimum"} and (ended["distance"] < 1e-3).all()
    # Neither the flow nor what follows raises the loss beyond rounding.
    assert (runs["loss"] <= runs["flow_loss"] + 1e-12).all()
    # Below the variance, which a constant reaches, and no single neuron fits the target.
    assert (runs["loss"] < 1.0).all() and (runs[runs["width"] == 1]["loss"] > 0.1).all()
    # Two neurons do better than one, each at its best.
    best = runs.groupby(["bias", "width"])["loss"].min()
    assert best[False, 2] < best[False, 1] and best[True, 2] < best[True, 1]


def test_parts_resume_to_the_same_bytes(tmp_path, done):
    folder = tmp_path / "run"
    spec = dataclasses.replace(SMALL, widths=(1,), biases=(False,))
    run_loss_levels(spec, folder, progress=False)
    before = (folder / "runs.parquet").read_bytes()
    next((folder / "parts").glob("*.parquet")).unlink()
    again = run_loss_levels(spec, folder, progress=False)
    assert (folder / "runs.parquet").read_bytes() == before
    pd.testing.assert_frame_equal(LossLevels.load(folder).tables["runs"], again.tables["runs"])
    # A run does not depend on the others: the same starts among more of them.
    runs = done.tables["runs"]
    same = runs[(runs["width"] == 1) & ~runs["bias"]].reset_index(drop=True)
    pd.testing.assert_frame_equal(again.tables["runs"], same, check_exact=True)


def test_table_follows_from_the_runs(done):
    runs, table = done.tables["runs"], done.table()
    pd.testing.assert_frame_equal(table, loss_level_table(runs.copy()))
    assert table["width"].tolist() == [1, 2, 0, 1, 2, 0]
    assert (table[list(ENDS)].sum(axis=1) == table["runs"]).all()
    for row in table[table["width"] > 0].to_dict("records"):
        own = runs[(runs["bias"] == row["bias"]) & (runs["width"] == row["width"])]
        rate = wilson(int((own["end"] == "plateau").sum()), len(own))
        assert (row["rate"], row["rate_low"], row["rate_high"]) == (rate.value, rate.low, rate.high)
        assert row["levels"] == own[own["level"] >= 0]["level"].nunique()
    assert runs["level"].equals(label_levels(runs)) and runs["end"].equals(label_ends(runs))


def test_a_split_minimum_is_a_plateau_saddle():
    """Where no direction leads down, converge stays, and the end is recognised; else it leaves."""
    task = rosenbrock(31)
    start = Ensemble.init(
        widths=[1], seeds=range(6), d_in=2, d_out=1, activation="g", scheme="glorot", bias=False,
        dtype=torch.float64,
    )  # fmt: skip
    narrow = converge(task, start, progress=False)
    assert narrow.verdict == ["minimum"] * 6
    for b in range(6):
        assert split_matrices(task, narrow.networks, b)[0].signs == (0, 0, 2)
    for mu in (0.5, -1.0):
        wide = embed.split(narrow.networks, neuron=0, mu=mu).networks
        ended = converge(task, wide, tol=1e-8, progress=False)
        cores = [
            reduce_network(unpack(ended.networks, b), "g", task.x, task.coef[0], MERGE)
            for b in range(6)
        ]
        norms = [net.theta.view(6, -1).norm(dim=1) for net in (wide, ended.networks)]
        frame = ended.to_pandas().assign(
            index=ended.index.numpy(), n_flat=ended.n_flat.numpy(), norm=norms[1].numpy(),
            flow_norm=norms[0].numpy(), duplicates=[core.duplicates for core in cores],
            label=certify(task, ended.networks, steps=0).label,
        )  # fmt: skip
        words = label_ends(frame).tolist()
        # B is positive definite: all stay for shares in (0, 1), none outside.
        assert (set(words) == {"plateau"}) == (mu == 0.5)
        assert (set(uncertified_ends(frame)) == {"plateau"}) == (mu == 0.5)
        for b, word in enumerate(words):
            height = float(narrow.loss[b])
            if word == "plateau":
                assert float(ended.loss[b]) == pytest.approx(height, rel=1e-9)
            else:
                assert float(ended.loss[b]) < height - 1e-6


def test_kinds_of_ends_by_their_certificates():
    cases = {
        "minimum": [("minimum", 0, 0), ("flat minimum", 0, 0)],
        # Repeated neurons, at a finite point or where the narrower network's end is at infinity.
        "plateau": [("flat minimum", 0, 1), ("channel", 0, 1), ("saturated", 0, 2)],
        "saddle": [("saddle", 1, 0), ("saddle", 1, 1)],
        "channel": [("channel", 0, 0), ("channel", 1, 1)],
        "saturated": [("saturated", 0, 0)],
        # Copies on the way are no plateau yet.
        "drifting": [("drifting", 0, 0), ("drifting", 0, 1)],
        "undecided": [("undecided", -1, 0), ("undecided", 0, 1)],
    }
    assert set(cases) == set(ENDS)
    rows = [row for found in cases.values() for row in found]
    runs = pd.DataFrame(rows, columns=("label", "index", "duplicates"))
    assert label_ends(runs).tolist() == [word for word, found in cases.items() for _ in found]


def test_ends_that_only_a_small_gradient_called_minima_are_counted():
    runs = pd.DataFrame(
        [("minimum", "minimum")] * 5 + [("minimum", "channel")] * 2 + [("open", "minimum")],
        columns=("uncertified", "end"),
    )
    table = relabelled(runs).set_index("uncertified")
    assert table["runs"].to_dict() == {"minimum": 7, "open": 1}
    assert table["kept"].to_dict() == {"minimum": 5, "open": 0}
    said = certificates(table.reset_index())
    assert said.startswith("3 of 8 ends") and "of 7 that" in said and "2 are none" in said
    assert "1 others" not in said
    assert certificates(relabelled(runs[:5])).startswith("None of 5 ends")


def test_kinds_of_ends_without_certificates():
    columns = ("status", "verdict", "index", "n_flat", "closeness", "duplicates", "norm")
    cases = {
        "minimum": [("converged", "minimum", 0, 0, 0.5, 0, 7.0)],
        # Repeated neurons, at a finite point or in the channel of the narrower network.
        "plateau": [
            ("converged", "flat", 0, 1, 0.5, 1, 7.0),
            ("channel", "unconverged", 0, 2, 1e-6, 1, 700.0),
        ],
        "saddle": [
            ("converged", "saddle", 1, 0, 0.5, 0, 7.0), ("converged", "saddle", 1, 0, 0.5, 1, 7.0),
        ],
        # The gradient can reach the tolerance inside a channel.
        "channel": [
            ("channel", "unconverged", 0, 1, 1e-6, 0, 700.0),
            ("converged", "flat", 0, 1, 1e-6, 0, 700.0),
        ],
        "infinity": [("stalled", "unconverged", 0, 1, 0.4, 0, 700.0)],
        "open": [
            ("stalled", "unconverged", 0, 0, 0.4, 0, 7.0),
            ("channel", "unconverged", 1, 1, 0.4, 0, 700.0),
        ],
    }  # fmt: skip
    rows = [row for found in cases.values() for row in found]
    runs = pd.DataFrame(rows, columns=columns).assign(flow_norm=7.0)
    words = uncertified_ends(runs).tolist()
    assert words == [word for word, found in cases.items() for _ in found]


def test_words_and_levels_of_made_up_ends():
    runs = pd.DataFrame(
        {
            "bias": False,
            "width": [1, 1, 2, 2, 2, 2, 2],
            "loss": [0.5, 0.7, 0.5, 0.3, 0.3 + 1e-10, 0.2001, 0.2],
            "flow_loss": [0.5, 0.7, 0.5, 0.3, 0.3, 0.21, 0.2],
            "end": ["minimum", "minimum", "plateau", "minimum", "minimum", "channel", "channel"],
            "core": [1, 1, 1, 2, 2, 2, 2],
            "label": [*["minimum"] * 2, *["flat minimum"] * 3, "channel", "channel"],
        }
    )
    runs["level"] = label_levels(runs)
    assert runs["level"].tolist() == [0, 1, -1, 0, 0, -1, -1]
    table = loss_level_table(runs).set_index("width")
    assert table["levels"].to_dict() == {1: 2, 2: 1, 0: 1}
    assert table["channel_levels"][2] == 1 and table["known"][2] == 1
    assert table["finite"][2] == 1 and table["finite"][1] == 0
    assert table["moved"][2] == 1 and table["lowest"][0] == 0.2
    assert np.isclose(table["rate"][0], 0.2)


def test_bad_specs():
    for change, says in (
        ({"widths": ()}, "at least one entry"),
        ({"biases": (True, False)}, "biases must be"),
        ({"starts": 0}, "starts"),
        ({"points": 1}, "points"),
        ({"max_time": 0.0}, "max_time"),
        ({"activation": "gg"}, "activation"),
    ):
        with pytest.raises(ValueError, match=says):
            dataclasses.replace(SMALL, **change)


@pytest.mark.parametrize(
    ("bias", "plateau", "runs", "said"),
    [
        # One in 24 is not beyond "about none" (read as at most 5%), nor is 3 in 100.
        (True, 1, 24, "cannot be told apart"),
        (True, 3, 100, "cannot be told apart"),
        (True, 10, 24, "Ours is above"),
        (False, 20, 100, "cannot be told apart"),
        (False, 60, 100, "Ours is above"),
        (False, 0, 100, "Ours is below"),
    ],
)
def test_a_share_is_above_or_below_by_a_test_against_a_stated_bound(bias, plateau, runs, said):
    low, high = REPORTED_PLATEAUS[bias]
    text = verdict({"plateau": plateau, "runs": runs, "reported_low": low, "reported_high": high})
    assert said in text and "binomial" in text and f"{plateau:,} of {runs:,}" in text
