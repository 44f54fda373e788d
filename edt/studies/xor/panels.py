"""Exclusive or against width: `edt.studies.xor.figures`."""

from __future__ import annotations

import numpy as np
import pandas as pd

from edt.show.axes import decades, percent_axis, width_axis
from edt.show.hover import lines, rows, share, value
from edt.show.marks import DASHES, line
from edt.show.panel import Panel, Part, axis
from edt.studies.xor.figures import COUNTS, LOOKS

REFERENCE = "reference, 1,000 seeds"


def xor(table: pd.DataFrame) -> list[Panel]:
    """Panels of `edt.studies.xor.figures.plot_xor`.

    Args:
        table: from `edt.studies.xor.run.reference_table`.
    """
    starts = list(dict.fromkeys(table["start"].tolist()))
    own = [(start, table[table["start"] == start]) for start in starts]
    known = table[table["rate_ref"].notna()].drop_duplicates("width")
    traces = []
    for k, (start, found) in enumerate(own):
        text, colour, marker, dash = LOOKS[start]
        hover = [
            lines(f"width {row['width']}, {text}", f"{row['good']:,} of {row['runs']:,} runs",
                  share(row["rate"], row["rate_low"], row["rate_high"]))
            for row in rows(found)
        ]  # fmt: skip
        traces.append(
            line(found["width"] + 0.09 * (k + 0.5), found["rate"], text, f"@{colour}", hover,
                 low=found["rate_low"], high=found["rate_high"], marker=marker, dash=DASHES[dash])
        )  # fmt: skip
    if len(known):
        hover = [
            lines(f"width {row['width']}, reference",
                  share(row["rate_ref"], row["rate_ref_low"], row["rate_ref_high"]))
            for row in rows(known)
        ]  # fmt: skip
        traces.append(
            line(known["width"] - 0.12, known["rate_ref"], REFERENCE, "@soft", hover,
                 low=known["rate_ref_low"], high=known["rate_ref_high"], marker="D", dash="dot")
        )  # fmt: skip
    widths = sorted({int(width) for width in table["width"]})
    return [
        Panel("Success against width", traces, width_axis(widths, "hidden neurons m"),
              percent_axis("runs that learn XOR (95% Wilson)")),
        *_tickets(own, known),
    ]  # fmt: skip


def _tickets(own: list[tuple[str, pd.DataFrame]], known: pd.DataFrame) -> list[Panel]:
    counted = own[0][1][own[0][1]["n_disjoint"].notna()]
    if not len(counted) or counted["n_eff"].isna().all():
        return []
    widths = [int(width) for width in counted["width"]]
    top = 2.0 * max(float(counted["n_combinatorial"].max()), 4.0)
    traces = []
    for k, (start, found) in enumerate(own):
        text, colour, marker, dash = LOOKS[start]
        traces.append(
            _worth(found, "n_eff", 0.09 * (k + 0.5), text, f"@{colour}", marker, DASHES[dash], top)
        )
    if len(known):
        traces.append(_worth(known, "n_eff_ref", -0.12, REFERENCE, "@soft", "D", "dot", top))
    for (name, text, colour, _), dash in zip(COUNTS, ("dash", "dashdot", "dot"), strict=True):
        hover = [
            f"width {width}: {text} = {int(count):,}"
            for width, count in zip(widths, counted[name], strict=True)
        ]
        traces.append(line(widths, counted[name], text, f"@{colour}", hover, marker=None,
                           dash=dash))  # fmt: skip
    return [
        Panel(
            "How many tickets of width 2 a width is worth",
            traces,
            width_axis(widths, "hidden neurons m"),
            axis("effective tickets (95%)", log=True, ticks=decades(1, top), span=(0.7, top)),
        )
    ]


def _worth(
    table: pd.DataFrame, name: str, shift: float, text: str, colour: str, marker: str, dash: str,
    top: float,
) -> Part:  # fmt: skip
    own = table[np.isfinite(table[name]) & (table[name] > 0)]
    hover = [
        lines(f"width {row['width']}, {text}",
              "worth " + value(row[name], row[f"{name}_low"], row[f"{name}_high"]))
        for row in rows(own)
    ]  # fmt: skip
    high = own[f"{name}_high"].clip(upper=10.0 * top)
    return line(own["width"] + shift, own[name], text, colour, hover,
                low=own[f"{name}_low"].clip(lower=0.1), high=high, marker=marker, dash=dash,
                zorder=2)  # fmt: skip
