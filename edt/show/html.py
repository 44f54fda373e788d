"""The few pieces of HTML a report is made of. Nothing is loaded from elsewhere.

Text can hold what a table, a spec or a directory's name says, and any of these may come from a
stranger. So text is text unless it is `Markup`, which only the functions here make: wherever a
piece is put into a page, all else goes through `inline`, which leaves a few tags for emphasis and
escapes the rest. There is nothing to remember where a page is written.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from typing import Any

import pandas as pd

from edt.show.answer import Answer
from edt.show.interactive import engine, panels_script
from edt.show.panel import Panel


@dataclass(frozen=True)
class Column:
    """A column of a table: its heading, and what to write for a row, as text or `Markup`."""

    heading: str
    text: Callable[[Any], str]


class Markup(str):
    """HTML that was made here; put into a page as it is."""

    __slots__ = ()

    def __add__(self, other: str) -> Markup:
        return Markup(str(self) + str(inline(other)))

    def __radd__(self, other: str) -> Markup:
        return Markup(str(inline(other)) + str(self))


#: Tags that text may hold, without attributes, and characters by name or number.
_ALLOWED = re.compile(
    r"</?(?:b|i|em|strong|code|sub|sup)>|<br>|&(?:[a-zA-Z]{1,31}|#[0-9]{1,7}|#x[0-9a-fA-F]{1,6});"
)


def inline(text: str) -> Markup:
    """Text for a page: what is no tag for emphasis is escaped; `Markup` stays as it is.

    Example:
        >>> inline("<b>2</b> of 3 & <script>")
        '<b>2</b> of 3 &amp; &lt;script&gt;'
    """
    if isinstance(text, Markup):
        return text
    text = unbroken(text)
    out, end = [], 0
    for match in _ALLOWED.finditer(text):
        out += [escape(text[end : match.start()]), match.group()]
        end = match.end()
    return Markup("".join([*out, escape(text[end:])]))


#: What the end of a line may not part: a relation and its number, the terms of a small formula,
#: the ends of a range.
_UNBROKEN = (
    (re.compile(r" ([=<>≤≥≈×±]|&lt;|&gt;) (?=[−–+]?\d)"),
     "\N{NO-BREAK SPACE}\\1\N{NO-BREAK SPACE}"),
    (re.compile(r"\b(\w) ([−+]) (?=\w\b)"), "\\1\N{NO-BREAK SPACE}\\2\N{NO-BREAK SPACE}"),
    (re.compile(r"(?<=\()(\w), (?=\w+[)/])"), "\\1,\N{NO-BREAK SPACE}"),
    (re.compile(r"(?<=[\d%])–(?=[\d>])"), "\N{WORD JOINER}–\N{WORD JOINER}"),
)  # fmt: skip


def unbroken(text: str) -> str:
    """``p = 0.18``, ``C(m, r)``, ``m − r + 1`` and ``3–56%`` as one word, at the end of a line.

    Example:
        >>> len(unbroken("p = 0.18 of C(m, r) over m − r + 1").split(" "))
        5
    """
    for found, joined in _UNBROKEN:
        text = found.sub(joined, text)
    return text


def paragraph(text: str) -> Markup:
    """``text`` as a paragraph."""
    return Markup(f"<p>{inline(text)}</p>")


def bullets(items: Sequence[str]) -> Markup:
    """A list of points."""
    return Markup("<ul>" + "".join(f"<li>{inline(item)}</li>" for item in items) + "</ul>")


def table(frame: pd.DataFrame, columns: Sequence[Column], caption: str = "") -> Markup:
    """A table of the frame's rows; it scrolls sideways where the page is narrow."""
    head = "".join(f'<th scope="col">{escape(column.heading)}</th>' for column in columns)
    rows = []
    for row in frame.to_dict("records"):
        first, *others = (_cell(column.text(row)) for column in columns)
        cells = "".join(f"<td>{text}</td>" for text in others)
        rows.append(f'<tr><th scope="row">{first}</th>{cells}</tr>')
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    return Markup(
        f"{_scroller('table')}<table>{title}<thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _cell(text: str) -> str:
    """Cells hold what tables say, to the letter, but for what was made here."""
    return text if isinstance(text, Markup) else escape(text)


def definitions(pairs: Sequence[tuple[str, str]]) -> Markup:
    """Names and their values, one a row."""
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{inline(value)}</dd>" for name, value in pairs)
    return Markup(f"<dl>{rows}</dl>")


def code(text: str) -> Markup:
    """Text of a program, or anything else whose lines and spaces matter."""
    return Markup(f"<pre>{escape(text.strip(chr(10)))}</pre>")


def details(summary: str, body: str) -> Markup:
    """Something to unfold."""
    return Markup(f"<details><summary>{escape(summary)}</summary>{inline(body)}</details>")


def tile(value: str, label: str) -> Markup:
    """A number worth a large font."""
    return Markup(
        f'<div class="tile"><b>{escape(value)}</b><span>{escape(unbroken(label))}</span></div>'
    )


def tiles(items: Sequence[str]) -> Markup:
    """Tiles side by side."""
    return Markup(f'<div class="tiles">{"".join(map(inline, items))}</div>')


def figure(svg: bytes, alt: str, caption: str, panels: Sequence[Panel] = ()) -> Markup:
    """A picture, embedded.

    Args:
        svg: a file that takes its theme from the page (`edt.show.style.themed_svg`).
        alt: what it shows, for those who cannot see it.
        caption: under it.
        panels: the same to point at. The page's script draws them in place of the picture, which
            stays where there are no scripts, and in print.
    """
    twin = f'<div class="plots"></div>{panels_script(panels)}' if panels else ""
    return Markup(
        f"{_INTERACTIVE if panels else '<figure>'}{_scroller('figure')}"
        f'<img src="{_data(svg)}" alt="{escape(alt, quote=True)}">'
        f"</div>{twin}<figcaption>{inline(caption)}</figcaption></figure>"
    )


_INTERACTIVE = '<figure class="interactive">'


def section(title: str, *parts: str) -> Markup:
    """A section with its heading, which the list of contents links to."""
    name, head = _anchor(title), escape(unbroken(title))
    body = "".join(map(inline, parts))
    return Markup(f'<section aria-labelledby="{name}"><h2 id="{name}">{head}</h2>{body}</section>')


def contents(body: Sequence[str]) -> str:
    """Links to the sections; nothing where there are only one or two."""
    found = re.findall(r'<h2 id="([^"]*)">(.*?)</h2>', "".join(body))
    if len(found) < 3:
        return ""
    items = "".join(f'<li><a href="#{name}">{title}</a></li>' for name, title in found)
    return f'<nav aria-label="Contents"><ul>{items}</ul></nav>'


def page(title: str, lead: str, answer: Answer | None, body: Sequence[str], footer: str) -> str:
    """The whole document.

    Args:
        title: heading and window title.
        lead: sentence under the heading: what was done.
        answer: what came of it; None for a page that reports nothing.
        body: sections.
        footer: at the end.
    """
    text = "\n".join(map(inline, body))
    said = "" if answer is None else f" {inline(answer.text)}"
    shown = "" if answer is None else tiles([tile(*entry) for entry in answer.tiles])
    css = files("edt.show").joinpath("style.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)}</title><style>{css}</style></head>\n<body>"
        '<a class="skip" href="#content">Skip to the results</a><main>'
        f'<header><h1>{escape(title)}</h1><p class="lead">{inline(lead)}{said}</p>'
        + f"{shown}</header>\n"
        + contents(body)
        + '<div id="content" tabindex="-1">'
        + text
        + f"</div>\n<footer>{inline(footer)}</footer></main>"
        + (engine() if _INTERACTIVE in text else "")
        + "</body></html>\n"
    )


def _scroller(what: str) -> str:
    """A box that scrolls sideways, with the keyboard too."""
    return f'<div class="scroll" tabindex="0" role="group" aria-label="{what}, scrolls sideways">'


def _anchor(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def _data(svg: bytes) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode("ascii")
