"""Figures of every page read without their colours: by markers, dashes and hatches."""

from __future__ import annotations

import json
import re

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


@pytest.mark.parametrize("kind", SPECS)
def test_series_of_a_page_differ_without_colour(pages, kind):
    panels = [
        panel
        for figure in FIGURE.findall(pages[kind].read_text(encoding="utf-8"))
        for panel in json.loads(figure)
        if "data" in panel  # not those of the explorable
    ]
    assert panels
    assert [found for panel in panels for found in confused(panel)] == []


def test_series_of_one_look_are_found():
    trace = {"type": "scatter", "mode": "lines+markers", "marker": {"symbol": "circle"},
             "line": {"dash": "dot"}}  # fmt: skip
    assert confused({"data": [{**trace, "name": "a"}, {**trace, "name": "b"}]}) == [["a", "b"]]
    other = {**trace, "name": "b", "line": {"dash": "solid"}}
    assert confused({"data": [{**trace, "name": "a"}, other]}) == []
