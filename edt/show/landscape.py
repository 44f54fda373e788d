"""Figures of the landscape experiments: escapes, paths, censuses, spurious minima."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from edt.landscape import DESTINATIONS, Census, Escape
from edt.show.style import (
    LIGHT,
    MARKERS,
    Theme,
    label_ends,
    new_figure,
    percent_axis,
    styled,
    width_axis,
)
from edt.stats import ratio_interval

if TYPE_CHECKING:
    from edt.studies.escape.run import EscapeRun

#: What becomes of a run that left an embedded bad minimum.
ENDS = {
    "good": "a good minimum",
    "lower": "a lower bad minimum",
    "same": "no lower",
    "open": "lower, no verdict",
    "channel": "a channel to infinity",
    "diverged": "diverged",
}
SHARES = {"equal": "equal shares", "positive": "positive shares", "signed": "mixed signs"}


def plot_escape(escape: Escape | EscapeRun, *, theme: Theme = LIGHT) -> Figure:
    """Escape dimensions, ends of the ways down, and time to escape, against neurons added.

    Args:
        escape: from `edt.landscape.escape_experiment` or `edt.studies.run_escape`.
        theme: colours.
    """
    with styled(theme):
        figure, axes = new_figure(3, size=(17.5, 5.2), width_ratios=[1.0, 1.15, 1.0])
        first, second, third = axes[0]
        _dimensions(first, escape.points, theme)
        _ends(second, escape.starts, theme)
        _times(third, escape, theme)
    return figure


def kind_colours(theme: Theme) -> dict[str, str]:
    """Colour of each way to share out an output weight."""
    return {"equal": theme.green, "positive": theme.blue, "signed": theme.orange}


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
    rows = []
    for kind in SHARES:
        for count in sorted(int(added) for added in points["added"].unique()):
            group = clear[(clear["shares"] == kind) & (clear["added"] == count)]
            if not (points["shares"] == kind).any():
                continue
            per = group.groupby("source")[["n_neg", "predicted_neg"]].mean().to_numpy()
            numbers = dict.fromkeys(("value", "low", "high", "predicted"), float("nan"))
            if len(per):
                found = ratio_interval(per[:, 0], np.ones(len(per)), unit=1.0)
                numbers = {"value": found.value, "low": found.low, "high": found.high,
                           "predicted": float(per[:, 1].mean())}  # fmt: skip
            rows.append({"shares": kind, "added": count, "minima": len(per), **numbers})
    return pd.DataFrame(rows)


def agreement(points: pd.DataFrame) -> tuple[int, int]:
    """Points where closed form and full Hessian give the same index, of those beyond doubt."""
    clear = points[points["clear"]]
    return int((clear["n_neg"] == clear["predicted_neg"]).sum()), len(clear)


def _dimensions(ax: Axes, points: pd.DataFrame, theme: Theme) -> None:
    """Mean index with intervals over minima; the closed form as a dash where it agrees or not."""
    added = sorted(int(count) for count in points["added"].unique())
    table = mean_dimensions(points)
    kinds = list(dict.fromkeys(table["shares"].tolist()))
    ends = []
    for place, kind in enumerate(kinds):
        colour = kind_colours(theme)[kind]
        own = table[table["shares"] == kind]
        at = np.arange(len(added)) + 0.16 * (place - 0.5 * (len(kinds) - 1))
        ax.vlines(at, own["low"], own["high"], color=colour, lw=2.0, zorder=4)
        ax.plot(at, own["predicted"], marker="_", ms=19, mew=2.0, color=theme.ink, ls="none",
                zorder=3)  # fmt: skip
        ax.plot(at, own["value"], color=colour, marker="os^"[place], ms=8, mec=theme.paper,
                mew=1.0, lw=2.0, zorder=5)  # fmt: skip
        ends.append((float(own["value"].iloc[-1]), SHARES[kind], colour))
    ax.set_xticks(range(len(added)), [str(count) for count in added])
    ax.set_xlim(-0.5, len(added) - 0.5)
    top = float(np.nan_to_num(table[["value", "high", "predicted"]].max().max(), nan=1.0))
    ax.set_ylim(bottom=0.0, top=(1.1 + 0.08 * (len(ends) + 1)) * top + 0.3)  # room for the key
    ax.set_xlabel("neurons added by splitting")
    ax.set_ylabel("negative directions")
    agree, clear = agreement(points)
    ax.set_title(f"Ways down: closed form right {agree} of {clear} times")
    handles = [
        ax.plot([], [], color=colour, marker="os^"[k], ms=7, lw=2.0, label=text)[0]
        for k, (_, text, colour) in enumerate(ends)
    ]
    handles.append(ax.plot([], [], color=theme.ink, marker="_", ms=14, mew=2.0, ls="none",
                           label="from the narrow network alone")[0])  # fmt: skip
    ax.legend(handles=handles, loc="upper left", handlelength=1.6)


def end_colours(theme: Theme) -> dict[str, str]:
    """Colour of each end of a way down."""
    return {
        "good": theme.green, "lower": theme.sky, "same": theme.red, "open": theme.grid,
        "channel": theme.purple, "diverged": theme.ink,
    }  # fmt: skip


def start_groups(
    starts: pd.DataFrame,
) -> tuple[list[tuple[str, str, int]], list[float], list[pd.DataFrame]]:
    """Groups of runs by (kind of start, shares, neurons added), their places, and their rows."""
    groups = [
        (kind, shares, int(count))
        for kind in ("negative", "random")
        for shares in SHARES
        for count in sorted(starts["added"].unique())
        if (
            (starts["kind"] == kind) & (starts["shares"] == shares) & (starts["added"] == count)
        ).any()
    ]
    x, gap, last, found = 0.0, [], None, []
    for kind, shares, count in groups:
        x += 0.0 if last is None else (1.0 if last == (kind, shares) else 1.7)
        last = (kind, shares)
        gap.append(x)
        found.append(
            starts[
                (starts["kind"] == kind) & (starts["shares"] == shares) & (starts["added"] == count)
            ]
        )
    return groups, gap, found


def _ends(ax: Axes, starts: pd.DataFrame, theme: Theme) -> None:
    """Stacked bars, one per (kind of start, shares, neurons added)."""
    colours = end_colours(theme)
    groups, gap, found = start_groups(starts)
    for x, group in zip(gap, found, strict=True):
        bottom = 0.0
        for word in DESTINATIONS:
            share = float((group["destination"] == word).mean())
            ax.bar(x, share, bottom=bottom, width=0.82, color=colours[word], lw=0)
            bottom += share
    percent_axis(ax, "runs that end at")
    ax.set_xticks(gap, [f"+{count}" for _, _, count in groups])
    ax.grid(False, axis="x")
    below: dict[str, Any] = {
        "transform": ax.get_xaxis_transform(),
        "ha": "center",
        "va": "top",
        "fontsize": 11,
    }
    for kind, shares in dict.fromkeys((kind, shares) for kind, shares, _ in groups):
        mine = [at for at, g in zip(gap, groups, strict=True) if g[:2] == (kind, shares)]
        ax.text(float(np.mean(mine)), -0.11, SHARES[shares], color=theme.soft, **below)
    for kind in dict.fromkeys(kind for kind, _, _ in groups):
        mine = [at for at, g in zip(gap, groups, strict=True) if g[0] == kind]
        text = "from negative directions" if kind == "negative" else "from random directions"
        ax.text(float(np.mean(mine)), -0.175, text, color=theme.ink, **below)
    present = [word for word in DESTINATIONS if (starts["destination"] == word).any()]
    ax.set_title("Where the ways down end")
    handles = [ax.bar(0, 0, color=colours[word], label=ENDS[word]) for word in present]
    ax.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.24), ncols=2,
              handlelength=1.1, columnspacing=1.2)  # fmt: skip


def timed(escape: Escape | EscapeRun) -> pd.DataFrame:
    """Runs along an eigenvector from points beyond doubt, that left by gradient descent."""
    starts = escape.starts
    clear = escape.points["clear"].to_numpy()[starts["point"]]
    ways = starts[(starts["kind"] == "negative") & clear & starts["escape_steps"].notna()]
    return ways[ways["linear_steps"] >= 1.0]


def _times(ax: Axes, escape: Escape | EscapeRun, theme: Theme) -> None:
    """Measured steps to escape against those of the quadratic model."""
    ways = timed(escape)
    ax.set_title("Steps to escape along an eigenvector")
    ax.set_xlabel("predicted by the curvature alone")
    ax.set_ylabel("gradient descent")
    if not len(ways):
        ax.text(0.5, 0.5, "no run of descent left its point", ha="center", color=theme.soft,
                transform=ax.transAxes)  # fmt: skip
        return
    ax.set_xscale("log")
    ax.set_yscale("log")
    for place, count in enumerate(sorted(ways["added"].unique())):
        mine = ways[ways["added"] == count]
        ax.plot(mine["linear_steps"], mine["escape_steps"], ls="none", ms=6, alpha=0.6, mew=0,
                marker=MARKERS[place % len(MARKERS)], label=f"{count} added",
                color=(theme.blue, theme.orange, theme.green, theme.purple)[place % 4])  # fmt: skip
    both = ways[["linear_steps", "escape_steps"]]
    line = [float(both.min().min()), float(both.max().max())]
    ax.plot(line, line, color=theme.soft, lw=1.4, ls=(0, (4, 3)), zorder=1, label="equal")
    ax.legend(loc="upper left", handlelength=1.4)


def plot_paths(
    path: xr.Dataset, networks: Sequence[int] | None = None, *, theme: Theme = LIGHT
) -> Figure:
    """Loss, gradient and index along training.

    Args:
        path: from `edt.landscape.index_along_path`.
        networks: which ones; default the first four.
        theme: colours.
    """
    chosen = list(range(min(4, path.sizes["network"]))) if networks is None else list(networks)
    palette = (theme.blue, theme.orange, theme.green, theme.purple, theme.red, theme.sky)
    step = np.maximum(path["step"].to_numpy(), 0.5)  # step 0 has no place on a logarithmic axis
    with styled(theme):
        figure, axes = new_figure(1, 3, size=(11.0, 9.0), sharex=True)
        loss, slope, index = axes[:, 0]
        for place, b in enumerate(chosen):
            colour = palette[place % len(palette)]
            one = path.isel(network=b)
            loss.plot(step, one["loss"], color=colour, label=f"network {b}")
            slope.plot(step, one["grad_norm"], color=colour)
            known = one["index"].to_numpy() >= 0
            index.step(step[known], one["index"].to_numpy()[known], where="mid", color=colour)
            index.plot(step[known], one["index"].to_numpy()[known], ls="none", color=colour,
                       marker=MARKERS[place % len(MARKERS)], ms=4)  # fmt: skip
        loss.set_yscale("log")
        slope.set_yscale("log")
        loss.set_xscale("log")
        loss.set_ylabel("loss")
        slope.set_ylabel("max |gradient|")
        index.set_ylabel("escape dimensions")
        index.set_ylim(bottom=-0.4)
        index.yaxis.get_major_locator().set_params(integer=True)
        index.set_xlabel("step of gradient descent")
        loss.set_title("Escape dimensions along gradient descent")
        loss.legend(loc="lower left")
    return figure


def plot_census(
    census: Census, teacher_width: int | None = None, *, theme: Theme = LIGHT
) -> Figure:
    """Share of bad minima, distinct ones with the unseen, and the minima themselves.

    Args:
        census: from `edt.landscape.census`.
        teacher_width: least width with loss 0: adds the counting of subspaces.
        theme: colours.
    """
    table = pooled(census)
    with styled(theme):
        figure, axes = new_figure(3, size=(18.0, 5.4), width_ratios=[1.0, 1.0, 1.15])
        first, second, third = axes[0]
        _bad_share(first, census, table, teacher_width, theme)
        _richness(second, table, theme)
        _ladder(third, census, theme)
    return figure


def pooled(census: Census) -> pd.DataFrame:
    """The census's table, one row a width: all targets together where there are several."""
    table = census.table()
    return table[table["target"] == -1] if (table["target"] == -1).any() else table


