"""Laws of width: fitted curves over the measured rates, and how far apart their AICs are."""

from __future__ import annotations

from typing import Any

import numpy as np

from edt.arguments import checked
from edt.show.axes import percent_axis, width_axis
from edt.show.hover import lines, rows, share
from edt.show.marks import line, points, shade
from edt.show.panel import Panel, axis
from edt.stats import Interval, cluster_rate, wilson
from edt.success import Comparison

#: Laws that are drawn if they were fitted: colour and line.
CURVES = {
    "disjoint": ("@green", "dash"), "windows": ("@orange", "dashdot"), "subsets": ("@red", "dot"),
    "power": ("@sky", "longdash"), "escape": ("@purple", "solid"),
    "geometric": ("@purple", "solid"), "logistic": ("@soft", "longdashdot"),
    "log-logistic": ("@soft", "longdashdot"),
}  # fmt: skip
#: How the laws are called.
NAMES = {
    "constant": "no effect of width",
    "disjoint": "⌊m/r⌋ tickets",
    "windows": "m − r + 1 tickets",
    "subsets": "C(m, r) tickets",
    "proportional": "m/r tickets",
    "disjoint^a": "⌊m/r⌋ᵃ tickets",
    "windows^a": "(m − r + 1)ᵃ tickets",
    "subsets^a": "C(m, r)ᵃ tickets",
    "power": "(m/r)ᵃ tickets",
    "geometric": "geometric in m",
    "escape": "escape dimensions",
    "escape-logit": "escape, logistic",
    "logistic": "logistic in m",
    "log-logistic": "logistic in ln m",
}
#: AICs closer than this do not tell laws apart.
CLOSE = 2.0


def models(found: Comparison, *, goal: str = "succeed") -> list[Panel]:
    """Measured rates with fitted laws, and the AIC of every law above the best.

    Args:
        found: from `edt.success.compare`. Several groups are pooled: rates and fits alike are
            weighted by runs.
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
    for name, curve in curves(found).items():
        colour, dash = CURVES[name]
        hover = [
            lines(f"width {width}, {NAMES[name]}", f"fitted {share(rate)}")
            for width, rate in zip(widths, curve, strict=True)
        ]
        traces.append(line(widths, curve, NAMES[name], colour, hover, marker=None, dash=dash))
    left = Panel("Laws of width, fitted", traces, width_axis(widths),
                 percent_axis(f"runs that {goal}"), height=420)  # fmt: skip
    return [left, _ranking(found)]


def measured(found: Comparison) -> tuple[list[int], list[Interval]]:
    """Widths, and the rate of success at each over all groups: with Wilson's interval of one group,
    over groups of several."""
    counts = found.counts
    widths = sorted({int(width) for width in counts.width})
    cells = [counts.width == width for width in widths]

    def rate(cell: Any) -> Interval:
        subset = [counts.group[cell] == group for group in np.unique(counts.group[cell])]
        wins = [int(counts.wins[cell][one].sum()) for one in subset]
        runs = [int(counts.runs[cell][one].sum()) for one in subset]
        return wilson(wins[0], runs[0]) if len(subset) == 1 else cluster_rate(wins, runs)

    return widths, [rate(cell) for cell in cells]


def curves(found: Comparison) -> dict[str, list[float]]:
    """The rate at every width under each law that is drawn; of regressions, the better one."""
    fits = found.fits
    shown = [name for name in CURVES if name in fits]
    if "escape" in fits and "geometric" in fits:
        shown.remove("geometric")
    regressions = [name for name in ("logistic", "log-logistic") if name in fits]
    if len(regressions) == 2:
        shown.remove(max(regressions, key=lambda name: fits[name].aic))
    counts = found.counts
    cells = [counts.width == width for width in sorted({int(width) for width in counts.width})]
    wins = {name: fits[name].success() * counts.runs for name in shown}
    return {
        name: [float(wins[name][cell].sum()) / int(counts.runs[cell].sum()) for cell in cells]
        for name in shown
    }


def _ranking(found: Comparison) -> Panel:
    free = found.table[found.table["price"] == "free"].reset_index(drop=True)
    names = [NAMES.get(name, name) for name in free["model"]]
    hover = [
        lines(
            name,
            f"AIC {row['aic']:,.2f}, {row['delta_aic']:,.2f} above the best",
            f"log-likelihood {row['log_likelihood']:,.2f}",
        )
        for name, row in zip(names, rows(free), strict=True)
    ]
    above = free["delta_aic"].clip(lower=0.0)
    # A square root's scale has a place for nothing above the best, and for 1,000 as well.
    at = range(len(free))
    dots = points(above**0.5, at, "AIC", "@blue", hover, key=False)
    dots |= {"mode": "markers+text", "textposition": "middle right", "cliponaxis": False,
             "text": [f"{value:,.1f}" if value < 99.5 else f"{value:,.0f}" for value in above],
             "textfont": {"size": 12, "color": "@ink"}}  # fmt: skip
    top = max(float(above.max()), 4.0)
    ticks = [tick for tick in (0, 2, 10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000)
             if tick <= 1.05 * top and (tick == 0 or tick >= 0.02 * top)]  # fmt: skip
    return Panel(
        "Which law fits best",
        [dots],
        axis("AIC above the best, scale of square roots",
             ticks=[tick**0.5 for tick in ticks], labels=[f"{tick:,}" for tick in ticks],
             span=(-0.03 * top**0.5, 1.2 * top**0.5)),
        axis("", ticks=at, labels=names, grid=True, range=[len(free) - 0.4, -0.6]),
        {"shapes": [shade(0.0, CLOSE**0.5, "@soft/0.16")]},
        height=420,
    )  # fmt: skip


checked(__name__)
