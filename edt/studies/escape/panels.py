"""Escapes: `edt.plots.plot_escape` and `edt.studies.escape.figures`."""

from __future__ import annotations

import numpy as np
import pandas as pd

from edt.landscape import DESTINATIONS, Escape
from edt.show.axes import log_axis, percent_axis, place_axis, width_axis
from edt.show.hover import lines, rows, share, value
from edt.show.landscape import (
    ENDS,
    SHARES,
    agreement,
    end_colours,
    kind_colours,
    mean_dimensions,
    start_groups,
    timed,
)
from edt.show.marks import bars, line, points, rule, thinned
from edt.show.panel import NAMES, Panel, Part, axis
from edt.show.style import MARKERS
from edt.stats import wilson
from edt.studies.escape.figures import palette
from edt.studies.escape.run import EscapeRun


def escape(run: Escape | EscapeRun) -> list[Panel]:
    """Panels of `edt.plots.plot_escape`.

    Args:
        run: from `edt.landscape.escape_experiment` or `edt.studies.run_escape`.
    """
    return [_dimensions(run.points), *_times(timed(run)), _ends(run.starts)]


def _dimensions(table: pd.DataFrame) -> Panel:
    added = sorted(int(count) for count in table["added"].unique())
    found, colours = mean_dimensions(table), kind_colours(NAMES)
    kinds = list(dict.fromkeys(found["shares"].tolist()))
    measured: list[Part] = []
    predicted: list[Part] = []
    for place, kind in enumerate(kinds):
        own = found[found["shares"] == kind]
        at = np.arange(len(added)) + 0.16 * (place - 0.5 * (len(kinds) - 1))
        hover = [
            lines(
                f"{row['added']} added, {SHARES[kind]}: {row['minima']} minima",
                *(
                    (
                        "mean index " + value(row["value"], row["low"], row["high"]),
                        f"closed form {row['predicted']:.4g}",
                    )
                    if row["minima"]
                    else ("no count beyond doubt",)
                ),
            )
            for row in rows(own)
        ]
        measured.append(
            line(at, own["value"], SHARES[kind], colours[kind], hover, low=own["low"],
                 high=own["high"], marker="os^"[place], zorder=2)
        )  # fmt: skip
        predicted.append(
            points(at, own["predicted"], "from the narrow network alone", "@ink", hover,
                   marker="_", size=16, key=place == 0)
        )  # fmt: skip
    agree, clear = agreement(table)
    return Panel(
        f"Ways down: closed form right {agree:,} of {clear:,} times",
        [*measured, *predicted],
        place_axis([str(count) for count in added], "neurons added by splitting"),
        axis("negative directions", rangemode="tozero"),
    )


def _ends(starts: pd.DataFrame) -> Panel:
    colours = end_colours(NAMES)
    groups, at, found = start_groups(starts)
    names = [f"{kind} directions, {SHARES[shares]}, +{count}" for kind, shares, count in groups]
    traces = []
    for word in DESTINATIONS:
        counts = [int((group["destination"] == word).sum()) for group in found]
        if not any(counts):
            continue
        rates = [wilson(count, len(group)) for count, group in zip(counts, found, strict=True)]
        hover = [
            lines(name, f"{ENDS[word]}: {count:,} of {len(group):,} runs",
                  share(rate.value, rate.low, rate.high))
            for name, count, group, rate in zip(names, counts, found, rates, strict=True)
        ]  # fmt: skip
        traces.append(
            bars([rate.value for rate in rates], at, ENDS[word], colours[word], hover,
                 orientation="h", width=0.82)
        )  # fmt: skip
    return Panel(
        "Where the ways down end",
        traces,
        percent_axis("runs that end at") | {"range": [0, 1.02], "showgrid": False},
        axis(
            "",
            ticks=at,
            labels=[name.replace(", ", "<br>", 1) for name in names],
            grid=False,
            range=[max(at) + 0.6, -0.6],
        ),
        {"barmode": "stack"},
        height=120 + 40 * len(groups),
        full=True,
    )


