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

from edt.studies.kinds import KINDS

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
    "html",
    ["<p>=====  ====\nname  what</p>", "<p>| a | b |\n|---|---|</p>", "<p>| a | b |</p>"],
)
def test_pages_with_tables_that_are_none_are_found(hooks, html):
    assert len(hooks.faults(html)) >= 1
    assert hooks.faults(f"<pre>{html}</pre><table><tr><td>a | b</td></tr></table>") == []


def test_formulas_are_set(hooks):
    html = hooks.with_formulas(
        '<p><span class="arithmatex">\\(a &lt; \\frac{1}{N}\\)</span></p>'
        '<div class="arithmatex">\\[\nx^2\n\\]</div>'
    )
    assert "arithmatex" not in html and html.count("<math") == 2
    assert "<mfrac>" in html and 'display="block"' in html and "&#x0003C;" in html


def test_cards_tell_what_reports_say(gallery, tmp_path):
    folder = tmp_path / "xor"
    folder.mkdir()
    lead = '<p class="lead">We <b>asked</b>. 8 of 10 won &amp; 2 lost. More.</p>'
    (folder / "report.html").write_text(lead)
    cards = {study.name: gallery.card(study) for study in gallery.studies(tmp_path)}
    assert 'href="gallery/xor.html"' in cards["xor"]
    assert "<em>8 of 10 won &amp; 2 lost.</em>" in cards["xor"] and "<small" not in cards["xor"]
    (folder / "gallery.json").write_text('{"quick": true}')
    again = next(one for one in gallery.studies(tmp_path) if one.name == "xor")
    assert "A small run" in gallery.card(again)
    assert "<code>edt run census</code>" in cards["census"]


def test_pictures_of_quick_runs_are_said_to_be(gallery, tmp_path):
    cards = {study.picture: gallery.card(study) for study in gallery.studies(tmp_path)}
    small = {picture for picture, card in cards.items() if "a quick run, too small" in card}
    assert small == {f"images/{name}.png" for name in gallery.QUICK}


def test_the_gallery_has_every_study(gallery):
    assert {name for name, *_ in gallery.STUDIES} == set(KINDS) - {"sweep"}


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
