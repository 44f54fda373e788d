"""Perturbed rests and multi-starts of networks of modules: what is trained, and what is said."""

from __future__ import annotations

import dataclasses
from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch

from edt.cli import main as program
from edt.ops.threads import one_blas_thread
from edt.studies.common.net_spec import NetData, accuracy, train
from edt.studies.multi_start_net.page import findings as multi_findings
from edt.studies.multi_start_net.run import MultiStartNet, agreement
from edt.studies.multi_start_net.spec import MultiStartNetSpec
from edt.studies.perturb_rest_net.page import findings
from edt.studies.perturb_rest_net.run import GROUPS, PerturbRestNet, chosen, group_table
from edt.studies.perturb_rest_net.spec import PerturbRestNetSpec
from edt.studies.width_net.spec import WidthNetSpec

TINY = {"net": "lenet5", "factor": 0.2, "samples": 150, "steps": 25, "batch": 30}
REST = PerturbRestNetSpec(
    **TINY, candidates=6, rounds=1, tickets=2, rests=2, sizes=(0.5, 1.0), rewind=2, level=0.3,
)  # fmt: skip
MULTI = MultiStartNetSpec(**{**TINY, "factor": 0.4}, seeds=4, parts=(2,))


@pytest.fixture(autouse=True)
def one_thread():
    with one_blas_thread():
        yield


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    return PerturbRestNet.run(REST, tmp_path_factory.mktemp("rest") / "run", progress=False)


def test_networks_are_those_of_their_spec(done):
    """A perturbed network by hand: its ticket's values, its rest, its order of samples."""
    runs, tickets = done.tables["runs"], done.tables["tickets"]
    assert len(tickets) == 6 and set(runs["size"]) == {0.5, 1.0}
    rows = chosen(tickets, 2)
    assert rows["ticket"] == rows["random"] == rows["fresh"]
    assert (tickets["win"].sum() >= 3) and tickets["remaining"].between(0.45, 0.55).all()
    level = tickets["level"].iloc[0]
    assert level == np.quantile(tickets["accuracy"], 0.3)
    assert (runs["win"] == (runs["accuracy"] >= level)).all()
    data = NetData.of(REST)
    seed = torch.tensor([int(tickets["seed"].iloc[0])])
    start = data.recipe.start([0.2], seed.tolist())
    again = train(REST, data, start, seed)
    # Beside other networks sums have another order: a sample may change its class.
    assert float(again.accuracy) == pytest.approx(tickets["accuracy"].iloc[0], abs=3 / 359)


def test_the_same_rests_are_met_by_what_stands_for_the_ticket(done):
    runs = done.tables["runs"]
    fresh = runs[runs["size"] == 1.0]
    for _, part in fresh.groupby(["seed", "rest"]):
        kinds = set(part["group"])
        assert kinds == {"losing"} or {"ticket", "random", "fresh"} <= kinds
    # Two independent draws are sqrt(2) apart; a ticket of large weights leaves a small rest.
    assert fresh.loc[fresh["group"] == "fresh", "distance"].between(1.2, 1.6).all()
    assert (fresh.loc[fresh["group"] == "ticket", "distance"] > 1.8).all()


def test_interrupted_runs_go_on_with_the_same_bits(done):
    before = {name: table.copy() for name, table in done.tables.items()}
    for name in ("fresh-001.parquet", "random-000.parquet"):
        (done.path / "parts" / name).unlink()
    again = PerturbRestNet.run(REST, done.path, progress=False)
    for name, table in before.items():
        pd.testing.assert_frame_equal(again.tables[name], table)


def made(rates: dict[str, float], seeds: int = 12, rests: int = 10) -> pd.DataFrame:
    """Runs in which a group wins at a rate, evenly over parents."""
    rows = []
    for group, seed, rest in product(rates, range(seeds), range(rests)):
        win = (rest + seed) % rests < round(rates[group] * rests)
        rows.append(
            {"group": group, "ticket": seed, "seed": seed + 100 * (group == "losing"), "size": 1.0,
             "rest": rest, "win": win, "accuracy": 0.9 + 0.05 * win + 0.001 * (seed % 3)}
        )  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("rates", "speaks"),
    [
        ({"ticket": 0.5, "random": 0.5, "fresh": 0.5}, ["silent", "for", "for"]),
        ({"ticket": 0.9, "random": 0.4, "fresh": 0.4}, ["silent", "against", "against"]),
        ({"ticket": 0.2, "random": 0.8, "fresh": 0.8}, ["silent", "for", "for"]),
        ({"ticket": 1.0}, ["silent"]),
    ],
)
def test_sentences_follow_the_numbers(rates, speaks):
    table = group_table(made(rates))
    said = findings(table)
    wins = [said[0], *(one for one in said[1:] if "prevents" in one.text)]
    assert [one.speaks for one in wins] == speaks
    assert findings(group_table(made({"losing": 0.5}))) == []