def _times(ways: pd.DataFrame) -> list[Panel]:
    """Measured steps to escape against those of the quadratic model."""
    if not len(ways):
        return []
    few, step = thinned(ways)
    traces = []
    for place, count in enumerate(sorted(int(added) for added in ways["added"].unique())):
        own = few[few["added"] == count]
        hover = [
            lines(
                f"{count} added, width {row['width']}: {row['escape_steps']:,.0f} steps",
                f"predicted {row['linear_steps']:,.4g} from eigenvalue {row['eigenvalue']:.3g}",
            )
            for row in rows(own)
        ]
        traces.append(
            points(own["linear_steps"], own["escape_steps"], f"{count} added",
                   palette(NAMES)[place % 4], hover, marker=MARKERS[place % len(MARKERS)], size=7,
                   opacity=0.65)
        )  # fmt: skip
    both = ways[["linear_steps", "escape_steps"]]
    ends = (float(both.min().min()), float(both.max().max()))
    span = (ends[0] / 1.3, ends[1] * 1.3)
    title = "Steps to escape along an eigenvector"
    return [
        Panel(
            title if step == 1 else f"{title} (one in {step})",
            [*traces, rule(ends, ends)],
            log_axis("predicted by the curvature alone", span=span),
            log_axis("gradient descent", span=span),
        )
    ]


def ways(ends: pd.DataFrame, starts: pd.DataFrame, r: int) -> list[Panel]:
    """Panels of `edt.studies.escape.figures.plot_ways`.

    Args:
        ends: from `edt.landscape.escape_table` by ("narrow", "width").
        starts: table ``starts``.
        r: least width with loss 0; 0 where there is none.
    """
    fall = starts["drop"] / (starts["drop"] + starts["loss"])
    table = starts.assign(fall=fall)
    far = _spread(table, "distance")
    return [
        _good(ends, r),
        Panel("How far down", _spread(table, "fall"), _added(starts),
              percent_axis("loss fallen, of the embedded point's")),
        Panel("How far away", far, _added(starts), log_axis("distance of parameters", far)),
    ]  # fmt: skip


def _added(starts: pd.DataFrame) -> Part:
    added = sorted(int(count) for count in starts["added"].unique())
    return place_axis([str(count) for count in added], "neurons added")


def _good(ends: pd.DataFrame, r: int) -> Panel:
    colours = palette(NAMES)
    widths = sorted(int(width) for width in ends["width"].unique())
    narrows = sorted(int(width) for width in ends["narrow"].unique())
    traces = []
    for place, narrow in enumerate(narrows):
        own = ends[ends["narrow"] == narrow]
        hover = [
            lines(
                f"minima of width {narrow}, in width {row['width']}: {row['starts']:,} runs",
                "good " + share(row["good"], row["good_spread_low"], row["good_spread_high"]),
                f"from {row['minima']} minima",
            )
            for row in rows(own)
        ]
        traces.append(
            line(own["width"] + 0.12 * (place - 0.5 * (len(narrows) - 1)), own["good"],
                 f"minima of width {narrow}", colours[place % len(colours)], hover,
                 low=own["good_spread_low"].fillna(own["good"]),
                 high=own["good_spread_high"].fillna(own["good"]),
                 marker=MARKERS[place % len(MARKERS)])
        )  # fmt: skip
    more: Part = {}
    if r and min(widths) < r:
        more = {
            "shapes": [
                {"type": "rect", "xref": "x", "yref": "paper", "x0": min(widths) - 0.6,
                 "x1": r - 0.5, "y0": 0, "y1": 1, "fillcolor": "@soft/0.14",
                 "line": {"width": 0}, "layer": "below"}
            ],
            "annotations": [
                {"x": r - 0.55, "y": 1.0, "text": "loss 0 is<br>out of reach", "showarrow": False,
                 "xanchor": "right", "yanchor": "top", "align": "right",
                 "font": {"color": "@soft", "size": 12}}
            ],
        }  # fmt: skip
    return Panel(
        "Where the ways down end",
        traces,
        width_axis(widths, "width reached (hidden neurons)"),
        percent_axis("runs that reach a good minimum"),
        more,
        full=True,
    )


