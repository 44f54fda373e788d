"""Tables on the terminal."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from edt.experiments import ALL, WidthSweep
from edt.report.words import number, percent, span

#: How names of columns begin whose numbers are shares of 1.
SHARES = (
    "rate", "spread", "same", "accuracy", "agree", "bad_share", "minima_share", "coverage", "good",
    "strict",
)  # fmt: skip


def print_sweep(console: Console, sweep: WidthSweep) -> None:
    """Success and tickets, then what splitting did."""
    console.print(success_table(sweep))
    if len(sweep.splits):
        console.print(split_table(sweep))


def print_experiment(console: Console, tables: dict[str, pd.DataFrame]) -> None:
    """Every table of an experiment's summary; shares between 0 and 1 in per cent."""
    for title, frame in tables.items():
        table = new_table(title.replace("_", " "))
        for name in frame.columns:
            table.add_column(str(name).replace("_", "\n"), justify="right")
        for row in frame.to_dict("records"):
            table.add_row(*[_cell(str(name), value) for name, value in row.items()])
        console.print(table)


def _cell(name: str, value: object) -> str:
    if isinstance(value, float):
        share = name.startswith(SHARES)
        return percent(value) if share else number(value)
    return f"{value:,}" if isinstance(value, int) else str(value)


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
        other = ends["saddle"] + ends["unconverged"] + ends["diverged"]
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
        "success: runs at the good loss, 95% Wilson interval. disjoint, subsets: what floor(m/r) "
        "and C(m,r) independent tickets predict. tickets: the number that fits. bad: minima above "
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


def new_table(title: str) -> Table:
    """An empty table in the style of all of them."""
    return Table(
        title=f"\n{title}",
        title_justify="left",
        title_style="bold",
        caption_justify="left",
        caption_style="dim",
        header_style="dim",
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
