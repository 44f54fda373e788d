"""Figures from panels: matplotlib draws the numbers that the page draws."""

from __future__ import annotations

import numpy as np
import pytest

from edt.plots import DARK, LIGHT
from edt.show.marks import bars, heatmap, line, points
from edt.show.panel import Panel, axis
from edt.show.render import draw, plain

TWO = [
    line([1, 2], [0.2, 0.4], "a", "@blue", ["", ""], low=[0.1, 0.3], high=[0.5, 0.5]),
    points([1, 2], [0.3, 0.1], "b", "@red", ["", ""], "s", low=[0.2, 0.0], high=[0.4, 0.2]),
]


def test_lines_keep_their_places_and_only_intervals_stand_aside():
    (ax,) = draw([Panel("p", TWO, axis("x"), axis("share"))]).axes
    first, second = (container.lines for container in ax.containers)
    assert first[0].get_xdata().tolist() == second[0].get_xdata().tolist() == [1, 2]
    assert first[0].get_ydata().tolist() == [0.2, 0.4]
    ends = np.array([segment[:, 1] for segment in first[2][0].get_segments()])
    assert np.allclose(ends, [[0.1, 0.5], [0.3, 0.5]])
    # In data coordinates both bars are at 1; on the page four points lie between them.
    places = [found[2][0].get_transform().transform((1.0, 0.0))[0] for found in (first, second)]
    assert places[1] - places[0] == pytest.approx(4.0 / 72 * ax.figure.dpi)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b"]


def test_intervals_at_places_of_their_own_stay_there():
    apart = [TWO[0], {**TWO[1], "x": [1.5, 2.5]}]
    (ax,) = draw([Panel("p", apart, axis("x"), axis("share"))]).axes
    for container, at in zip(ax.containers, (1.0, 1.5), strict=True):
        bars, marks = container.lines[2][0], container.lines[0]
        place = bars.get_transform().transform((at, 0.0))
        assert place[0] == pytest.approx(marks.get_transform().transform((at, 0.0))[0])


def test_bars_are_stacked_where_the_panel_says_so():
    traces = [
        bars([1, 2], [0.25, 0.5], "a", "@blue", ["", ""]),
        bars([1, 2], [0.5, 0.25], "b", "@red", ["", ""]),
    ]
    for mode, wanted in (("stack", [0.25, 0.5]), ("overlay", [0.0, 0.0])):
        (ax,) = draw([Panel("p", traces, axis("x"), axis("y"), {"barmode": mode})]).axes
        assert [bar.get_y() for bar in ax.containers[1]] == wanted


def test_axes_show_the_ticks_and_spans_of_the_panel():
    across = axis("loss", log=True, ticks=[0.1, 1], labels=["10<sup>−1</sup>", "1"], span=(0.1, 3))
    (ax,) = draw([Panel("p", TWO, across, axis("y", ticks=[0, 1]))], theme=DARK).axes
    assert ax.get_xscale() == "log" and ax.get_xlim() == pytest.approx((0.1, 3))
    assert [text.get_text() for text in ax.get_xticklabels()] == ["10$^{−1}$", "1"]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["0", "1"]


def test_colours_are_those_of_the_theme():
    shown = [
        draw([Panel("p", TWO, axis(), axis())], theme=theme).axes[0].containers[0].lines[0]
        for theme in (LIGHT, DARK)
    ]
    assert shown[0].get_color() != shown[1].get_color()


def test_what_is_not_drawn_is_refused():
    panel = Panel("p", [heatmap([[0.5]], [[""]])], axis(), axis())
    with pytest.raises(ValueError, match="type 'heatmap' is not drawn"):
        draw([panel])
    assert plain("a<br><b>b</b> m<sub>1</sub>") == "a\nb m$_{1}$"