def _spread(table: pd.DataFrame, name: str) -> list[Part]:
    """Medians; thick bars between quartiles, thin ones between the 5th and 95th percentile."""
    added = sorted(int(count) for count in table["added"].unique())
    groups = [table.loc[table["added"] == count, name].dropna().to_numpy() for count in added]
    found = np.array([np.quantile(group, [0.05, 0.25, 0.5, 0.75, 0.95]) for group in groups])
    hover = [
        lines(
            f"{count} added: {len(group):,} runs, median {q[2]:.4g}",
            f"quartiles {q[1]:.4g} to {q[3]:.4g}",
            f"5th to 95th percentile {q[0]:.4g} to {q[4]:.4g}",
        )
        for count, group, q in zip(added, groups, found, strict=True)
    ]
    at = range(len(added))
    thin = points(at, found[:, 2], "5th to 95th percentile", "@blue", hover, low=found[:, 0],
                  high=found[:, 4], size=4)  # fmt: skip
    thick = points(at, found[:, 2], "quartiles and median", "@sky", hover, low=found[:, 1],
                   high=found[:, 3], marker="s", size=13)  # fmt: skip
    thick["error_y"]["thickness"] = 14
    thick["marker"]["color"] = "@ink"
    return [thin, thick]


def descent(paths: pd.DataFrame, places: pd.DataFrame) -> list[Panel]:
    """Panels of `plot_descent`: one a width, three diagrams above each other.

    Args:
        paths: table ``paths``.
        places: from `edt.studies.escape.run.plateau_table`.
    """
    spans = {name: _span(paths[name]) for name in ("loss", "grad_norm")}
    top = float(paths["index"].max())
    step = (0.4, float(paths["step"].max()) * 1.2)
    found = []
    for width in sorted(int(width) for width in paths["width"].unique()):
        traces: list[Part] = []
        for row, name in enumerate(("loss", "grad_norm", "index")):
            suffix = str(row + 1) if row else ""
            here = [*_paths(paths, width, name), *_plateaus(places, paths, width, name)]
            traces += [
                mark | {"yaxis": f"y{suffix}", "showlegend": mark["showlegend"] and not row}
                for mark in here
            ]
        low = {"domain": [0.70, 1.0]}, {"domain": [0.35, 0.65]}, {"domain": [0.0, 0.30]}
        loss, slope, index = (
            log_axis("loss", span=spans["loss"]) | low[0],
            log_axis("max |gradient|", span=spans["grad_norm"]) | low[1],
            axis("escape dimensions", span=(-0.5, 1.08 * top + 0.5)) | low[2],
        )
        x = log_axis("step of gradient descent", span=step) | {"anchor": "y3"}
        found.append(
            Panel(f"Width {width}", traces, x, loss, {"yaxis2": slope, "yaxis3": index}, height=760)
        )
    return found


def _span(values: pd.Series) -> tuple[float, float]:
    shown = values[np.isfinite(values) & (values > 0)]
    return float(shown.min()) / 1.5, float(shown.max()) * 1.5


def _paths(paths: pd.DataFrame, width: int, name: str) -> list[Part]:
    traces, seen = [], set()
    targets = sorted(int(target) for target in paths["target"].unique())
    here = paths[paths["width"] == width]
    for (target, seed), path in here.groupby(["target", "seed"]):
        place = targets.index(int(str(target)))
        text = f"target {targets[place] + 1}"
        hover = [_told(row, f"{text}, seed {seed}") for row in rows(path)]
        traces.append(
            line(path["step"].clip(lower=0.5), path[name], text, palette(NAMES)[place % 6], hover,
                 marker=None, width=1.3, key=text not in seen, opacity=0.8)
        )  # fmt: skip
        seen.add(text)
    return traces


def _plateaus(places: pd.DataFrame, paths: pd.DataFrame, width: int, name: str) -> list[Part]:
    own = places[places["width"] == width]
    if not len(own):
        return []
    targets = sorted(int(target) for target in paths["target"].unique())
    hover = [
        _told(row, f"plateau, target {row['target'] + 1}, seed {row['seed']}") for row in rows(own)
    ]
    mark = points(own["step"].clip(lower=0.5), own[name], "plateau", "@ink", hover, size=8)
    mark["marker"]["color"] = [
        palette(NAMES)[targets.index(int(target)) % 6] for target in own["target"]
    ]
    mark["marker"]["line"] = {"color": "@ink", "width": 1}
    return [mark]


def _told(row: Part, where: str) -> str:
    return lines(
        f"{where}, step {row['step']:,.0f}",
        f"loss {row['loss']:.4g}, |gradient| {row['grad_norm']:.3g}",
        f"escape dimensions {row['index']:.0f}",
    )
