"""Rates with intervals against an ordered axis: the element that lottery pictures are made of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes

from edt.show.style import Theme


def rate_line(
    ax: Axes,
    x: Sequence[float] | npt.NDArray[np.float64],
    table: pd.DataFrame,
    colour: str,
    marker: str,
    label: str,
    theme: Theme,
    *,
    value: str = "rate",
    low: str = "rate_low",
    high: str = "rate_high",
    line: str = "-",
) -> None:
    """A line of rates with vertical intervals.

    Args:
        ax: axes.
        x: positions, one a row.
        table: columns ``value``, ``low`` and ``high``.
        colour, marker, label: of the line.
        theme: colours.
        value, low, high: names of the columns.
        line: its style.
    """
    rate = table[value].to_numpy(dtype=float)
    errors = np.clip(np.stack([rate - table[low], table[high] - rate]), 0.0, None)
    ax.errorbar(
        x,
        rate,
        yerr=errors,
        color=colour,
        marker=marker,
        ms=8,
        mec=theme.paper,
        mew=1.2,
        lw=2.4,
        elinewidth=1.8,
        capsize=0,
        zorder=5,
        label=label,
        linestyle=line,
    )


def dodged(
    x: Sequence[float] | npt.NDArray[np.float64], place: int, count: int, *, log: bool
) -> npt.NDArray[np.float64]:
    """Positions moved a little aside, so that intervals of several lines do not hide each other.

    Args:
        x: positions.
        place: of this line among ``count``.
        count: lines.
        log: the axis is logarithmic: move by a factor instead of a distance.
    """
    at = np.asarray(x, dtype=float)
    shift = place - (count - 1) / 2
    out: npt.NDArray[np.float64] = (
        at * 1.03**shift if log else at + 0.01 * shift * max(float(np.ptp(at)), 1e-9)
    )
    return out


def size_axis(ax: Axes, sizes: Sequence[float], label: str) -> None:
    """Sizes on a log axis where they span a factor of 8 or more, each with its own tick."""
    if spans_decades(sizes):
        ax.set_xscale("log")
    ax.set_xticks(list(sizes), [f"{s:g}" for s in sizes])
    ax.minorticks_off()
    ax.set_xlabel(label)
    ax.grid(False, axis="x")


def spans_decades(sizes: Sequence[float]) -> bool:
    """Whether sizes are better shown on a log axis."""
    return min(sizes) > 0 and max(sizes) / min(sizes) >= 8
