"""The explorable as a section of a report: style, data and scripts in one piece."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from edt.show.explore.still import ALT, CAPTION, picture
from edt.show.html import Markup

#: In the order of use: each needs those before it.
SCRIPTS = (
    *("network", "linear", "descend", "moves", "check"),
    *("draw", "inputs", "surface", "ladder", "tickets", "page"),
)
TITLE = "Stuck? Add a neuron"
LEAD = (
    "A narrow network is caught in a <b>bad minimum</b>: every direction leads up, and no descent "
    "gets out. Copy one of its neurons. The output, the loss and the slope stay as they are, yet "
    "ways down may open. <b>Reach zero loss with as few neurons as you can.</b>"
)
ALONE = "Reach zero loss"


def section(data: Mapping[str, Any], *, alone: bool = False) -> Markup:
    """The explorable as a section: style, still picture, data, script. Once a page.

    Args:
        data: from `explore_data`.
        alone: the page has `TITLE` and `LEAD` as its own and nothing else.
    """
    parts = files("edt.show.explore")
    script = "\n".join(parts.joinpath(f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)
    body = Template(parts.joinpath("explore.html").read_text(encoding="utf-8")).substitute(
        heading=escape(ALONE if alone else TITLE),
        lead="" if alone else f"<p>{LEAD}</p>",
        still=picture(data, escape(ALT, quote=True)),
        caption=escape(CAPTION),
        # No text of the data may end the element it stands in.
        data=json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"),
        script=script,
    )
    style = parts.joinpath("explore.css").read_text(encoding="utf-8")
    return Markup(f"<style>{style.strip()}</style>{body.strip()}")
