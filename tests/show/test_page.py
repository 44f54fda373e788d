"""Reports in a browser: no errors, figures drawn, themes, a phone, the keyboard, screen readers.

Figures are drawn by plotly; the pictures under them serve without scripts, and in print.

Needs playwright and a Chromium; skipped where there is none. axe-core, which looks for what keeps
others from using a page, is no part of the repository: `.ci/browser.sh` gets it where npm is.
"""

from __future__ import annotations

import json
import re
import shutil
from importlib.resources import files
from itertools import pairwise

import numpy as np
import pytest
from browser import DESK, PHONE, SIZES, grave
from small_pages import EVERY_SIDE, OTHERS, SPECS

from edt.plots import DARK, LIGHT
from edt.show import html
from edt.show.interactive import MISSING
from edt.show.marks import line
from edt.show.panel import Panel, axis, coloured
from edt.show.publish import figures_kept
from edt.show.style import new_figure, themed_svg
from edt.studies.kinds import KINDS
from edt.studies.reporting import report_on


def opened(page):
    """The page, once its figures are drawn."""
    page.wait_for_selector("html.figures-drawn", state="attached")
    return page


@pytest.fixture
def look(offline):
    """Opens a report offline; it may not complain, or ask for anything."""
    return lambda file, **options: opened(offline(file, **options))


def check_drawn(page, scheme, size):
    """Every figure is drawn, in the theme of the page, and nothing is wider than the screen."""
    assert page.locator("figure").count() == page.locator("figure.drawn").count() > 0
    for plot in page.locator(".plot").all():
        assert plot.bounding_box()["width"] > 200
        assert plot.locator("g.trace, .heatmaplayer image").count()
    for part in ("body", ".plot .main-svg"):
        paper = page.evaluate(
            "part => getComputedStyle(document.querySelector(part)).backgroundColor", part
        )
        bright = sum(map(int, re.findall(r"\d+", paper)[:3])) > 3 * 128
        assert bright == (scheme == "light")
    # Nothing but tables, which scroll by themselves, is wider than the screen.
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]


def check_points(page):
    """Points can be read with the keyboard: what is shown is what a screen reader says."""
    for plot in page.locator(".plot").all():
        plot.focus()
        page.keyboard.press("ArrowRight")
        said = plot.locator("xpath=ancestor::figure").locator(".said").inner_text()
        shown = plot.locator(".hoverlayer .hovertext").text_content()
        assert re.search(r"\d", said)
        assert re.sub(r"[\s,]", "", said) == re.sub(r"[\s,]", "", shown)
        page.keyboard.press("Escape")
        assert plot.locator(".hoverlayer .hovertext").count() == 0


def check_structure(page):
    """Headings do not skip a level, images say what they show, every table cell has a header."""
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.locator("h1").count() == 1
    assert page.locator("main").count() == 1
    levels = page.evaluate("[...document.querySelectorAll('h1,h2,h3')].map(h => +h.tagName[1])")
    assert all(b <= a + 1 for a, b in pairwise(levels))
    assert page.locator("img:not([alt]), .plot:not([aria-label])").count() == 0
    assert all(len(text) > 20 for text in page.evaluate("[...document.images].map(i => i.alt)"))
    assert page.locator("th:not([scope])").count() == 0
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))
    targets = page.evaluate("[...document.querySelectorAll('a[href^=\"#\"]')].map(a => a.hash)")
    assert all(target[1:] in ids for target in targets)


def test_every_kind_is_here():
    assert set(SPECS) == set(KINDS)


def turn(page, scheme):
    """Another theme, once the figures are drawn in its colours."""
    page.emulate_media(color_scheme=scheme)
    page.wait_for_function(
        "() => { const paper = (part) => getComputedStyle(part).backgroundColor;"
        " return [...document.querySelectorAll('.plot .main-svg:first-child')]"
        ".every((plot) => paper(plot) === paper(document.body)); }"
    )


def wait_for_width(page):
    """Until every figure is as wide as its place: they follow the screen when it is at rest."""
    page.wait_for_function(
        "() => [...document.querySelectorAll('.plot')].every(plot =>"
        " Math.abs(plot.querySelector('.main-svg').getBoundingClientRect().width"
        " - plot.getBoundingClientRect().width) < 2)"
    )


def check_both_themes(page, size, first, second):
    check_drawn(page, first, size)
    turn(page, second)
    check_drawn(page, second, size)


