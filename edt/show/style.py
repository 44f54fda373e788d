"""How the figures look: one palette, two themes, and text that stays out of its own way.

Colours are those of Okabe and Ito, told apart with every common kind of colour vision; nothing is
told by colour alone. Text is set for a slide: 13 points on a 12-inch figure.

Reference: M. Okabe, K. Ito, "Color universal design", 2008.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from edt.show.words import RAISED


@dataclass(frozen=True)
class Theme:
    """Colours of one theme.

    Attributes:
        paper, ink, soft, grid: background, text, secondary text, grid lines.
        blue, green, orange, red, purple, sky: the palette.
    """

    paper: str
    ink: str
    soft: str
    grid: str
    blue: str
    green: str
    orange: str
    red: str
    purple: str
    sky: str


LIGHT = Theme(
    paper="#ffffff",
    ink="#1c1e21",
    soft="#5f6670",
    grid="#e4e7eb",
    blue="#0072b2",
    green="#009e73",
    orange="#e69f00",
    red="#d55e00",
    purple="#cc79a7",
    sky="#56b4e9",
)
#: The same hues, lighter where they would sink into a dark page.
DARK = Theme(
    paper="#16191d",
    ink="#e8eaed",
    soft="#a3abb5",
    grid="#2c3138",
    blue="#56b4e9",
    green="#2bc49a",
    orange="#f0b429",
    red="#f07f3c",
    purple="#dd9cc0",
    sky="#8fd0f5",
)
THEMES = {"light": LIGHT, "dark": DARK}
#: Colours that stand for names: a picture drawn in them takes its theme from the page.
_MARK, _ON_MARK = "#0102", "#0103"
MARKED = Theme(**{name.name: f"{_MARK}{k:02x}" for k, name in enumerate(fields(Theme))})

#: One marker for each target, so that they differ without colour.
MARKERS = "os^Dvp*hX"


@contextmanager
def styled(theme: Theme) -> Iterator[None]:
    """matplotlib's settings for one figure; the caller's are back afterwards."""
    with mpl.rc_context(
        {
            "font.family": "DejaVu Sans",
            "font.size": 13.0,
            "axes.titlesize": 14.5,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.titlepad": 12.0,
            "axes.labelsize": 13.0,
            "axes.facecolor": theme.paper,
            "axes.edgecolor": theme.soft,
            "axes.labelcolor": theme.ink,
            "axes.titlecolor": theme.ink,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": theme.grid,
            "grid.linewidth": 1.0,
            "xtick.color": theme.soft,
            "ytick.color": theme.soft,
            "xtick.labelcolor": theme.ink,
            "ytick.labelcolor": theme.ink,
            "text.color": theme.ink,
            "figure.facecolor": theme.paper,
            "savefig.facecolor": theme.paper,
            "lines.linewidth": 2.0,
            "legend.frameon": False,
            "legend.fontsize": 12.0,
            "hatch.linewidth": 0.7,
        }
    ):
        yield


class ShownFigure(Figure):
    """A figure that shows itself at the end of a notebook's cell, whatever pyplot is set to."""

    def _repr_png_(self) -> bytes:
        return png(self, dpi=100)


def blank(size: tuple[float, float]) -> Figure:
    """An empty figure outside pyplot's global state; size in inches."""
    figure = ShownFigure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def new_figure(
    columns: int = 1,
    rows: int = 1,
    size: tuple[float, float] = (12.0, 5.2),
    **options: Any,
) -> tuple[Figure, np.ndarray[Any, Any]]:
    """A figure outside pyplot's global state, and its axes ``[rows, columns]``."""
    figure = blank(size)
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    return figure, axes


def given_or_new(
    ax: Axes | Sequence[Axes] | None, columns: int, size: tuple[float, float], **options: Any
) -> tuple[Figure, list[Axes]]:
    """The figure and axes that a caller gave, or new ones in a row.

    Args:
        ax: of the caller; None: a new figure.
        columns: diagrams.
        size: of a new figure, in inches.
        options: of its subplots.

    Raises:
        TypeError, ValueError: not as many axes as diagrams.
    """
    if ax is None:
        figure, axes = new_figure(columns, size=size, **options)
        return figure, list(axes[0])
    given = [ax] if isinstance(ax, Axes) else list(np.ravel(np.asarray(ax, dtype=object)))
    if not all(isinstance(one, Axes) for one in given):
        raise TypeError(f"ax must be matplotlib axes, got {type(ax).__name__}")
    if len(given) != columns:
        raise ValueError(f"ax must be {columns} axes, one a diagram, got {len(given)}")
    found = given[0].get_figure(root=True)
    assert found is not None  # axes that can be drawn on have one
    return found, given


