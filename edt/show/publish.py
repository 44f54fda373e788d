"""Figures drawn, embedded and written; the facts about a run beside them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from edt.locations import Folder, Location, place
from edt.runs.store import FIGURES, inside
from edt.show import html
from edt.show.answer import Answer
from edt.show.panel import Panel
from edt.show.provenance import Finished, provenance
from edt.show.render import draw
from edt.show.style import LIGHT, Theme, pdf, png, svg, themed_svg

#: Files that a figure can be kept as.
FORMATS: dict[str, Callable[[Figure], bytes]] = {"png": png, "svg": svg, "pdf": pdf}


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


@dataclass(frozen=True)
class _Asked:
    formats: Sequence[str] = ()
    tell: Callable[[str], None] = lambda text: None


_ASKED: ContextVar[_Asked | None] = ContextVar("asked", default=None)


@contextmanager
def figures_kept(
    formats: Sequence[str] = (), tell: Callable[[str], None] = lambda text: None
) -> Iterator[None]:
    """Reports written inside also keep their figures as files in ``figures/``.

    Args:
        formats: of `FORMATS`.
        tell: called with what is being drawn.

    Raises:
        ValueError: no such format.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        raise ValueError(f"figures must be of {', '.join(FORMATS)}, got {', '.join(unknown)}")
    token = _ASKED.set(_Asked(tuple(formats), tell))
    try:
        yield
    finally:
        _ASKED.reset(token)


def embed(pictures: Sequence[Picture], folder: Folder) -> dict[str, str]:
    """Every figure as HTML, by name; files too where `figures_kept` asks for them."""
    asked = _ASKED.get() or _Asked()
    embedded: dict[str, str] = {}
    for k, picture in enumerate(pictures):
        asked.tell(f"figure {k + 1} of {len(pictures)}: {picture.name}")
        panels = picture.panels()
        if asked.formats:
            figure = draw(panels)
            for name in asked.formats:
                made = FORMATS[name](figure)
                inside.write(folder, f"{FIGURES}/{picture.name}.{name}", made)
        still = themed_svg(lambda theme, panels=panels: draw(panels, theme=theme))  # type: ignore[misc]
        embedded[picture.name] = html.figure(still, picture.alt, picture.caption, panels)
    return embedded


def write_provenance(run: Finished, folder: Folder) -> dict[str, Any]:
    """Write ``provenance.json`` and return what it holds."""
    facts = provenance(run)
    inside.write(folder, "provenance.json", json.dumps(facts, indent=1).encode())
    return facts


def write_page(
    run: Finished,
    directory: Location,
    pictures: Sequence[Picture],
    title: str,
    lead: str,
    answer: Answer,
    body: Callable[[dict[str, str], dict[str, Any]], Sequence[str]],
    footer: str,
) -> Folder:
    """Write ``report.html``, its figures and ``provenance.json``.

    Args:
        run: what the page is of.
        directory: an existing or new folder.
        pictures: its figures.
        title, lead, answer, footer: as of `edt.show.html.page`.
        body: of the figures as HTML, by name, and of what is in ``provenance.json``: the sections.

    Returns:
        Path of ``report.html``.
    """
    folder = place(directory)
    sections = body(embed(pictures, folder), write_provenance(run, folder))
    path = folder / "report.html"
    inside.write(folder, path.name, html.page(title, lead, answer, sections, footer).encode())
    return path
