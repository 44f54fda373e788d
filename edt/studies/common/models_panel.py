"""Laws of width: `edt.studies.common.models_figure`."""

from __future__ import annotations

import math

from edt.show.axes import percent_axis, width_axis
from edt.show.hover import lines, rows, share
from edt.show.marks import bars, line, points
from edt.show.panel import Panel, axis
from edt.studies.common.models_figure import NAMES, curves, measured
from edt.success import Comparison

#: Dashes of the laws, so that they differ without colour.
DASHES = {
    "disjoint": "dash", "windows": "dashdot", "subsets": "dot", "power": "longdash",
    "escape": "solid", "geometric": "solid",
}  # fmt: skip


def models(found: Comparison, *, goal: str = "succeed") -> list[Panel]:
    """Panels of `edt.studies.common.models_figure.plot_models`.

    Args:
        found: from `edt.success.compare`.
        goal: what a success is, in a few words.
    """
    widths, rates = measured(found)
    counts = found.counts
    hover = []
    for width, rate in zip(widths, rates, strict=True):
        cell = counts.width == width
        wins, runs = int(counts.wins[cell].sum()), int(counts.runs[cell].sum())
        hover.append(
            lines(f"width {width}: {wins:,} of {runs:,} runs",
                  share(rate.value, rate.low, rate.high))
        )  # fmt: skip
    traces = [
        points(widths, [rate.value for rate in rates], "measured, 95% interval", "@blue",
               hover, low=[rate.low for rate in rates], high=[rate.high for rate in rates],
               zorder=2)
    ]  # fmt: skip
    for name, colour, _, curve in curves(found):
        hover = [
            lines(f"width {width}, {NAMES[name]}", f"fitted {share(rate)}")
            for width, rate in zip(widths, curve, strict=True)
        ]
        traces.append(
            line(widths, curve, NAMES[name], f"@{colour}", hover, marker=None,
                 dash=DASHES.get(name, "longdashdot"))
        )  # fmt: skip
    left = Panel("Laws of width, fitted", traces, width_axis(widths),
                 percent_axis(f"runs that {goal}"), height=420)  # fmt: skip
    return [left, _ranking(found)]


def _ranking(found: Comparison) -> Panel:
    free = found.table[found.table["price"] == "free"].reset_index(drop=True)
    at = list(range(len(free)))
    hover = [
        lines(
            NAMES.get(row["model"], row["model"]),
            f"AIC {row['aic']:,.2f}, {row['delta_aic']:,.2f} above the best",
            f"log-likelihood {row['log_likelihood']:,.2f}",
        )
        for row in rows(free)
    ]
    # The axis is one of ln(1 + AIC): nothing above the best has a place on it, and 1,000 as well.
    text = [f"{value:.1f}" if value < 99.5 else f"{value:,.0f}" for value in free["delta_aic"]]
    places = [math.log1p(max(float(value), 0.0) + 0.03) for value in free["delta_aic"]]
    top = max(places)
    ticks = [t for t in (0, 2, 10, 100, 1_000, 10_000, 100_000) if math.log1p(t) <= 1.05 * top]
    return Panel(
        "Which law fits best",
        [
            bars(places, at, "AIC", "@blue", hover, text, orientation="h", showlegend=False,
                 textposition="outside", cliponaxis=False)
        ],
        axis("AIC above the best", ticks=[math.log1p(t) for t in ticks],
             labels=[f"{t:,}" for t in ticks], span=(0.0, 1.2 * max(top, math.log1p(4.0)))),
        axis("", ticks=at, labels=[NAMES.get(name, name) for name in free["model"]], grid=False,
             range=[len(free) - 0.4, -0.6]),
        {
            "bargap": 0.38,
            "shapes": [
                {"type": "rect", "xref": "x", "yref": "paper", "x0": 0, "x1": math.log1p(2.0),
                 "y0": 0, "y1": 1, "fillcolor": "@soft/0.16", "line": {"width": 0},
                 "layer": "below"}
            ],
        },
        height=420,
    )  # fmt: skip
