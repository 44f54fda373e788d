"""A figure from panels: the description that the page draws with plotly, drawn by matplotlib.

Colours come from the theme by name. What is drawn in rows on the page is drawn in rows here.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, NullFormatter, PercentFormatter
from matplotlib.transforms import ScaledTranslation, blended_transform_factory

from edt.arguments import checked
from edt.show.marks import DASHES, SYMBOLS
from edt.show.panel import Panel, Part, asides, coloured, in_rows
from edt.show.style import LIGHT, Powers, Theme, blank, readable_on, styled
from edt.show.words import LOWERED, RAISED

_MARKERS = {word: letter for letter, word in SYMBOLS.items()}
_LINES: dict[str, Any] = {word: line for line, word in DASHES.items()} | {
    "longdash": (0, (8, 3)),
    "longdashdot": (0, (8, 2, 1.5, 2)),
}
_RGBA = re.compile(r"rgba\((\d+), (\d+), (\d+), ([0-9.]+)\)")
#: Points of matplotlib to a CSS pixel of the page, and pixels to an inch of the figure.
POINT, INCH = 0.7, 74.0
#: Width of a figure in inches: of one panel, of a row of two.
ALONE, ROW = 10.4, 13.2
#: Height of a line of the key, in inches.
KEY_LINE = 0.24


def draw(
    panels: Sequence[Panel], *, theme: Theme = LIGHT, ax: Axes | Sequence[Axes] | None = None
) -> Figure:
    """All panels, in rows of two; those that are ``full`` in rows of their own.

    Args:
        panels: of marks from `edt.show.marks`.
        theme: colours.
        ax: axes of yours to draw on, one a panel; default a new figure.

    Raises:
        ValueError: a trace of a kind that is not drawn here, or not one ``ax`` a panel.

    Example:
        >>> from edt.show.marks import line
        >>> from edt.show.panel import axis
        >>> panel = Panel("p", [line([1, 2], [0, 1], "a", "@blue", ["", ""])], axis("x"), axis("y"))
        >>> len(draw([panel]).axes)
        1
    """
    if ax is not None:
        given = [ax] if isinstance(ax, Axes) else list(ax)
        if len(given) != len(panels):
            raise ValueError(f"ax must be {len(panels)} axes, one a panel, got {len(given)}")
        with styled(theme):
            for own, panel in zip(given, panels, strict=True):
                draw_on(own, panel, theme)
        figure = given[0].get_figure(root=True)
        assert figure is not None  # axes that can be drawn on have one
        return figure
    rows = in_rows(panels)
    wide = ROW if max(map(len, rows), default=1) > 1 else ALONE
    height = [
        max(panel.height / INCH + KEY_LINE * _key_lines(panel, wide / len(row)) for panel in row)
        for row in rows
    ] or [1.0]
    with styled(theme):
        figure = blank((wide, sum(height) + 0.3))
        grid = figure.add_gridspec(max(len(rows), 1), 2, height_ratios=height)
        for k, row in enumerate(rows):
            for j, panel in enumerate(row):
                draw_on(figure.add_subplot(grid[k, j if len(row) > 1 else slice(None)]), panel,
                        theme)  # fmt: skip
    return figure


def draw_on(ax: Axes, panel: Panel, theme: Theme = LIGHT) -> None:
    """One panel on axes of yours; arguments and errors as of `draw`."""
    traces = [coloured(trace, theme) for trace in panel.traces]
    more = coloured(panel.more, theme)
    levels = {"y": panel.y, **{name.replace("axis", ""): more[name] for name in more
                               if re.fullmatch(r"yaxis\d+", name)}}  # fmt: skip
    axes = {"y": ax} if len(levels) == 1 else _split(ax, levels)
    for name, own in axes.items():
        mine = [(trace, aside) for trace, aside in zip(traces, asides(traces), strict=True)
                if trace.get("yaxis", "y") == name]  # fmt: skip
        bases: dict[float, float] | None = {} if more.get("barmode") == "stack" else None
        for trace, aside in mine:
            if trace["type"] not in _KINDS:
                raise ValueError(f"a trace of type {trace['type']!r} is not drawn here")
            _KINDS[trace["type"]](own, trace, POINT * aside, bases, more)
        _axis(own, "y", levels[name])
        _axis(own, "x", panel.x)
    _words(ax, more)
    *above, last = axes.values()
    first = axes["y"]
    for own in above:
        own.set_xlabel("")
        own.tick_params(labelbottom=False)
    wide = 0.9 * 72 * _inches(first) / 8.6
    first.set_title(textwrap.fill(plain(panel.title), max(int(wide), 20)))
    _key(last, traces)


#: Letters of a name in the key, at most: a longer one would leave no room for the figure.
LONGEST = 70


def _entries(traces: Sequence[Part]) -> dict[str, Part]:
    """What a key explains: the first trace of every name."""
    shown = {t["name"]: t for t in reversed(traces) if t.get("showlegend", True) and t["name"]}
    return dict(reversed(shown.items())) if len(shown) > 1 else {}


def _key_columns(names: Collection[str], inches: float) -> int:
    wide = 6.6 * min(max(map(len, names)), LONGEST) + 46
    return max(min(int(72 * inches / wide), len(names), 4), 1)


def _key_lines(panel: Panel, inches: float) -> int:
    names = _entries(panel.traces)
    return -(-len(names) // _key_columns(names, inches)) if names else 0


def _inches(ax: Axes) -> float:
    figure, place = ax.get_figure(root=True), ax.get_subplotspec()
    share = 1.0 if place is None else len(place.colspan) / place.get_gridspec().ncols
    return share * (float(figure.get_figwidth()) if figure is not None else ROW / 2)


def _split(ax: Axes, levels: Mapping[str, Part]) -> dict[str, Axes]:
    """Axes above one another in place of one, which becomes invisible."""
    figure, place = ax.figure, ax.get_subplotspec()
    if place is None:
        raise ValueError("ax must come from subplots, for this panel has several diagrams")
    ax.set_axis_off()
    high = [level["domain"][1] - level["domain"][0] for level in levels.values()]
    grid = place.subgridspec(len(levels), 1, height_ratios=high)
    found: dict[str, Axes] = {}
    for k, name in enumerate(levels):
        found[name] = figure.add_subplot(grid[k], sharex=found.get("y"))
    return found


Bases = dict[float, float] | None


def _scatter(ax: Axes, trace: Part, aside: float, bases: Bases, more: Part) -> None:
    x, y = _numbers(trace["x"]), _numbers(trace["y"])
    if trace.get("fill"):
        ax.fill(x, y, linewidth=0.0, **_paint(trace["fillcolor"]))
        return
    marker = trace.get("marker", {}) if "markers" in trace["mode"] else {}
    order = 3.0 + 0.5 * trace.get("zorder", 0)
    alpha = trace.get("opacity")
    if "error_y" in trace:
        around = trace["error_y"]
        reach = [_numbers(around["arrayminus"]), _numbers(around["array"])]
        bars = ax.errorbar(
            x, y, yerr=reach, fmt="none", elinewidth=0.85 * around["thickness"], zorder=order,
            **_paint(around["color"], "ecolor"),
        ).lines[2]  # fmt: skip
        for bar in bars:  # aside by points of the page: markers stay where they belong
            bar.set_transform(
                ax.transData + ScaledTranslation(aside / 72, 0.0, ax.figure.dpi_scale_trans)
            )
    if "lines" in trace["mode"]:
        line = trace["line"]
        ax.plot(x, y, linestyle=_LINES[line.get("dash", "solid")], linewidth=0.85 * line["width"],
                zorder=order, alpha=alpha, drawstyle=_STEPS.get(line.get("shape", "")),
                **_paint(line["color"]))  # fmt: skip
    if marker:
        symbol = marker["symbol"]
        edge = marker.get("line", {})
        thin, hollow = symbol in ("x-thin", "line-ew"), symbol.endswith("-open")
        look: Part = {
            "marker": _MARKERS[symbol.removesuffix("-open")], "alpha": alpha,
            "zorder": order + 0.25, "clip_on": trace.get("cliponaxis", True),
        }  # fmt: skip
        outline = 1.8 if thin or hollow else edge.get("width", 0)
        around_it = edge.get("color", "none")
        if isinstance(marker["size"], (int, float)) and isinstance(marker["color"], str):
            own = marker["color"]
            ax.plot(
                x, y, linestyle="none", markersize=POINT * marker["size"],
                markerfacecolor="none" if hollow else own, markeredgewidth=outline,
                markeredgecolor=own if thin or hollow else around_it, **look,
            )  # fmt: skip
        else:
            size = np.broadcast_to(np.asarray(marker["size"], dtype=float), len(x))
            many = np.broadcast_to(np.asarray(marker["color"]), len(x)).tolist()
            ax.scatter(
                x, y, s=(POINT * size) ** 2, linewidths=outline,
                facecolors="none" if hollow else many, edgecolors=many if hollow else around_it,
                **look,
            )  # fmt: skip
    if "text" in trace["mode"]:
        right = trace.get("textposition", "").endswith("right")
        side = -1.0 if "bottom" in trace.get("textposition", "") else 1.0
        beside = "middle" in trace.get("textposition", "")
        sizes = np.broadcast_to(np.asarray(marker.get("size", 0), dtype=float), len(x))
        for at, height, text, big in zip(x, y, trace["text"], sizes, strict=True):
            ax.annotate(
                plain(text), (at, height), ha="left" if right else "center", fontsize=11,
                zorder=order + 1,
                xytext=(8.0 if right else 0.0, 0.0 if beside else side * (3.0 + 0.35 * big)),
                textcoords="offset points",
                va="center" if beside else "bottom" if side > 0 else "top",
                color=trace.get("textfont", {}).get("color", mpl.rcParams["text.color"]),
            )  # fmt: skip


_STEPS = {"hv": "steps-post", "vh": "steps-pre", "hvh": "steps-mid"}


def _bar(ax: Axes, trace: Part, aside: float, bases: Bases, more: Part) -> None:
    lying = trace.get("orientation", "v") == "h"
    at, length = _numbers(trace["y" if lying else "x"]), _numbers(trace["x" if lying else "y"])
    base = np.array([0.0 if bases is None else bases.get(float(place), 0.0) for place in at])
    if bases is not None:
        bases |= {float(p): b + n for p, b, n in zip(at, base, length, strict=True)}
    wide = trace.get("width", 1.0 - more.get("bargap", 0.2))
    look: Part = {"edgecolor": ax.get_facecolor(), "linewidth": 1.0, "zorder": 2.5}
    look |= _paint(trace["marker"]["color"]) | {"hatch": _hatch(trace)}
    if lying:
        ax.barh(at, length, wide, left=base, **look)
    else:
        ax.bar(at, length, wide, bottom=base, **look)
    ink = trace.get("insidetextfont", {}).get("color")
    for place, low, part, text in zip(at, base, length, trace.get("text", ()), strict=False):
        middle = (low + part / 2, place) if lying else (place, low + part / 2)
        ax.text(*middle, plain(text), ha="center", va="center", fontsize=11, color=ink, zorder=4)


def _hatch(trace: Part) -> str:
    return str(trace["marker"].get("pattern", {}).get("shape", ""))


def _heatmap(ax: Axes, trace: Part, aside: float, bases: Bases, more: Part) -> None:
    cells = np.array([_numbers(row) for row in trace["z"]])
    image = ax.imshow(
        cells, aspect="auto", cmap=trace["colorscale"].lower(), vmin=trace["zmin"],
        vmax=trace["zmax"],
    )  # fmt: skip
    for i, row in enumerate(cells):
        for j, cell in enumerate(row):
            red, green, blue, _ = image.cmap(image.norm(cell))
            shade = f"#{int(255 * red):02x}{int(255 * green):02x}{int(255 * blue):02x}"
            ax.text(j, i, trace["text"][i][j], ha="center", va="center", fontsize=11,
                    color=readable_on(shade))  # fmt: skip


_KINDS: dict[str, Callable[[Axes, Part, float, Bases, Part], None]] = {
    "scatter": _scatter,
    "bar": _bar,
    "heatmap": _heatmap,
}


def _words(ax: Axes, more: Part) -> None:
    """Shades, edges and notes."""

    def among(part: Part) -> Any:
        refs = [part.get(f"{name}ref", name) == "paper" for name in "xy"]
        return blended_transform_factory(
            ax.transAxes if refs[0] else ax.transData, ax.transAxes if refs[1] else ax.transData
        )

    for part in more.get("shapes", ()):
        x, y = (part["x0"], part["x1"]), (part["y0"], part["y1"])
        if part["type"] == "rect":
            ax.fill([x[0], x[1], x[1], x[0]], [y[0], y[0], y[1], y[1]], linewidth=0.0, zorder=0.5,
                    transform=among(part), **_paint(part["fillcolor"]))  # fmt: skip
        else:
            line = part["line"]
            ax.plot(x, y, transform=among(part), linewidth=line["width"], zorder=1.0,
                    linestyle=_LINES[line.get("dash", "solid")],
                    **_paint(line["color"]))  # fmt: skip
    for note in more.get("annotations", ()):
        # Plotly places notes on logarithmic axes by the logarithm, and shapes by the value.
        place = [
            10.0 ** note[name]
            if scale == "log" and note.get(f"{name}ref", name) != "paper"
            else note[name]
            for name, scale in (("x", ax.get_xscale()), ("y", ax.get_yscale()))
        ]
        ax.text(
            place[0], place[1], plain(note["text"]), transform=among(note), fontsize=11,
            ha=note.get("xanchor", "center"), color=note["font"]["color"], zorder=4,
            va={"middle": "center"}.get(note.get("yanchor", "middle"), note.get("yanchor")),
        )  # fmt: skip


def _axis(ax: Axes, which: str, axis: Part) -> None:
    title = plain(axis["title"]["text"])
    room = int(8.2 * _inches(ax))
    getattr(ax, f"set_{which}label")(
        textwrap.fill(title, room) if which == "x" and len(title) > room else title
    )
    own = getattr(ax, f"{which}axis")
    log = axis.get("type") == "log"
    if log:
        getattr(ax, f"set_{which}scale")("log")
        own.set_minor_formatter(NullFormatter())
        own.set_major_formatter(Powers())
    if "tickvals" in axis:
        labels = [plain(text) for text in axis["ticktext"]]
        getattr(ax, f"set_{which}ticks")(axis["tickvals"], labels, minor=False)
        getattr(ax, f"set_{which}ticks")([], minor=True)
    elif axis.get("tickformat") == ".0%":
        own.set_major_formatter(PercentFormatter(1.0, decimals=0))
    elif axis.get("tickformat") == ",d":
        own.set_major_locator(MaxNLocator(integer=True))
    if "range" in axis:
        ends = [10.0**end for end in axis["range"]] if log else axis["range"]
        getattr(ax, f"set_{which}lim")(*ends)
    elif axis.get("rangemode") == "tozero":
        getattr(ax, f"set_{which}lim")(**{"bottom" if which == "y" else "left": 0.0})
    ax.grid(axis["showgrid"], axis=which)  # type: ignore[arg-type]


def _key(ax: Axes, traces: Sequence[Part]) -> None:
    """A key under the axes, where it hides no data whatever they are; none for one name."""
    shown = _entries(traces)
    if not shown:
        return
    handles = [_sample(trace) for trace in shown.values()]
    columns = _key_columns(shown, _inches(ax))
    lines = ax.get_xlabel().count("\n") + sum(
        "\n" in t.get_text() for t in ax.get_xticklabels()[:1]
    )
    below = ScaledTranslation(0.0, -(44.0 + 16.0 * lines) / 72, ax.figure.dpi_scale_trans)
    ax.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=columns,
              bbox_transform=ax.transAxes + below, columnspacing=1.4, handlelength=2.4)  # fmt: skip


def _sample(trace: Part) -> Patch | Line2D:
    name = textwrap.shorten(plain(trace["name"]), LONGEST, placeholder=" …")
    if trace["type"] == "bar":
        return Patch(label=name, hatch=_hatch(trace), edgecolor=mpl.rcParams["axes.facecolor"],
                     facecolor=_paint(trace["marker"]["color"])["color"])  # fmt: skip
    marker = trace.get("marker", {})
    symbol = str(marker.get("symbol", ""))
    colour = marker.get("color", trace["line"]["color"])
    colour = colour if isinstance(colour, str) else trace["line"]["color"]
    size = float(marker.get("size", 9)) if np.isscalar(marker.get("size", 9)) else 11.0
    joined = "lines" in trace["mode"]
    return Line2D(
        [], [], label=name, color=trace["line"]["color"],
        linestyle=_LINES[trace["line"].get("dash", "solid")] if joined else "none",
        linewidth=0.85 * trace["line"]["width"],
        marker=_MARKERS.get(symbol.removesuffix("-open"), "none"), markeredgecolor=colour,
        markerfacecolor="none" if symbol.endswith("-open") else colour,
        markersize=POINT * min(max(size, 8.0), 12.0),
    )  # fmt: skip


def plain(text: str) -> str:
    """Text of the page for matplotlib: powers raised, other marks left out.

    Numbers are raised by characters of their own: a formula costs 10 ms to set.

    Example:
        >>> plain("<b>10<sup>−3</sup></b>"), plain("R<sup>n</sup>")
        ('10⁻³', 'R$^{n}$')
    """
    text = re.sub(r"<su([pb])>(.*?)</su[pb]>", _raised, text)
    return re.sub(r"</?[a-z]+>", "", text.replace("<br>", "\n"))


def _raised(found: re.Match[str]) -> str:
    if re.fullmatch(r"[-+−]?\d+", found[2]):
        return found[2].translate(RAISED if found[1] == "p" else LOWERED)
    return f"${'^' if found[1] == 'p' else '_'}{{{found[2]}}}$"


def _numbers(values: Sequence[float | None]) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values], dtype=float)


def _paint(text: str, name: str = "color") -> dict[str, Any]:
    """A colour for matplotlib, as its argument of that name."""
    found = _RGBA.fullmatch(text)
    if found is None:
        return {name: text}
    return {name: (*(int(found[k]) / 255 for k in (1, 2, 3)), float(found[4]))}


checked(__name__)
