"""Figures of every page read without their colours, by markers, dashes and hatches; and their marks
stand where they were counted.
"""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from small_pages import SPECS

FIGURE = re.compile(r'<script type="application/json">(.*?)</script>', re.DOTALL)


def look(trace):
    """What is left of a trace without colour."""
    marker, line = trace.get("marker", {}), trace.get("line", {})
    symbol = marker.get("symbol", "") if "markers" in trace.get("mode", "") else ""
    dash = line.get("dash", "solid") if "lines" in trace.get("mode", "") else ""
    return trace["type"], str(symbol), dash, marker.get("pattern", {}).get("shape", "")


def confused(panel):
    """Names of the key that look like another one of the same panel."""
    looks = {}
    for trace in panel["data"]:
        if trace.get("name") and trace.get("showlegend", True):
            looks.setdefault((trace.get("yaxis", "y"), look(trace)), set()).add(trace["name"])
    return [sorted(names) for names in looks.values() if len(names) > 1]


def panels_of(page):
    """All panels of a page, but those of the explorable."""
    figures = FIGURE.findall(page.read_text(encoding="utf-8"))
    return [panel for figure in figures for panel in json.loads(figure) if "data" in panel]


@pytest.mark.parametrize("kind", SPECS)
def test_series_of_a_page_differ_without_colour(pages, kind):
    panels = panels_of(pages[kind])
    assert panels
    assert [found for panel in panels for found in confused(panel)] == []


def test_series_of_one_look_are_found():
    trace = {"type": "scatter", "mode": "lines+markers", "marker": {"symbol": "circle"},
             "line": {"dash": "dot"}}  # fmt: skip
    assert confused({"data": [{**trace, "name": "a"}, {**trace, "name": "b"}]}) == [["a", "b"]]
    other = {**trace, "name": "b", "line": {"dash": "solid"}}
    assert confused({"data": [{**trace, "name": "a"}, other]}) == []


def moved(panel):
    """Traces whose marks stand beside the whole numbers that an axis measures."""
    x = panel["layout"]["xaxis"]
    ticks, words = x.get("tickvals") or [], x.get("ticktext") or []
    if not ticks or x.get("type") == "log" or words != [f"{tick:g}" for tick in ticks]:
        return []  # names, or numbers that are no counts
    if any(tick % 1 for tick in ticks):
        return []
    counted = [
        trace for trace in panel["data"]
        # Clouds of single runs are spread beside their width, and rules have no marks.
        if trace["type"] == "bar" or "error_y" in trace or trace.get("mode") == "lines+markers"
    ]  # fmt: skip
    return [trace["name"] for trace in counted if any(at % 1 for at in trace["x"])]


@pytest.mark.parametrize("kind", SPECS)
def test_marks_stand_at_the_whole_numbers_that_were_counted(pages, kind):
    assert [name for panel in panels_of(pages[kind]) for name in moved(panel)] == []


def outside(panel):
    """Marks, and ends of their intervals, that lie beyond an axis."""
    found = []
    for trace in panel["data"]:
        if trace["type"] != "scatter" or "markers" not in trace["mode"]:
            continue
        for letter in "xy":
            axis = panel["layout"][f"{letter}axis{trace.get(f'{letter}axis', letter)[1:]}"]
            at = np.array(trace[letter], dtype=float)
            ends = [at]
            if letter == "y" and "error_y" in trace:
                bars = trace["error_y"]
                ends += [at + np.array(bars["array"], dtype=float),
                         at - np.array(bars["arrayminus"], dtype=float)]  # fmt: skip
            values = np.concatenate(ends)
            if axis.get("type") == "log":  # what reaches down to 0 has no end there
                values = np.log10(values[values > 1e-12 * np.nanmax(np.abs(values))])
            low, high = sorted(axis.get("range", (-np.inf, np.inf)))
            if ((values < low - 1e-6) | (values > high + 1e-6)).any():
                found.append((panel["title"], trace["name"], letter))
    return found


@pytest.mark.parametrize("kind", SPECS)
def test_every_mark_and_whisker_lies_inside_its_axes(pages, kind):
    assert [found for panel in panels_of(pages[kind]) for found in outside(panel)] == []


def test_whiskers_that_are_cut_off_are_found():
    bars = {"array": [0.1], "arrayminus": [0.2]}
    trace = {"type": "scatter", "mode": "markers", "name": "a", "x": [1], "y": [0.5]}
    layout = {"xaxis": {"range": [0, 2]}, "yaxis": {"range": [0.4, 1]}}
    assert outside({"title": "p", "layout": layout, "data": [trace]}) == []
    barred = {"title": "p", "layout": layout, "data": [{**trace, "error_y": bars}]}
    assert outside(barred) == [("p", "a", "y")]
    logarithmic = {**layout, "yaxis": {"type": "log", "range": [-0.2, 0]}}
    assert outside({**barred, "layout": logarithmic}) == [("p", "a", "y")]


def test_marks_beside_their_number_are_found():
    axis = {"tickvals": [2, 3], "ticktext": ["2", "3"]}
    trace = {"type": "scatter", "mode": "lines+markers", "name": "a", "x": [2.06, 3]}
    assert moved({"layout": {"xaxis": axis}, "data": [trace]}) == ["a"]
    named = {**axis, "ticktext": ["fresh", "split"]}
    assert moved({"layout": {"xaxis": named}, "data": [trace]}) == []
