"""Panels hold the numbers of the tables, and what points say is exact."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from edt.plots import DARK, LIGHT
from edt.show.hover import share, value
from edt.show.interactive import panels_json
from edt.show.marks import line, thinned
from edt.show.panel import Panel, axis, coloured, numbers
from edt.stats import wilson
from edt.studies import success_table
from edt.studies.width.success_panel import success_panels


def runs(*groups):
    """(width, good, bad) to a table of runs of one target."""
    rows = [
        (width, outcome)
        for width, good, bad in groups
        for outcome in ["good"] * good + ["bad"] * bad
    ]
    return pd.DataFrame(rows, columns=["width", "outcome"]).assign(target=0)


def test_success_says_counts_rates_and_intervals():
    left, right = success_panels(success_table(runs((4, 3, 9), (8, 9, 3)), 4), 4)
    measured = left.traces[0]
    rate = wilson(9, 12)
    assert measured["x"] == [4.0, 8.0] and measured["y"] == [0.25, 0.75]
    assert measured["error_y"]["array"][1] == pytest.approx(rate.high - rate.value, rel=1e-5)
    assert measured["error_y"]["arrayminus"][1] == pytest.approx(rate.value - rate.low, rel=1e-5)
    bounds = f"{100 * rate.low:.1f}–{100 * rate.high:.1f}%"
    assert measured["hovertext"][1] == f"width 8: 9 of 12 runs<br>75.0% (95%: {bounds})"
    disjoint = next(t for t in left.traces if "⌊" in t["name"] and "hovertext" in t)
    assert disjoint["y"][1] == pytest.approx(1 - 0.75**2)
    counts = {trace["name"]: trace["y"] for trace in right.traces}
    assert counts["⌊m/r⌋"] == [1, 2] and counts["C(m, r)"] == [1, 70]


def test_tickets_without_an_upper_bound_stand_apart():
    _, right = success_panels(success_table(runs((4, 3, 9), (8, 12, 0)), 4), 4)
    least = next(trace for trace in right.traces if trace["name"] == "at least")
    assert least["x"] == [8.0] and "at least" in least["hovertext"][0]


def test_below_the_reference_width_there_are_no_tickets():
    assert len(success_panels(success_table(runs((4, 3, 9), (8, 9, 3)), 9), 9)) == 1


def test_the_same_table_gives_the_same_json():
    table = success_table(runs((4, 3, 9), (8, 9, 3)), 4)
    text = panels_json(success_panels(table, 4))
    assert text == panels_json(success_panels(table.copy(), 4))
    assert "<" not in text and json.loads(text)[0]["title"] == "Success against width"


def test_colours_by_name_at_any_depth():
    part = {"a": ["@blue", {"b": "@blue/0.5"}], "c": "a@blue", "d": 1, "e": "@on_paper"}
    for theme in (LIGHT, DARK):
        red, green, blue = (int(theme.blue[i : i + 2], 16) for i in (1, 3, 5))
        assert coloured(part, theme) == {
            "a": [theme.blue, {"b": f"rgba({red}, {green}, {blue}, 0.5)"}],
            "c": "a@blue",
            "d": 1,
            "e": "#000000" if theme is LIGHT else "#ffffff",
        }


def test_what_is_not_finite_has_no_place():
    assert numbers([1, float("nan"), float("inf"), 1 / 3]) == [1.0, None, None, 0.333333]
    trace = line([1], [2.0], "a", "@blue", ["a"], low=[1.0], high=[float("inf")])
    assert trace["error_y"]["array"] == [0.0] and trace["error_y"]["arrayminus"] == [1.0]


def test_a_logarithmic_axis_takes_its_span_in_units_of_the_data():
    assert axis("x", log=True, span=(0.01, 100.0))["range"] == [-2.0, 2.0]


def test_panels_suit_a_notebook():
    graphs = pytest.importorskip("plotly.graph_objects")
    panel = Panel("A", [line([1], [2], "a", "@blue", ["a"])], axis("x"), axis("y"))
    figure = graphs.Figure(panel.plotly(DARK))
    assert figure.layout.title.text == "A" and figure.data[0].line.color == DARK.blue


def test_thinning_keeps_every_kth_row():
    table = pd.DataFrame({"a": range(10)})
    few, step = thinned(table, most=4)
    assert step == 3 and few["a"].tolist() == [0, 3, 6, 9]
    assert thinned(table, most=10)[1] == 1


@pytest.mark.parametrize(
    "text, wanted",
    [
        (share(0.0, 0.0, 0.139), "0% (95%: 0–13.9%)"),
        (share(0.99999, 0.5, 1.0), ">99.9% (95%: 50.0–100%)"),
        (share(float("nan")), "–"),
        (value(1820.0), "1,820"),
        (value(1.234567, 0.5, float("inf")), "1.235 (95%: 0.5–∞)"),
        (value(float("inf"), 2.5, float("inf")), "at least 2.5"),
    ],
)
def test_words(text, wanted):
    assert text == wanted
