"""Figures from panels: matplotlib draws the numbers that the page draws."""

from __future__ import annotations

import json
import re
from importlib.resources import files

import numpy as np
import pytest

from edt.plots import DARK, LIGHT
from edt.show.axes import log_axis
from edt.show.marks import PATTERNS, SYMBOLS, bars, edges, heatmap, line, points, shade, stacked
from edt.show.panel import Panel, axis
from edt.show.publish import Picture, embed, figures_kept
from edt.show.render import POINT, draw, plain
from edt.show.style import Powers, new_figure, themed_svg

TWO = [
    line([1, 2], [0.2, 0.4], "a", "@blue", ["", ""], low=[0.1, 0.3], high=[0.5, 0.5]),
    points([1, 2], [0.3, 0.1], "b", "@red", ["", ""], "s", low=[0.2, 0.0], high=[0.4, 0.2]),
]


def test_lines_keep_their_places_and_only_intervals_stand_aside():
    (ax,) = draw([Panel("p", TWO, axis("x"), axis("share"))]).axes
    marks = [held.get_xydata().tolist() for held in ax.lines if held.get_linestyle() == "None"]
    assert marks == [[[1, 0.2], [2, 0.4]], [[1, 0.3], [2, 0.1]]]
    first, second = (container.lines[2][0] for container in ax.containers)
    ends = np.array([segment[:, 1] for segment in first.get_segments()])
    assert np.allclose(ends, [[0.1, 0.5], [0.3, 0.5]])
    # In data coordinates both bars are at 1; on the page five pixels lie between them.
    places = [bars.get_transform().transform((1.0, 0.0))[0] for bars in (first, second)]
    assert places[1] - places[0] == pytest.approx(5.0 * POINT / 72 * ax.figure.dpi)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b"]


def test_intervals_at_places_of_their_own_stay_there():
    apart = [TWO[0], {**TWO[1], "x": [1.5, 2.5]}]
    (ax,) = draw([Panel("p", apart, axis("x"), axis("share"))]).axes
    for container, at in zip(ax.containers, (1.0, 1.5), strict=True):
        place = container.lines[2][0].get_transform().transform((at, 0.0))
        assert place[0] == pytest.approx(ax.transData.transform((at, 0.0))[0])


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
    assert [text.get_text() for text in ax.get_xticklabels()] == ["10⁻¹", "1"]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["0", "1"]


def test_colours_are_those_of_the_theme():
    shown = [
        draw([Panel("p", TWO, axis(), axis())], theme=theme).axes[0].lines[0]
        for theme in (LIGHT, DARK)
    ]
    assert shown[0].get_color() != shown[1].get_color()


def test_what_is_not_drawn_is_refused():
    panel = Panel("p", [{**TWO[0], "type": "violin"}], axis(), axis())
    with pytest.raises(ValueError, match="type 'violin' is not drawn"):
        draw([panel])
    assert plain("a<br><b>b</b> m<sub>1</sub>, p < 2 > 1") == "a\nb m₁, p < 2 > 1"
    assert plain("10<sup>−12</sup> R<sup>n</sup>") == "10⁻¹² R$^{n}$"


@pytest.mark.parametrize(
    ("ends", "words"),
    [
        ((1e-4, 1e2), ["10⁻⁴", "10⁻²", "10⁰", "10²"]),
        ((2.5e-4, 9e-4), ["3×10⁻⁴", "4×10⁻⁴", "6×10⁻⁴"]),
    ],
)
def test_powers_are_written_without_formulas(ends, words):
    figure, axes = new_figure()
    ax = axes[0, 0]
    ax.set_yscale("log")
    ax.set_ylim(*ends)
    ax.yaxis.set_major_formatter(Powers())
    ax.yaxis.set_minor_formatter(Powers())
    figure.canvas.draw()
    found = [text.get_text() for text in (*ax.get_yticklabels(), *ax.get_yticklabels(minor=True))]
    assert set(words) <= set(found)
    assert not any("$" in text for text in found)


def test_axes_of_yours_are_drawn_on():
    from matplotlib.figure import Figure

    mine = Figure().subplots(1, 2)
    panel = Panel("p", TWO, axis("x"), axis("share"))
    assert draw([panel, panel], ax=mine) is mine[0].figure
    assert [ax.get_xlabel() for ax in mine] == ["x", "x"]
    with pytest.raises(ValueError, match="ax must be 1 axes, one a panel, got 2"):
        draw([panel], ax=mine)


def test_a_figure_shows_itself_in_a_notebook():
    shown = draw([Panel("p", TWO, axis("x"), axis("y"))])._repr_png_()
    assert shown.startswith(b"\x89PNG")


