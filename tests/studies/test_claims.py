"""Pages of the four claims: false by construction, no sentence may say that a claim holds."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from edt.studies.claims.page import CLAIMS, headline
from edt.studies.claims.run import STUDIES
from edt.studies.common.findings import Finding, verdict_of
from edt.studies.common.prevented import prevented_finding
from edt.studies.crossed.page import findings as crossed_findings
from edt.studies.crossed.run import component_table, group_table
from edt.studies.failures.page import findings as failures_findings
from edt.studies.failures.page import joint
from edt.studies.failures.run import KINDS, WAYS, FailuresRun, escape_rates, failure_table
from edt.studies.index_loss.page import findings as index_loss_findings
from edt.studies.index_loss.run import curve_table, distinct_points
from edt.studies.subsets.page import findings as subsets_findings
from edt.studies.subsets.run import subset_table

TILE = ("1", "size")


def generator(seed):
    return np.random.Generator(np.random.Philox(seed))


def speaks(findings, claim):
    return {finding.speaks for finding in findings if finding.claim == claim}


def subset_runs(seed, rule, teachers=6, networks=60):
    """Networks of which a Poisson number of 70 subsets win; the network wins by ``rule``."""
    draw = generator(seed)
    alone = np.minimum(draw.poisson(1.0, teachers * networks), 70)
    return pd.DataFrame(
        {
            "target": np.repeat(np.arange(teachers), networks),
            "width": 8,
            "seed": np.arange(alone.size),
            "together": rule(alone, draw),
            "tickets": 70,
            "alone": alone,
            "whole": True,
        }
    )


def test_a_true_multi_start_is_no_evidence_against_multi_starts():
    table = subset_table(subset_runs(0, lambda alone, _: alone > 0), draws=199)
    said = speaks(subsets_findings(table), "b")
    assert "for" not in said
    assert "against" in said
    assert float(table["only_together"].iloc[0]) == float(table["only_alone"].iloc[0]) == 0.0


def test_independent_wins_speak_for_no_multi_start():
    table = subset_table(subset_runs(1, lambda alone, d: d.random(alone.size) < 0.8), draws=199)
    said = speaks(subsets_findings(table), "b")
    assert "for" in said and "against" not in said
    assert float(table["bits_p"].iloc[0]) > 0.05


def test_a_sample_of_subsets_cannot_show_that_none_wins():
    runs = subset_runs(2, lambda alone, d: np.ones(alone.size, dtype=bool)).assign(whole=False)
    assert "for" not in speaks(subsets_findings(subset_table(runs, draws=99)), "b")


def crossed_runs(seed, rates, teachers=6, tickets=6, rests=30):
    """Every group of every teacher wins with its own rate."""
    draw = generator(seed)
    rows = [
        {"target": t, "group": group, "ticket": i, "rest": j, "win": draw.random() < rate}
        for t in range(teachers)
        for group, rate in rates.items()
        for i in range(tickets)
        for j in range(rests)
    ]
    return pd.DataFrame(rows)


def crossed_said(runs):
    return speaks(crossed_findings(group_table(runs), component_table(runs, draws=99)), "a")


def test_tickets_that_always_win_do_not_fail():
    runs = crossed_runs(0, {"ticket": 1.0, "random": 0.9, "fresh": 0.8})
    # Six teachers without a loss leave room for a teacher that has some: nothing is claimed.
    assert "for" not in crossed_said(runs)
    assert "against" in crossed_said(runs)


def test_tickets_that_fail_now_and_then_but_prevent_most_failures_do_not_fail():
    """The claim is false by construction, though the rate of wins is clearly below always."""
    runs = crossed_runs(2, {"ticket": 0.95, "random": 0.6, "loser": 0.6, "fresh": 0.6})
    assert group_table(runs).set_index("group").loc["ticket", "rate_high"] < 0.99
    said = crossed_said(runs)
    assert "against" in said and "for" not in said


def test_a_rate_alone_is_no_evidence_that_tickets_fail():
    runs = crossed_runs(3, {"ticket": 0.9, "fresh": 1.0})
    assert crossed_said(runs) == {"silent"}


@pytest.mark.parametrize("seed", range(4))
def test_shares_of_failures_prevented_hold_their_truth(seed):
    """A tenth of the failures prevented: never taken for most of them; 85%: never for few."""
    for share in (0.1, 0.85):
        win = 1 - 0.4 * (1 - share)
        runs = crossed_runs(10 + seed, {"ticket": win, "fresh": 0.6}, teachers=5)
        row = group_table(runs).set_index("group").loc["fresh"]
        assert row["prevented_low"] <= share <= row["prevented_high"]
        assert ("against" if share < 0.5 else "for") not in crossed_said(runs)


@pytest.mark.parametrize(
    ("low", "high", "speaks", "says"),
    [
        (-1.0, 0.4, "for", "most of them are not"),
        (0.3, 0.45, "for", "most of them are not"),
        (0.3, 0.6, "silent", "some of them for certain"),
        (-1.0, 0.9, "silent", "neither none nor most"),
        (0.55, 0.6, "against", "most of them are."),
    ],
)
def test_what_a_share_says_depends_on_its_interval_alone(low, high, speaks, says):
    row = {"prevented": (low + high) / 2, "prevented_low": low, "prevented_high": high}
    row |= {"ahead": 0.05, "ahead_low": 0.01, "ahead_high": 0.09}
    found = prevented_finding(row, "fresh neurons")
    assert found.speaks == speaks and says in found.text


def test_tickets_that_are_nothing_fail_and_are_not_ahead():
    runs = crossed_runs(1, {"ticket": 0.8, "random": 0.8, "loser": 0.8, "fresh": 0.8})
    said = crossed_said(runs)
    assert "for" in said and "against" not in said
    table = group_table(runs).set_index("group")
    assert table.loc["ticket", "losers"] == pytest.approx(table.loc["ticket", "expected"], abs=1.5)


def student_rows(bad, widths=(2, 8), teachers=6, seeds=40, seed=0):
    draw = generator(seed)
    rows = []
    for width, rate in zip(widths, bad, strict=True):
        for t in range(teachers):
            for s in range(seeds):
                outcome = "bad" if draw.random() < rate else "good"
                rows.append({"target": t, "width": width, "seed": s, "outcome": outcome})
    return pd.DataFrame(rows)


def escape_rows(rates, seed=0, teachers=6, ends=4, tries=3):
    draw = generator(seed)
    rows = []
    for label in KINDS:
        for t in range(teachers):
            for s in range(ends):
                for way in WAYS:
                    for k in range(tries):
                        good = draw.random() < rates[way]
                        rows.append(
                            {
                                "target": t, "width": 4, "seed": s, "label": label, "way": way,
                                "neuron": k, "loss": 1.0, "index": int(way != "kick"), "drop": 0.0,
                                "end_loss": 0.0 if good else 1.0,
                                "outcome": "good" if good else "bad",
                            }
                        )  # fmt: skip
    return pd.DataFrame(rows)


EVEN = dict.fromkeys(WAYS, 0.15)


@pytest.mark.parametrize("seed", range(3))
def test_no_way_out_beyond_kicks_is_no_evidence_for_ways_out(seed):
    ways = escape_rates(escape_rows(EVEN, seed))
    found = failures_findings(failure_table(student_rows((0.5, 0.5), seed=seed)), ways)
    # At 95% each nine comparisons would hold a false one in every fifth data set.
    assert "for" not in speaks(found, "c")
    assert "for" not in speaks(found, "d")


def test_saddles_that_lead_nowhere_are_evidence_against():
    rates = dict.fromkeys(WAYS, 0.0)
    ways = escape_rates(escape_rows(rates, teachers=12, ends=12))
    found = failures_findings(failure_table(student_rows((0.5, 0.5))), ways)
    assert speaks(found, "c") == {"against"}


def test_ways_out_and_rarer_minima_speak_for():
    ways = escape_rates(escape_rows({"inside": 0.8, "outside": 0.8, "fresh": 0.8, "kick": 0.02}))
    found = failures_findings(failure_table(student_rows((0.8, 0.02))), ways)
    assert speaks(found, "c") == {"for"} and speaks(found, "d") == {"for"}
    back = failures_findings(failure_table(student_rows((0.02, 0.8))), ways)
    assert speaks(back, "d") == {"against"}
    # The fewer the better: none of 200 at the widest says no less than one of 200.
    none = failures_findings(failure_table(student_rows((1.0, 0.0), teachers=5)), ways)
    assert speaks(none, "d") == {"for"}


def test_intervals_of_all_comparisons_hold_together():
    """What one interval at 95% would say, ten that hold together do not."""
    run = FailuresRun.__new__(FailuresRun)
    rates = {"inside": 0.25, "outside": 0.15, "fresh": 0.15, "kick": 0.02}
    run.tables = {"students": student_rows((0.5, 0.5)), "escapes": escape_rows(rates, seed=1)}
    alone = failures_findings(run.failures(), run.ways_out())
    told = STUDIES["failures"].findings(run)
    assert joint(run)[0] == 10 and len(told) == len(alone) == 10
    assert sum(f.speaks == "for" for f in told) < sum(f.speaks == "for" for f in alone)


def point_rows(slope, seed=0, teachers=4, points=60):
    draw = generator(seed)
    loss = draw.uniform(0.01, 1.0, teachers * points)
    share = np.clip(0.3 + slope * (loss - 0.5) + 0.05 * draw.normal(size=loss.size), 0.0, 1.0)
    return pd.DataFrame(
        {
            "target": np.repeat(np.arange(teachers), points), "width": 4, "loss": loss,
            "coords": 100, "n_zero": 0, "index": np.round(100 * share).astype(int), "core": 4,
            "label": "saddle",
        }
    )  # fmt: skip


@pytest.mark.parametrize(("slope", "word"), [(0.4, "for"), (0.0, "silent"), (-0.4, "against")])
def test_index_against_loss(slope, word):
    curve = curve_table(distinct_points(point_rows(slope)), draws=199)
    assert speaks(index_loss_findings(curve), "c") == {word}


def test_teachers_of_unlike_losses_make_no_curve():
    """Within each teacher nothing goes together; between them everything would."""
    rows = point_rows(0.0)
    rows["loss"] *= 10.0 ** rows["target"]
    rows["index"] += 10 * rows["target"]
    curve = curve_table(distinct_points(rows), draws=199)
    assert speaks(index_loss_findings(curve), "c") == {"silent"}


def test_points_met_again_count_once():
    rows = point_rows(0.0, teachers=1, points=20)
    again = pd.concat([rows, rows.assign(loss=rows["loss"] * (1 + 1e-9))], ignore_index=True)
    assert len(distinct_points(again)) == 20
    assert distinct_points(again)["met"].tolist() == [2] * 20


def test_verdicts_and_headline():
    one, other = Finding("a", "for", "", TILE), Finding("a", "against", "", TILE)
    silent = Finding("a", "silent", "", TILE)
    assert verdict_of([one, silent]) == "supported"
    assert verdict_of([other]) == "contradicted"
    assert verdict_of([one, other]) == "mixed"
    assert verdict_of([silent]) == verdict_of([]) == "undecided"
    nothing = headline({claim: [] for claim in CLAIMS})
    assert len(nothing) == 4 and all("not decided" in line for line in nothing)
