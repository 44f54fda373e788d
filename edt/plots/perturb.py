"""Pictures of the perturb-rest experiment."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from edt.plots.rates import dodged, rate_line, size_axis, spans_decades
from edt.plots.style import LIGHT, Theme, new_figure, percent_axis, readable_on, styled

#: Label of the size of each kind of change.
SIZE = {
    "noise": "size of the change, |rest′ − rest| / |rest|",
    "resample": "share s of a fresh draw in the rest",
    "replace": "share of the rest drawn anew",
    "rescale": "factor on the rest",
    "flip": "share of the rest whose sign is flipped",
    "permute": "share of the rest that changes places",
    "zero": "share of the rest set to zero",
}
GROUP = {
    "winning": "winning tickets",
    "random": "as many at random",
    "losing": "losing tickets",
}


def _group_style(theme: Theme) -> dict[str, tuple[str, str]]:
    return {
        "winning": (theme.blue, "o"),
        "random": (theme.orange, "s"),
        "losing": (theme.red, "^"),
    }


def plot_wins(
    wins: pd.DataFrame, change: str, *, base: float | None = None, theme: Theme = LIGHT
) -> Figure:
    """Win rate against the size of the change (left); is it the same ticket (right)?

    Args:
        wins: from `edt.experiments.perturb_tables.win_table`.
        change: kind of change.
        base: win rate of fresh students of the same width, a dotted line.
        theme: colours.
    """
    with styled(theme):
        figure, axes = new_figure(2, size=(13.0, 5.6), width_ratios=[1.25, 1.0])
        left, right = axes[0]
        _rates(left, wins, base, theme)
        sizes = sorted(wins["size"].unique())
        size_axis(left, sizes, SIZE[change])
        percent_axis(left, "networks that win (95% Wilson)")
        left.set_title("The ticket is kept, the rest changes")
        left.legend(loc="lower left")
        _same(right, wins[wins["group"] == "winning"], theme)
        size_axis(right, sizes, SIZE[change])
    return figure


def _rates(ax: Axes, wins: pd.DataFrame, base: float | None, theme: Theme) -> None:
    if base is not None:
        ax.axhline(base, color=theme.soft, ls=":", lw=2.0, label="fresh students", zorder=1)
    styles = {g: s for g, s in _group_style(theme).items() if bool(wins["group"].eq(g).any())}
    log = spans_decades(wins["size"].tolist())
    for place, (group, (colour, marker)) in enumerate(styles.items()):
        table = wins[wins["group"] == group]
        x = dodged(table["size"].tolist(), place, len(styles), log=log)
        rate_line(ax, x, table, colour, marker, GROUP[group], theme)


def _same(ax: Axes, table: pd.DataFrame, theme: Theme) -> None:
    ax.set_title("Is it the ticket that wins?")
    if table["same"].isna().all():
        ax.text(0.5, 0.5, "not defined for\ntickets of weights", transform=ax.transAxes,
                ha="center", va="center", color=theme.soft)  # fmt: skip
        return
    ax.plot(
        table["size"], table["same"], color=theme.green, marker="D", ms=7, mec=theme.paper, lw=2.4,
        label="ticket neurons that play\nteacher neurons again",
    )  # fmt: skip
    ax.plot(
        table["size"], table["shift"], color=theme.purple, marker="v", ms=8, mec=theme.paper,
        lw=2.4, label="distance of the ticket's end\nfrom where it ended before",
    )  # fmt: skip
    ax.set_ylim(-0.03, max(1.04, 1.1 * float(np.nanmax(table["shift"]))))
    ax.set_ylabel("share; relative distance\n(winning networks)")
    ax.legend(loc="best", fontsize=11)


def plot_ticket_rates(runs: pd.DataFrame, change: str, *, theme: Theme = LIGHT) -> Figure:
    """Win rate of every winning ticket at every size: a table in colours.

    Args:
        runs: table ``runs`` of the experiment.
        change: kind of change.
        theme: colours.
    """
    own = runs[runs["group"] == "winning"]
    rates = own.pivot_table(index="ticket", columns="size", values="win", aggfunc="mean")
    target = own.groupby("ticket")["target"].first()
    order = rates.mean(axis=1).sort_values(kind="stable").index
    grid = rates.loc[order].to_numpy(dtype=float)
    with styled(theme):
        height = 1.9 + 0.34 * len(order)
        figure, axes = new_figure(1, size=(10.0, height))
        ax = axes[0, 0]
        image = ax.imshow(grid, aspect="auto", cmap="cividis", vmin=0, vmax=1)
        for i, row in enumerate(grid):
            for j, value in enumerate(row):
                red, green, blue, _ = image.cmap(image.norm(value))
                shade = f"#{int(255 * red):02x}{int(255 * green):02x}{int(255 * blue):02x}"
                ax.text(j, i, f"{100 * value:.0f}", ha="center", va="center", fontsize=11,
                        color=readable_on(shade))  # fmt: skip
        ax.set_xticks(range(grid.shape[1]), [f"{size:g}" for size in rates.columns])
        labels = [f"{t + 1} (teacher {target[t] + 1})" for t in order]
        ax.set_yticks(range(len(order)), labels, fontsize=11)
        ax.set_xlabel(SIZE[change])
        ax.set_ylabel("ticket")
        ax.grid(False)
        ax.set_title("Networks that win (%), ticket by ticket")
    return figure


def plot_adversary(runs: pd.DataFrame, adversary: pd.DataFrame, *, theme: Theme = LIGHT) -> Figure:
    """Share of tickets that some rest in the ball makes fail, by how that rest was found.

    Args:
        runs: table ``runs`` of an experiment whose change is "noise".
        adversary: table ``adversary``.
        theme: colours.
    """
    own = runs[runs["group"] == "winning"]
    rests = int(own.groupby(["ticket", "size"]).size().max())
    blind = own.groupby(["size", "ticket"])["win"].min().eq(False).groupby("size").mean()
    lost = adversary.assign(lost=~adversary["win"].astype(bool))
    with styled(theme):
        figure, axes = new_figure(1, size=(10.0, 5.4))
        ax = axes[0, 0]
        ax.plot(blind.index, blind, color=theme.soft, marker="o", ms=8, mec=theme.paper, ls="--",
                label=f"worst of {rests} random rests")  # fmt: skip
        for method, colour, marker, text in (
            ("evolution", theme.red, "s", "evolution"),
            ("gradient", theme.blue, "^", "gradient through unrolled training"),
        ):
            rate = lost[lost["method"] == method].groupby("radius")["lost"].mean()
            if len(rate):
                trials = int(lost.loc[lost["method"] == method, "trials"].max())
                ax.plot(rate.index, rate, color=colour, marker=marker, ms=9, mec=theme.paper,
                        label=f"{text} ({trials} trials)")  # fmt: skip
        size_axis(ax, sorted({*blind.index, *lost["radius"]}), SIZE["noise"])
        percent_axis(ax, "tickets made to fail")
        ax.set_title("How small a change breaks a winning ticket")
        ax.legend(loc="upper left")
    return figure