def test_panels_stand_two_in_a_row_and_a_last_one_alone():
    panel = Panel("p", TWO, axis("x"), axis("y"))
    axes = draw([panel, panel, panel]).axes
    left, right, below = (ax.get_position().bounds for ax in axes)
    assert left[1] == pytest.approx(right[1]) and below[1] < left[1]
    assert below[2] > 1.5 * left[2]


def test_cells_of_a_heatmap_say_their_share():
    panel = Panel("p", [heatmap([[0.5, 1.0]], [["", ""]])], axis(), axis())
    (ax,) = draw([panel]).axes
    assert [text.get_text() for text in ax.texts] == ["50", "100"]


def test_lying_bars_stand_one_on_the_other_and_say_their_share():
    counts = {"good": [3, 1], "bad": [1, 3], "never": [0, 0]}
    traces = stacked(["a", "b"], counts, ["@blue", "@red", "@soft"], "runs", lying=True)
    assert [trace["name"] for trace in traces] == ["good", "bad"]
    (ax,) = draw([Panel("p", traces, axis(), axis(), {"barmode": "stack"})]).axes
    assert [bar.get_x() for bar in ax.containers[1]] == [0.75, 0.25]
    assert [text.get_text() for text in ax.texts] == ["75", "25", "25", "75"]
    assert traces[0]["hovertext"][0] == "a, good: 3 of 4 runs<br>75.0% (95%: 30.1–95.4%)"
    hatches = {bar.get_hatch() for held in ax.containers for bar in held}
    assert len(hatches) == 2, "told apart without colour"


def test_shades_edges_and_notes_are_drawn_where_the_panel_says():
    note = {"x": 1, "xref": "paper", "y": 0.3, "text": "a<br>b", "xanchor": "right",
            "yanchor": "bottom", "font": {"color": "@soft"}}  # fmt: skip
    more = {"shapes": [shade(1.2, 1.6, "@soft/0.16"), *edges([1.5])], "annotations": [note]}
    (ax,) = draw([Panel("p", TWO, axis(span=(1, 2)), axis(span=(0, 1)), more)]).axes
    (strip,) = ax.patches
    assert sorted({x for x, _ in strip.get_xy()}) == [1.2, 1.6]
    assert [text.get_text() for text in ax.texts] == ["a\nb"]
    assert ax.get_xlim() == (1, 2) and ax.get_ylim() == (0, 1)


def test_a_logarithmic_axis_has_few_ticks_however_many_decades():
    for decade in (1, 3, 12, 33, 300):
        found = log_axis("loss", span=(10.0**-decade, 1.0))
        assert 3 <= len(found["tickvals"]) <= 9, decade


def test_a_picture_of_a_page_is_drawn_once_and_takes_its_theme_from_the_page():
    panel = Panel("p", [*TWO, *stacked(["a"], {"n": [1]}, ["@green"], "runs")], axis("x"), axis())
    text = themed_svg(lambda theme: draw([panel], theme=theme)).decode()
    for theme in (LIGHT, DARK):
        assert f":{theme.blue};" in text and f":{theme.paper};" in text
    drawn = text[text.index("</style>") :]
    # The colours of names are in the style sheet, and nowhere in the drawing.
    assert "var(--c" in drawn and not re.search(r"#010[23]", text)
    assert not set(re.findall(r"#[0-9a-f]{6}", drawn)) & set(map(str, vars(LIGHT).values()))
    assert text == themed_svg(lambda theme: draw([panel], theme=theme)).decode()


def test_figures_are_kept_as_files_only_where_that_is_asked_for(tmp_path):
    picture = Picture("one", "alt", "caption", lambda: [Panel("p", TWO, axis("x"), axis("y"))])
    told: list[str] = []
    embed([picture], tmp_path)
    assert not list(tmp_path.iterdir())
    with figures_kept(["png", "svg"], told.append):
        embed([picture], tmp_path)
    assert sorted(file.name for file in (tmp_path / "figures").iterdir()) == ["one.png", "one.svg"]
    assert told == ["figure 1 of 1: one"]
    with (
        pytest.raises(ValueError, match="png, svg, pdf, got gif"),
        figures_kept(["gif"]),
    ):
        pass


def test_the_key_of_a_page_has_a_sample_of_every_marker_and_hatch():
    """Marks that are outlines are drawn as their symbol, hollow."""
    script = files("edt.show").joinpath("figures.js").read_text(encoding="utf-8")
    table = script[script.index("const symbols") : script.index("const hatches")]
    known = set(re.findall(r'["]?([a-z-]+)["]?: "M', table))
    for marker in SYMBOLS:
        for hollow in (False, True):
            trace = points([1], [1], "a", "@blue", [""], marker, hollow=hollow)
            assert trace["marker"]["symbol"].removesuffix("-open") in known
    hatches = script[script.index("const hatches") : script.index("const dashes")]
    assert all(json.dumps(shape) in hatches or f"{shape}:" in hatches for shape in PATTERNS[1:])
