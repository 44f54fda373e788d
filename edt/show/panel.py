"""One interactive diagram: traces and axes as plotly knows them, colours by name.

A panel holds plain dictionaries, so plotly is not needed to build one, and the same tables give
the same panel, byte for byte. Colours are written ``@blue``, ``@blue/0.2`` (with opacity) or
``@on_blue`` (text on that colour): keys of `palette`, which the page replaces when it draws, and
again when its theme changes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from edt.arguments import checked
from edt.show.style import LIGHT, Theme, readable_on

#: A trace, an axis, or any other part of a plotly figure.
Part = dict[str, Any]
#: Colours by name: what functions that ask for a theme's colours give to a panel.
NAMES = Theme(**{name.name: f"@{name.name}" for name in fields(Theme)})
_TOKEN = re.compile(r"@([a-z_]+)(?:/([0-9.]+))?")
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"


@dataclass(frozen=True)
class Panel:
    """One diagram; a figure is a sequence of them.

    Attributes:
        title: over it.
        traces: plotly traces, from `edt.show.marks`.
        x, y: plotly axes, from `axis`.
        more: further entries of plotly's layout (``barmode``, ``shapes``, ``annotations``).
        height: in CSS pixels; the width is that of the page.
        full: takes a row of the page for itself.
    """

    title: str
    traces: Sequence[Part]
    x: Part
    y: Part
    more: Mapping[str, Any] = field(default_factory=dict)
    height: int = 380
    full: bool = False

    def spec(self) -> Part:
        """What the page needs to draw it; JSON-able."""
        return {
            "title": self.title,
            "data": [
                trace | {"meta": {"aside": aside}} if aside else trace
                for trace, aside in zip(self.traces, asides(self.traces), strict=True)
            ],
            "layout": self.layout(),
            "full": self.full,
        }

    def layout(self) -> Part:
        """Plotly's layout, colours by name."""
        return {
            "font": {"family": _FONT, "size": 13, "color": "@ink"},
            "paper_bgcolor": "@paper",
            "plot_bgcolor": "@paper",
            "margin": {"l": 10, "r": 12, "t": 12, "b": 10},
            "height": self.height,
            "hovermode": "closest",
            "hoverlabel": {
                "align": "left",
                "bgcolor": "@paper",
                "bordercolor": "@soft",
                "font": {"color": "@ink", "size": 13, "family": _FONT},
            },
            "showlegend": False,
            "xaxis": self.x,
            "yaxis": self.y,
            **self.more,
        }

    def plotly(self, theme: Theme = LIGHT) -> Part:
        """The panel for use elsewhere, a notebook for example.

        Args:
            theme: colours.

        Returns:
            ``data`` and ``layout``.

        Example:
            >>> panel = Panel("empty", [], axis("x"), axis("y"))
            >>> panel.plotly()["layout"]["font"]["color"]
            '#1c1e21'
            >>> import plotly.graph_objects as go  # doctest: +SKIP
            >>> go.Figure(panel.plotly())  # doctest: +SKIP
        """
        layout = {**self.layout(), "title": {"text": self.title}, "showlegend": True}
        layout.pop("margin")
        found: Part = coloured({"data": list(self.traces), "layout": layout}, theme)
        return found


def axis(
    title: str = "",
    *,
    log: bool = False,
    ticks: Sequence[float] | None = None,
    labels: Sequence[str] | None = None,
    span: tuple[float, float] | None = None,
    grid: bool = True,
    **more: Any,
) -> Part:
    """An axis.

    Args:
        title: what it measures.
        log: logarithmic; ``span`` is in units of the data all the same.
        ticks: places of the ticks; default plotly's choice.
        labels: what is written there; default the places.
        span: lowest and highest value shown; default what the data need.
        grid: lines across the panel.
        more: of plotly's.
    """
    out: Part = {
        "title": {"text": title, "standoff": 8, "font": {"size": 12.5}},
        "automargin": True,
        "showgrid": grid,
        "gridcolor": "@grid",
        "zeroline": False,
        "showline": True,
        "linecolor": "@soft",
        "ticks": "outside",
        "ticklen": 4,
        "tickcolor": "@soft",
    }
    if log:
        out |= {"type": "log", "exponentformat": "power", "dtick": 1}
    if ticks is not None:
        out.pop("dtick", None)
        words = [f"{tick:g}" for tick in ticks] if labels is None else list(labels)
        out |= {"tickmode": "array", "tickvals": numbers(ticks), "ticktext": words}
    if span is not None:
        out["range"] = [math.log10(end) for end in span] if log else list(span)
    return out | more


#: Between the intervals of two series at one place, in CSS pixels, and from first to last at most.
ASIDE, REACH = 5.0, 20.0


#: Intervals as thick as this are boxes, around the thin one of another trace.
BOX = 8


def asides(traces: Sequence[Part]) -> list[float]:
    """How far the interval of each trace is drawn beside its mark, in CSS pixels.

    Marks stand where they were measured. Only intervals move, and only those of traces that share a
    place with another one.
    """
    barred = [
        k for k, trace in enumerate(traces)
        if "error_y" in trace and trace["error_y"]["thickness"] < BOX
    ]  # fmt: skip
    places = {k: {(at, traces[k].get("yaxis")) for at in traces[k]["x"]} for k in barred}
    shared = [k for k in barred if any(places[k] & places[other] for other in barred if other != k)]
    gap = min(ASIDE, REACH / max(len(shared) - 1, 1))
    return [
        gap * (shared.index(k) - (len(shared) - 1) / 2) if k in shared else 0.0
        for k in range(len(traces))
    ]


def in_rows(panels: Sequence[Panel]) -> list[list[Panel]]:
    """Panels in the rows of a wide page: two a row, those that are ``full`` alone.

    Example:
        >>> [first, second] = [Panel(name, [], axis(), axis()) for name in "ab"]
        >>> [len(row) for row in in_rows([first, second, first])]
        [2, 1]
    """
    rows: list[list[Panel]] = []
    for panel in panels:
        if rows and len(rows[-1]) == 1 and not (panel.full or rows[-1][0].full):
            rows[-1].append(panel)
        else:
            rows.append([panel])
    return rows


def numbers(values: Any) -> list[float | None]:
    """Coordinates for JSON: six significant digits; None where there is no finite number."""
    out: list[float | None] = []
    for value in values:
        number = float(value)
        out.append(float(f"{number:.6g}") if math.isfinite(number) else None)
    return out


def palette(theme: Theme) -> dict[str, str]:
    """Colours of a theme by name, and what is readable on them as ``on_blue`` and so on."""
    own = asdict(theme)
    return own | {f"on_{name}": readable_on(value) for name, value in own.items()}


def coloured(part: Any, theme: Theme) -> Any:
    """The part with names of colours replaced by those of a theme, at any depth."""
    if isinstance(part, str):
        return _colour(part, theme)
    if isinstance(part, Mapping):
        return {key: coloured(value, theme) for key, value in part.items()}
    if isinstance(part, Sequence):
        return [coloured(value, theme) for value in part]
    return part


def _colour(text: str, theme: Theme) -> str:
    found = _TOKEN.fullmatch(text)
    if found is None:
        return text
    value = palette(theme)[found[1]]
    if found[2] is None:
        return value
    red, green, blue = (int(value[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, {found[2]})"


checked(__name__)
