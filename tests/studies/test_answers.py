"""The answer of a page: the second sentence of its lead and its tiles, from its tables."""

from __future__ import annotations

import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from edt.show import html
from edt.show.answer import Answer, rate_tile
from edt.show.words import percent, span
from edt.studies.census import page as census
from edt.studies.common.findings import Finding, answer_of
from edt.studies.controls import page as controls
from edt.studies.escape import page as escape
from edt.studies.loss_levels import page as loss_levels
from edt.studies.lottery import page as lottery
from edt.studies.multi_start import page as multi_start
from edt.studies.perturb_rest import page as perturb_rest
from edt.studies.safran_shamir import page as safran_shamir
from edt.studies.sweep.page import split_text
from edt.studies.xor import page as xor


def rates(name, value, low, high):
    return {name: value, f"{name}_low": low, f"{name}_high": high}


CURVES = pd.DataFrame([
    {"method": method, "remaining": share, **rates("accuracy", value, value - 0.05, value + 0.05)}
    for method, share, value in (("ticket", 1.0, 0.91), ("ticket", 0.1, 0.87), ("reinit", 1.0, 0.9),
                                 ("reinit", 0.1, 0.71))
])  # fmt: skip
STARTS = pd.DataFrame([
    {"width": width, "tickets": width // 4, **rates("rate_together", 0.3, 0.2, 0.4),
     **rates("rate_alone", value, 0.1, 0.7)}
    for width, value in ((4, 0.2), (8, 0.6))
])  # fmt: skip
LEVELS = pd.DataFrame([
    {"bias": bias, "width": width, "levels": 3, **rates("rate", value, 0.01, 0.5)}
    for bias, width, value in ((False, 0, 0.21), (False, 2, 0.4), (True, 0, 0.08), (True, 2, 0.3))
])  # fmt: skip
SPURIOUS = pd.DataFrame([
    {"teacher": teacher, "student": student, "starts": 50, **rates("rate", value, 0.02, 0.4)}
    for teacher, student, value in ((6, 6, 0.11), (8, 8, 0.34), (8, 9, 0.06))
])  # fmt: skip
XOR = pd.DataFrame([
    {"start": start, "width": width, **rates("rate", value, 0.1, 0.9), **rates("n_eff", 4.2, 2, 9)}
    for start, width, value in (("fixed", 2, 0.19), ("fixed", 6, 0.83), ("he", 2, 0.5))
])  # fmt: skip
CENSUS = pd.DataFrame([
    {"width": width, **rates("bad_share_spread", 0.0, 0.1, 0.6), "bad_share": value}
    for width, value in ((2, 0.55), (8, 0.02))
])  # fmt: skip
WINS = pd.DataFrame([
    {"group": "winning", "size": size, "failing": 1, "tickets": 5, "runs": 50,
     **rates("spread", 0.0, 0.3, 0.9), "rate": value}
    for size, value in ((0.1, 0.97), (2.5, 0.42))
])  # fmt: skip
CONTROLS = pd.DataFrame([
    {"control": control, "width": width, "setting": 0, "dimension": 5 * width, "learning": 4,
     "runs": 20, "rate_ordinary": 0.4, "p": 0.01, **rates("rate", value, 0.05, 0.95)}
    for control, width, value in (("width", 4, 0.13), ("width", 8, 0.77), ("frozen", 8, 0.21))
])  # fmt: skip
ATTRIBUTION = pd.DataFrame([
    {"model": "learning", "p": 0.6}, {"model": "dimension", "p": 0.004},
    {"model": "both", "p": 1.0, **rates("b_learning", 1.25, 0.5, 2.1),
     **rates("b_dimension", 0.75, -0.5, 1.9)},
])  # fmt: skip

