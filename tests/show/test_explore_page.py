"""The explorable in a browser: a descent to zero loss by pointer, keyboard and address."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from browser import DESK, SCHEMES, SIZES, grave

PAGE = Path(__file__).parents[2] / "docs" / "explore" / "index.html"
#: A split after which the descent reaches zero loss.
WAY = json.loads(PAGE.with_name("data.json").read_text(encoding="utf-8"))


def winning():
    """(teacher, minimum, neuron), from 1, of a split with equal shares that led edt to zero."""
    for t, teacher in enumerate(WAY["teachers"]):
        for i, minimum in enumerate(teacher["minima"]):
            for j, split in enumerate(minimum["splits"]):
                if any(end["share"] == 0.5 and end["end"] == "good" for end in split["ends"]):
                    return t + 1, i + 1, j + 1
    raise AssertionError("no split leads to zero loss")


@pytest.fixture
def show(offline):
    def opened(address="", file=PAGE, **options):
        page = offline(file, address, **{"reduced_motion": "reduce", "viewport": DESK, **options})
        page.wait_for_selector(".explore[data-state]", state="attached")
        return page

    return opened


def says(page, words):
    """Wait until the page's sentence holds ``words``; returns it."""
    page.wait_for_function(
        "words => document.querySelector('.explore .say').textContent.includes(words)", arg=words
    )
    return page.locator(".say").inner_text()


def fall(page):
    """Split the winning neuron and descend, with the buttons of the page."""
    _, _, neuron = winning()
    page.locator(f"[role=button][data-neuron='{neuron - 1}']").click()
    page.get_by_role("button", name="Descend").click()
    assert "A minimum" in says(page, "split a neuron")  # nothing happens
    page.get_by_role("button", name=re.compile("^Split neuron")).click()
    assert re.search(r"\d directions? leads?", says(page, "saddle"))
    page.get_by_role("button", name="Descend").click()
    return says(page, "Zero loss")


@SIZES
@SCHEMES
def test_a_split_opens_the_way_to_zero(show, size, scheme):
    teacher, minimum, neuron = winning()
    page = show(f"#explore={teacher}.{minimum}", viewport=size, color_scheme=scheme)
    assert page.locator(".explore").get_attribute("data-state") == "live"
    before = page.evaluate("explore.point.loss")
    fall(page)
    assert page.evaluate("explore.point.loss") <= WAY["good"] < before
    assert page.evaluate("location.hash") == f"#explore={teacher}.{minimum}:d,s{neuron}@0.5,d"
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    bright = sum(map(int, re.findall(r"\d+", paper)[:3])) > 3 * 128
    assert bright == (scheme == "light")
    for canvas in page.locator(".views canvas").all():
        assert canvas.bounding_box()["width"] > 200


def test_the_address_holds_the_result(show):
    teacher, minimum, neuron = winning()
    page = show(f"#explore={teacher}.{minimum}:s{neuron}@0.5,d")
    says(page, "Zero loss")
    first = page.evaluate("Array.from(explore.point.p)")
    again = show(f"#explore={teacher}.{minimum}:s{neuron}@0.5,d")
    assert again.evaluate("Array.from(explore.point.p)") == first
    page.get_by_role("button", name="Undo").click()
    says(page, "saddle")
    page.get_by_role("button", name="Start again").click()
    says(page, "A minimum")
    assert page.evaluate("location.hash") == f"#explore={teacher}.{minimum}"


@pytest.mark.parametrize(
    "address", ["#explore=9.1", "#explore=1.1:x", "#explore=1.1:s99@0.5", "#explore=1.1:s1@", "#no"]
)
def test_an_address_that_means_nothing_starts_at_a_minimum(show, address):
    assert "A minimum" in says(show(address), "Loss")


def test_by_keyboard_alone(show):
    teacher, minimum, neuron = winning()
    page = show(f"#explore={teacher}.{minimum}")
    where = "document.activeElement.dataset.neuron ?? document.activeElement.dataset.do"

    def walk(wanted):
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate(where) == wanted:
                return
        raise AssertionError(f"{wanted} cannot be reached")

    walk(str(neuron - 1))
    page.keyboard.press("Enter")
    chosen = page.locator("[role=button][aria-pressed=true]")
    assert chosen.get_attribute("data-neuron") == str(neuron - 1)
    # The focus stays on what was chosen; backwards from there to the deeds.
    assert page.evaluate(where) == str(neuron - 1)
    page.locator("[data-do=split]").focus()
    page.keyboard.press("Enter")
    says(page, "saddle")
    page.locator("[data-do=descend]").focus()
    page.keyboard.press("Enter")
    says(page, "Zero loss")
    page.locator("#ex-tab-add").focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.id") == "ex-tab-keep"
    assert page.locator("#ex-keep").is_visible() and not page.locator("#ex-add").is_visible()


