"""Exclusive or against width, beside the reference; how many tickets a width is worth."""

from __future__ import annotations

import numpy as np
import pandas as pd

from edt.arguments import checked
from edt.show.axes import decades, percent_axis, width_axis
from edt.show.hover import lines, rows, share, value
from edt.show.marks import line
from edt.show.panel import Panel, Part, axis
from edt.studies.xor.run import NAMES

#: Start to (text, colour, marker, line).
LOOKS = {
    "fixed": (f"ours, {NAMES['fixed']}", "@blue", "o", "solid"),
    "he": (f"ours, {NAMES['he']}", "@orange", "s", "dash"),
}
#: The look of the reference.
REFERENCE = ("reference, 1,000 seeds", "@soft", "D", "dot")
#: Counts of tickets: column, what it is, colour, line.
COUNTS = (
    ("n_disjoint", "⌊m/2⌋", "@green", "dash"),
    ("n_windows", "m − 1", "@purple", "dashdot"),
    ("n_combinatorial", "C(m, 2)", "@red", "dot"),
)


def xor(table: pd.DataFrame) -> list[Panel]:
    """Success against width beside the reference, and effective tickets.

    Args:
        table: from `edt.studies.xor.run.reference_table`.
    """
    starts = list(dict.fromkeys(table["start"].tolist()))
    subset = [(LOOKS[start], table[table["start"] == start]) for start in starts]
    known = table[table["rate_ref"].notna()].drop_duplicates("width")
    traces = [_rates(found, "rate", look) for look, found in subset]
    if len(known):
        traces.append(_rates(known, "rate_ref", REFERENCE))
    widths = sorted({int(width) for width in table["width"]})
    return [
        Panel("Success against width", traces, width_axis(widths, "hidden neurons m"),
              percent_axis("runs that learn XOR (95% Wilson)")),
        *_tickets(subset, known),
    ]  # fmt: skip


def _rates(table: pd.DataFrame, name: str, look: tuple[str, str, str, str]) -> Part:
    text, colour, marker, dash = look
    counts = name == "rate"
    hover = [
        lines(f"width {row['width']}, {text}",
              f"{row['good']:,} of {row['runs']:,} runs" if counts else "",
              share(row[name], row[f"{name}_low"], row[f"{name}_high"]))
        for row in rows(table)
    ]  # fmt: skip
    return line(table["width"], table[name], text, colour, hover, low=table[f"{name}_low"],
                high=table[f"{name}_high"], marker=marker, dash=dash)  # fmt: skip


def _tickets(
    subset: list[tuple[tuple[str, str, str, str], pd.DataFrame]], known: pd.DataFrame
) -> list[Panel]:
    counted = subset[0][1][subset[0][1]["n_disjoint"].notna()]
    if not len(counted) or counted["n_eff"].isna().all():
        return []
    widths = [int(width) for width in counted["width"]]
    ends = pd.concat([found["n_eff_high"] for _, found in subset])
    top = max(
        2.0 * max(float(counted["n_combinatorial"].max()), 4.0),
        1.1 * float(ends[np.isfinite(ends)].max()),
    )
    traces = [_worth(found, "n_eff", look, top) for look, found in subset]
    if len(known):
        traces.append(_worth(known, "n_eff_ref", REFERENCE, top))
    for name, text, colour, dash in COUNTS:
        hover = [
            f"width {width}: {text} = {int(count):,}"
            for width, count in zip(widths, counted[name], strict=True)
        ]
        traces.append(line(widths, counted[name], text, colour, hover, marker=None, dash=dash))
    return [
        Panel(
            "How many tickets of width 2 a width is worth",
            traces,
            width_axis(widths, "hidden neurons m"),
            axis("effective tickets (95%)", log=True, ticks=decades(1, top), span=(0.7, top)),
        )
    ]


def _worth(table: pd.DataFrame, name: str, look: tuple[str, str, str, str], top: float) -> Part:
    text, colour, marker, dash = look
    subset = table[np.isfinite(table[name]) & (table[name] > 0)]
    hover = [
        lines(f"width {row['width']}, {text}",
              "worth " + value(row[name], row[f"{name}_low"], row[f"{name}_high"]))
        for row in rows(subset)
    ]  # fmt: skip
    return line(subset["width"], subset[name], text, colour, hover,
                low=subset[f"{name}_low"].clip(lower=0.1),
                high=subset[f"{name}_high"].clip(upper=10.0 * top), marker=marker, dash=dash,
                zorder=2)  # fmt: skip


checked(__name__)
