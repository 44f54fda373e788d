"""A sweep at a glance: `edt.studies.sweep.figures`."""

from __future__ import annotations

import numpy as np
import pandas as pd

from edt.show.axes import log_axis, percent_axis, place_axis
from edt.show.hover import lines, share
from edt.show.marks import DASHES, line
from edt.show.panel import NAMES, Panel
from edt.studies.sweep.figures import MARKERS, MOST_LINES, line_colours, line_name, losses, rates


def sweep(runs: pd.DataFrame, along: str, by: list[str]) -> list[Panel]:
    """Panels of `edt.studies.sweep.figures.plot_sweep`.

    Args:
        runs: table of a sweep.
        along: axis on the abscissa.
        by: axes whose combinations are lines; everything else is pooled.
    """
    places = sorted(runs[along].unique().tolist())
    groups = list(runs.groupby(by, sort=True)) if by else [((), runs)]
    colours = line_colours(NAMES)
    where = "hidden neurons" if along == "width" else along.replace("_", " ")
    good, heights = [], []
    for k, (key, group) in enumerate(groups[:MOST_LINES]):
        shift = 0.09 * (k - (min(len(groups), MOST_LINES) - 1) / 2)
        name = line_name(by, key)
        marker, dash = MARKERS[k], list(DASHES.values())[k % len(DASHES)]
        at, found = rates(group, along, places)
        hover = [
            lines(f"{where} {places[i]}{f', {name}' if name else ''}",
                  f"good {share(rate.value, rate.low, rate.high)}")
            for i, rate in zip(at, found, strict=True)
        ]  # fmt: skip
        x = np.asarray(at, dtype=float)
        good.append(
            line(x + shift, [rate.value for rate in found], name, colours[k], hover,
                 low=[rate.low for rate in found], high=[rate.high for rate in found],
                 marker=marker, dash=dash)
        )  # fmt: skip
        at, spread = losses(group, along, places)
        if not at:
            continue
        hover = [
            lines(f"{where} {places[i]}{f', {name}' if name else ''}",
                  f"median loss {middle:.4g}", f"10–90%: {low:.4g} to {high:.4g}")
            for i, (low, middle, high) in zip(at, spread, strict=True)
        ]  # fmt: skip
        low, middle, high = np.array(spread).T
        heights.append(
            line(np.asarray(at, dtype=float) + shift, middle, name, colours[k], hover, low=low,
                 high=high, marker=marker, dash=dash)
        )  # fmt: skip
    names = [str(place) for place in places]
    return [
        Panel("Success", good, place_axis(names, where), percent_axis("good runs")),
        Panel(
            "Median loss and its 10–90% range",
            heights,
            place_axis(names, where),
            log_axis("final loss", heights),
        ),
    ]