def _bad_share(ax: Axes, census: Census, table: pd.DataFrame, r: int | None, theme: Theme) -> None:
    widths = table["width"].tolist()
    share = table["bad_share"].to_numpy()
    errors = np.clip(
        np.stack([share - table["bad_share_low"], table["bad_share_high"] - share]), 0.0, None
    )
    ax.errorbar(widths, share, yerr=errors, color=theme.red, marker="o", ms=8, mec=theme.paper,
                mew=1.0, elinewidth=1.8, zorder=5)  # fmt: skip
    won = (table["good"] / table["runs"]).to_numpy()
    ax.plot(widths, won, color=theme.green, marker="s", ms=7, mec=theme.paper, mew=1.0, zorder=4)
    ends = [
        (float(share[-1]), "bad minima", theme.red),
        (float(won[-1]), "good minima", theme.green),
    ]
    if r is not None:
        counted = census.prediction(r)["minima_share"].to_numpy()
        ax.plot(widths, counted, color=theme.soft, lw=1.8, ls=(0, (4, 3)))
        ends.append((float(counted[-1]), "minima among\nsubspaces", theme.soft))
    width_axis(ax, widths)
    percent_axis(ax, "share of all runs")
    ax.set_title("Where runs end")
    label_ends(ax, max(widths), ends)


