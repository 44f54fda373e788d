"""Censuses: `edt.plots.plot_census`, and the counting of subspaces beside one."""

from __future__ import annotations

import numpy as np
import pandas as pd

from edt.landscape import Census
from edt.show.axes import log_axis, percent_axis, width_axis
from edt.show.hover import lines, rows, share, value
from edt.show.landscape import bad_minima, pooled
from edt.show.marks import line, points, rule
from edt.show.panel import Panel, Part, axis
from edt.stats import wilson


def census(found: Census, teacher_width: int | None = None) -> list[Panel]:
    """Panels of `edt.plots.plot_census`.

    Args:
        found: from `edt.landscape.census`.
        teacher_width: least width with loss 0: adds the counting of subspaces.
    """
    table = pooled(found)
    widths = table["width"].tolist()
    return [
        _shares(found, table, teacher_width),
        *_richness(table, widths),
        *_ladder(bad_minima(found), widths),
    ]


def _shares(found: Census, table: pd.DataFrame, r: int | None) -> Panel:
    good = [wilson(int(row["good"]), int(row["runs"])) for row in rows(table)]
    traces = [
        line(
            table["width"], table["bad_share"], "bad minima", "@red",
            [
                lines(f"width {row['width']}: {row['bad']:,} of {row['runs']:,} in bad minima",
                      share(row["bad_share"], row["bad_share_low"], row["bad_share_high"]))
                for row in rows(table)
            ],
            low=table["bad_share_low"], high=table["bad_share_high"],
        ),
        line(
            table["width"], [rate.value for rate in good], "good minima", "@green",
            [
                lines(f"width {row['width']}: {row['good']:,} of {row['runs']:,} in good minima",
                      share(rate.value, rate.low, rate.high))
                for row, rate in zip(rows(table), good, strict=True)
            ],
            marker="s",
        ),
    ]  # fmt: skip
    if r is not None:
        counted = found.prediction(r)
        hover = [f"width {row['width']}: {share(row['minima_share'])}" for row in rows(counted)]
        traces.append(
            line(counted["width"], counted["minima_share"], "minima among subspaces", "@soft",
                 hover, marker=None, dash="dash")
        )  # fmt: skip
    return Panel("Where runs end", traces, width_axis(table["width"].tolist()),
                 percent_axis("share of all runs"))  # fmt: skip


def _richness(table: pd.DataFrame, widths: list[int]) -> list[Panel]:
    known = table[table["bad"] > 0]
    if not len(known):
        return []
    hover = [
        lines(
            f"width {row['width']}: {row['distinct']} distinct bad minima met",
            f"coverage {share(row['coverage'], row['coverage_low'], row['coverage_high'])}",
            "with the unseen: " + value(row["chao1"], row["chao1_low"], row["chao1_high"]),
        )
        for row in rows(known)
    ]
    seen = points(known["width"] - 0.12, known["distinct"], "seen", "@blue", hover)
    seen |= {"mode": "markers+text", "textposition": "bottom center", "cliponaxis": False,
             "text": [f"{covered:.0%}" for covered in known["coverage"]]}  # fmt: skip
    traces = [
        seen,
        points(known["width"] + 0.12, known["chao1"], "with the unseen (Chao1, 95%)", "@purple",
               hover, marker="D", low=known["chao1_low"], high=known["chao1_high"]),
    ]  # fmt: skip
    return [
        Panel("Distinct bad minima", traces, width_axis(widths), log_axis("number", traces)),
    ]


def _ladder(met: pd.DataFrame, widths: list[int]) -> list[Panel]:
    """Loss of every bad minimum at every width it was met; area is the share of that width."""
    if not len(met):
        return []
    traces: list[Part] = []
    for name, colour, marker, mine in (
        ("irreducible at this width", "@red", "o", met["core"] == met["width"]),
        ("a narrower one, embedded", "@sky", "D", met["core"] != met["width"]),
    ):
        own = met[mine]
        if not len(own):
            continue
        hover = [
            lines(
                f"width {row['width']}, minimum {row['minimum']}: loss {row['loss']:.6g}",
                f"{row['count']:,} runs, {share(row['share'])} of this width's",
                f"irreducible core of {row['core']} neurons",
            )
            for row in rows(own)
        ]
        mark = points(own["width"], own["loss"], name, colour, hover, marker=marker, opacity=0.65)
        mark["marker"]["size"] = [round(5 + 32 * float(np.sqrt(part)), 1) for part in own["share"]]
        traces.append(mark)
    y = log_axis("loss", traces)
    for _, places in met.groupby("minimum"):
        if len(places) > 1:
            loss = float(places["loss"].min())
            span = (float(places["width"].min()), float(places["width"].max()))
            traces.append(rule(span, (loss, loss), dash="solid"))
    return [Panel("Every bad minimum, wherever met", traces, width_axis(widths), y, full=True)]


def counting(table: pd.DataFrame, shares: pd.DataFrame) -> list[Panel]:
    """Panels of `edt.studies.census.counting.plot_counting`.

    Args:
        table: from `edt.landscape.prediction_table` or `dominance_table`.
        shares: from `edt.landscape.census_table`, one row a width.
    """
    widths = table["width"].tolist()
    traces = []
    for name, text, colour, marker in (
        ("log10_minima", "of global minima", "@green", "s"),
        ("log10_critical", "critical, from widths below", "@red", "o"),
    ):
        own = table[np.isfinite(table[name])]
        hover = [f"width {row['width']}, {text}: log10 = {row[name]:.2f}" for row in rows(own)]
        traces.append(line(own["width"], own[name], text, colour, hover, marker=marker))
    won = table[table["dominated"]]["width"]
    when = f"minima outnumber from m = {int(won.min())}" if len(won) else "minima never outnumber"
    shade: Part = {}
    if len(won):
        shade = {
            "shapes": [
                {"type": "rect", "xref": "x", "yref": "paper", "x0": int(won.min()) - 0.5,
                 "x1": max(widths) + 0.6, "y0": 0, "y1": 1, "fillcolor": "@green/0.12",
                 "line": {"width": 0}, "layer": "below"}
            ]
        }  # fmt: skip
    hover = [
        lines(
            f"width {row['width']}: {row['bad']:,} of {row['runs']:,} end in a bad minimum",
            share(row["bad_share"], row["bad_share_spread_low"], row["bad_share_spread_high"]),
        )
        for row in rows(shares)
    ]
    critical = 1.0 - table["minima_share"]
    return [
        Panel(f"Subspaces, not basins: {when}", traces, width_axis(widths),
              axis("log10 of the number of subspaces"), shade),
        Panel(
            "Measured, beside the count",
            [
                line(shares["width"], shares["bad_share"], "runs that end in a bad minimum (95%)",
                     "@red", hover, low=shares["bad_share_spread_low"],
                     high=shares["bad_share_spread_high"]),
                line(table["width"], critical, "critical ones among all subspaces", "@soft",
                     [f"width {width}: {share(part)} of subspaces are critical"
                      for width, part in zip(widths, critical, strict=True)],
                     marker=None, dash="dash"),
            ],
            width_axis(shares["width"].tolist()),
            percent_axis("share"),
        ),
    ]  # fmt: skip
