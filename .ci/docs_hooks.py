"""Hooks of the site's build: formulas as MathML, and no page with a table that is none."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError

FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)
CODE = re.compile(r"<(pre|code|script|math)\b.*?</\1>", re.DOTALL)
#: What a table looks like that Markdown has not taken for one.
BROKEN = {
    "a rule of a docstring's table": re.compile(r"={3,} +={3,}"),
    "a table with pipes": re.compile(r"\|\s*:?-{3,}"),
    "a row with pipes": re.compile(r"<p>\s*\|[^<]*\|"),
}


def on_page_content(html: str, page: Any, **_: Any) -> str:
    """Set the formulas of a page, and look at its tables."""
    wrong = faults(html)
    if wrong:
        raise PluginError(f"{page.file.src_uri}: {wrong[0]}")
    return with_formulas(html)


def with_formulas(html: str) -> str:
    """Formulas that arithmatex has marked, as MathML: browsers set it without any script."""

    def one(match: re.Match[str]) -> str:
        display = "block" if match[2] == "[" else "inline"
        formula = convert(unescape(match[3]), display=display)
        # What is wider than a phone scrolls by itself.
        return (
            f'<div class="formula" tabindex="0">{formula}</div>' if display == "block" else formula
        )

    return FORMULA.sub(one, html)


def faults(html: str) -> list[str]:
    """What of a page is meant to be a table and is none, in words."""
    text = CODE.sub("", html)
    return [
        f"{words} is no table: {' '.join(text[found.start() : found.end() + 60].split())!r}"
        for words, pattern in BROKEN.items()
        if (found := pattern.search(text))
    ]
