"""A width sweep on the terminal."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any

from rich.console import Console
from rich.table import Table

from edt.show.terminal import new_table
from edt.show.words import number, percent, span
from edt.studies.common.success_table import ALL
from edt.studies.width.run import WidthSweep


def print_sweep(console: Console, sweep: WidthSweep) -> None:
    """Success and tickets, then what splitting did."""
    console.print(success_table(sweep))
    if len(sweep.splits):
        console.print(split_table(sweep))


def success_table(sweep: WidthSweep) -> Table:
    """One row a width: success, predictions, tickets, failures, loss levels."""
    success = sweep.success()
    levels = sweep.levels().groupby("width")["levels"].sum().to_dict()
    outcomes = {row["width"]: row for row in sweep.outcomes().to_dict("records")}
    r = sweep.spec.reference_width
    table = new_table(f"Success against width m; tickets of width r = {r}")
    for heading in (
        "m",
        "success",
        "disjoint",
        "subsets",
        "tickets",
        "bad",
        "levels",
        "chan.",
        "other",
    ):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in success[success["target"] == ALL].to_dict("records"):
        ends = outcomes[row["width"]]
        other = sum(
            ends[name] for name in ("saturated", "drifting", "saddle", "unconverged", "diverged")
        )
        known = row["n_disjoint"] == row["n_disjoint"]
        table.add_row(
            str(row["width"]),
            f"{percent(row['rate'])} [dim]{span(row['rate_low'], row['rate_high'])}[/]",
            percent(row["disjoint"]) if known else "",
            percent(row["combinatorial"]) if known else "",
            _tickets(row) if known else "",
            number(ends["bad"]),
            number(levels[row["width"]]),
            number(ends["channel"]),
            number(other),
        )
    table.caption = (
        "success: runs at the good loss, 95% interval over targets. disjoint, subsets: what "
        "floor(m/r) and C(m,r) independent tickets predict. tickets: the number that fits. bad: "
        "minima above "
        "the good loss, on so many levels (sums over targets). chan.: runs towards infinity."
    )
    return table


def split_table(sweep: WidthSweep) -> Table:
    """One row per width and mu: saddles, closed form, destinations."""
    table = new_table("Bad minima after splitting one neuron")
    for heading in (
        "m",
        "μ",
        "saddles",
        "index",
        "theory",
        "good",
        "lower",
        "chan.",
        "stay",
        "open",
    ):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in sweep.escapes().to_dict("records"):
        table.add_row(
            str(row["width"]),
            f"{row['mu']:g}",
            f"{percent(row['share'])} [dim]{span(row['share_low'], row['share_high'])}[/]",
            f"{row['mean_index']:.2f}",
            f"{row['agree']}/{row['splits']}",
            *[str(row[name]) for name in ("good", "lower", "channel", "stays", "open")],
        )
    table.caption = (
        "saddles: splits with a negative eigenvalue. index: their mean number. theory: the closed "
        "form gives the same index. Then, where the way down ends; open: lower, without a verdict."
    )
    return table


def _tickets(row: dict[Hashable, Any]) -> str:
    """Effective tickets to two digits, with the interval."""
    value, low, high = (row[name] for name in ("n_eff", "n_eff_low", "n_eff_high"))
    if row["n_combinatorial"] == 1.0:
        return "1"
    if math.isinf(high):
        return f"[dim]>[/] {_short(low)}"
    return f"{_short(value)} [dim]{_short(low)}–{_short(high)}[/]"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"