def _richness(ax: Axes, table: pd.DataFrame, theme: Theme) -> None:
    known = table[table["bad"] > 0]
    ax.set_title("Distinct bad minima")
    if not len(known):
        ax.text(0.5, 0.5, "no bad minima", ha="center", color=theme.soft, transform=ax.transAxes)
        return
    widths = known["width"].to_numpy()
    low = known["chao1"] - known["chao1_low"]
    high = known["chao1_high"] - known["chao1"]
    ax.errorbar(widths + 0.12, known["chao1"], yerr=np.clip(np.stack([low, high]), 0.0, None),
                color=theme.purple, marker="D", ms=7, mec=theme.paper, mew=1.0, ls="none",
                elinewidth=1.8, zorder=4, label="with the unseen (Chao1, 95%)")  # fmt: skip
    ax.plot(widths - 0.12, known["distinct"], color=theme.blue, marker="o", ms=8, ls="none",
            mec=theme.paper, mew=1.0, zorder=5, label="seen")  # fmt: skip
    for width, seen, covered in zip(widths, known["distinct"], known["coverage"], strict=True):
        ax.annotate(f"{covered:.0%}", (width - 0.12, seen), xytext=(0, -9),
                    textcoords="offset points", ha="center", va="top", fontsize=10,
                    color=theme.soft)  # fmt: skip
    ax.set_yscale("log")
    ax.set_ylim(bottom=0.55)
    top = float(known["chao1_high"].max())
    ax.set_ylim(top=4.0 * top)  # room for the key
    ax.set_yticks(*_counts(top))
    ax.minorticks_off()
    ax.set_ylabel("number (percent: coverage, Good-Turing)")
    width_axis(ax, table["width"].tolist())
    ax.legend(loc="upper left", handlelength=1.2)


