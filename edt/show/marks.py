"""Traces: lines with intervals, bands, bars, bubbles. Every point says what it is when asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd

from edt.show.hover import lines, share
from edt.show.panel import Part, numbers
from edt.stats import Interval, wilson

#: matplotlib's markers in plotly's words.
SYMBOLS = {
    "o": "circle", "s": "square", "^": "triangle-up", "D": "diamond", "v": "triangle-down",
    "p": "pentagon", "*": "star", "h": "hexagon", "X": "x", "x": "x-thin", "P": "cross",
    "_": "line-ew",
}  # fmt: skip
#: Hatches of bars in one stack, so that they differ without colour.
PATTERNS = ("", "/", ".", "\\", "x", "-", "|", "+")
#: matplotlib's line styles in plotly's words.
DASHES = {"-": "solid", "--": "dash", ":": "dot", "-.": "dashdot"}


def line(
    x: Any,
    y: Any,
    name: str,
    colour: str,
    hover: Sequence[str],
    *,
    low: Any = None,
    high: Any = None,
    marker: str | None = "o",
    dash: str = "solid",
    width: float = 2.4,
    size: float = 9.0,
    joined: bool = True,
    hollow: bool = False,
    key: bool = True,
    **more: Any,
) -> Part:
    """Points, joined or not, with vertical intervals if there are bounds.

    Args:
        x, y: places.
        name: in the key; traces of one name are shown and hidden together.
        colour: by name, see `edt.show.panel`.
        hover: what a point says, one text a point.
        low, high: bounds of the intervals; a bound that is not finite ends at the point.
        marker: matplotlib's letter; None for a line without points.
        dash: plotly's name.
        width, size: of line and markers, in CSS pixels.
        joined: with a line.
        hollow: markers are outlines.
        key: stands in the key.
        more: of plotly's.
    """
    mode = "+".join(["lines"] * joined + ["markers"] * (marker is not None))
    out: Part = {
        "type": "scatter",
        "mode": mode,
        "x": numbers(x),
        "y": numbers(y),
        "name": name,
        "legendgroup": name,
        "showlegend": key,
        "hoverinfo": "text",
        "hovertext": list(hover),
        "line": {"color": colour, "width": width, "dash": dash},
    }
    if marker is not None:
        out["marker"] = {
            "symbol": SYMBOLS[marker] + ("-open" if hollow else ""),
            "size": size,
            "color": colour,
            "line": _outline("x" if hollow else marker, size, colour),
        }
    if low is not None:
        at = np.asarray(y, dtype=float)
        # Clipped: bounds of an interval meet the estimate only up to rounding.
        down = np.clip(np.nan_to_num(at - np.asarray(low, dtype=float), posinf=0.0), 0.0, None)
        up = np.clip(np.nan_to_num(np.asarray(high, dtype=float) - at, posinf=0.0), 0.0, None)
        out["error_y"] = {
            "type": "data",
            "symmetric": False,
            "array": numbers(up),
            "arrayminus": numbers(down),
            "color": colour,
            "thickness": 1.8,
            "width": 0,
        }
    return out | more


def _outline(marker: str, size: float, colour: str) -> Part:
    if marker in "x_":  # symbols made of lines have nothing else
        return {"color": colour, "width": 2}
    # Outlines part large marks that overlap, and would hide small ones.
    return {"color": "@paper", "width": 1 if size >= 8 else 0}


def points(
    x: Any, y: Any, name: str, colour: str, hover: Sequence[str], marker: str = "o", **more: Any
) -> Part:
    """Points that no line joins; arguments as in `line`."""
    return line(x, y, name, colour, hover, marker=marker, joined=False, **more)


def band(x: Any, low: Any, high: Any, name: str, colour: str) -> Part:
    """The area between two lines, which belongs to the line of that name."""
    at, bottom, top = (numbers(values) for values in (x, low, high))
    return {
        "type": "scatter",
        "mode": "lines",
        "x": at + at[::-1],
        "y": top + bottom[::-1],
        "fill": "toself",
        "fillcolor": f"{colour}/0.16",
        "line": {"width": 0},
        "name": name,
        "legendgroup": name,
        "showlegend": False,
        "hoverinfo": "skip",
    }


def rule(x: Sequence[float], y: Sequence[float], colour: str = "@soft", dash: str = "dash") -> Part:
    """A line to compare with, which says nothing itself."""
    return {
        "type": "scatter", "mode": "lines", "x": numbers(x), "y": numbers(y), "name": "",
        "showlegend": False, "hoverinfo": "skip",
        "line": {"color": colour, "width": 1.4, "dash": dash},
    }  # fmt: skip


def bars(
    x: Any, y: Any, name: str, colour: str, hover: Sequence[str], text: Sequence[str] = (),
    **more: Any,
) -> Part:  # fmt: skip
    """Bars; arguments as in `line`.

    Args:
        text: written in the bars, where it fits.
    """
    return {
        "type": "bar",
        "x": numbers(x),
        "y": numbers(y),
        "name": name,
        "legendgroup": name,
        "hoverinfo": "text",
        "hovertext": list(hover),
        "text": list(text),
        "textposition": "inside",
        "insidetextanchor": "middle",
        "textangle": 0,
        "insidetextfont": {"color": colour.replace("@", "@on_"), "size": 12},
        "constraintext": "none",
        "marker": {"color": colour, "line": {"color": "@paper", "width": 1}},
        **more,
    }


def stacked(
    names: Sequence[str],
    counts: Mapping[str, Sequence[int]],
    colours: Sequence[str],
    noun: str,
    at: Sequence[float] | None = None,
    lying: bool = False,
    rates: Sequence[Sequence[Interval]] | None = None,
) -> list[Part]:
    """Counts as shares of their sum, one bar a name, with intervals to read.

    Args:
        names: of the bars, as a point says it.
        counts: what is counted, to its counts in every bar; left out where there are none.
        colours: of what is counted, in that order.
        noun: of the things counted, in the plural.
        at: places of the bars; default 0, 1, ...
        lying: bars lie on their side.
        rates: intervals of the shares, as ``counts``; default Wilson's.
    """
    totals = np.sum([list(column) for column in counts.values()], axis=0)
    places = list(range(len(names))) if at is None else list(at)
    traces: list[Part] = []
    for k, ((text, column), colour) in enumerate(zip(counts.items(), colours, strict=True)):
        if not any(column):
            continue
        found = (
            [wilson(int(won), int(n)) for won, n in zip(column, totals, strict=True)]
            if rates is None
            else list(rates[k])
        )
        hover = [
            lines(f"{name}, {text}: {won:,} of {n:,} {noun}",
                  share(rate.value, rate.low, rate.high))
            for name, won, n, rate in zip(names, column, totals, found, strict=True)
        ]  # fmt: skip
        parts = [rate.value for rate in found]
        written = [f"{100 * part:.0f}" if part >= 0.06 else "" for part in parts]
        x, y = (parts, places) if lying else (places, parts)
        more = {"orientation": "h"} if lying else {}
        traces.append(bars(x, y, text, colour, hover, written, **more))
    return patterned(traces)


def patterned(stack: Sequence[Part]) -> list[Part]:
    """Bars that are told apart without colour, too: each with a hatch of its own."""
    for shape, made in zip(cycle(PATTERNS), stack, strict=False):
        made["marker"]["pattern"] = {"shape": shape, "fgcolor": "@paper", "fgopacity": 0.5,
                                     "fillmode": "overlay", "size": 9,
                                     "solidity": 0.12}  # fmt: skip
    return list(stack)


def edges(at: Sequence[float]) -> list[Part]:
    """Shapes for a panel: a thin line across it at each place."""
    return [
        {"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "yref": "paper",
         "line": {"color": "@grid", "width": 1}, "layer": "below"}
        for x in at
    ]  # fmt: skip


def shade(low: float, high: float, colour: str) -> Part:
    """A shape for a panel: the strip between two places, from bottom to top."""
    return {
        "type": "rect", "xref": "x", "yref": "paper", "x0": low, "x1": high, "y0": 0, "y1": 1,
        "fillcolor": colour, "line": {"width": 0}, "layer": "below",
    }  # fmt: skip


def thinned(table: pd.DataFrame, most: int = 3000) -> tuple[pd.DataFrame, int]:
    """Every k-th row, with k the least that leaves ``most`` rows or fewer; and k.

    A browser draws a few thousand points at once; the picture beside them shows all.
    """
    step = max(-(-len(table) // most), 1)
    return table.iloc[::step], step


def heatmap(shares: Any, hover: Sequence[Sequence[str]]) -> Part:
    """Shares as a table in colours, each written in its cell in per cent.

    Args:
        shares: ``[rows, columns]``, between 0 and 1.
        hover: what a cell says.
    """
    cells = [numbers(row) for row in shares]
    return {
        "type": "heatmap",
        "z": cells,
        "zmin": 0,
        "zmax": 1,
        "colorscale": "Cividis",
        "showscale": False,
        "xgap": 1,
        "ygap": 1,
        "text": [["" if cell is None else f"{100 * cell:.0f}" for cell in row] for row in cells],
        "texttemplate": "%{text}",
        "hoverinfo": "text",
        "hovertext": [list(row) for row in hover],
        "name": "",
    }
