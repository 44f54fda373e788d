"""The main picture: success against width beside the lottery, and the tickets of a width."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from edt.arguments import checked
from edt.show.axes import decades, percent_axis, width_axis
from edt.show.hover import lines, rows, share, value
from edt.show.marks import band, line, points
from edt.show.panel import Panel, Part, axis
from edt.show.render import draw
from edt.show.style import LIGHT, MARKERS, Theme
from edt.studies.common.success_table import ALL

#: Predictions: column, name in the key, colour, dashes.
READINGS = (
    ("disjoint", "lottery: ⌊m/r⌋ tickets", "@green", "dash"),
    ("combinatorial", "lottery: C(m, r) tickets", "@red", "dot"),
)
#: Counts of tickets: column, name in the key, colour, dashes.
COUNTS = (
    ("n_disjoint", "⌊m/r⌋", "@green", "dash"),
    ("n_windows", "m − r + 1", "@orange", "dashdot"),
    ("n_combinatorial", "C(m, r)", "@red", "dot"),
)
MEASURED = "measured, 95% interval"


def plot_success(
    success: pd.DataFrame,
    reference_width: int,
    *,
    goal: str = "reach zero loss",
    target_name: str = "teacher",
    ax: Sequence[Axes] | None = None,
    theme: Theme = LIGHT,
) -> Figure:
    """Success rate with lottery predictions (left), effective number of tickets (right).

    Args:
        success: from `edt.studies.success_table`.
        reference_width: r.
        goal: what a success is, in a few words.
        target_name: what one target is called.
        ax: two axes of yours (one where width r was not run); default a new figure.
        theme: colours.
    """
    panels = success_panels(success, reference_width, goal=goal, target_name=target_name)
    return draw(panels, theme=theme, ax=ax)


def plot_targets(
    success: pd.DataFrame,
    *,
    goal: str = "reach zero loss",
    target_name: str = "teacher",
    ax: Sequence[Axes] | None = None,
    theme: Theme = LIGHT,
) -> Figure:
    """Success rate and predictions of every target on its own (small multiples).

    Args:
        success: from `edt.studies.success_table`.
        goal: what a success is, in a few words.
        target_name: what one target is called.
        ax: axes of yours, one a target; default a new figure.
        theme: colours.
    """
    return draw(each_target(success, goal=goal, target_name=target_name), theme=theme, ax=ax)


def success_panels(
    table: pd.DataFrame, r: int, *, goal: str = "reach zero loss", target_name: str = "teacher"
) -> list[Panel]:
    """Panels of `plot_success`.

    Args:
        table: from `edt.studies.success_table`.
        r: reference width.
        goal: what a success is, in a few words.
        target_name: what one target is called.
    """
    everyone = table[table["target"] == ALL]
    widths = everyone["width"].tolist()
    targets = [int(t) for t in sorted(table["target"].unique()) if t != ALL]
    traces = _predictions(everyone)
    if len(targets) > 1:
        traces += [_one(table, t, target_name, "rate", t == targets[0]) for t in targets]
    rates = Panel(
        "Success against width",
        [_measured(everyone), *traces],
        width_axis(widths),
        percent_axis(f"runs that {goal}"),
    )
    return [rates, *_tickets(table, everyone, targets, r, target_name)]


def each_target(
    table: pd.DataFrame, *, goal: str = "reach zero loss", target_name: str = "teacher"
) -> list[Panel]:
    """Panels of `plot_targets`: one a target."""
    found = []
    for target in sorted(int(t) for t in table["target"].unique() if t != ALL):
        subset = table[table["target"] == target]
        p = subset["p"].dropna()
        note = f" (price of a ticket {100 * p.iloc[0]:.0f}%)" if len(p) else ""
        found.append(
            Panel(
                f"{target_name.capitalize()} {target + 1}{note}",
                [_measured(subset), *_predictions(subset)],
                width_axis(subset["width"].tolist(), "student width m", most=10),
                percent_axis(f"runs that {goal}"),
                height=320,
            )
        )
    return found


def _predictions(table: pd.DataFrame) -> list[Part]:
    known = table[table["disjoint"].notna()]
    traces = []
    for name, text, colour, dash in READINGS:
        low, high = known[f"{name}_low"], known[f"{name}_high"]
        hover = [
            lines(
                f"width {row['width']}, {text}",
                share(row[name], row[f"{name}_low"], row[f"{name}_high"]),
            )
            for row in rows(known)
        ]
        traces += [
            band(known["width"], low, high, text, colour),
            line(known["width"], known[name], text, colour, hover, marker=None, dash=dash),
        ]
    return traces


def _measured(table: pd.DataFrame) -> Part:
    hover = [
        lines(
            f"width {row['width']}: {row['good']:,} of {row['runs']:,} runs",
            share(row["rate"], row["rate_low"], row["rate_high"]),
        )
        for row in rows(table)
    ]
    return line(table["width"], table["rate"], MEASURED, "@blue", hover, low=table["rate_low"],
                high=table["rate_high"], zorder=2)  # fmt: skip


def _one(table: pd.DataFrame, target: int, target_name: str, name: str, key: bool) -> Part:
    """A thin line for one target."""
    subset = table[(table["target"] == target) & np.isfinite(table[name])]
    subset = subset[subset[name] > 0] if name == "n_eff" else subset
    say = share if name == "rate" else value
    hover = [
        lines(
            f"{target_name} {target + 1}, width {row['width']}",
            say(row[name], row[f"{name}_low"], row[f"{name}_high"]),
        )
        for row in rows(subset)
    ]
    return line(
        subset["width"], subset[name], f"each {target_name}", "@soft", hover,
        marker=MARKERS[target % len(MARKERS)], width=1.0, size=6, key=key, opacity=0.75,
    )  # fmt: skip


def _tickets(
    table: pd.DataFrame, everyone: pd.DataFrame, targets: list[int], r: int, target_name: str
) -> list[Panel]:
    known = everyone[everyone["n_disjoint"].notna()]
    if not len(known):
        return []
    widths = known["width"].tolist()
    finite = known[["n_eff", "n_eff_high", "n_eff_low"]].replace(np.inf, np.nan)
    top = 2.2 * float(np.nanmax([finite.max().max(), known["n_combinatorial"].max(), 4.0]))
    traces = _effective(known, top)
    for name, text, colour, dash in COUNTS:
        hover = [
            f"width {width}: {text} = {int(count):,}"
            for width, count in zip(widths, known[name], strict=True)
        ]
        traces.append(line(widths, known[name], text, colour, hover, marker=None, dash=dash))
    if len(targets) > 1:
        traces += [_one(table, t, target_name, "n_eff", t == targets[0]) for t in targets]
    return [
        Panel(
            "How many tickets a width is worth",
            traces,
            width_axis(widths),
            axis(f"tickets of width r = {r}", log=True, ticks=decades(1, top), span=(0.5, top)),
        )
    ]


def _worth(row: Part) -> str:
    found = value(row["n_eff"], row["n_eff_low"], row["n_eff_high"])
    return lines(f"width {row['width']}: worth {found}", "effective tickets")


def _effective(known: pd.DataFrame, top: float) -> list[Part]:
    """Effective tickets; triangles where the data give a lower bound only."""
    closed = known[np.isfinite(known["n_eff"]) & (known["n_eff"] > 0)]
    high = closed["n_eff_high"].where(np.isfinite(closed["n_eff_high"]), top)
    hover = [_worth(row) for row in rows(closed)]
    traces = [
        line(closed["width"], closed["n_eff"], MEASURED, "@blue", hover,
             low=closed["n_eff_low"].clip(lower=0.5), high=high, zorder=2)
    ]  # fmt: skip
    open_ = known[np.isinf(known["n_eff"]) & np.isfinite(known["n_eff_low"])]
    if len(open_):
        traces.append(
            points(open_["width"], open_["n_eff_low"].clip(lower=0.5), "at least", "@blue",
                   [_worth(row) for row in rows(open_)], marker="^", size=11)
        )  # fmt: skip
    return traces


checked(__name__)
