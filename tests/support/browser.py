"""A browser for the tests of pages: one for the whole run, and pages that must not complain."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from patience import PATIENCE

ROOT = Path(__file__).parents[2]
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 900}
#: Every page is looked at on both, in both themes.
SIZES = pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
SCHEMES = pytest.mark.parametrize("scheme", ["light", "dark"])


@pytest.fixture(scope="session")
def browser():
    """Chromium; tests that ask for it are skipped where there is none."""
    api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("no Chromium")
    with api.sync_playwright() as play:
        running = play.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"], timeout=1000 * PATIENCE
        )
        running.new_context = patient(running.new_context)
        yield running
        running.close()


def patient(new_context):
    """Contexts that wait for pages as long as the machine needs; the default is half a minute."""

    def made(**options):
        context = new_context(**options)
        context.set_default_timeout(1000 * PATIENCE)
        return context

    return made


@pytest.fixture
def offline(browser):
    """Opens files without a network; none of them may complain, or ask for anything.

    A function of (file, address after it, options of the context) that returns the page.
    """
    contexts, complaints, requests = [], [], []

    def show(file, address="", **options):
        if options.get("viewport") == PHONE:
            options = {"has_touch": True, "is_mobile": True, **options}
        context = browser.new_context(offline=True, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(file.as_uri() + address)
        return page

    yield show
    for context in contexts:
        context.close()
    assert complaints == [], complaints
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []


@pytest.fixture(scope="session")
def axe():
    """The source of axe-core, where `.ci/browser.sh` could get it."""
    file = ROOT / "build" / "axe" / "package" / "axe.min.js"
    if not file.is_file():
        pytest.skip("no axe-core")
    return file.read_text(encoding="utf-8")


def grave(page, axe):
    """Serious and critical violations of the rules of accessibility: what, and where."""
    page.evaluate(axe)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    assert len(found["passes"]) > 20
    return [
        (one["id"], [node["target"] for node in one["nodes"]])
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]
