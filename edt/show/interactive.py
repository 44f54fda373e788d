"""What makes the figures of a page answer: plotly, once, and the script that draws with it."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from edt.show.panel import Panel, in_rows, palette
from edt.show.style import THEMES

#: What a page says that was written without plotly.
MISSING = "The figures are pictures only: plotly was not installed where this page was written."


#: Characters of a figure's panels above which they are compressed: texts of thousands of points
#: would make a page of many megabytes.
PACKED_ABOVE = 100_000


def panels_script(panels: Sequence[Panel]) -> str:
    """The element from which the page's script reads the panels of a figure."""
    text = panels_json(panels)
    if len(text) <= PACKED_ABOVE:
        return f'<script type="application/json">{text}</script>'
    return f'<script type="text/plain" data-packed>{_packed(text.encode())}</script>'


def panels_json(panels: Sequence[Panel]) -> str:
    """Panels as the page's script reads them; nothing in it ends a script element."""
    shown = [panel.spec() | {"full": len(row) == 1} for row in in_rows(panels) for panel in row]
    return _json(_tamed(shown))


def engine() -> str:
    """The end of a page with interactive figures: palettes, plotly, script; or that it is missing.

    Plotly is compressed, which makes the page 3 MB smaller and its text appear at once; every
    browser since 2023 can unpack it.
    """
    packed = plotly_source()
    if packed is None:
        return f'<p class="note">{MISSING}</p>'
    palettes = _json({name: palette(theme) for name, theme in THEMES.items()})
    script = files("edt.show").joinpath("figures.js").read_text(encoding="utf-8")
    return (
        f'<script type="application/json" id="palettes">{palettes}</script>'
        f'<script type="text/plain" id="plotly-source">{packed}</script>'
        f"<script>{script}</script>"
    )


@cache
def plotly_source() -> str | None:
    """plotly.js as plotly's Python package carries it, gzip in base64; None without the package."""
    try:
        source = (files("plotly") / "package_data" / "plotly.min.js").read_bytes()
    except (ModuleNotFoundError, FileNotFoundError):
        return None
    return _packed(source)


def _packed(data: bytes) -> str:
    """gzip in base64; the same data give the same text."""
    return base64.b64encode(gzip.compress(data, 6, mtime=0)).decode("ascii")


#: What plotly would take for a tag and the package does not write: a link, say.
_TAG = re.compile(r"<(?!/?(?:b|i|em|sub|sup|extra)>|br>)(?=[a-zA-Z/!?])")


def _tamed(value: Any) -> Any:
    """Panels whose texts hold tags for emphasis only; plotly shows the others as text."""
    if isinstance(value, str):
        return _TAG.sub("&lt;", value)
    if isinstance(value, dict):
        return {name: _tamed(entry) for name, entry in value.items()}
    return [_tamed(entry) for entry in value] if isinstance(value, (list, tuple)) else value


def _json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")
