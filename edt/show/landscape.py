"""Figures of the landscape experiments: escapes, paths, censuses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from edt.arguments import checked
from edt.landscape import DESTINATIONS, Census, Escape
from edt.show.axes import log_axis, percent_axis, place_axis, width_axis
from edt.show.hover import lines, rows, share, value
from edt.show.marks import DASHES, line, points, rule, stacked, thinned
from edt.show.panel import Panel, Part, axis
from edt.show.render import draw
from edt.show.style import LIGHT, MARKERS, Theme
from edt.stats import ratio_interval, wilson

if TYPE_CHECKING:
    import xarray as xr

    from edt.studies.escape.run import EscapeRun

#: What becomes of a run that left an embedded bad minimum, and its colour.
ENDS = {
    "good": ("a good minimum", "@green"),
    "lower": ("a lower bad minimum", "@sky"),
    "same": ("no lower", "@red"),
    "open": ("lower, no verdict", "@soft"),
    "channel": ("a channel to infinity", "@purple"),
    "diverged": ("diverged", "@ink"),
}
#: Ways to share out an output weight: words, colour, marker, line.
SHARES = {
    "equal": ("equal shares", "@green", "o", "solid"),
    "positive": ("positive shares", "@blue", "s", "dash"),
    "signed": ("mixed signs", "@orange", "^", "dot"),
}
#: Colours of widths, targets or networks, in turn.
PALETTE = ("@blue", "@orange", "@green", "@purple", "@red", "@sky")


def plot_escape(
    escape: Escape | EscapeRun, *, ax: Sequence[Axes] | None = None, theme: Theme = LIGHT
) -> Figure:
    """Escape dimensions, time to escape, and ends of the ways down, against neurons added.

    Args:
        escape: from `edt.landscape.escape_experiment` or `edt.studies.run_escape`.
        ax: axes of yours, one a diagram; default a new figure.
        theme: colours.
    """
    return draw(escape_panels(escape), theme=theme, ax=ax)


def plot_census(
    census: Census,
    teacher_width: int | None = None,
    *,
    ax: Sequence[Axes] | None = None,
    theme: Theme = LIGHT,
) -> Figure:
    """Share of bad minima, distinct ones with the unseen, and the minima themselves.

    Args:
        census: from `edt.landscape.census`.
        teacher_width: least width with loss 0: adds the counting of subspaces.
        ax: axes of yours, one a diagram; default a new figure.
        theme: colours.
    """
    return draw(census_panels(census, teacher_width), theme=theme, ax=ax)


def plot_paths(
    path: xr.Dataset,
    networks: Sequence[int] | None = None,
    *,
    ax: Axes | None = None,
    theme: Theme = LIGHT,
) -> Figure:
    """Loss, gradient and index along training.

    Args:
        path: from `edt.landscape.index_along_path`.
        networks: which ones; default the first four.
        ax: axes of yours, from subplots: three take their place; default a new figure.
        theme: colours.
    """
    chosen = list(range(min(4, path.sizes["network"]))) if networks is None else list(networks)
    step = np.maximum(path["step"].to_numpy(), 0.5)  # step 0 has no place on a logarithmic axis
    tables = []
    for b in chosen:
        one = path.isel(network=b)
        tables.append(
            pd.DataFrame(
                {"path": f"network {b}", "step": step, "loss": one["loss"].to_numpy(),
                 "grad_norm": one["grad_norm"].to_numpy(),
                 "index": np.where(one["index"] >= 0, one["index"], np.nan)}
            )
        )  # fmt: skip
    panel = path_panel("Escape dimensions along gradient descent", pd.concat(tables))
    return draw([panel], theme=theme, ax=ax)


def path_panel(
    title: str, table: pd.DataFrame, stops: Sequence[Part] = (), like: pd.DataFrame | None = None
) -> Panel:
    """Loss, gradient and escape dimensions above one another, against steps.

    Args:
        title: over it.
        table: ``path`` (what lines of one look are called), ``step``, ``loss``, ``grad_norm`` and
            ``index`` (NaN where unknown); a line ends where the steps begin anew.
        stops: marks on the lines, with the axis of each.
        like: the table whose spans the axes have; default this one.
    """
    whole = table if like is None else like
    spans = {name: _span(whole[name]) for name in ("loss", "grad_norm")}
    top = float(np.nanmax([float(whole["index"].max()), 1.0]))
    names = list(dict.fromkeys(whole["path"]))
    traces: list[Part] = []
    fresh = (table["path"] != table["path"].shift()) | (table["step"] <= table["step"].shift())
    seen: set[str] = set()
    for _, own in table.groupby(fresh.cumsum()):
        text = str(own["path"].iloc[0])
        place = names.index(text)
        dash = list(DASHES.values())[place % len(DASHES)]
        for row, name in enumerate(("loss", "grad_norm", "index")):
            known = own[own[name].notna()]
            hover = [told(entry, text) for entry in rows(known)]
            trace = line(
                known["step"].clip(lower=0.5), known[name], text, PALETTE[place % 6], hover,
                marker=None, width=1.5, dash=dash, opacity=0.8, key=not row and text not in seen,
                yaxis="y" if not row else f"y{row + 1}",
            )  # fmt: skip
            trace["line"]["shape"] = "hvh" if name == "index" else "linear"
            traces.append(trace)
        seen.add(text)
    loss = log_axis("loss", span=spans["loss"]) | {"domain": [0.70, 1.0]}
    slope = log_axis("max |gradient|", span=spans["grad_norm"]) | {"domain": [0.35, 0.65]}
    index = axis("escape dimensions", span=(-0.5, 1.08 * top + 0.5), domain=[0.0, 0.30])
    x = log_axis("step of gradient descent", span=(0.4, 1.2 * float(whole["step"].max())))
    return Panel(title, [*traces, *stops], x | {"anchor": "y3"}, loss,
                 {"yaxis2": slope, "yaxis3": index}, height=760)  # fmt: skip


def told(row: Part, where: str) -> str:
    """What a point of a path says."""
    return lines(
        f"{where}, step {row['step']:,.0f}",
        f"loss {row['loss']:.4g}, |gradient| {row['grad_norm']:.3g}",
        "" if np.isnan(row["index"]) else f"escape dimensions {row['index']:.0f}",
    )


def _span(values: pd.Series) -> tuple[float, float]:
    shown = values[np.isfinite(values) & (values > 0)]
    return float(shown.min()) / 1.5, float(shown.max()) * 1.5


def escape_panels(run: Escape | EscapeRun) -> list[Panel]:
    """Panels of `plot_escape`."""
    spec = getattr(run, "spec", None)
    budget = None if spec is None else int(spec.descent_steps)
    counted = [_dimensions(run.points)] if run.points["clear"].any() else []
    return [*counted, *_times(timed(run), budget), _ends(run.starts)]


def mean_dimensions(points: pd.DataFrame) -> pd.DataFrame:
    """Escape dimensions of the points whose count is beyond doubt.

    Args:
        points: of an `edt.landscape.Escape`.

    Returns:
        One row per (shares, neurons added): ``minima``; ``value``, mean over minima of the mean
        over their points, with bounds ``low`` and ``high`` over minima
        (`edt.stats.ratio_interval`); ``predicted``,
        the same mean of the closed form. NaN where no point's count is beyond doubt.
    """
    clear = points[points["clear"]]
    found = []
    for kind in SHARES:
        for count in sorted(int(added) for added in points["added"].unique()):
            group = clear[(clear["shares"] == kind) & (clear["added"] == count)]
            if not (points["shares"] == kind).any():
                continue
            per = group.groupby("source")[["n_neg", "predicted_neg"]].mean().to_numpy()
            numbers = dict.fromkeys(("value", "low", "high", "predicted"), float("nan"))
            if len(per):
                mean = ratio_interval(per[:, 0], np.ones(len(per)), unit=1.0)
                numbers = {"value": mean.value, "low": mean.low, "high": mean.high,
                           "predicted": float(per[:, 1].mean())}  # fmt: skip
            found.append({"shares": kind, "added": count, "minima": len(per), **numbers})
    return pd.DataFrame(found)


def agreement(points: pd.DataFrame) -> tuple[int, int]:
    """Points where closed form and full Hessian give the same index, of those beyond doubt."""
    clear = points[points["clear"]]
    return int((clear["n_neg"] == clear["predicted_neg"]).sum()), len(clear)


def _dimensions(table: pd.DataFrame) -> Panel:
    added = sorted(int(count) for count in table["added"].unique())
    found = mean_dimensions(table)
    kinds = list(dict.fromkeys(found["shares"].tolist()))
    measured: list[Part] = []
    predicted: list[Part] = []
    for place, kind in enumerate(kinds):
        own = found[found["shares"] == kind]
        text, colour, marker, dash = SHARES[kind]
        hover = [
            lines(
                f"{row['added']} added, {text}: {row['minima']} minima",
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
        at = range(len(added))
        measured.append(
            line(at, own["value"], text, colour, hover, low=own["low"], high=own["high"],
                 marker=marker, dash=dash, zorder=2)
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
    """Stacked bars, one a (kind of start, shares, neurons added)."""
    names, at, counts = [], [], []
    last, place = None, 0.0
    for kind in ("negative", "random"):
        for shares in SHARES:
            for count in sorted(int(added) for added in starts["added"].unique()):
                group = starts[(starts["kind"] == kind) & (starts["shares"] == shares)
                               & (starts["added"] == count)]  # fmt: skip
                if not len(group):
                    continue
                place += 0.0 if last is None else (1.0 if last == (kind, shares) else 1.7)
                last = (kind, shares)
                names.append(f"{kind} directions, {SHARES[shares][0]}, +{count}")
                at.append(place)
                counts.append(group["destination"].value_counts())
    bars = stacked(
        names,
        {ENDS[word][0]: [int(found.get(word, 0)) for found in counts] for word in DESTINATIONS},
        [ENDS[word][1] for word in DESTINATIONS],
        "runs", at, lying=True,
    )  # fmt: skip
    return Panel(
        "Where the ways down end",
        bars,
        percent_axis("runs that end at (%)") | {"range": [0, 1.02], "showgrid": False},
        axis("", ticks=at, labels=[name.replace(", ", "<br>", 1) for name in names], grid=False,
             range=[max(at, default=0.0) + 0.6, -0.6]),
        {"barmode": "stack", "bargap": 0.18},
        height=120 + 42 * len(at),
        full=True,
    )  # fmt: skip


def timed(escape: Escape | EscapeRun) -> pd.DataFrame:
    """Runs of gradient descent along an eigenvector from points beyond doubt."""
    starts = escape.starts
    clear = escape.points["clear"].to_numpy()[starts["point"]]
    ways = starts[(starts["kind"] == "negative") & clear & (starts["descent_status"] != "none")]
    return ways[ways["linear_steps"] >= 1.0]


def _times(ways: pd.DataFrame, budget: int | None) -> list[Panel]:
    """Measured steps to escape against those of the quadratic model; censored ones are open."""
    left = ways[ways["escape_steps"].notna()]
    if not len(ways) or (budget is None and not len(left)):
        return []
    end = float(left["escape_steps"].max()) if budget is None else float(budget)
    few, step = thinned(ways)
    added = sorted(int(count) for count in ways["added"].unique())
    traces = []
    for place, count in enumerate(added):
        mine = few[few["added"] == count]
        for gone in (True, False):
            own = mine[mine["escape_steps"].notna() == gone]
            if not len(own):
                continue
            hover = [
                lines(
                    f"{count} added{', width ' + str(row['width']) if 'width' in row else ''}: "
                    + (f"{row['escape_steps']:,.0f} steps" if gone
                       else f"not gone after {end:,.0f} steps"),
                    f"predicted {row['linear_steps']:,.4g} from eigenvalue {row['eigenvalue']:.3g}",
                )
                for row in rows(own)
            ]  # fmt: skip
            name = f"{count} added" if gone else f"{count} added, not gone in {end:,.0f} steps"
            traces.append(
                points(own["linear_steps"], own["escape_steps"].fillna(end), name,
                       PALETTE[place % 4], hover, marker=MARKERS[place % len(MARKERS)], size=7,
                       opacity=0.65, hollow=not gone)
            )  # fmt: skip
    ends = (
        min([float(ways["linear_steps"].min()), end, *left["escape_steps"].tolist()]),
        max(float(ways["linear_steps"].max()), end),
    )
    span = (ends[0] / 1.3, ends[1] * 1.3)
    title = "Steps to escape along an eigenvector"
    more = {
        "shapes": [{"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": end, "y1": end,
                    "line": {"color": "@soft", "width": 1}, "layer": "below"}],
        "annotations": [{"xref": "paper", "x": 0.01, "y": np.log10(end), "showarrow": False,
                         "text": f"budget: {end:,.0f} steps", "xanchor": "left",
                         "yanchor": "bottom", "font": {"color": "@soft", "size": 12}}],
    } if budget is not None else {}  # fmt: skip
    return [
        Panel(
            title if step == 1 else f"{title} (one in {step})",
            [*traces, rule(ends, ends)],
            log_axis("predicted by the curvature alone", span=span),
            log_axis("gradient descent", span=span),
            more,
        )
    ]


def census_panels(
    found: Census, teacher_width: int | None = None, table: pd.DataFrame | None = None
) -> list[Panel]:
    """Panels of `plot_census`; arguments as there, and what `pooled` gave, where it is known."""
    table = pooled(found) if table is None else table
    widths = table["width"].tolist()
    return [
        _bad_share(found, table, teacher_width),
        *_richness(table, widths),
        *_ladder(bad_minima(found), widths),
    ]


def pooled(census: Census) -> pd.DataFrame:
    """The census's table, one row a width: all targets together where there are several."""
    table = census.table()
    return table[table["target"] == -1] if (table["target"] == -1).any() else table


