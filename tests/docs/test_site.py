"""The site: tables of docstrings, formulas, the gallery, and its pages in a browser."""

from __future__ import annotations

import importlib.util
import io
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from browser import PHONE, SCHEMES, SIZES, grave
from PIL import Image

from edt.show import html
from edt.show.marks import line
from edt.show.panel import Panel, axis
from edt.studies.kinds import KINDS
from edt.studies.registry import STUDIES

ROOT = Path(__file__).parents[2]
SITE = ROOT / "site"
#: One of each kind: home, guide, functions, formulas, figures.
PAGES = ("", "howto/sweeps/", "api/training/", "theory/", "howto/width/")


def script(name, needs):
    """A script of ``.ci``, where what it imports is here."""
    pytest.importorskip(needs)
    spec = importlib.util.spec_from_file_location(name, ROOT / ".ci" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def docstrings():
    return script("docs_docstrings", "griffe")


@pytest.fixture(scope="module")
def hooks():
    pytest.importorskip("latex2mathml")
    return script("docs_hooks", "mkdocs")


@pytest.fixture
def gallery(monkeypatch):
    spec = importlib.util.spec_from_file_location("docs_gallery", ROOT / ".ci/docs_gallery.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "docs_gallery", module)
    spec.loader.exec_module(module)
    return module


TABLE = """Kinds.

    ======  ==========  ====
    name    what        cost
    ======  ==========  ====
    one     first half
            and second  2
    a|b     other
    ======  ==========  ====

    After::

        code
    """


def test_tables_of_docstrings_get_pipes(docstrings):
    text = docstrings.as_markdown(TABLE)
    assert text.split("\n")[2:6] == [
        "    | name | what | cost |",
        "    | --- | --- | --- |",
        "    | one | first half and second | 2 |",
        "    | a\\|b | other |  |",
    ]
    assert "After:\n" in text and "====" not in text


@pytest.mark.parametrize(
    "text, words",
    [
        ("==  ==\na   b\n==  ==\n1   2", "three rules"),
        ("==  ==\na   b\n==  ==\nlonger  2\n==  ==", "edge of a column"),
    ],
)
def test_a_broken_table_ends_the_build(docstrings, text, words):
    with pytest.raises(ValueError, match=words):
        docstrings.as_markdown(text)


def test_every_table_of_our_docstrings_is_whole(docstrings):
    """Every file of edt at once; there are tables to find."""
    found = 0
    for file in (ROOT / "edt").rglob("*.py"):
        for text in re.findall(r'"""(.*?)"""', file.read_text(encoding="utf-8"), re.DOTALL):
            made = docstrings.as_markdown(text)
            assert not re.search(r"(?m)^ *=+( +=+)+ *$", made), file
            found += made != text and "| --- |" in made
    assert found >= 7


@pytest.mark.parametrize(
    "page",
    ["<p>=====  ====\nname  what</p>", "<p>| a | b |\n|---|---|</p>", "<p>| a | b |</p>"],
)
def test_pages_with_tables_that_are_none_are_found(hooks, page):
    assert len(hooks.faults(page)) >= 1
    assert hooks.faults(f"<pre>{page}</pre><table><tr><td>a | b</td></tr></table>") == []


def test_formulas_are_set(hooks):
    page = hooks.with_formulas(
        '<p><span class="arithmatex">\\(a &lt; \\frac{1}{N}\\)</span></p>'
        '<div class="arithmatex">\\[\nx^2\n\\]</div>'
    )
    assert "arithmatex" not in page and page.count("<math") == 2
    assert "<mfrac>" in page and 'display="block"' in page and "&#x0003C;" in page


def test_cards_tell_what_reports_say(gallery, tmp_path):
    folder = tmp_path / "xor"
    folder.mkdir()
    lead = '<p class="lead">We <b>asked</b>. 8 of 10 won &amp; 2 lost. More.</p>'
    (folder / "report.html").write_text(lead)

    def cards():
        return {one.name: gallery.card(one) for one in gallery.studies(tmp_path, tmp_path)}

    assert 'href="gallery/xor.html"' in cards()["xor"]
    assert "<em>8 of 10 won &amp; 2 lost.</em>" in cards()["xor"] and "<small" not in cards()["xor"]
    (folder / "gallery.json").write_text('{"quick": true}')
    assert "A small run" in cards()["xor"]
    assert "<code>edt run census</code>" in cards()["census"]


def test_the_gallery_has_every_study(gallery):
    assert set(gallery.STUDIES) == set(KINDS) - {"sweep"}


def test_a_published_report_gets_its_library_back(gallery):
    pytest.importorskip("plotly")
    panel = Panel("A", [line([1], [2], "a", "@blue", ["a"])], axis("x"), axis("y"))
    page = html.page("A", "A", None, [html.figure(b"", "A", "A", (panel,))], "A")
    assert len(gallery.slim(page)) < 25_000 and gallery.whole(gallery.slim(page)) == page


def test_published_reports_are_whole_runs_with_an_answer_and_a_thumbnail(gallery):
    """Not one is of a run with --quick, by the digest of its spec."""
    shown = [one for one in gallery.studies(ROOT / "nowhere") if one.report is not None]
    assert {one.report.name for one in shown} == {f.name for f in gallery.PUBLISHED.glob("*.html")}
    for one in shown:
        page = one.report.read_text(encoding="utf-8")
        assert STUDIES[one.name].spec(quick=True).digest not in page, one.name
        assert len(gallery.answer(one.report)) > 20
        # With the library, of 1.96 MB, below three megabytes.
        assert len(page) < 1_040_000 and gallery.LIBRARY.search(page)[0].endswith(">"), one.name
        with Image.open(ROOT / "docs" / one.picture) as picture:
            assert picture.width == gallery.ACROSS


@pytest.fixture(scope="module")
def site():
    if not (SITE / "index.html").is_file():
        pytest.skip("no site: make docs")
    return SITE


@SIZES
@SCHEMES
def test_pages_of_the_site(site, browser, axe, scheme, size):
    """Nothing grave by axe, nothing wider than the screen, figures in the reader's theme."""
    with browser.new_context(
        color_scheme=scheme, viewport=size, is_mobile=size is PHONE, offline=True
    ) as context:
        page = context.new_page()
        for name in PAGES:
            page.goto((site / name / "index.html").as_uri())
            page.wait_for_selector("[aria-label='Code block 1']", state="attached")
            assert page.evaluate("document.documentElement.scrollWidth") <= size["width"], name
            assert grave(page, axe) == [], name
        picture = page.locator("img[src*='images/']").first
        picture.scroll_into_view_if_needed()
        assert (brightness(picture.screenshot()) > 128) == (scheme == "light")


def brightness(png):
    """Mean of all channels."""
    return float(np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), dtype=float).mean())


def test_the_site_knows_its_formulas_and_tables(site):
    theory = (site / "theory" / "index.html").read_text(encoding="utf-8")
    assert theory.count("<math") > 20 and "arithmatex" not in theory
    training = (site / "api" / "training" / "index.html").read_text(encoding="utf-8")
    assert re.search(r"<td>lbfgs\+newton</td>", training)
