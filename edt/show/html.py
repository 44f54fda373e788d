"""The few pieces of HTML a report is made of. Nothing is loaded from elsewhere."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from typing import Any

import pandas as pd

from edt.show.interactive import engine, panels_json
from edt.show.panel import Panel


@dataclass(frozen=True)
class Column:
    """A column of a table: its heading, and what to write for a row."""

    heading: str
    text: Callable[[Any], str]


def paragraph(text: str) -> str:
    """``text`` as a paragraph; it may hold ``<b>`` and other inline tags."""
    return f"<p>{text}</p>"


def bullets(items: Sequence[str]) -> str:
    """A list of points; items may hold inline tags."""
    return "<ul>" + "".join(f"<li>{item}</li>" for item in items) + "</ul>"


def table(frame: pd.DataFrame, columns: Sequence[Column], caption: str = "") -> str:
    """A table of the frame's rows; it scrolls sideways where the page is narrow."""
    head = "".join(f'<th scope="col">{escape(column.heading)}</th>' for column in columns)
    rows = []
    for row in frame.to_dict("records"):
        first, *others = (escape(column.text(row)) for column in columns)
        cells = "".join(f"<td>{text}</td>" for text in others)
        rows.append(f'<tr><th scope="row">{first}</th>{cells}</tr>')
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    return (
        f"{_scroller('table')}<table>{title}<thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def definitions(pairs: Sequence[tuple[str, str]]) -> str:
    """Names and their values, one a row; values may hold inline tags."""
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{value}</dd>" for name, value in pairs)
    return f"<dl>{rows}</dl>"


def code(text: str) -> str:
    """Text of a program, or anything else whose lines and spaces matter."""
    return f"<pre>{escape(text.strip(chr(10)))}</pre>"


def details(summary: str, body: str) -> str:
    """Something to unfold."""
    return f"<details><summary>{escape(summary)}</summary>{body}</details>"


def tile(value: str, label: str) -> str:
    """A number worth a large font."""
    return f'<div class="tile"><b>{escape(value)}</b><span>{escape(label)}</span></div>'


def tiles(items: Sequence[str]) -> str:
    """Tiles side by side."""
    return f'<div class="tiles">{"".join(items)}</div>'


def figure(light: bytes, dark: bytes, alt: str, caption: str, panels: Sequence[Panel] = ()) -> str:
    """A picture in two themes, embedded; the browser takes the one that suits the page.

    Args:
        light, dark: SVG files.
        alt: what it shows, for those who cannot see it.
        caption: may hold inline tags.
        panels: the same to point at. The page's script draws them in place of the picture, which
            stays where there are no scripts, and in print.
    """
    twin = (
        f'<div class="plots"></div><script type="application/json">{panels_json(panels)}</script>'
        if panels
        else ""
    )
    return (
        f"{_INTERACTIVE if panels else '<figure>'}{_scroller('figure')}<picture>"
        f'<source media="(prefers-color-scheme: dark)" srcset="{_data(dark)}">'
        f'<img src="{_data(light)}" alt="{escape(alt, quote=True)}">'
        f"</picture></div>{twin}<figcaption>{caption}</figcaption></figure>"
    )


_INTERACTIVE = '<figure class="interactive">'


def section(title: str, *parts: str) -> str:
    """A section with its heading, which the list of contents links to."""
    name = _anchor(title)
    body = "".join(parts)
    return f'<section aria-labelledby="{name}"><h2 id="{name}">{escape(title)}</h2>{body}</section>'


def contents(body: Sequence[str]) -> str:
    """Links to the sections; nothing where there are only one or two."""
    found = re.findall(r'<h2 id="([^"]*)">(.*?)</h2>', "".join(body))
    if len(found) < 3:
        return ""
    items = "".join(f'<li><a href="#{name}">{title}</a></li>' for name, title in found)
    return f'<nav aria-label="Contents"><ul>{items}</ul></nav>'


def page(title: str, lead: str, body: Sequence[str], footer: str) -> str:
    """The whole document.

    Args:
        title: heading and window title.
        lead: paragraph under the heading; may hold inline tags.
        body: sections.
        footer: may hold inline tags.
    """
    text = "\n".join(body)
    css = files("edt.show").joinpath("style.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)}</title><style>{css}</style></head>\n<body>"
        '<a class="skip" href="#content">Skip to the results</a><main>'
        f'<header><h1>{escape(title)}</h1><p class="lead">{lead}</p></header>\n'
        + contents(body)
        + '<div id="content" tabindex="-1">'
        + text
        + f"</div>\n<footer>{footer}</footer></main>"
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
