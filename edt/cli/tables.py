"""Tables on the terminal."""

from __future__ import annotations

import pandas as pd
from rich.console import Console
from rich.table import Table

from edt.experiments import ALL, WidthSweep
from edt.report.words import interval, number, percent, span


def print_sweep(console: Console, sweep: WidthSweep) -> None:
    """Success and tickets, then what splitting did."""
    console.print(success_table(sweep))
    if len(sweep.splits):
        console.print(split_table(sweep))


def print_experiment(console: Console, tables: dict[str, pd.DataFrame]) -> None:
    """Every table of an experiment's summary; shares between 0 and 1 in per cent."""
    for title, frame in tables.items():
        table = _table(title.replace("_", " "))
        for name in frame.columns:
            table.add_column(str(name).replace("_", "\n"), justify="right")
        for row in frame.to_dict("records"):
            table.add_row(*[_cell(str(name), value) for name, value in row.items()])
        console.print(table)


def _cell(name: str, value: object) -> str:
    if isinstance(value, float):
        share = name.startswith(("rate", "spread", "same", "accuracy", "agree"))
        return percent(value) if share else number(value)
    return f"{value:,}" if isinstance(value, int) else str(value)


def success_table(sweep: WidthSweep) -> Table:
    """One row a width: success, predictions, tickets, failures, loss levels."""
    success = sweep.success()
    levels = sweep.levels().groupby("width")["levels"].sum().to_dict()
    outcomes = {row["width"]: row for row in sweep.outcomes().to_dict("records")}
    r = sweep.spec.reference_width
    table = _table(f"Success against width (tickets of width r = {r})")
    for heading in (
        "width",
        "good",
        "95%",
        "floor(m/r)\ntickets",
        "C(m,r)\ntickets",
        "effective tickets",
        "bad\nminima",
        "loss\nlevels",
        "channels",
        "other",
    ):
        table.add_column(heading, justify="right")
    for row in success[success["target"] == ALL].to_dict("records"):
        ends = outcomes[row["width"]]
        other = ends["saddle"] + ends["unconverged"] + ends["diverged"]
        known = row["n_disjoint"] == row["n_disjoint"]
        table.add_row(
            str(row["width"]),
            percent(row["rate"]),
            span(row["rate_low"], row["rate_high"]),
            percent(row["disjoint"]) if known else "",
            percent(row["combinatorial"]) if known else "",
            interval(row["n_eff"], row["n_eff_low"], row["n_eff_high"]) if known else "",
            number(ends["bad"]),
            number(levels[row["width"]]),
            number(ends["channel"]),
            number(other),
        )
    return table


def split_table(sweep: WidthSweep) -> Table:
    """One row per width and mu: saddles, closed form, destinations."""
    table = _table("Bad minima after splitting one neuron")
    for heading in (
        "width",
        "μ",
        "splits",
        "strict\nsaddles",
        "95%",
        "mean\nindex",
        "closed form\nagrees",
        "reach\ngood",
        "lower\nminimum",
        "channel",
        "stay",
        "no\nverdict",
    ):
        table.add_column(heading, justify="right")
    for row in sweep.escapes().to_dict("records"):
        table.add_row(
            str(row["width"]),
            f"{row['mu']:g}",
            str(row["splits"]),
            percent(row["share"]),
            span(row["share_low"], row["share_high"]),
            f"{row['mean_index']:.2f}",
            f"{row['agree']}/{row['splits']}",
            *[str(row[name]) for name in ("good", "lower", "channel", "stays", "open")],
        )
    return table


def _table(title: str) -> Table:
    return Table(title=f"\n{title}", title_justify="left", title_style="bold", header_style="dim",
                 box=None, pad_edge=False, padding=(0, 1))  # fmt: skip
