"""Reports in a browser: no errors, figures drawn, themes, a phone, the keyboard, screen readers.

Figures are drawn by plotly; the pictures under them serve without scripts, and in print.

Needs playwright and a Chromium; skipped where there is none.
"""

from __future__ import annotations

import json
import re
import shutil
from importlib.resources import files
from itertools import pairwise

import pytest

from edt.experiments import (
    SafranShamirSpec,
    WidthSweepSpec,
    loss_levels_spec,
    run_loss_levels,
    run_safran_shamir,
    width_sweep,
)
from edt.plots import DARK, LIGHT
from edt.plots.interactive.marks import line
from edt.plots.interactive.panel import Panel, axis, coloured
from edt.report import html, report_on, write_report
from edt.report.interactive import MISSING
from edt.sweeps import SweepSpec, sweep

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
KINDS = ["width-sweep", "sweep", "safran-shamir", "loss-levels"]
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 900}


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A small report of each kind of `KINDS`."""
    width = tmp_path_factory.mktemp("width") / "run"
    spec = WidthSweepSpec(
        widths=(2, 4), seeds=3, teachers=1, samples=32, steps=200, lbfgs_rounds=2,
        lbfgs_steps=100, newton_steps=20, escape_lbfgs_steps=100, escape_newton_steps=20,
        split_widths=(2,),
    )  # fmt: skip
    write_report(width_sweep(spec, width, progress=False), width)
    grid = tmp_path_factory.mktemp("grid") / "run"
    sweep(
        SweepSpec(task="xor", grid={"width": [2, 3], "seed": "0..3", "lr": [0.05, 0.1]}),
        grid,
        workers=0,
    )
    report_on(grid)
    table = tmp_path_factory.mktemp("table") / "run"
    small = SafranShamirSpec(teachers=(6, 9), extra=(0, 1), starts=12)
    run_safran_shamir(small, table, progress=False)
    report_on(table)
    levels = tmp_path_factory.mktemp("levels") / "run"
    quick = loss_levels_spec(quick=True, widths=(1, 2))
    run_loss_levels(quick, levels, progress=False)
    report_on(levels)
    return {
        "width-sweep": width / "report.html",
        "sweep": grid / "report.html",
        "safran-shamir": table / "report.html",
        "loss-levels": levels / "report.html",
    }


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("no Chromium")
    with api.sync_playwright() as play:
        running = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


def opened(page, file):
    """The page, once its figures are drawn."""
    page.goto(file.as_uri())
    page.wait_for_selector("html.figures-drawn", state="attached")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_in_a_browser(pages, browser, kind, scheme, size):
    context = browser.new_context(color_scheme=scheme, viewport=size, offline=True)
    page = context.new_page()
    complaints, requests = [], []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    opened(page, pages[kind])
    assert complaints == []
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
    assert page.locator("figure").count() == page.locator("figure.drawn").count() > 0
    for plot in page.locator(".plot").all():
        assert plot.bounding_box()["width"] > 200
        assert plot.locator("g.trace, .heatmaplayer image").count()
    # The theme of the figures is that of the page.
    for part in ("body", ".plot .main-svg"):
        paper = page.evaluate(
            "part => getComputedStyle(document.querySelector(part)).backgroundColor", part
        )
        bright = sum(map(int, re.findall(r"\d+", paper)[:3])) > 3 * 128
        assert bright == (scheme == "light")
    # Nothing but figures and tables, which scroll by themselves, is wider than the screen.
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    context.close()


@pytest.mark.parametrize("kind", KINDS)
def test_with_the_keyboard(pages, browser, kind):
    page = browser.new_page(viewport=DESK)
    opened(page, pages[kind])
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
    page.close()


@pytest.mark.parametrize("kind", KINDS)
def test_the_keyboard_reads_points_and_hides_lines(pages, browser, kind):
    api = pytest.importorskip("playwright.sync_api")
    page = browser.new_page(viewport=DESK)
    opened(page, pages[kind])
    for plot in page.locator(".plot").all():
        plot.focus()
        page.keyboard.press("ArrowRight")
        # What is shown beside the point is what a screen reader says.
        said = plot.locator("xpath=ancestor::figure").locator(".said").inner_text()
        shown = plot.locator(".hoverlayer .hovertext").text_content()
        assert re.search(r"\d", said)
        assert re.sub(r"[\s,]", "", said) == re.sub(r"[\s,]", "", shown)
        page.keyboard.press("Escape")
        assert plot.locator(".hoverlayer .hovertext").count() == 0
    entry = page.locator(".key button").first
    lines = entry.locator("xpath=ancestor::div[contains(@class, 'panel')]").locator(".plot")
    lines = lines.locator("g.trace")
    before = lines.count()
    entry.press("Enter")
    api.expect(lines).not_to_have_count(before)
    assert entry.get_attribute("aria-pressed") == "false" and lines.count() < before
    entry.press("Enter")
    api.expect(lines).to_have_count(before)
    assert entry.get_attribute("aria-pressed") == "true"
    page.close()


def test_figures_follow_a_change_of_theme(pages, browser):
    page = browser.new_page(color_scheme="light")
    opened(page, pages["width-sweep"])
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(
        "getComputedStyle(document.querySelector('.plot .main-svg')).backgroundColor"
        " === getComputedStyle(document.body).backgroundColor"
    )
    page.close()


@pytest.mark.parametrize("how", ["print", "no scripts"])
def test_pictures_stand_in(pages, browser, how):
    context = browser.new_context(java_script_enabled=how == "print", offline=True)
    page = context.new_page()
    page.goto(pages["width-sweep"].as_uri())
    if how == "print":
        page.wait_for_selector("html.figures-drawn", state="attached")
        page.emulate_media(media="print")
    for figure in page.locator("figure").all():
        assert figure.locator("img").bounding_box()["width"] > 100
        assert figure.locator(".plots").bounding_box() is None
    context.close()


@pytest.mark.parametrize("kind", KINDS)
def test_for_screen_readers(pages, browser, kind):
    page = browser.new_page()
    opened(page, pages[kind])
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.locator("h1").count() == 1
    assert page.locator("main").count() == 1
    # Headings do not skip a level, images say what they show, every table cell has a header.
    levels = page.evaluate("[...document.querySelectorAll('h1,h2,h3')].map(h => +h.tagName[1])")
    assert all(b <= a + 1 for a, b in pairwise(levels))
    assert page.locator("img:not([alt]), .plot:not([aria-label])").count() == 0
    assert all(len(text) > 20 for text in page.evaluate("[...document.images].map(i => i.alt)"))
    assert page.locator("th:not([scope])").count() == 0
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))
    targets = page.evaluate("[...document.querySelectorAll('a[href^=\"#\"]')].map(a => a.hash)")
    assert all(target[1:] in ids for target in targets)
    page.close()


def test_a_page_holds_plotly_once_or_says_that_it_is_missing(monkeypatch):
    panel = Panel("A", [line([1], [2], "a", "@blue", ["a"])], axis("x"), axis("y"))
    still, moving = (html.figure(b"", b"", "A", "A", panels) for panels in ((), (panel,)))
    page = html.page("A", "A", [moving, moving], "A")
    assert page.count('id="plotly-source"') == 1 and len(page) < 3_000_000
    assert page == html.page("A", "A", [moving, moving], "A")
    assert "<script" not in html.page("A", "A", [still], "A")
    monkeypatch.setattr("edt.report.interactive._plotly", lambda: None)
    without = html.page("A", "A", [moving], "A")
    assert MISSING in without and "plotly-source" not in without


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("theme", [LIGHT, DARK])
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
    css = files("edt.report").joinpath("style.css").read_text()
    themes = [dict(re.findall(r"--(\w+): (#\w{6})", block)) for block in css.split("@media")[:2]]
    assert len(themes) == 2
    for theme in themes:
        for text in ("ink", "soft", "accent"):
            for ground in ("paper", "card"):
                high, low = sorted((luminance(theme[text]), luminance(theme[ground])))[::-1]
                assert (high + 0.05) / (low + 0.05) >= 4.5, (text, ground, theme)


def test_figures_lie_beside_the_page_in_three_formats(pages):
    heads = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
    for page in pages.values():
        figures = page.parent / "figures"
        names = {file.stem for file in figures.iterdir()}
        assert names
        for name in names:
            for kind, head in heads.items():
                assert (figures / f"{name}.{kind}").read_bytes().startswith(head)


def test_reports_of_other_directories(tmp_path):
    with pytest.raises(ValueError, match="not the directory of an edt run"):
        report_on(tmp_path)
