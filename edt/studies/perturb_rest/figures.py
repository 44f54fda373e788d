"""Pictures of the perturb-rest experiment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from edt.show.rates import dodged, rate_line, size_axis, spans_decades
from edt.show.style import (
    LIGHT,
    Theme,
    key_below,
    new_figure,
    percent_axis,
    readable_on,
    styled,
)

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


def group_looks(theme: Theme) -> dict[str, tuple[str, str]]:
    """Colour and marker of each group of tickets."""
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
        wins: from `edt.studies.perturb_rest.tables.win_table`.
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
        key_below(left)
        _same(right, wins[wins["group"] == "winning"], theme)
        size_axis(right, sizes, SIZE[change])
    return figure


def _rates(ax: Axes, wins: pd.DataFrame, base: float | None, theme: Theme) -> None:
    if base is not None:
        ax.axhline(base, color=theme.soft, ls=":", lw=2.0, label="fresh students", zorder=1)
    styles = {g: s for g, s in group_looks(theme).items() if bool(wins["group"].eq(g).any())}
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


def ticket_rates(runs: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series]:
    """Win rate of every winning ticket at every size, worst ticket first; its target."""
    own = runs[runs["group"] == "winning"]
    rates = own.pivot_table(index="ticket", columns="size", values="win", aggfunc="mean")
    order = rates.mean(axis=1).sort_values(kind="stable").index
    return rates.loc[order], own.groupby("ticket")["target"].first()


def plot_ticket_rates(runs: pd.DataFrame, change: str, *, theme: Theme = LIGHT) -> Figure:
    """Win rate of every winning ticket at every size: a table in colours.

    Args:
        runs: table ``runs`` of the experiment.
        change: kind of change.
        theme: colours.
    """
    rates, target = ticket_rates(runs)
    order = rates.index
    grid = rates.to_numpy(dtype=float)
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


@dataclass(frozen=True)
class Broken:
    """Tickets made to fail by one way to look for a bad rest.

    Attributes:
        name: of the way.
        colour, marker: of its line.
        sizes: of the change, rising.
        counts: tickets that failed, of tickets tried, at each size.
    """

    name: str
    colour: str
    marker: str
    sizes: list[float]
    counts: list[tuple[int, int]]


def broken(adversary: pd.DataFrame) -> list[Broken]:
    """Tickets that some rest makes fail: found by chance, by evolution, by the gradient.

    Args:
        adversary: table ``adversary``.
    """
    found = []
    for method, colour, marker, text in (
        ("random", "soft", "o", "worst of random rests"),
        ("evolution", "red", "s", "evolution"),
        ("gradient", "blue", "^", "gradient through unrolled training"),
    ):
        tried = adversary[adversary["method"] == method]
        if len(tried):
            name = f"{text} ({int(tried['trials'].max())} trials)"
            lost = ~tried.set_index("radius")["win"].astype(bool)
            found.append(_counted(name, colour, marker, lost))
    return found


def _counted(name: str, colour: str, marker: str, lost: pd.Series) -> Broken:
    """``lost`` is indexed by size in its first level."""
    counts = lost.groupby(level=0).agg(["sum", "size"])
    pairs = [(int(k), int(n)) for k, n in counts.to_numpy()]
    return Broken(name, colour, marker, [float(size) for size in counts.index], pairs)


def plot_adversary(adversary: pd.DataFrame, *, theme: Theme = LIGHT) -> Figure:
    """Share of tickets that some rest in the ball makes fail, by how that rest was found.

    Args:
        adversary: table ``adversary``.
        theme: colours.
    """
    found = broken(adversary)
    with styled(theme):
        figure, axes = new_figure(1, size=(10.0, 5.4))
        ax = axes[0, 0]
        for entry in found:
            rates = [lost / tickets for lost, tickets in entry.counts]
            ax.plot(entry.sizes, rates, color=getattr(theme, entry.colour), marker=entry.marker,
                    ms=9, mec=theme.paper, ls="--" if entry.marker == "o" else "-",
                    label=entry.name)  # fmt: skip
        size_axis(ax, sorted({size for entry in found for size in entry.sizes}), SIZE["noise"])
        percent_axis(ax, "tickets made to fail")
        ax.set_title("How small a change breaks a winning ticket")
        ax.legend(loc="upper left")
    return figure