def key_below(
    figure: Figure, ax: Axes, handles: Sequence[Any], words: Sequence[str], own: bool, most: int = 4
) -> None:
    """The key of a figure: below it, or on the first of the caller's axes."""
    if own:
        ax.legend(handles, words, fontsize="small")
    else:
        figure.legend(handles, words, loc="outside lower center", ncols=min(most, len(words)))


def png(figure: Figure, dpi: int = 160) -> bytes:
    """The figure as PNG; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": "edt"})
    return buffer.getvalue()


def svg(figure: Figure) -> bytes:
    """The figure as SVG; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    # What savefig does, less a first drawing whose only use is to find bounds of a tight box, and
    # with the sizes of text as Agg has them: those of outlines take five times as long.
    dpi, layout = figure.dpi, figure.get_layout_engine()
    figure.dpi = 72
    if layout is not None:
        FigureCanvasAgg(figure)
        layout.execute(figure)
        figure.set_layout_engine("none")
    canvas = FigureCanvasSVG(figure)
    try:
        with mpl.rc_context({"svg.hashsalt": "edt"}):
            canvas.print_svg(  # type: ignore[no-untyped-call]
                buffer, metadata={"Date": None, "Creator": "edt"}
            )
    finally:
        figure.dpi = dpi
        figure.set_layout_engine(layout)
        FigureCanvasAgg(figure)
    return buffer.getvalue()


def themed_svg(draw: Callable[[Theme], Figure]) -> bytes:
    """A picture as SVG that is light or dark as the page is that shows it.

    It is drawn once, in colours that stand for names; a style sheet inside says what they are.
    """
    # Text as text is a tenth of the bytes; Verdana has the widths of DejaVu Sans.
    with mpl.rc_context({"svg.fonttype": "none"}):
        text = svg(draw(MARKED)).decode("utf-8")
    text = text.replace("'DejaVu Sans'", "'DejaVu Sans', Verdana, sans-serif")
    text = re.sub(r' (?:d|x|y)="[^"]*"', _shorter, text)
    names = [name.name for name in fields(Theme)]

    def sheet(theme: Theme) -> str:
        own = [getattr(theme, name) for name in names]
        return ":root{" + "".join(
            f"--c{k:02x}:{colour};--o{k:02x}:{readable_on(colour)};" for k, colour in enumerate(own)
        ) + "}"  # fmt: skip

    style = f"{sheet(LIGHT)}@media(prefers-color-scheme:dark){{{sheet(DARK)}}}"
    text = re.sub(rf"{_MARK}([0-9a-f]{{2}})", r"var(--c\1)", text)
    text = re.sub(rf"{_ON_MARK}([0-9a-f]{{2}})", r"var(--o\1)", text)
    text = _LIKE.sub(_grouped, text)
    return text.replace("<defs>", f"<defs><style>{style}</style>", 1).encode("utf-8")


def _shorter(found: re.Match[str]) -> str:
    """Coordinates to a hundredth of a point; those of long lines to a tenth."""
    part = found[0]
    long = len(part) > 600
    part = " " + " ".join(part.split())
    return re.sub(r"(\.\d)\d+" if long else r"(\.\d\d)\d+", r"\1", part)


#: Marks in a row that look alike: matplotlib writes their look at each.
_LIKE = re.compile(r'<use [^>]*?( style="[^"]*")/>(?:\s*<use [^>]*?\1/>){2,}')


def _grouped(found: re.Match[str]) -> str:
    return f"<g{found[1]}>{found[0].replace(found[1], '')}</g>"


def pdf(figure: Figure) -> bytes:
    """The figure as PDF, fonts embedded; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    with mpl.rc_context({"pdf.fonttype": 42}):
        figure.savefig(buffer, format="pdf", metadata={"CreationDate": None, "Creator": "edt"})
    return buffer.getvalue()


class Powers(LogFormatter):
    """Ticks of a logarithmic axis as 10⁻³ and 3×10⁻³, without setting formulas (10 ms each)."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        if not super().__call__(x, pos):  # matplotlib's choice of which ticks are labelled
            return ""
        digits, k = f"{x:.0e}".split("e")
        power = f"10{str(int(k)).translate(RAISED)}"
        return power if digits == "1" else f"{digits}×{power}"


def percent_axis(ax: Axes, label: str) -> None:
    """A y axis from 0 to 100% with room for markers at both ends."""
    ax.set_ylim(-0.03, 1.04)
    ax.set_yticks([0, 0.25, 0.5, 0.75, 1.0], ["0%", "25%", "50%", "75%", "100%"])
    ax.set_ylabel(label)


def readable_on(colour: str) -> str:
    """Black or white, whichever stands out more on the colour (relative luminance, WCAG 2)."""
    if colour.startswith(_MARK):
        return _ON_MARK + colour.removeprefix(_MARK)
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#000000" if (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) else "#ffffff"