def _bad_share(found: Census, table: pd.DataFrame, r: int | None) -> Panel:
    good = [wilson(int(row["good"]), int(row["runs"])) for row in rows(table)]
    low, high = table["bad_share_spread_low"], table["bad_share_spread_high"]
    traces = [
        line(
            table["width"], table["bad_share"], "bad minima, 95%", "@red",
            [
                lines(f"width {row['width']}: {row['bad']:,} of {row['runs']:,} in bad minima",
                      share(row["bad_share"], row["bad_share_spread_low"],
                            row["bad_share_spread_high"]))
                for row in rows(table)
            ],
            low=low, high=high,
        ),
        line(
            table["width"], [rate.value for rate in good], "good minima", "@green",
            [
                f"width {row['width']}: {row['good']:,} of {row['runs']:,} in good minima"
                for row in rows(table)
            ],
            marker="s", dash="dot",
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
    seen = points(known["width"], known["distinct"], "seen (percent: coverage, Good-Turing)",
                  "@blue", hover, marker="_", size=16, zorder=2)  # fmt: skip
    seen |= {"mode": "markers+text", "textposition": "bottom center", "cliponaxis": False,
             "text": [f"{covered:.0%}" for covered in known["coverage"]]}  # fmt: skip
    unseen = points(known["width"], known["chao1"], "with the unseen (Chao1, 95%)", "@purple",
                    hover, marker="D", low=known["chao1_low"],
                    high=known["chao1_high"])  # fmt: skip
    traces = [seen, unseen]
    return [Panel("Distinct bad minima", traces, width_axis(widths), log_axis("number", traces))]


def bad_minima(census: Census) -> pd.DataFrame:
    """Every distinct bad minimum at every width it was met.

    Returns:
        One row per (minimum, width): least ``loss``, ``count`` of runs and their ``share`` of that
        width's, width of the irreducible ``core``.
    """
    bad = census.runs[census.runs["outcome"] == "bad"]
    met = bad.groupby(["minimum", "width"]).agg(
        loss=("loss", "min"), count=("run", "size"), core=("core_width", "min")
    )
    runs = census.runs.groupby("width").size()
    found = met.reset_index()
    return found.assign(share=found["count"] / found["width"].map(runs))


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
    return [
        Panel("Every bad minimum, wherever met", traces, width_axis(widths), y,
              full=True)
    ]  # fmt: skip


checked(__name__)
