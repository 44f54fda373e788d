"""Winning tickets among changed rests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from edt.arguments import checked
from edt.show.axes import percent_axis, size_axis
from edt.show.columns import Terms
from edt.show.hover import lines, rows, share
from edt.show.marks import heatmap, line
from edt.show.panel import Panel, Part, axis
from edt.stats import wilson

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
#: Colour, marker and line of each group of tickets.
LOOKS = {
    "winning": ("@blue", "o", "solid"),
    "random": ("@orange", "s", "dash"),
    "losing": ("@red", "^", "dot"),
}
#: Words of the tables.
TERMS = Terms(
    headings={
        "group": "tickets", "spread": "95% over teachers", "same": "same neurons",
        "wins": "win", "runs": "networks",
    },
    cells={"group": GROUP},
)  # fmt: skip


def ticket_rates(runs: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series]:
    """Win rate of every winning ticket at every size, worst ticket first; its target."""
    part = runs[runs["group"] == "winning"]
    rates = part.pivot_table(index="ticket", columns="size", values="win", aggfunc="mean")
    order = rates.mean(axis=1).sort_values(kind="stable").index
    return rates.loc[order], part.groupby("ticket")["target"].first()


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
        ("random", "@soft", "o", "worst of random rests"),
        ("evolution", "@red", "s", "evolution"),
        ("gradient", "@blue", "^", "gradient through unrolled training"),
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


def wins(table: pd.DataFrame, change: str, *, base: float | None = None) -> list[Panel]:
    """Win rate against the size of the change; is it the same ticket?

    Args:
        table: from `edt.studies.perturb_rest.tables.win_table`.
        change: kind of change.
        base: win rate of fresh students of the same width.
    """
    sizes = sorted(float(size) for size in table["size"].unique())
    traces: list[Part] = []
    for group, (colour, marker, dash) in LOOKS.items():
        part = table[table["group"] == group]
        if not len(part):
            continue
        hover = [
            lines(
                f"{GROUP[group]}, size {row['size']:g}: {row['wins']:,} of {row['runs']:,} win",
                share(row["rate"], row["spread_low"], row["spread_high"]),
                f"tickets that lost at least once: {row['failing']} of {row['tickets']}",
            )
            for row in rows(part)
        ]
        traces.append(
            line(part["size"], part["rate"], GROUP[group], colour, hover, low=part["spread_low"],
                 high=part["spread_high"], marker=marker, dash=dash)
        )  # fmt: skip
    if base is not None:
        traces.append(
            line(sizes, [base] * len(sizes), "fresh students", "@soft",
                 [f"fresh students: {share(base)} win"] * len(sizes), marker=None, dash="dot")
        )  # fmt: skip
    left = Panel("The ticket is kept, the rest changes", traces, size_axis(sizes, SIZE[change]),
                 percent_axis("networks that win (95%)"))  # fmt: skip
    return [left, *_same(table[table["group"] == "winning"], sizes, SIZE[change])]


def _same(part: pd.DataFrame, sizes: list[float], label: str) -> list[Panel]:
    if part["same"].isna().all():
        return []
    traces = []
    for name, text, colour, marker in (
        ("same", "share of ticket neurons that play teacher neurons again", "@green", "D"),
        ("shift", "distance of the ticket's end from where it ended, relative", "@purple", "v"),
    ):
        hover = [lines(f"size {row['size']:g}: {row[name]:.4g}", text) for row in rows(part)]
        traces.append(line(part["size"], part[name], text, colour, hover, marker=marker))
    top = max(1.04, 1.1 * float(np.nanmax(part["shift"])))
    return [
        Panel(
            "Is it the ticket that wins?",
            traces,
            size_axis(sizes, label),
            axis("share; relative distance (winning networks)", span=(-0.03, top)),
        )
    ]


def tickets(runs: pd.DataFrame, change: str) -> list[Panel]:
    """Win rate of every winning ticket at every size: a table in colours.

    Args:
        runs: table ``runs`` of the experiment.
        change: kind of change.
    """
    rates, target = ticket_rates(runs)
    part = runs[runs["group"] == "winning"]
    counts = part.pivot_table(index="ticket", columns="size", values="win", aggfunc="size")
    counts = counts.loc[rates.index]
    names = [f"{ticket + 1} (teacher {target[ticket] + 1})" for ticket in rates.index]
    hover = [
        [
            lines(f"ticket {name}, size {size:g}", f"{share(rate)} of {number:.0f} networks win")
            for size, rate, number in zip(rates.columns, row, numbers, strict=True)
        ]
        for name, row, numbers in zip(names, rates.to_numpy(), counts.to_numpy(), strict=True)
    ]
    return [
        Panel(
            "Networks that win (%), ticket by ticket",
            [heatmap(rates.to_numpy(dtype=float), hover)],
            axis(SIZE[change].replace(", ", ",<br>"), ticks=range(rates.shape[1]), grid=False,
                 labels=[f"{size:g}" for size in rates.columns]),
            axis("ticket", ticks=range(len(names)), labels=names, grid=False,
                 range=[len(names) - 0.5, -0.5]),
            height=150 + 26 * len(names),
            full=True,
        )
    ]  # fmt: skip


def adversary(table: pd.DataFrame) -> list[Panel]:
    """Share of tickets that some rest in the ball makes fail, by how that rest was found.

    Args:
        table: table ``adversary``.
    """
    sizes: set[float] = set()
    traces = []
    for found in broken(table):
        rates = [wilson(lost, number) for lost, number in found.counts]
        hover = [
            lines(f"size {size:g}, {found.name}", f"{lost} of {number} tickets made to fail",
                  share(rate.value, rate.low, rate.high))
            for size, (lost, number), rate in zip(found.sizes, found.counts, rates, strict=True)
        ]  # fmt: skip
        traces.append(
            line(found.sizes, [rate.value for rate in rates], found.name, found.colour,
                 hover, marker=found.marker, dash="dash" if found.marker == "o" else "solid")
        )  # fmt: skip
        sizes |= set(found.sizes)
    return [
        Panel(
            "How small a change breaks a winning ticket",
            traces,
            size_axis(sorted(sizes), SIZE["noise"]),
            percent_axis("tickets made to fail"),
            full=True,
        )
    ]


checked(__name__)
