"""A sweep at a glance: success and loss against width, or another axis."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from edt.arguments import checked
from edt.runs.sweeps.axes import axis_order
from edt.show.axes import log_axis, percent_axis, place_axis
from edt.show.hover import lines, share
from edt.show.marks import DASHES, line
from edt.show.panel import Panel, Part
from edt.show.words import option
from edt.stats import Interval, wilson

#: Lines in one picture, at most: there are as many colours and markers.
MOST_LINES = 6
MARKERS = "os^DvP"
COLOURS = ("@blue", "@orange", "@green", "@red", "@purple", "@soft")
#: Losses below it are drawn there: they are zero to rounding, and a logarithm has no zero.
FLOOR = 1e-16


def sweep(runs: pd.DataFrame, along: str, by: list[str]) -> list[Panel]:
    """Share of good runs with Wilson's intervals, and the spread of losses.

    Args:
        runs: table of a sweep.
        along: axis on the abscissa.
        by: axes whose combinations are lines; everything else is pooled.
    """
    places = sorted(runs[along].unique().tolist(), key=axis_order)
    groups = list(runs.groupby(by, sort=True)) if by else [((), runs)]
    where = "hidden neurons" if along == "width" else option(along)
    good, heights = [], []
    for k, (key, group) in enumerate(groups[:MOST_LINES]):
        name = line_name(by, key)
        look: Part = {"marker": MARKERS[k], "dash": list(DASHES.values())[k % len(DASHES)]}
        heads = [f"{where} {place}{f', {name}' if name else ''}" for place in places]
        at, found = rates(group, along, places)
        hover = [
            lines(heads[i], f"good {share(rate.value, rate.low, rate.high)}")
            for i, rate in zip(at, found, strict=True)
        ]
        good.append(
            line(at, [rate.value for rate in found], name, COLOURS[k], hover,
                 low=[rate.low for rate in found], high=[rate.high for rate in found], **look)
        )  # fmt: skip
        at, spread = losses(group, along, places)
        if not at:
            continue
        hover = [
            lines(heads[i], f"median loss {middle:.4g}", f"10–90%: {low:.4g} to {high:.4g}")
            for i, (low, middle, high) in zip(at, spread, strict=True)
        ]
        low, middle, high = np.maximum(np.array(spread), FLOOR).T
        heights.append(line(at, middle, name, COLOURS[k], hover, low=low, high=high, **look))
    names = [str(place) for place in places]
    hidden = bool((runs["loss"] < FLOOR).any())
    note = f"<br>(below 10<sup>−{-np.log10(FLOOR):.0f}</sup> drawn there)" if hidden else ""
    return [
        Panel("Success", good, place_axis(names, where), percent_axis("good runs")),
        Panel("Median loss and its 10–90% range", heights, place_axis(names, where),
              log_axis(f"final loss{note}", heights)),
    ]  # fmt: skip


def line_name(by: list[str], key: Any) -> str:
    """ "learning rate 0.01, activation tanh"."""
    values = key if isinstance(key, tuple) else (key,)
    return ", ".join(f"{option(name)} {value}" for name, value in zip(by, values, strict=True))


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
        values = values[np.isfinite(values)]
        if values.size:
            low, middle, high = (float(q) for q in np.quantile(values, [0.1, 0.5, 0.9]))
            at.append(k)
            found.append((low, middle, high))
    return at, found


checked(__name__)
