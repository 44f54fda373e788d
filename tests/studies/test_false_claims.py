"""Every study is fed data in which what its page could claim is false by construction.

Most have such a test among their own; what is here is for pages without findings. A study without
an entry fails.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from edt.studies.census.page import answer as census_answer
from edt.studies.escape.page import _dimension_text, _time_text
from edt.studies.lottery.page import comparisons
from edt.studies.multi_start.page import information_text
from edt.studies.multi_start.run import agreement_table
from edt.studies.perturb_rest.page import _control_text
from edt.studies.perturb_rest.tables import win_table

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / ".ci"))
from docs_gallery import STUDIES  # noqa: E402

#: Study to the tests, by file.
NULLS: dict[str, tuple[str, ...]] = {
    "width-sweep": (
        "test_width_models.py::test_one_number_of_tickets",
        "test_width_models.py::test_escape_dimensions_that_are_width_are_called_so",
    ),
    "controls": ("test_controls.py::test_the_answer_wants_teachers_to_agree",),
    "census": ("test_false_claims.py::test_a_share_that_does_not_change_is_told_as_it_is",),
    "escape": ("test_false_claims.py::test_counts_that_differ_from_the_closed_form_are_told",),
    "perturb-rest": ("test_false_claims.py::test_tickets_that_are_nothing_are_not_set_apart",),
    "multi-start": ("test_false_claims.py::test_independent_wins_tell_nothing",),
    "lottery": ("test_false_claims.py::test_a_ticket_that_is_no_better_is_not_said_to_be",),
    "loss-levels": (
        "test_loss_levels.py::test_a_share_is_above_or_below_by_a_test_against_a_stated_bound",
    ),
    "safran-shamir": (
        "test_safran_shamir.py::test_comparison_finds_a_difference_where_there_is_one",
    ),
    "xor": ("test_xor.py::test_differences_are_found_and_others_are_not",),
    "subsets": ("test_claims.py::test_a_true_multi_start_is_no_evidence_against_multi_starts",),
    "crossed": (
        "test_claims.py::test_a_rate_alone_is_no_evidence_that_tickets_fail",
        "test_claims.py::test_tickets_that_are_nothing_fail_and_are_not_ahead",
    ),
    "failures": ("test_claims.py::test_no_way_out_beyond_kicks_is_no_evidence_for_ways_out",),
    "index-loss": ("test_claims.py::test_teachers_of_unlike_losses_make_no_curve",),
    "signs": ("test_signs.py::test_coin_tosses_are_no_evidence",),
    "prune-to-narrow": (
        "test_prune_to_narrow.py::test_winners_that_are_r_neurons_are_no_evidence_against_multi_starts",
        "test_prune_to_narrow.py::test_narrow_networks_that_always_win_decide_nothing",
    ),
    "escape-count": (
        "test_escape_count.py::test_neurons_that_do_no_more_than_starting_anew_are_no_evidence",
    ),
    "barriers": ("test_barriers.py::test_no_change_with_width_is_no_evidence",),
    "depth": ("test_contrast.py::test_a_rate_that_does_not_change_is_no_evidence",),
    "targets": ("test_contrast.py::test_a_rate_that_does_not_change_is_no_evidence",),
    "optimisers": (
        "test_contrast.py::test_a_rate_that_does_not_change_is_no_evidence",
        "test_optimisers.py::test_batches_that_do_nothing_are_not_said_to",
        "test_optimisers.py::test_plateaus_speak_where_time_goes_with_curvature_and_only_there",
    ),
    "escape-teachers": (
        "test_escape_teachers.py::"
        "test_it_speaks_for_ways_down_where_they_are_the_cause_and_against_where_width_is",
    ),
    "channel-sweep": (
        "test_channel_sweep.py::test_what_is_said_follows_the_share_of_splits_with_a_way_down",
    ),
    "perturb-rest-net": ("test_nets.py::test_sentences_follow_the_numbers",),
    "width-net": ("test_width_net.py::test_networks_that_are_tickets_speak_for_nothing",),
    "multi-start-net": ("test_nets.py::test_what_is_said_of_multi_starts_follows_the_numbers",),
}  # fmt: skip


def generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


def test_every_study_has_one() -> None:
    assert NULLS.keys() == set(STUDIES)
    for name in {test for tests in NULLS.values() for test in tests}:
        file, _, function = name.partition("::")
        tree = ast.parse((Path(__file__).parent / file).read_text(encoding="utf-8"))
        assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_independent_wins_tell_nothing() -> None:
    """Of ten sets in which tickets and networks have nothing to do with each other, at most three:
    more have a chance of one in a thousand at a level of 5%."""
    told = 0
    for seed in range(10):
        draw = generator(seed)
        target = np.repeat(np.arange(5), 40)
        # Teachers differ: pooled over them, wins of tickets and of networks do go together.
        price = np.array([0.1, 0.3, 0.5, 0.7, 0.9])[target]
        runs = pd.DataFrame(
            {"target": target, "width": 8, "together": draw.random(200) < price, "tickets": 2,
             "alone": draw.binomial(2, price), "held": 1.0, "holder_won": False}
        )  # fmt: skip
        told += "tells something" in information_text(agreement_table(runs))
    assert told <= 3


@pytest.mark.parametrize("seed", range(3))
def test_tickets_that_are_nothing_are_not_set_apart(seed: int) -> None:
    draw = generator(seed)
    rows = [
        {"group": group, "ticket": ticket, "target": ticket % 5, "size": size,
         "win": draw.random() < 0.5 + 0.1 * (ticket % 5), "distance": 1.0, "shift": 0.1,
         "same": 1.0}
        for group in ("winning", "random")
        for ticket in range(20)
        for size in (0.5, 1.0)
        for _ in range(20)
    ]  # fmt: skip
    said = _control_text(win_table(pd.DataFrame(rows)))
    assert "overlap the ticket's at every size" in said


def test_a_ticket_that_is_no_better_is_not_said_to_be() -> None:
    """The ticket's means stand above all others, its intervals do not."""
    rows = [
        {"method": method, "round": k, "remaining": 0.8**k, "accuracy": value,
         "accuracy_low": value - 0.03, "accuracy_high": value + 0.03}
        for method, value in (("ticket", 0.95), ("reinit", 0.92), ("random", 0.91))
        for k in range(4)
    ]  # fmt: skip
    dense, *controls = comparisons(pd.DataFrame(rows))
    assert "below that at none of 3 sparsities" in dense
    assert all("better at none and worse at none of 3" in said for said in controls)
    worse = pd.DataFrame(rows).assign(
        accuracy_high=lambda t: t["accuracy_high"] - 0.5 * (t["round"] == 3)
    )
    assert "below that at 1 of 3 sparsities, first with 51%" in comparisons(worse)[0]


def test_a_share_that_does_not_change_is_told_as_it_is() -> None:
    table = pd.DataFrame(
        {"width": [2, 8], "bad_share": 0.3, "bad_share_spread_low": 0.2,
         "bad_share_spread_high": 0.4}
    )  # fmt: skip
    said = census_answer(table, 4).text
    assert said.count("30% (20–40%)") == 2
    assert not {"rare", "fewer", "fall", "less"} & set(said.lower().split())


def test_counts_that_differ_from_the_closed_form_are_told() -> None:
    table = pd.DataFrame(
        {"added": [1, 2], "clear": [10, 10], "strict": [0.5, 0.5], "mean_index": [0.5, 1.0],
         "agree": [9, 8]}
    )  # fmt: skip
    said = _dimension_text(table)
    assert "50% of the embedded points are strict saddles" in said
    assert "counted number at 17 of 20 points" in said
    none = pd.DataFrame({"kind": ["random"], "added": [1], "escape_steps": [np.nan]})
    assert _time_text(none) == "No point had a negative direction."