def check_fingers(page):
    """A finger scrolls the page, also over a figure."""
    assert page.locator(".plot .nsewdrag").first.evaluate(
        "e => getComputedStyle(e).touchAction"
    ) in ("auto", "pan-x pan-y", "manipulation")


@pytest.mark.parametrize("kind", EVERY_SIDE)
def test_in_a_browser(pages, look, kind):
    page = look(pages[kind], color_scheme="light", viewport=DESK)
    check_structure(page)
    check_points(page)
    check_both_themes(page, DESK, "light", "dark")


@pytest.mark.parametrize("kind", EVERY_SIDE)
def test_on_a_phone(pages, look, kind):
    page = look(pages[kind], color_scheme="dark", viewport=PHONE)
    check_fingers(page)
    check_both_themes(page, PHONE, "dark", "light")


@pytest.mark.parametrize("kind", OTHERS)
def test_on_a_screen_that_grows(pages, look, kind):
    """The narrowest first, then a wide one: opening a page takes most of the time."""
    page = look(pages[kind], color_scheme="dark", viewport=PHONE)
    check_structure(page)
    check_fingers(page)
    check_both_themes(page, PHONE, "dark", "light")
    page.set_viewport_size(DESK)
    wait_for_width(page)
    check_points(page)
    check_both_themes(page, DESK, "light", "dark")


@pytest.mark.parametrize("kind", EVERY_SIDE)
def test_with_the_keyboard(pages, look, kind):
    page = look(pages[kind], viewport=DESK)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    wanted, seen = {"DIV.plot", "BUTTON.", "SUMMARY."}, set()
    where = "document.activeElement.tagName + '.' + (document.activeElement.classList[0] ?? '')"
    for _ in range(90):
        page.keyboard.press("Tab")
        seen.add(page.evaluate(where))
        # Past the end the browser's own controls would take the focus.
        if wanted <= seen or "BODY." in seen:
            break
    assert wanted <= seen
    summary = page.locator("summary").first
    summary.focus()
    page.keyboard.press("Enter")
    assert page.locator("details").first.get_attribute("open") is not None


def test_the_key_hides_lines(pages, look):
    api = pytest.importorskip("playwright.sync_api")
    page = look(pages["width-sweep"], viewport=DESK)
    panel = page.locator(".panel").first
    entry, lines = panel.locator(".key button").first, panel.locator(".plot g.trace")
    before = lines.count()
    entry.press("Enter")
    api.expect(lines).not_to_have_count(before)
    assert entry.get_attribute("aria-pressed") == "false" and lines.count() < before
    # A change of theme draws the lines in other colours, and none that is hidden.
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(
        "getComputedStyle(document.querySelector('.plot .main-svg')).backgroundColor"
        " === getComputedStyle(document.body).backgroundColor"
    )
    assert lines.count() < before
    entry.press("Enter")
    api.expect(lines).to_have_count(before)


@pytest.mark.parametrize("how", ["print", "no scripts"])
def test_pictures_stand_in(pages, browser, how):
    context = browser.new_context(java_script_enabled=how == "print", offline=True)
    page = context.new_page()
    if how == "print":
        page.goto(pages["width-sweep"].as_uri())
        opened(page).emulate_media(media="print")
    else:
        page.goto(pages["width-sweep"].as_uri())
    for figure in page.locator("figure").all():
        assert figure.locator("img").bounding_box()["width"] > 100
        assert figure.locator(".plots").bounding_box() is None
    context.close()


@SIZES
def test_axe_finds_nothing_grave_in_reports(pages, look, axe, size):
    for kind in ("width-sweep", "sweep"):
        page = look(pages[kind], color_scheme="light", viewport=size)
        assert grave(page, axe) == [], kind
        turn(page, "dark")
        assert grave(page, axe) == [], kind


def test_axe_sees_what_is_wrong(browser, axe):
    with browser.new_context() as context:
        page = context.new_page()
        page.set_content("<html lang=en><title>A</title><main><h1>A</h1><img src='a'></main>")
        page.evaluate(axe)
        found = page.evaluate("axe.run(document)")
        assert [one["id"] for one in found["violations"] if one["impact"] == "critical"] == [
            "image-alt"
        ]