def test_the_ball_moves_and_descends_back(show):
    page = show("#explore=1.1")
    before = page.evaluate("explore.point.loss")
    ball = page.locator("[data-part=surface] canvas")
    ball.focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    assert page.evaluate("explore.point.loss") > before
    assert re.fullmatch(r"#explore=1\.1:m[\d.]+_-?0", page.evaluate("location.hash"))
    says(page, "On a slope")
    page.get_by_role("button", name="Descend").click()
    says(page, "A minimum")
    assert page.evaluate("explore.point.loss") == pytest.approx(before, rel=1e-9)


def test_a_pointer_drags_the_ball(show):
    page = show("#explore=1.1")
    box = page.locator("[data-part=surface] canvas").bounding_box()
    at = page.evaluate(
        "(() => {const s = explore.surface; return s.screen(...s.ball, s.height(...s.ball))})()"
    )
    page.mouse.move(box["x"] + at[0], box["y"] + at[1])
    page.mouse.down()
    page.mouse.move(box["x"] + at[0] + 40, box["y"] + at[1] - 10, steps=4)
    page.mouse.up()
    assert page.evaluate("explore.state.moves.length") == 1
    says(page, "On a slope")


def test_shares_change_the_ways_down(show):
    """The slider passes 0 and 1: as many ways as edt counted on each side, none at 0 and 1."""
    page = show("#explore=1.1")
    split = WAY["teachers"][0]["minima"][0]["splits"][0]
    wanted = {end["share"]: end["ways"] for end in split["ends"]}
    told = page.locator("[data-say=split]")
    for share, ways in {**wanted, 1: None, 0: None, -0.5: wanted[1.5]}.items():
        page.locator("[name=share]").fill(str(share))
        text = told.inner_text()
        assert "silent" in text if ways is None else f"opens {ways} way" in text


def test_motion_is_shown_where_it_is_wanted(show):
    teacher, minimum, neuron = winning()
    page = show(f"#explore={teacher}.{minimum}:s{neuron}@0.5", reduced_motion="no-preference")
    page.evaluate(
        "() => { const { ladder } = explore, place = ladder.place.bind(ladder); explore.seen = 0;"
        " ladder.place = (...at) => { explore.seen++; place(...at); }; }"
    )
    page.get_by_role("button", name="Descend").click()
    says(page, "Zero loss")
    assert page.evaluate("explore.seen") > 10


def test_tickets_are_drawn_and_counted(show):
    page = show("#explore=2.1")
    page.get_by_role("tab", name="Keep a ticket").click()
    assert "200" in page.locator(".edts").inner_text()
    page.locator("[data-do=race]").click()
    page.wait_for_function("explore.tickets.counts.fresh[1] >= 1")
    page.locator("[data-do=race]").click()
    assert re.search(r"\d of \d", page.locator("[data-row=fresh] output").inner_text())
    assert "Ten draws" in page.locator(".verdict").inner_text()
    # Every network of this teacher wins, whatever is kept.
    assert page.evaluate("Object.values(explore.tickets.counts).every(([w, n]) => w === n)")


@pytest.mark.parametrize("part", ["loss", "B", "ways"])
def test_other_numbers_than_edts_leave_the_picture(show, tmp_path, part):
    data = json.loads(json.dumps(WAY))
    minimum = data["teachers"][1]["minima"][2]
    if part == "loss":
        minimum["loss"] *= 1 + 1e-9
    elif part == "B":
        minimum["splits"][0]["B"] = minimum["splits"][1]["B"]
    else:
        minimum["splits"][0]["ends"][0]["ways"] += 1
    file = tmp_path / "page.html"
    text = PAGE.read_text(encoding="utf-8")
    head, _, rest = text.partition('<script type="application/json">')
    assert rest
    file.write_text(
        head
        + '<script type="application/json">'
        + json.dumps(data)
        + rest[rest.index("</script>") :],
        encoding="utf-8",
    )
    page = show(file=file)
    assert page.locator(".explore").get_attribute("data-state") == "mismatch"
    assert page.locator(".still img").is_visible() and not page.locator(".live").is_visible()
    assert "teacher 2, minimum 3" in page.locator(".differs").inner_text()


def test_without_scripts_the_picture_stays(browser):
    with browser.new_context(java_script_enabled=False, offline=True) as context:
        page = context.new_page()
        page.goto(PAGE.as_uri())
        assert page.locator(".still img").is_visible() and not page.locator(".live").is_visible()


@SIZES
@SCHEMES
def test_axe_finds_nothing_grave(show, axe, size, scheme):
    page = show("#explore=1.1", viewport=size, color_scheme=scheme)
    assert grave(page, axe) == []
    page.get_by_role("tab", name="Keep a ticket").click()
    assert grave(page, axe) == []


def test_budget():
    assert PAGE.stat().st_size < 200_000
    assert PAGE.with_name("data.json").stat().st_size < 40_000