#: Answer of a page, and the shares of its tables that its tiles must say.
ANSWERS = {
    "lottery": (lambda: lottery.answer(CURVES), (0.87, 0.71, 0.91)),
    "multi-start": (lambda: multi_start.answer(STARTS), (0.3, 0.6)),
    "loss levels": (lambda: loss_levels.answer(LEVELS), (0.21, 0.08)),
    "spurious minima": (lambda: safran_shamir.answer(SPURIOUS), (0.34, 0.06)),
    "exclusive or": (lambda: xor.answer(XOR), (0.19, 0.83)),
    "census": (lambda: census.answer(CENSUS, 7), (0.55, 0.02)),
    "perturbed rests": (lambda: perturb_rest.answer(WINS, 0.12), (0.97, 0.42, 0.12)),
    "controls": (lambda: controls.answer(CONTROLS, ATTRIBUTION), (0.13, 0.77, 0.21)),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_lead_and_tiles_of_a_page_say_what_its_tables_say(name):
    make, shares = ANSWERS[name]
    text = html.page("Title", "What was done.", make(), [], "end")
    header = text[text.index("<header>") : text.index("</header>")]
    lead = re.search(r'<p class="lead">What was done\. (.*?)</p>', header)
    assert lead is not None and lead[1].endswith(".")
    tiles = re.findall(r'<div class="tile"><b>(.*?)</b><span>(.*?)</span>', header)
    assert 2 <= len(tiles) <= 3
    assert [value for value, _ in tiles][: len(shares)] == [percent(share) for share in shares]
    assert sum("95%" in label for _, label in tiles) >= 2
    # No names of columns or of options, and no number with a tail of zeros.
    assert not re.search(r"_|\bnan\b|\d\.0\b", lead[1] + str(tiles))


def test_controls_say_what_adds_beside_the_other():
    text = controls.answer(CONTROLS, ATTRIBUTION).text
    assert "more neurons that learn help (slope 1.2 (0.5–2.1) over teachers)" in text
    assert "more parameters do not help, as far as this shows (slope 0.75 (−0.5 to 1.9)" in text
    alone = ATTRIBUTION.drop(columns=[c for c in ATTRIBUTION if c.endswith(("_low", "_high"))])
    bounds = {f"b_{name}_{end}": np.nan for name in ("learning", "dimension")
              for end in ("low", "high")}  # fmt: skip
    text = controls.answer(CONTROLS, alone.assign(**bounds)).text
    assert "more neurons that learn help (p = 0.0040, of this teacher alone)" in text


def test_a_page_of_findings_says_the_first_that_decides():
    found = [
        Finding("b", "silent", "Nothing: 1%.", ("1%", "nothing")),
        Finding("b", "for", "Yes: 40% (30–50%).", ("40%", "yes (95%: 30–50%)")),
        Finding("b", "for", "Also: 30%.", ("30%", "also")),
        Finding("b", "against", "But: 20%.", ("20%", "but")),
    ]
    answer = answer_of(found, 9)
    assert answer.text == "Yes: 40% (30–50%)."
    # Its size, that of the test that speaks the other way, and how many speak which way.
    assert answer.tiles[:2] == [found[1].effect, found[3].effect]
    claim = "wide networks are no multi-start over the subnetworks inside"
    assert answer.tiles[2] == ("2 of 4", f"tests speak for the claim that {claim}, 1 against")
    assert answer_of(found[:1], 9).text == "Not decided: nothing: 1%."
    assert answer_of([], 9).tiles[1] == ("9", "runs in the tables")


def test_an_answer_is_a_sentence_with_two_or_three_numbers():
    one = rate_tile(0.5, 0.25, 0.75, "of runs")
    assert one == ("50%", f"of runs (95%: {span(0.25, 0.75)})")
    with pytest.raises(ValueError, match="two or three"):
        Answer("So it is.", [one])
    with pytest.raises(ValueError, match="sentence"):
        Answer("So it is", [one, one])


def test_the_closed_form_is_counted_where_its_law_holds():
    """At good minima B is zero to rounding, and no index follows from its sign."""
    runs = pd.DataFrame({"run": [0, 1], "outcome": ["bad", "good"]})
    table = pd.DataFrame({"run": [0, 0, 1, 1], "n_neg": [1, 2, 0, 0],
                          "predicted_neg": [1, 2, 1, 1]})  # fmt: skip
    assert "same index in 2 of 2" in split_text(table, runs)
    assert "nothing to split" in split_text(table[table["run"] == 1], runs)


@pytest.mark.parametrize("minima", [(3, 1), (1, 1)])
def test_escape_asks_for_several_minima(minima):
    """Of one minimum there is no interval: the widest with several, or it says that it is one."""
    wide = pd.DataFrame({
        "width": [6, 9], "minima": minima, "good": [0.81, 0.64],
        "good_spread_low": [0.5 if minima[0] > 1 else None, None],
        "good_spread_high": [0.9 if minima[0] > 1 else None, None],
    }).astype({"good_spread_low": float, "good_spread_high": float})  # fmt: skip
    points = pd.DataFrame(columns=["clear", "n_neg", "source"]).astype({"clear": bool})
    run = SimpleNamespace(points=points, starts=[1], table=lambda by: wide)
    text = escape.answer(run).text.replace("\u2060", "")
    said = (
        "81% (50–90%) of the runs into width 6 reach"
        if minima[0] > 1
        else "64% of the runs into width 9, all from one minimum, reach"
    )
    assert said in text
