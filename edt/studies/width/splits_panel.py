"""Splitting a neuron of a bad minimum: `edt.studies.width.splits_figure`."""

from __future__ import annotations

import numpy as np
import pandas as pd

from edt.show.axes import percent_axis, width_axis
from edt.show.hover import lines, rows, share
from edt.show.marks import bars, line, points, rule
from edt.show.panel import NAMES, Panel, axis
from edt.studies.width.splits import DESTINATIONS, rate_of_minima
from edt.studies.width.splits_figure import (
    WORDS,
    destination_colours,
    side_colours,
    side_names,
)


def splits(
    table: pd.DataFrame, escapes: pd.DataFrame, *, good_name: str = "zero loss"
) -> list[Panel]:
    """Panels of `edt.plots.plot_splits`; none without splits.

    Args:
        table: one row a split network.
        escapes: from `edt.studies.split_table`.
        good_name: what a good run has reached.
    """
    if not len(table):
        return []
    return [_agreement(table), _shares(escapes), _ends(table, good_name)]


def _agreement(table: pd.DataFrame) -> Panel:
    names, colours = side_names(table), side_colours(NAMES)
    top = int(max(table["n_neg"].max(), table["predicted_neg"].max(), 1))
    cells = table.groupby(["inside", "predicted_neg", "n_neg"]).size().reset_index(name="splits")
    most = int(cells["splits"].max())
    traces = [rule((-0.5, top + 0.5), (-0.5, top + 0.5))]
    for inside, name in names.items():
        own = cells[cells["inside"] == inside]
        hover = [
            lines(
                f"{name}: {row['splits']:,} splits",
                f"predicted {row['predicted_neg']}, counted {row['n_neg']}",
            )
            for row in rows(own)
        ]
        mark = points(own["predicted_neg"] + (-0.17 if inside else 0.17), own["n_neg"], name,
                      colours[inside], hover)  # fmt: skip
        mark["marker"]["size"] = [round(10 + 22 * np.sqrt(n / most), 1) for n in own["splits"]]
        mark |= {"mode": "markers+text", "text": [str(n) for n in own["splits"]],
                 "textposition": "top center", "cliponaxis": False}  # fmt: skip
        traces.append(mark)
    ticks = list(range(top + 1))
    span = (-0.6, top + 0.6)
    return Panel(
        "Escape dimensions",
        traces,
        axis("predicted from the narrow minimum", ticks=ticks, span=span),
        axis("counted on the wide Hessian", ticks=ticks, span=span),
    )


def _shares(escapes: pd.DataFrame) -> Panel:
    colours = side_colours(NAMES)
    traces = []
    for mu in sorted({float(mu) for mu in escapes["mu"]}):
        own = escapes[escapes["mu"] == mu]
        inside = bool(own["inside"].iloc[0])
        hover = [
            lines(
                f"width {row['width']}, μ = {row['mu']:g}: {row['splits']:,} splits",
                f"strict saddles {share(row['share'], row['share_low'], row['share_high'])}",
                f"mean index {row['mean_index']:.3g}",
            )
            for row in rows(own)
        ]
        traces.append(
            line(own["width"] + (-0.06 if inside else 0.06), own["share"], f"μ = {mu:g}",
                 colours[inside], hover, low=own["share_low"],
                 high=own["share_high"], marker="o" if inside else "s")
        )  # fmt: skip
    return Panel(
        "Splits that open a way down",
        traces,
        width_axis(sorted(int(w) for w in escapes["width"].unique()), "width of the bad minimum"),
        percent_axis("strict saddles after the split"),
    )


def _ends(table: pd.DataFrame, good_name: str) -> Panel:
    words, colours = {**WORDS, "good": good_name}, destination_colours(NAMES)
    shares = sorted({float(mu) for mu in table["mu"]})
    groups = [table[table["mu"] == mu] for mu in shares]
    traces = []
    for name in DESTINATIONS:
        ended = [group["destination"] == name for group in groups]
        counts = [int(own.sum()) for own in ended]
        if not any(counts):
            continue
        found = [rate_of_minima(group, own) for group, own in zip(groups, ended, strict=True)]
        hover = [
            lines(f"μ = {mu:g}, {words[name]}: {count:,} of {len(group):,} splits",
                  share(rate.value, rate.low, rate.high))
            for mu, count, group, rate in zip(shares, counts, groups, found, strict=True)
        ]  # fmt: skip
        parts = [rate.value for rate in found]
        text = [f"{100 * part:.0f}%" if part >= 0.06 else "" for part in parts]
        traces.append(
            bars(parts, range(len(shares)), words[name], colours[name], hover, text,
                 orientation="h")
        )  # fmt: skip
    y = axis("", ticks=range(len(shares)), labels=[f"μ = {mu:g}" for mu in shares], grid=False)
    return Panel(
        "Where the way down ends",
        traces,
        percent_axis("share of splits") | {"range": [0, 1.02], "showgrid": False},
        y,
        {"barmode": "stack", "bargap": 0.4},
        height=150 + 70 * len(shares),
        full=True,
    )
