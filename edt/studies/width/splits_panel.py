"""Splitting a neuron of a bad minimum: theory against count, saddles, and where they lead."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from edt.arguments import checked
from edt.show.axes import percent_axis, width_axis
from edt.show.hover import lines, rows, share
from edt.show.marks import line, points, rule, stacked
from edt.show.panel import Panel, Part, axis
from edt.show.render import draw
from edt.show.style import LIGHT, Theme
from edt.studies.width.splits import DESTINATIONS, rate_of_minima

#: Words for people and colours of the ends of ways down.
WORDS = {
    "good": "the target",
    "lower": "a lower bad minimum",
    "channel": "a channel to infinity",
    "stays": "stays",
    "open": "lower, no verdict",
}
DESTINATION_COLOURS = {
    "good": "@blue", "lower": "@red", "channel": "@purple", "stays": "@orange", "open": "@soft",
}  # fmt: skip
#: Looks of shares inside (True) and outside (False) of (0, 1): colour, marker, line.
SIDES = {True: ("@blue", "o", "solid"), False: ("@orange", "s", "dash")}


def plot_splits(
    splits: pd.DataFrame,
    escapes: pd.DataFrame,
    *,
    good_name: str = "zero loss",
    ax: Sequence[Axes] | None = None,
    theme: Theme = LIGHT,
) -> Figure:
    """Index counted against predicted, share of strict saddles, and where escapes end.

    Args:
        splits: one row a split network; with none the figure is empty.
        escapes: from `edt.studies.split_table`.
        good_name: what a good run has reached.
        ax: three axes of yours; default a new figure.
        theme: colours.
    """
    return draw(split_panels(splits, escapes, good_name=good_name), theme=theme, ax=ax)


def split_panels(
    splits: pd.DataFrame, escapes: pd.DataFrame, *, good_name: str = "zero loss"
) -> list[Panel]:
    """Panels of `plot_splits`, none without splits; arguments as there."""
    if not len(splits):
        return []
    return [_agreement(splits), _shares(escapes), _ends(splits, good_name)]


def side_names(splits: pd.DataFrame) -> dict[bool, str]:
    """Label of both sides, with their shares mu where there is only one."""
    names = {}
    for inside, where in ((True, "μ inside (0, 1)"), (False, "μ outside [0, 1]")):
        shares = sorted({float(mu) for mu in splits["mu"][splits["inside"] == inside]})
        if shares:
            names[inside] = f"μ = {shares[0]:g}" if len(shares) == 1 else where
    return names


def _agreement(table: pd.DataFrame) -> Panel:
    """A grid of counts: one number a cell and side, at its cell; the diagonal is agreement."""
    names = side_names(table)
    top = int(max(table["n_neg"].max(), table["predicted_neg"].max(), 1))
    cells = table.groupby(["inside", "predicted_neg", "n_neg"]).size().reset_index(name="splits")
    most = int(cells["splits"].max())
    traces = [rule((-0.5, top + 0.5), (-0.5, top + 0.5))]
    for inside, name in names.items():
        part = cells[cells["inside"] == inside]
        hover = [
            lines(
                f"{name}: {row['splits']:,} splits",
                f"predicted {row['predicted_neg']}, counted {row['n_neg']}",
            )
            for row in rows(part)
        ]
        colour, marker, _ = SIDES[inside]
        mark = points(part["predicted_neg"], part["n_neg"], name, colour, hover, marker=marker,
                      hollow=True)  # fmt: skip
        mark["marker"]["size"] = [round(12 + 22 * np.sqrt(n / most), 1) for n in part["splits"]]
        # Both sides share a cell: what is inside is written above it, what is outside below.
        mark |= {"mode": "markers+text", "text": [str(n) for n in part["splits"]],
                 "textposition": "top center" if inside else "bottom center",
                 "textfont": {"color": colour, "size": 12}, "cliponaxis": False}  # fmt: skip
        traces.append(mark)
    ticks = list(range(top + 1))
    span = (-0.6, top + 0.6)
    return Panel(
        "Escape dimensions (numbers: splits)",
        traces,
        axis("predicted from the narrow minimum", ticks=ticks, span=span),
        axis("counted on the wide Hessian", ticks=ticks, span=span),
    )


def _shares(escapes: pd.DataFrame) -> Panel:
    traces: list[Part] = []
    for k, mu in enumerate(sorted({float(mu) for mu in escapes["mu"]})):
        part = escapes[escapes["mu"] == mu]
        colour, marker, dash = SIDES[bool(part["inside"].iloc[0])]
        hover = [
            lines(
                f"width {row['width']}, μ = {row['mu']:g}: {row['splits']:,} splits",
                f"strict saddles {share(row['share'], row['share_low'], row['share_high'])}",
                f"mean index {row['mean_index']:.3g}",
            )
            for row in rows(part)
        ]
        same = sum(trace["line"]["color"] == colour for trace in traces)
        marker = marker if not same else "D^vP*hX"[(k - 1) % 7]
        traces.append(
            line(part["width"], part["share"], f"μ = {mu:g}", colour, hover, low=part["share_low"],
                 high=part["share_high"], marker=marker, dash=dash)
        )  # fmt: skip
    return Panel(
        "Splits that open a way down",
        traces,
        width_axis(sorted(int(w) for w in escapes["width"].unique()), "width of the bad minimum"),
        percent_axis("strict saddles after the split"),
    )


def _ends(table: pd.DataFrame, good_name: str) -> Panel:
    words = {**WORDS, "good": good_name}
    shares = sorted({float(mu) for mu in table["mu"]})
    groups = [table[table["mu"] == mu] for mu in shares]
    bars = stacked(
        [f"μ = {mu:g}" for mu in shares],
        {words[name]: [int((group["destination"] == name).sum()) for group in groups]
         for name in DESTINATIONS},
        [DESTINATION_COLOURS[name] for name in DESTINATIONS],
        "splits",
        lying=True,
        rates=[[rate_of_minima(group, group["destination"] == name) for group in groups]
               for name in DESTINATIONS],
    )  # fmt: skip
    labels = [f"μ = {mu:g}:<br>{len(g)} splits" for mu, g in zip(shares, groups, strict=True)]
    return Panel(
        "Where the way down ends",
        bars,
        percent_axis("share of splits (%)") | {"range": [0, 1.02], "showgrid": False},
        axis("", ticks=range(len(shares)), labels=labels, grid=False),
        {"barmode": "stack", "bargap": 0.4},
        height=150 + 70 * len(shares),
        full=True,
    )


checked(__name__)
