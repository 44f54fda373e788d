"""Reports in a browser: no errors, figures drawn, themes, a phone, the keyboard, screen readers.

Needs playwright and a Chromium; skipped where there is none.
"""

from __future__ import annotations

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
from edt.report import report_on, write_report
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
    page.goto(pages[kind].as_uri())
    assert complaints == []
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
    drawn = page.evaluate(
        "[...document.images].map(i => i.complete && i.naturalWidth > 0 && i.clientWidth > 100)"
    )
    assert drawn and all(drawn)
    # The theme of the picture is that of the page.
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    bright = sum(map(int, re.findall(r"\d+", paper)[:3])) > 3 * 128
    assert bright == (scheme == "light")
    # Nothing but figures and tables, which scroll by themselves, is wider than the screen.
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    context.close()


@pytest.mark.parametrize("kind", KINDS)
def test_with_the_keyboard(pages, browser, kind):
    page = browser.new_page(viewport=DESK)
    page.goto(pages[kind].as_uri())
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    wanted, seen = {"DIV.scroll", "SUMMARY."}, set()
    where = "document.activeElement.tagName + '.' + document.activeElement.className"
    for _ in range(30):
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
def test_for_screen_readers(pages, browser, kind):
    page = browser.new_page()
    page.goto(pages[kind].as_uri())
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.locator("h1").count() == 1
    assert page.locator("main").count() == 1
    # Headings do not skip a level, images say what they show, every table cell has a header.
    levels = page.evaluate("[...document.querySelectorAll('h1,h2,h3')].map(h => +h.tagName[1])")
    assert all(b <= a + 1 for a, b in pairwise(levels))
    assert page.locator("img:not([alt])").count() == 0
    assert all(len(text) > 20 for text in page.evaluate("[...document.images].map(i => i.alt)"))
    assert page.locator("th:not([scope])").count() == 0
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))
    targets = page.evaluate("[...document.querySelectorAll('a[href^=\"#\"]')].map(a => a.hash)")
    assert all(target[1:] in ids for target in targets)
    page.close()


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
