"""Escapes against width reached, and gradient descent's own paths."""

from __future__ import annotations

import numpy as np
import pandas as pd

from edt.arguments import checked
from edt.show.axes import log_axis, percent_axis, place_axis, width_axis
from edt.show.columns import Terms
from edt.show.hover import lines, rows, share
from edt.show.landscape import PALETTE, path_panel, told
from edt.show.marks import DASHES, line, points, shade
from edt.show.panel import Panel, Part
from edt.show.style import MARKERS

#: Words of the tables.
TERMS = Terms(
    headings={
        "good": "reach good", "drop": "loss drop", "left": "left by descent", "starts": "runs",
        "escape_steps": "steps to escape", "start_index": "open at start",
        "end_index": "open at the end", "plateau_index": "open on plateaus",
        "shut": "shut plateaus", "networks": "students", "agree": "agrees",
    },
)  # fmt: skip


def ways(ends: pd.DataFrame, starts: pd.DataFrame, r: int) -> list[Panel]:
    """Share of good ends against width reached; loss fallen, distance gone.

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
    widths = sorted(int(width) for width in ends["width"].unique())
    narrows = sorted(int(width) for width in ends["narrow"].unique())
    traces = []
    for place, narrow in enumerate(narrows):
        part = ends[ends["narrow"] == narrow]
        hover = [
            lines(
                f"minima of width {narrow}, in width {row['width']}: {row['starts']:,} runs",
                "good " + share(row["good"], row["good_spread_low"], row["good_spread_high"]),
                f"from {row['minima']} minima",
            )
            for row in rows(part)
        ]
        traces.append(
            line(part["width"], part["good"],
                 f"minima of width {narrow}", PALETTE[place % len(PALETTE)], hover,
                 low=part["good_spread_low"].fillna(part["good"]),
                 high=part["good_spread_high"].fillna(part["good"]),
                 marker=MARKERS[place % len(MARKERS)],
                 dash=list(DASHES.values())[place % len(DASHES)])
        )  # fmt: skip
    more: Part = {}
    if r and min(widths) < r:
        more = {
            "shapes": [shade(min(widths) - 0.6, r - 0.5, "@soft/0.14")],
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
    """Loss, gradient and escape dimensions along gradient descent; a panel for each width.

    Args:
        paths: table ``paths``.
        places: from `edt.studies.escape.run.plateau_table`.
    """
    targets = sorted(int(target) for target in paths["target"].unique())
    named = paths.assign(path=[f"target {target + 1}" for target in paths["target"]])
    named = named.sort_values(["target", "seed", "step"], kind="stable")
    found = []
    for width in sorted(int(width) for width in paths["width"].unique()):
        stops: list[Part] = []
        part = places[places["width"] == width]
        for row, name in enumerate(("loss", "grad_norm", "index") if len(part) else ()):
            hover = [
                told(entry, f"plateau, target {entry['target'] + 1}, seed {entry['seed']}")
                for entry in rows(part)
            ]
            mark = points(part["step"].clip(lower=0.5), part[name], "plateau", "@ink", hover,
                          size=8, key=not row, yaxis=f"y{row + 1}" if row else "y")  # fmt: skip
            mark["marker"] |= {
                "color": [PALETTE[targets.index(int(target)) % 6] for target in part["target"]],
                "line": {"color": "@ink", "width": 1},
            }
            stops.append(mark)
        here = named[named["width"] == width]
        found.append(path_panel(f"Width {width}", here, stops, named))
    return found


checked(__name__)
