"""The main picture: success against width beside the lottery, and the tickets of a width."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from edt.show.style import (
    LIGHT,
    MARKERS,
    Theme,
    key_below,
    label_ends,
    new_figure,
    percent_axis,
    styled,
    width_axis,
)
from edt.studies.common.success_table import ALL


def plot_success(
    success: pd.DataFrame,
    reference_width: int,
    *,
    goal: str = "reach zero loss",
    target_name: str = "teacher",
    theme: Theme = LIGHT,
) -> Figure:
    """Success rate with lottery predictions (left), effective number of tickets (right).

    Args:
        success: from `edt.studies.success_table`.
        reference_width: r.
        goal: what a success is, in a few words.
        target_name: what one target is called.
        theme: colours.
    """
    with styled(theme):
        figure, axes = new_figure(2, size=(13.0, 6.0), width_ratios=[1.0, 1.0])
        left, right = axes[0]
        _rates(left, success, goal, target_name, theme)
        _tickets(right, success, reference_width, target_name, theme)
    return figure


def plot_targets(
    success: pd.DataFrame,
    *,
    goal: str = "reach zero loss",
    target_name: str = "teacher",
    theme: Theme = LIGHT,
) -> Figure:
    """Success rate and predictions of every target on its own (small multiples)."""
    targets = [int(t) for t in sorted(success["target"].unique()) if t != ALL]
    columns = min(len(targets), 3)
    rows = -(-len(targets) // columns)
    with styled(theme):
        figure, axes = new_figure(
            columns, rows, size=(4.4 * columns + 0.6, 4.2 * rows + 0.4), sharey=True
        )
        for ax, target in zip(axes.flat, targets, strict=False):
            table = success[success["target"] == target]
            _predictions(ax, table, theme)
            _points(ax, table, theme.blue, MARKERS[target % len(MARKERS)], theme)
            width_axis(ax, table["width"].tolist(), "student width m")
            if len(table) > 10:
                ax.set_xticks(table["width"].tolist()[::2])
            percent_axis(ax, "")
            p = table["p"].dropna()
            note = f"  (p = {100 * p.iloc[0]:.0f}%)" if len(p) else ""
            ax.set_title(f"{target_name.capitalize()} {target + 1}{note}")
        for ax in axes[:, 0]:
            ax.set_ylabel(f"runs that {goal}")
        for ax in axes.flat[len(targets) :]:
            ax.set_visible(False)
        figure.legend(handles=_handles(theme), loc="outside lower center", ncols=3)
    return figure


def _rates(ax: Axes, success: pd.DataFrame, goal: str, target_name: str, theme: Theme) -> None:
    everyone = success[success["target"] == ALL]
    _predictions(ax, everyone, theme)
    targets = [int(t) for t in success["target"].unique() if t != ALL]
    if len(targets) > 1:
        for target in targets:
            table = success[success["target"] == target]
            ax.plot(
                table["width"],
                table["rate"],
                color=theme.soft,
                lw=1.0,
                marker=MARKERS[target % len(MARKERS)],
                ms=4,
                alpha=0.7,
                zorder=2,
            )
    _points(ax, everyone, theme.blue, "o", theme)
    width_axis(ax, everyone["width"].tolist())
    percent_axis(ax, f"runs that {goal}")
    ax.set_title("Success against width")
    _key(ax, theme, target_name if len(targets) > 1 else None)


def _points(ax: Axes, table: pd.DataFrame, colour: str, marker: str, theme: Theme) -> None:
    rate = table["rate"].to_numpy()
    # Clipped: Bounds meet the estimate at 0 and 1 only up to rounding.
    errors = np.clip(np.stack([rate - table["rate_low"], table["rate_high"] - rate]), 0.0, None)
    ax.errorbar(
        table["width"],
        rate,
        yerr=errors,
        color=colour,
        marker=marker,
        ms=8,
        mec=theme.paper,
        mew=1.2,
        lw=2.4,
        elinewidth=1.8,
        capsize=0,
        zorder=5,
    )


def _predictions(ax: Axes, table: pd.DataFrame, theme: Theme) -> None:
    known = table[table["disjoint"].notna()]
    for name, colour, dashes in (
        ("disjoint", theme.green, (5, 2)),
        ("combinatorial", theme.red, (1.5, 1.5)),
    ):
        ax.fill_between(
            known["width"],
            known[f"{name}_low"],
            known[f"{name}_high"],
            color=colour,
            alpha=0.16,
            lw=0,
            zorder=1,
        )
        ax.plot(known["width"], known[name], color=colour, lw=2.2, dashes=dashes, zorder=3)


def _handles(theme: Theme, target_name: str | None = None) -> list[Line2D]:
    entries = [
        ("measured, 95% interval", theme.blue, "-", "o", 2.2),
        ("lottery: C(m, r) tickets", theme.red, (0, (1.5, 1.5)), None, 2.2),
        ("lottery: floor(m/r) tickets", theme.green, (0, (5, 2)), None, 2.2),
    ]
    if target_name is not None:
        entries.append((f"each {target_name}", theme.soft, "-", MARKERS[1], 1.0))
    return [
        Line2D([], [], color=colour, ls=line, marker=marker, lw=wide, ms=3 + 1.8 * wide, label=text)
        for text, colour, line, marker, wide in entries
    ]


def _key(ax: Axes, theme: Theme, target_name: str | None = None) -> None:
    """Coloured words with a sample of their line."""
    handles = _handles(theme, target_name)
    for text, handle in zip(key_below(ax, 2, handles).get_texts(), handles, strict=True):
        text.set_color(handle.get_color())


def _tickets(ax: Axes, success: pd.DataFrame, r: int, target_name: str, theme: Theme) -> None:
    everyone = success[(success["target"] == ALL) & success["n_disjoint"].notna()]
    ax.set_title("How many tickets a width is worth")
    if not len(everyone):
        ax.text(
            0.5,
            0.5,
            f"width {r}, the price of a ticket,\nis not among the widths",
            transform=ax.transAxes,
            ha="center",
            va="center",
            color=theme.soft,
        )
        ax.set_axis_off()
        return
    widths = everyone["width"].tolist()
    finite = everyone[["n_eff", "n_eff_high", "n_eff_low"]].replace(np.inf, np.nan)
    top = float(np.nanmax([finite.max().max(), everyone["n_combinatorial"].max(), 4.0]))
    ax.set_yscale("log")
    ax.set_ylim(0.5, 2.2 * top)
    ends = []
    for name, text, colour, dashes in (
        ("n_disjoint", "floor(m/r)", theme.green, (5, 2)),
        ("n_windows", "m − r + 1", theme.orange, (8, 2, 1.5, 2)),
        ("n_combinatorial", "C(m, r)", theme.red, (1.5, 1.5)),
    ):
        ax.plot(widths, everyone[name], color=colour, dashes=dashes, lw=2.2, zorder=2)
        ends.append((float(everyone[name].iloc[-1]), text, colour))
    for target in [int(t) for t in success["target"].unique() if t != ALL]:
        own = success[(success["target"] == target) & success["n_disjoint"].notna()]
        own = own[np.isfinite(own["n_eff"]) & (own["n_eff"] > 0)]
        if success["target"].nunique() > 2:
            ax.plot(
                own["width"],
                own["n_eff"],
                color=theme.soft,
                lw=1.0,
                marker=MARKERS[target % len(MARKERS)],
                ms=4,
                alpha=0.7,
                zorder=3,
            )
    last = _effective(ax, everyone, 2.2 * top, theme)
    if last is not None:
        unbounded = np.isinf(everyone["n_eff"]).any()
        ends.append((last, "measured\n(↑ at least)" if unbounded else "measured", theme.blue))
    width_axis(ax, widths)
    ax.set_ylabel(f"tickets of width r = {r}")
    ax.set_yticks(*_decades(2.2 * top))
    ax.minorticks_off()
    label_ends(ax, max(widths), ends, gap=0.08)


def _effective(ax: Axes, table: pd.DataFrame, top: float, theme: Theme) -> float | None:
    """Effective tickets with intervals; arrows where the data give no upper bound."""
    value = table["n_eff"].to_numpy()
    low, high = table["n_eff_low"].to_numpy(), table["n_eff_high"].to_numpy()
    width = table["width"].to_numpy()
    known = np.isfinite(value) & (value > 0)
    ceiling = np.where(np.isfinite(high), high, top)
    ax.vlines(width[known], np.maximum(low, 0.5)[known], ceiling[known], color=theme.blue, lw=1.8,
              zorder=4)  # fmt: skip
    ax.plot(width[known], value[known], color=theme.blue, marker="o", ms=8, mec=theme.paper,
            mew=1.2, lw=2.4, zorder=5)  # fmt: skip
    open_ = np.isinf(value) & np.isfinite(low)
    for x, bottom in zip(width[open_], np.maximum(low, 0.5)[open_], strict=True):
        ax.annotate(
            "",
            xy=(x, min(2.6 * bottom, top)),
            xytext=(x, bottom),
            arrowprops={"arrowstyle": "-|>", "color": theme.blue, "lw": 1.8, "shrinkA": 0},
            zorder=4,
        )
        ax.plot([x], [bottom], color=theme.blue, marker="_", ms=10, mew=2, zorder=5)
    if not known.any():
        return None
    return float(value[known][-1])


def _decades(top: float) -> tuple[list[float], list[str]]:
    """Ticks 1, 10, 100, ... with 2 and 5 between them while there is room."""
    between = (1, 2, 5) if top < 300 else (1,)
    ticks = [
        float(k * 10**e) for e in range(int(np.log10(top)) + 1) for k in between
        if k * 10**e <= top
    ]  # fmt: skip
    return ticks, [f"{tick:,.0f}" for tick in ticks]
