"""Pictures of the XOR experiment."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from edt.show.rates import rate_line
from edt.show.style import LIGHT, Theme, label_ends, new_figure, percent_axis, styled, width_axis

#: Start to (text, colour of the theme, marker, line).
LOOKS = {
    "fixed": ("ours, output weights N(0, 2)", "blue", "o", "-"),
    "he": ("ours, output weights N(0, 2/m)", "orange", "s", "--"),
}


#: Counts of tickets: column, what it is, colour of the theme, dashes.
COUNTS: tuple[tuple[str, str, str, tuple[float, ...]], ...] = (
    ("n_disjoint", "floor(m/2)", "green", (5, 2)),
    ("n_windows", "m − 1", "purple", (8, 2, 1.5, 2)),
    ("n_combinatorial", "C(m, 2)", "red", (1.5, 1.5)),
)


def plot_xor(table: pd.DataFrame, *, theme: Theme = LIGHT) -> Figure:
    """Success against width beside the reference (left), effective tickets (right).

    Args:
        table: from `edt.studies.xor.run.reference_table`.
        theme: colours.
    """
    with styled(theme):
        figure, axes = new_figure(2, size=(13.0, 5.6), width_ratios=[1.0, 1.0])
        left, right = axes[0]
        starts = list(dict.fromkeys(table["start"].tolist()))
        lines = [(start, table[table["start"] == start]) for start in starts]
        for k, (start, rows) in enumerate(lines):
            text, colour, marker, line = LOOKS[start]
            x = rows["width"].to_numpy(dtype=float) + 0.09 * (k + 0.5)
            rate_line(left, x, rows, getattr(theme, colour), marker, text, theme, line=line)
        known = table[table["rate_ref"].notna()].drop_duplicates("width")
        if len(known):
            rate_line(
                left, known["width"].to_numpy(dtype=float) - 0.12, known, theme.soft, "D",
                "reference, 1,000 seeds", theme, value="rate_ref", low="rate_ref_low",
                high="rate_ref_high", line=":",
            )  # fmt: skip
        widths = sorted({int(width) for width in table["width"]})
        width_axis(left, widths, "hidden neurons m")
        percent_axis(left, "runs that learn XOR (95% Wilson)")
        left.set_title("Success against width")
        left.legend(loc="lower right")
        _tickets(right, lines, known, theme)
    return figure


def _tickets(
    ax: Axes, lines: list[tuple[str, pd.DataFrame]], known: pd.DataFrame, theme: Theme
) -> None:
    ax.set_title("How many tickets of width 2 a width is worth")
    rows = lines[0][1][lines[0][1]["n_disjoint"].notna()]
    if not len(rows) or rows["n_eff"].isna().all():
        ax.text(0.5, 0.5, "width 2, the price of a ticket,\nis not among the widths",
                transform=ax.transAxes, ha="center", va="center", color=theme.soft)  # fmt: skip
        ax.set_axis_off()
        return
    widths = [int(width) for width in rows["width"]]
    ends = []
    for name, text, tint, dashes in COUNTS:
        colour = getattr(theme, tint)
        ax.plot(widths, rows[name], color=colour, dashes=dashes, lw=2.2, zorder=2)
        ends.append((float(rows[name].iloc[-1]), text, colour))
    top = 2.0 * max(float(rows["n_combinatorial"].max()), 4.0)
    for k, (start, own) in enumerate(lines):
        text, colour, marker, line = LOOKS[start]
        _points(
            ax, own, "n_eff", 0.09 * (k + 0.5), getattr(theme, colour), marker, line, top, theme
        )
    if len(known):
        _points(ax, known, "n_eff_ref", -0.12, theme.soft, "D", ":", top, theme)
    ax.set_yscale("log")
    ax.set_ylim(0.7, top)
    ticks = [tick for tick in (1, 2, 5, 10, 20, 50, 100, 200) if tick <= top]
    ax.set_yticks(ticks, [str(tick) for tick in ticks])
    ax.minorticks_off()
    width_axis(ax, widths, "hidden neurons m")
    ax.set_ylabel("effective tickets (95%)")
    label_ends(ax, max(widths) + 0.3, ends, gap=0.075)


def _points(
    ax: Axes,
    rows: pd.DataFrame,
    name: str,
    shift: float,
    colour: str,
    marker: str,
    line: str,
    top: float,
    theme: Theme,
) -> None:
    rows = rows[np.isfinite(rows[name]) & (rows[name] > 0)]
    value = rows[name].to_numpy(dtype=float)
    low = rows[f"{name}_low"].to_numpy(dtype=float)
    high = np.minimum(rows[f"{name}_high"].to_numpy(dtype=float), 10.0 * top)
    ax.errorbar(
        rows["width"] + shift, value, yerr=np.clip([value - low, high - value], 0.0, None),
        color=colour, marker=marker, ms=8, mec=theme.paper, mew=1.2, lw=2.2, ls=line,
        elinewidth=1.8, zorder=5,
    )  # fmt: skip
