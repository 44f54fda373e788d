"""The page of the four claims says what the reports of its studies say, and nothing it has not."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest

from edt.studies.claims.page import CLAIMS, WORDS

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "claims.md").read_text(encoding="utf-8")


def plain(text):
    return " ".join(unescape(re.sub(r"<[^>]+>", "", text)).replace("\u2060", "").split())


def section(claim):
    head = f"## ({claim}) {CLAIMS[claim][0]}\n"
    return PAGE[PAGE.index(head) :].split("\n## ")[0]


def bullets(text):
    """(way it speaks, sentence) of every bullet."""
    return re.findall(r"^- \*\*(For|Against|Silent)\.\*\* (.*)$", text, re.MULTILINE)


@pytest.mark.parametrize("claim", CLAIMS)
def test_every_sentence_is_one_of_a_report_in_the_gallery(claim):
    own = section(claim)
    names = re.findall(r"\((gallery/[\w-]+\.html)\)", own)
    reports = [DOCS / name for name in dict.fromkeys(names)]
    assert reports
    said = {
        (way, plain(text))
        for report in reports
        for way, text in re.findall(
            r"<li><b>(For|Against|Silent)\.</b>(.*?)</li>", report.read_text(encoding="utf-8")
        )
    }
    found = bullets(own)
    assert found
    missing = [sentence for sentence in found if (sentence[0], plain(sentence[1])) not in said]
    assert not missing, "write docs/claims.md and the gallery of these studies from the same runs"


@pytest.mark.parametrize("claim", CLAIMS)
def test_the_verdict_is_what_the_sentences_come_to(claim):
    ways = {way for way, _ in bullets(section(claim))}
    word = "undecided"
    if {"For", "Against"} <= ways:
        word = "mixed"
    elif "For" in ways:
        word = "supported"
    elif "Against" in ways:
        word = "contradicted"
    assert f"({claim}) {CLAIMS[claim][0]}: {WORDS[word]}." in PAGE
    assert f"**{WORDS[word].capitalize()}.**" in section(claim)
    # The table of the guide says so, too.
    rows = re.findall(
        rf"^\| {claim}: [^|]*\| ([^|]*) \|", (DOCS / "lottery.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )  # fmt: skip
    assert rows == [{"undecided": "not decided"}.get(word, word)]
    # So does the front page.
    front = " ".join((DOCS.parent / "README.md").read_text(encoding="utf-8").split())
    assert re.findall(rf"\b{claim} \([^)]*\) (\w+)", front) == [word]
