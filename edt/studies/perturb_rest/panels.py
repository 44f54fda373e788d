"""Winning tickets among changed rests: `edt.studies.perturb_rest.figures`."""

from __future__ import annotations

import numpy as np
import pandas as pd

from edt.show.axes import percent_axis, size_axis
from edt.show.hover import lines, rows, share
from edt.show.marks import heatmap, line
from edt.show.panel import NAMES, Panel, Part, axis
from edt.show.rates import dodged, spans_decades
from edt.stats import wilson
from edt.studies.perturb_rest.figures import GROUP, SIZE, broken, group_looks, ticket_rates


def wins(table: pd.DataFrame, change: str, *, base: float | None = None) -> list[Panel]:
    """Panels of `edt.studies.perturb_rest.figures.plot_wins`.

    Args:
        table: from `edt.studies.perturb_rest.tables.win_table`.
        change: kind of change.
        base: win rate of fresh students of the same width.
    """
    sizes = sorted(float(size) for size in table["size"].unique())
    looks = {g: look for g, look in group_looks(NAMES).items() if table["group"].eq(g).any()}
    log = spans_decades(sizes)
    traces: list[Part] = []
    for place, (group, (colour, marker)) in enumerate(looks.items()):
        own = table[table["group"] == group]
        hover = [
            lines(
                f"{GROUP[group]}, size {row['size']:g}: {row['wins']:,} of {row['runs']:,} win",
                share(row["rate"], row["rate_low"], row["rate_high"]),
                f"tickets that lost at least once: {row['failing']} of {row['tickets']}",
            )
            for row in rows(own)
        ]
        traces.append(
            line(dodged(own["size"].tolist(), place, len(looks), log=log), own["rate"],
                 GROUP[group], colour, hover, low=own["rate_low"], high=own["rate_high"],
                 marker=marker)
        )  # fmt: skip
    if base is not None:
        traces.append(
            line(sizes, [base] * len(sizes), "fresh students", "@soft",
                 [f"fresh students: {share(base)} win"] * len(sizes), marker=None, dash="dot")
        )  # fmt: skip
    left = Panel("The ticket is kept, the rest changes", traces, size_axis(sizes, SIZE[change]),
                 percent_axis("networks that win (95% Wilson)"))  # fmt: skip
    return [left, *_same(table[table["group"] == "winning"], sizes, SIZE[change])]


def _same(own: pd.DataFrame, sizes: list[float], label: str) -> list[Panel]:
    if own["same"].isna().all():
        return []
    traces = []
    for name, text, colour, marker in (
        ("same", "ticket neurons that play teacher neurons again", "@green", "D"),
        ("shift", "distance of the ticket's end from where it ended before", "@purple", "v"),
    ):
        hover = [lines(f"size {row['size']:g}: {row[name]:.4g}", text) for row in rows(own)]
        traces.append(line(own["size"], own[name], text, colour, hover, marker=marker))
    top = max(1.04, 1.1 * float(np.nanmax(own["shift"])))
    return [
        Panel(
            "Is it the ticket that wins?",
            traces,
            size_axis(sizes, label),
            axis("share; relative distance (winning networks)", span=(-0.03, top)),
        )
    ]


def tickets(runs: pd.DataFrame, change: str) -> list[Panel]:
    """The panel of `edt.studies.perturb_rest.figures.plot_ticket_rates`.

    Args:
        runs: table ``runs`` of the experiment.
        change: kind of change.
    """
    rates, target = ticket_rates(runs)
    own = runs[runs["group"] == "winning"]
    counts = own.pivot_table(index="ticket", columns="size", values="win", aggfunc="size")
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
    """The panel of `edt.studies.perturb_rest.figures.plot_adversary`.

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
            line(found.sizes, [rate.value for rate in rates], found.name, f"@{found.colour}",
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
