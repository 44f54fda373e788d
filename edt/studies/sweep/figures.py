"""A sweep at a glance: success and loss against width, or another axis."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from edt.show.style import LIGHT, Theme, new_figure, percent_axis, styled, width_axis
from edt.stats import Interval, wilson

#: Lines in one picture, at most: there are as many colours and markers.
MOST_LINES = 6
MARKERS = "os^DvP"
STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1)), (0, (1, 1)))


def plot_sweep(runs: pd.DataFrame, along: str, lines: list[str], *, theme: Theme = LIGHT) -> Figure:
    """Share of good runs with Wilson's intervals, and the spread of losses.

    Args:
        runs: table of a sweep.
        along: axis on the abscissa.
        lines: axes whose combinations are lines; everything else is pooled.
        theme: colours.
    """
    places = sorted(runs[along].unique().tolist())
    groups = list(runs.groupby(lines, sort=True)) if lines else [((), runs)]
    colours = line_colours(theme)
    with styled(theme):
        figure, axes = new_figure(2, size=(13.0, 5.8))
        rate, loss = axes[0]
        for k, (key, group) in enumerate(groups[:MOST_LINES]):
            shift = 0.09 * (k - (min(len(groups), MOST_LINES) - 1) / 2)
            look = {
                "color": colours[k], "marker": MARKERS[k], "ls": STYLES[k], "ms": 7,
                "mec": theme.paper, "elinewidth": 1.4, "label": line_name(lines, key),
            }  # fmt: skip
            _rates(rate, group, along, places, shift, look)
            _losses(loss, group, along, places, shift, look)
        percent_axis(rate, "good runs")
        rate.set_title("Success")
        loss.set_yscale("log")
        loss.set_ylabel("final loss")
        loss.set_title("Median loss and its 10–90% range")
        for ax in (rate, loss):
            if along == "width" and all(isinstance(place, int) for place in places):
                at = range(len(places))
                width_axis(ax, at, "hidden neurons")
            ax.set_xticks(range(len(places)), [str(place) for place in places])
            ax.set_xlabel("hidden neurons" if along == "width" else along.replace("_", " "))
            ax.set_xlim(-0.6, len(places) - 0.4)
            ax.grid(False, axis="x")
        if lines:
            handles, labels = rate.get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 3))
    return figure


def line_name(lines: list[str], key: Any) -> str:
    """ "lr 0.01, activation tanh"."""
    values = key if isinstance(key, tuple) else (key,)
    return ", ".join(
        f"{name.replace('_', ' ')} {value}" for name, value in zip(lines, values, strict=True)
    )


def line_colours(theme: Theme) -> tuple[str, ...]:
    """Colours of lines, in turn."""
    return (theme.blue, theme.orange, theme.green, theme.red, theme.purple, theme.soft)


def rates(group: pd.DataFrame, along: str, places: list[Any]) -> tuple[list[int], list[Interval]]:
    """Numbers of the places that have runs, and the share of good runs there."""
    at, found = [], []
    for k, place in enumerate(places):
        here = group[group[along] == place]
        if len(here):
            at.append(k)
            found.append(wilson(int(here["outcome"].eq("good").sum()), len(here)))
    return at, found


def losses(
    group: pd.DataFrame, along: str, places: list[Any]
) -> tuple[list[int], list[tuple[float, float, float]]]:
    """Numbers of the places that have finite losses, and 10%, 50% and 90% quantiles of them."""
    at, found = [], []
    for k, place in enumerate(places):
        values = group.loc[group[along] == place, "loss"].to_numpy(dtype=float)
        # Zero has no place on this axis: what is below rounding is shown there.
        values = np.maximum(values[np.isfinite(values)], 1e-32)
        if values.size:
            low, middle, high = (float(q) for q in np.quantile(values, [0.1, 0.5, 0.9]))
            at.append(k)
            found.append((low, middle, high))
    return at, found


def _rates(
    ax: Axes, group: pd.DataFrame, along: str, places: list[Any], shift: float, look: dict[str, Any]
) -> None:
    at, found = rates(group, along, places)
    y = np.array([share.value for share in found])
    low, high = (np.array([getattr(share, end) for share in found]) for end in ("low", "high"))
    x = np.asarray(at, dtype=float) + shift
    ax.errorbar(x, y, yerr=np.clip([y - low, high - y], 0.0, None), **look)


def _losses(
    ax: Axes, group: pd.DataFrame, along: str, places: list[Any], shift: float, look: dict[str, Any]
) -> None:
    at, found = losses(group, along, places)
    if found:
        low, middle, high = np.array(found).T
        x = np.asarray(at, dtype=float) + shift
        ax.errorbar(x, middle, yerr=np.clip([middle - low, high - middle], 0.0, None), **look)
