"""Figures drawn, embedded and written; the facts about a run beside them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from edt.places import Folder
from edt.runs.store import FIGURES, inside
from edt.show import html
from edt.show.panel import Panel
from edt.show.provenance import Finished, provenance
from edt.show.render import draw
from edt.show.style import DARK, LIGHT, Theme, pdf, png, svg


@dataclass(frozen=True)
class Picture:
    """A figure of the report.

    Attributes:
        name: of its files.
        alt: what it shows.
        caption: under it.
        panels: what it draws; none where there is nothing to show.
    """

    name: str
    alt: str
    caption: str
    panels: Callable[[], Sequence[Panel]]

    def figure(self, theme: Theme = LIGHT) -> Figure:
        """The picture by matplotlib."""
        return draw(self.panels(), theme=theme)


def embed(pictures: Sequence[Picture], folder: Folder) -> dict[str, str]:
    """Write every figure as PNG, SVG and PDF, and return it as HTML in two themes, by name."""
    embedded: dict[str, str] = {}
    for picture in pictures:
        light = picture.figure(LIGHT)
        vector = svg(light)
        inside.write(folder, f"{FIGURES}/{picture.name}.png", png(light))
        inside.write(folder, f"{FIGURES}/{picture.name}.svg", vector)
        inside.write(folder, f"{FIGURES}/{picture.name}.pdf", pdf(light))
        embedded[picture.name] = html.figure(
            vector,
            svg(picture.figure(DARK)),
            picture.alt,
            picture.caption,
            picture.panels(),
        )
    return embedded


def write_provenance(run: Finished, folder: Folder) -> dict[str, Any]:
    """Write ``provenance.json`` and return what it holds."""
    facts = provenance(run)
    inside.write(folder, "provenance.json", json.dumps(facts, indent=1).encode())
    return facts
