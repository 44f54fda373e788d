"""Views of the landscape: losses along lines, contours on planes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import Normal, Stroke
from matplotlib.ticker import MaxNLocator

from edt.landscape.views import LossLine, LossPlane, Marks
from edt.show.style import LIGHT, Theme, given_or_new, key_below, styled

#: Gradient at or below which a marked network is shown as a critical point.
CRITICAL = 1e-7
#: Decades of the loss that contours resolve below the highest.
DECADES = 8.0
#: Markers and words of marked networks, see `edt.landscape.views.Marks.kind`.
SYMBOLS = {
    "minimum": ("o", "minimum"),
    "saddle": ("D", "saddle"),
    "critical": ("s", "critical point"),
    "point": ("X", "not critical"),
}


def plot_line(
    line: LossLine,
    networks: Sequence[int] | None = None,
    *,
    tol: float = CRITICAL,
    ax: Axes | None = None,
    theme: Theme = LIGHT,
) -> Figure:
    """Loss along the lines of some networks, critical points marked.

    Args:
        line: from `edt.landscape.loss_line`.
        networks: which ones; default the first six.
        tol: largest gradient of a critical point.
        ax: axes of yours; default a new figure.
        theme: colours.

    Raises:
        TypeError, ValueError: other axes.
    """
    B = int(line.loss.shape[1])
    chosen = list(range(min(6, B))) if networks is None else list(networks)
    colours = (theme.blue, theme.orange, theme.green, theme.red, theme.purple, theme.sky)
    with styled(theme):
        mine = ax is not None
        figure, (ax,) = given_or_new(ax, 1, (9.5, 6.0))
        t, kinds = line.t.numpy(), []
        for place, b in enumerate(chosen):
            colour = colours[place % len(colours)]
            # Lines that coincide stay visible: later ones are broken.
            ax.plot(t, line.loss[:, b], color=colour, lw=2.4, label=f"network {b}",
                    ls=("-", (0, (5, 3)), (0, (2, 2)), (0, (6, 2, 1, 2)))[place % 4])  # fmt: skip
            for m in range(len(line.marks.labels)):
                kind = line.marks.kind(m, b, tol)
                kinds.append(kind)
                ax.plot(float(line.marks.at[m, b, 0]), float(line.marks.loss[m, b]), ls="none",
                        marker=SYMBOLS[kind][0], ms=10, color=colour, mec=theme.ink, mew=1.2,
                        zorder=5)  # fmt: skip
        shown = np.concatenate([line.loss[:, chosen].numpy(), line.marks.loss[:, chosen].numpy()])
        _log_if_wide(ax, shown[np.isfinite(shown)])
        ax.set_xlabel(line.unit)
        ax.set_ylabel("loss" if line.theta is None else "loss, other coordinates minimised out")
        ax.set_title("Loss along a line" if line.theta is None else "Height of the valley")
        handles, words = ax.get_legend_handles_labels()
        extra = _symbols(kinds, theme)
        handles, words = [*handles, *extra], [*words, *[str(item.get_label()) for item in extra]]
        key_below(figure, ax, handles, words, mine)
    return figure


def plot_plane(
    plane: LossPlane,
    networks: int | Sequence[int] | None = None,
    *,
    levels: int = 14,
    tol: float = CRITICAL,
    ax: Axes | Sequence[Axes] | None = None,
    theme: Theme = LIGHT,
) -> Figure:
    """Contours of the loss at logarithmic levels, critical points and the path marked.

    Args:
        plane: from `edt.landscape.loss_plane`.
        networks: which one, or which ones side by side; default the first three.
        levels: number of contours.
        tol: largest gradient of a critical point.
        ax: axes of yours, one a network; default a new figure.
        theme: colours.

    Raises:
        TypeError, ValueError: other axes.
    """
    B = int(plane.loss.shape[0])
    if networks is None:
        chosen = list(range(min(3, B)))
    else:
        chosen = [networks] if isinstance(networks, int) else list(networks)
    with styled(theme):
        figure, axes = given_or_new(ax, len(chosen), (6.2 * len(chosen) + 1.2, 6.4))
        kinds: list[str] = []
        for one, b in zip(axes, chosen, strict=True):
            image = _contours(one, plane, b, levels, theme)
            _path(one, plane, b, theme)
            kinds += _marked(one, plane.marks, b, tol, theme)
            one.set_title(f"Network {b}")
            bar = figure.colorbar(image, ax=one, shrink=0.85, aspect=24)
            _bar_ticks(bar)
            if b == chosen[-1]:
                bar.set_label("loss" if plane.theta is None else "loss, the rest minimised out")
        handles = _symbols(kinds, theme)
        if plane.path is not None:
            handles += [
                Line2D([], [], color=theme.red, lw=2.2, label="path"),
                Line2D([], [], color=theme.red, marker=">", ms=9, ls="none", label="its beginning"),
            ]
        if handles:
            words = [str(item.get_label()) for item in handles]
            key_below(figure, axes[0], handles, words, ax is not None, len(handles))
    return figure


def _contours(ax: Axes, plane: LossPlane, b: int, count: int, theme: Theme) -> Any:
    x, y, loss = plane.x[b].numpy(), plane.y[b].numpy(), plane.loss[b].numpy()
    finite = loss[np.isfinite(loss) & (loss > 0.0)]
    top = float(finite.max()) if finite.size else 1.0
    low = max(float(finite.min()) if finite.size else 0.1, top * 10.0**-DECADES)
    if not top > low * (1.0 + 1e-6):
        top = low * 1.01
    steps = np.geomspace(low, top, count)
    held = np.clip(np.where(np.isfinite(loss), loss, top), low, top)
    norm = LogNorm(low, top)
    image = ax.contourf(x, y, held, levels=steps, norm=norm, cmap="cividis")
    ax.contour(x, y, held, levels=steps, colors=theme.paper, linewidths=0.6, alpha=0.7)
    first, second = plane.labels
    if plane.share is not None:
        first = f"{first} ({100 * float(plane.share[0, b]):.1f}%)"
        second = f"{second} ({100 * float(plane.share[1, b]):.1f}%)"
    ax.set_xlabel(first)
    ax.set_ylabel(second)
    ax.grid(False)
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.yaxis.set_major_locator(MaxNLocator(6))
    if plane.kind == "networks":
        ax.set_aspect("equal")
    return image


def _bar_ticks(bar: Any) -> None:
    """At most six numbers, at contours."""
    steps = np.asarray(bar.values if bar.boundaries is None else bar.boundaries)
    places = np.unique(np.linspace(0, len(steps) - 1, 6).round().astype(int))
    bar.set_ticks(steps[places], labels=[f"{step:.2g}" for step in steps[places]])
    bar.minorticks_off()
    bar.outline.set_visible(False)


def _path(ax: Axes, plane: LossPlane, b: int, theme: Theme) -> None:
    if plane.path is None:
        return
    places = plane.path[:, b].numpy()
    places = places[np.isfinite(places).all(1)]
    if not len(places):
        return
    outline = [Stroke(linewidth=4.2, foreground=theme.paper), Normal()]
    ax.plot(places[:, 0], places[:, 1], color=theme.red, lw=2.2, path_effects=outline, zorder=4)
    ax.plot(*places[0], color=theme.red, marker=">", ms=11, mec=theme.paper, mew=1.4, zorder=6)


def _marked(ax: Axes, marks: Marks, b: int, tol: float, theme: Theme) -> list[str]:
    """Draw the marked networks; returns their kinds."""
    kinds = []
    for m, label in enumerate(marks.labels):
        kind = marks.kind(m, b, tol)
        kinds.append(kind)
        x, y = (float(value) for value in marks.at[m, b])
        ax.plot(x, y, marker=SYMBOLS[kind][0], ms=12, color=theme.orange, mec="#000000", mew=1.6,
                ls="none", zorder=7)  # fmt: skip
        index = int(marks.index[m, b])
        text = f"{label} (index {index})" if kind == "saddle" else label
        if len(marks.labels) > 1 or kind == "saddle":
            note = ax.annotate(text, (x, y), xytext=(0, 11), textcoords="offset points",
                               ha="center", fontsize=12, color="#ffffff", zorder=8)  # fmt: skip
            note.set_path_effects([Stroke(linewidth=3.0, foreground="#000000"), Normal()])
    return kinds


def _symbols(kinds: Sequence[str], theme: Theme) -> list[Line2D]:
    """Legend of the kinds of marked networks that occur."""
    return [
        Line2D([], [], marker=marker, ms=10, color=theme.soft, mec=theme.ink, ls="none", label=word)
        for kind, (marker, word) in SYMBOLS.items()
        if kind in kinds
    ]


def _log_if_wide(ax: Axes, values: np.ndarray[Any, Any]) -> None:
    """A logarithmic axis where the values spread over more than a factor 30."""
    if values.size and values.min() > 0.0 and values.max() > 30.0 * values.min():
        ax.set_yscale("log")
        ax.set_ylim(bottom=max(0.5 * values.min(), values.max() * 1e-16))