def test_a_page_holds_plotly_once_or_says_that_it_is_missing(monkeypatch):
    panel = Panel("A", [line([1], [2], "a", "@blue", ["a"])], axis("x"), axis("y"))
    still, moving = (html.figure(b"", "A", "A", panels) for panels in ((), (panel,)))
    page = html.page("A", "A", None, [moving, moving], "A")
    assert page.count('id="plotly-source"') == 1 and len(page) < 3_000_000
    assert page == html.page("A", "A", None, [moving, moving], "A")
    assert "<script" not in html.page("A", "A", None, [still], "A")
    monkeypatch.setattr("edt.show.interactive.plotly_source", lambda: None)
    without = html.page("A", "A", None, [moving], "A")
    assert MISSING in without and "plotly-source" not in without


def test_panels_of_many_points_are_compressed_and_drawn(look, tmp_path):
    """1.7 MB of texts as a fifth of it, and the last point says what it should."""
    said = [
        f"network {k}, loss {k / 7:.6f}, step {k * 1000:,}, escape dimensions" for k in range(20000)
    ]
    many = line(range(20000), range(20000), "a", "@blue", said, marker=None)
    figure = html.figure(
        themed_svg(lambda theme: new_figure()[0]),
        "A",
        "A",
        [Panel("A", [many], axis("x"), axis("y"))],
    )
    page = html.page("A", "A", None, [figure], "A")
    assert len(figure) < 400_000 and said[-1] not in page
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    drawn = look(tmp_path / "page.html")
    assert drawn.locator("figure.drawn .plot g.trace").count() == 1
    assert (
        drawn.evaluate("document.querySelector('.js-plotly-plot').data[0].hovertext.at(-1)")
        == said[-1]
    )


def test_marks_that_look_alike_say_it_once():
    """Every mark keeps its place, and no other mark gets their look."""

    def marked(theme):
        figure, axes = new_figure()
        axes[0, 0].plot(range(5), range(5), "o", color=theme.blue)
        axes[0, 0].plot(range(5, 7), range(5, 7), "o", color=theme.red)
        return figure

    text = themed_svg(marked).decode()
    (inside,) = re.findall(r'<g style="[^"]*">(<use[^>]*>(?:\s*<use[^>]*>)*)</g>', text)
    places = [float(x) for x in re.findall(r' x="([^"]*)"', inside)]
    assert len(places) == 5 and np.ptp(np.diff(places)) < 0.03 and "style" not in inside
    others = text.replace(inside, "")
    assert others.count("<use") == len(re.findall(r"<use[^>]*style=", others))


@pytest.mark.parametrize("kind", SPECS)
@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_plotly_knows_every_part_of_the_figures(pages, kind, theme):
    graphs = pytest.importorskip("plotly.graph_objects")
    specs = re.findall(
        r'class="plots"></div><script type="application/json">(.*?)</script>',
        pages[kind].read_text(encoding="utf-8"),
    )
    panels = [panel for spec in specs for panel in json.loads(spec)]
    assert panels
    for panel in panels:
        whole = coloured({"data": panel["data"], "layout": panel["layout"]}, theme)
        assert "@" not in json.dumps(whole)
        graphs.Figure(whole)  # raises ValueError for what plotly does not know


def luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_text_stands_out_in_both_themes():
    """WCAG 2 AA: a contrast of 4.5 for text on the page and on cards."""
    css = files("edt.show").joinpath("style.css").read_text()
    themes = [dict(re.findall(r"--(\w+): (#\w{6})", block)) for block in css.split("@media")[:2]]
    assert len(themes) == 2
    for theme in themes:
        for text in ("ink", "soft", "accent"):
            for ground in ("paper", "card"):
                high, low = sorted((luminance(theme[text]), luminance(theme[ground])))[::-1]
                assert (high + 0.05) / (low + 0.05) >= 4.5, (text, ground, theme)


def test_figures_lie_beside_the_page_where_asked_for(pages, tmp_path):
    heads = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
    folder = tmp_path / "run"
    shutil.copytree(pages["census"].parent, folder)
    assert not (folder / "figures").exists()
    with figures_kept(list(heads)):
        report_on(folder)
    names = {file.stem for file in (folder / "figures").iterdir()}
    assert names
    for name in names:
        for kind, head in heads.items():
            assert (folder / "figures" / f"{name}.{kind}").read_bytes().startswith(head)


def test_reports_of_other_directories(tmp_path):
    with pytest.raises(ValueError, match="not the directory of an edt run"):
        report_on(tmp_path)
