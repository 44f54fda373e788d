"""A figure from panels: the description that the page draws with plotly, drawn by matplotlib.

Lines, points, intervals, bands, rules and bars are drawn; colours come from the theme by name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from matplotlib.transforms import ScaledTranslation

from edt.show.marks import DASHES, SYMBOLS
from edt.show.panel import Panel, Part, coloured
from edt.show.style import LIGHT, Theme, key_below, new_figure, styled

_MARKERS = {word: letter for letter, word in SYMBOLS.items()}
_LINES = {word: line for line, word in DASHES.items()}
#: Between the intervals of two series at one place, in points.
ASIDE = 4.0
_RGBA = re.compile(r"rgba\((\d+), (\d+), (\d+), ([0-9.]+)\)")


def draw(panels: Sequence[Panel], *, theme: Theme = LIGHT) -> Figure:
    """All panels in a row.

    Args:
        panels: of marks from `edt.show.marks`.
        theme: colours.

    Raises:
        ValueError: a trace of a kind that is not drawn here.

    Example:
        >>> from edt.show.marks import line
        >>> from edt.show.panel import axis
        >>> panel = Panel("p", [line([1, 2], [0, 1], "a", "@blue", ["", ""])], axis("x"), axis("y"))
        >>> len(draw([panel]).axes)
        1
    """
    with styled(theme):
        figure, axes = new_figure(
            len(panels), size=(6.6 * len(panels), 5.6), width_ratios=[1.0] * len(panels)
        )
        for ax, panel in zip(axes[0], panels, strict=True):
            draw_on(ax, panel, theme)
    return figure


def draw_on(ax: Axes, panel: Panel, theme: Theme = LIGHT) -> None:
    """One panel on axes of yours; arguments and errors as of `draw`."""
    barred = [trace for trace in panel.traces if "error_y" in trace]
    places = [at for trace in barred for at in trace["x"]]
    if len(places) == len(set(places)):  # nowhere would two intervals lie on one another
        barred = []
    heights: dict[float, float] | None = {} if panel.more.get("barmode") == "stack" else None
    for trace in panel.traces:
        aside = barred.index(trace) - (len(barred) - 1) / 2 if trace in barred else 0.0
        _trace(ax, coloured(trace, theme), ASIDE * aside, heights)
    _axis(ax, "x", panel.x)
    _axis(ax, "y", panel.y)
    ax.set_title(plain(panel.title))
    if len(ax.get_legend_handles_labels()[1]) > 1:
        key_below(ax)


def _trace(ax: Axes, trace: Part, aside: float, heights: dict[float, float] | None) -> None:
    if trace["type"] not in ("scatter", "bar"):
        raise ValueError(f"a trace of type {trace['type']!r} is not drawn here")
    label = plain(trace["name"]) if trace.get("showlegend", True) and trace["name"] else None
    x, y = ([math.nan if v is None else v for v in trace[name]] for name in ("x", "y"))
    if trace["type"] == "bar":
        if trace.get("base") is not None or trace.get("orientation", "v") != "v":
            raise ValueError("bars that lie or float are not drawn here")
        below = [0.0 if heights is None else heights.get(at, 0.0) for at in x]
        if heights is not None:
            heights |= {at: low + high for at, low, high in zip(x, below, y, strict=True)}
        ax.bar(
            x,
            y,
            bottom=below,
            color=_colour(trace["marker"]["color"]),
            label=label,
            width=0.8,
            edgecolor=ax.get_facecolor(),
        )
    elif trace.get("fill"):
        ax.fill(x, y, color=_colour(trace["fillcolor"]), linewidth=0.0)
    else:
        joined = "lines" in trace["mode"]
        marker = trace.get("marker", {})
        colour = _colour(trace["line"]["color"])
        symbol = str(marker.get("symbol", ""))
        hollow = symbol.endswith("-open")
        around = trace.get("error_y", {})
        drawn = ax.errorbar(
            x,
            y,
            yerr=[around["arrayminus"], around["array"]] if around else None,
            color=colour,
            label=label,
            linestyle=_LINES.get(trace["line"].get("dash", "solid"), "-") if joined else "none",
            linewidth=0.8 * trace["line"]["width"],
            marker=_MARKERS.get(symbol.removesuffix("-open"), "none"),
            markerfacecolor="none" if hollow else colour,
            markersize=0.7 * float(marker.get("size", 9.0)),
            elinewidth=1.5,
        )
        for bar in drawn.lines[2]:  # aside by points of the page: markers stay where they belong
            bar.set_transform(
                ax.transData + ScaledTranslation(aside / 72, 0.0, ax.figure.dpi_scale_trans)
            )


def _axis(ax: Axes, which: str, axis: Part) -> None:
    getattr(ax, f"set_{which}label")(plain(axis["title"]["text"]))
    log = axis.get("type") == "log"
    if log:
        getattr(ax, f"set_{which}scale")("log")
        getattr(ax, f"{which}axis").set_minor_formatter(NullFormatter())
    if "tickvals" in axis:
        labels = [plain(text) for text in axis["ticktext"]]
        getattr(ax, f"set_{which}ticks")(axis["tickvals"], labels, minor=False)
        getattr(ax, f"set_{which}ticks")([], minor=True)
    if "range" in axis:
        ends = [10.0**end for end in axis["range"]] if log else axis["range"]
        getattr(ax, f"set_{which}lim")(*ends)
    ax.grid(axis["showgrid"], axis=which)  # type: ignore[arg-type]


def plain(text: str) -> str:
    """Text of the page for matplotlib: powers raised, other marks left out.

    Example:
        >>> plain("<b>10<sup>−3</sup></b>")
        '10$^{−3}$'
    """
    text = re.sub(r"<su([pb])>(.*?)</su[pb]>", _raised, text)
    return re.sub(r"<[^>]*>", "", text.replace("<br>", "\n"))


def _raised(found: re.Match[str]) -> str:
    return f"${'^' if found[1] == 'p' else '_'}{{{found[2]}}}$"


def _colour(text: str) -> Any:
    found = _RGBA.fullmatch(text)
    if found is None:
        return to_rgba(text)
    return (*tuple(int(found[k]) / 255 for k in (1, 2, 3)), float(found[4]))