def test_groups_are_compared_within_parents():
    table = group_table(made({"ticket": 0.7, "fresh": 0.4, "losing": 0.5})).set_index("group")
    assert table.loc["fresh", "ahead"] == pytest.approx(0.3)
    assert table.loc["fresh", "gain"] == pytest.approx(0.05 * 0.3)
    assert np.isnan(table.loc["losing", "ahead"]) and np.isnan(table.loc["ticket", "gain"])
    assert table.loc["ticket", "rate"] == pytest.approx(0.7)
    assert table.loc["ticket", "losers"] == 12
    # Twelve fresh parents that win 4 of 10: each ticket would lose once but for 0.4^10.
    assert table.loc["ticket", "expected"] == pytest.approx(12 * (1 - 0.4**10))


def test_a_multi_start_is_the_tickets_of_the_networks():
    run = MultiStartNet.run(MULTI, progress=False)
    runs = run.tables["runs"]
    assert runs.groupby("parts").size().to_dict() == {1: 4, 2: 8}
    data = NetData.of(MULTI)
    whole = train(MULTI, data, data.recipe.start([0.4], range(4)), torch.arange(4))
    found = runs.loc[runs["parts"] == 1, "accuracy"].to_numpy()
    assert np.array_equal(found, whole.accuracy.numpy())
    assert np.array_equal(found, accuracy(whole.networks, data.test).numpy())
    table = run.agreement().iloc[0]
    assert table["networks"] == 4
    assert table[["both", "only_together", "only_alone", "neither"]].sum() == 4


@pytest.mark.parametrize("better", ["together", "alone", "same"])
def test_what_is_said_of_multi_starts_follows_the_numbers(better):
    seeds = np.arange(30)
    base = 0.5 + 0.01 * (seeds % 7)
    whole = base + {"together": 0.3, "alone": -0.3, "same": 0.0}[better]
    tickets = np.stack([base, base - 0.02], 1)
    runs = pd.concat(
        [
            pd.DataFrame({"parts": 1, "seed": seeds, "ticket": 0, "accuracy": whole}),
            pd.DataFrame({"parts": 2, "seed": np.repeat(seeds, 2), "ticket": np.tile([0, 1], 30),
                          "accuracy": tickets.reshape(-1)}),
        ]
    )  # fmt: skip
    table = agreement(runs, 0.75)
    said = multi_findings(table)
    if better == "same":
        assert [one.speaks for one in said] == ["silent", "against"]
        assert table.loc[0, "only_together"] == table.loc[0, "only_alone"] == 0
    else:
        assert {one.speaks for one in said} == {"for"} and len(said) == 2
        assert np.sign(table.loc[0, "gain"]) == (1 if better == "together" else -1)


@pytest.mark.parametrize(
    ("spec", "change", "says"),
    [
        (REST, {"share": 0.2}, "at most half"),
        (REST, {"rewind": 25}, "rewind"),
        (REST, {"sizes": (2.0,)}, "0..1"),
        (REST, {"net": "lenet6"}, "did you mean"),
        (REST, {"task": "mnist1d"}, "takes images"),
        (REST, {"level": 1.5}, "level"),
        (REST, {"folder": "x"}, "folder"),
        (MULTI, {"net": "resnet20"}, "cut 'weights'"),
        (MULTI, {"parts": (1,)}, "parts"),
        (MULTI, {"cut": "unit"}, "did you mean"),
    ],
)
def test_bad_specs(spec, change, says):
    with pytest.raises((ValueError, TypeError), match=says):
        dataclasses.replace(spec, **change)


def test_no_ticket_is_said_so(monkeypatch):
    none = pd.DataFrame({"win": [True, False], "win_alone": [False, True]})
    assert chosen(none, 3) == {"ticket": [], "random": [], "fresh": [], "losing": [0]}
    monkeypatch.setattr(
        "edt.studies.perturb_rest_net.run.chosen", lambda found, most: {name: [] for name in GROUPS}
    )
    spec = dataclasses.replace(REST, candidates=1, tickets=1, steps=3)
    with pytest.raises(ValueError, match="holds a ticket that wins alone"):
        PerturbRestNet.run(spec, progress=False)


@pytest.mark.parametrize(
    ("words", "spec"),
    [
        (["perturb-rest", "--net", "conv4", "--rests", "1"], "perturb-rest-net"),
        (["multi-start", "--net", "resnet20", "--seeds", "2"], "multi-start-net"),
        (["width-sweep", "--net", "conv2", "--task", "digits"], "width-net"),
    ],
)
def test_the_command_takes_a_network(words, spec, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(
        "edt.cli.run.execute", lambda spec, folder, *rest, **how: asked.append((spec, folder))
    )
    with pytest.raises(SystemExit, match="0"):
        program(["run", *words, "--out", str(tmp_path / "run"), "--quick"])
    ((found, _),) = asked
    wanted = {
        "perturb-rest-net": PerturbRestNetSpec, "multi-start-net": MultiStartNetSpec,
        "width-net": WidthNetSpec,
    }  # fmt: skip
    assert type(found) is wanted[spec] and found.net == words[2]
    assert found.steps == (40 if spec == "width-net" else 20)