def _counts(top: float) -> tuple[list[float], list[str]]:
    ticks = [float(k * 10**e) for e in range(7) for k in (1, 2, 5) if k * 10**e <= 1.5 * top]
    if len(ticks) > 9:
        ticks = [tick for tick in ticks if np.log10(tick).is_integer()]
    return ticks, [f"{tick:,.0f}" for tick in ticks]


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


def _ladder(ax: Axes, census: Census, theme: Theme) -> None:
    """Loss of every bad minimum at every width it was met; area is the share of that width."""
    bad = census.runs[census.runs["outcome"] == "bad"]
    widths = sorted(int(m) for m in census.runs["width"].unique())
    ax.set_title("Every bad minimum, wherever met")
    width_axis(ax, widths)
    ax.set_ylabel("loss")
    if not len(bad):
        ax.text(0.5, 0.5, "no bad minima", ha="center", color=theme.soft, transform=ax.transAxes)
        return
    ax.set_yscale("log")
    met = bad_minima(census)
    for _, places in met.groupby("minimum"):
        if len(places) > 1:
            at = places["width"]
            ax.plot([at.min(), at.max()], 2 * [float(places["loss"].min())], color=theme.soft,
                    lw=1.0, zorder=1)  # fmt: skip
    width = met["width"].to_numpy()
    area = 1100 * met["share"].to_numpy() + 12
    own = met["core"].to_numpy() == width
    for mine, colour, text in (
        (own, theme.red, "irreducible at this width"),
        (~own, theme.sky, "a narrower one, embedded"),
    ):
        if mine.any():
            loss = met["loss"].to_numpy()[mine]
            ax.scatter(width[mine], loss, s=area[mine], color=colour, alpha=0.65, lw=0,
                       zorder=3)  # fmt: skip
            ax.scatter([], [], s=70, color=colour, alpha=0.65, lw=0, label=text)
    ax.legend(loc="best", handletextpad=0.3)
