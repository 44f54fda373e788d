"""Safran and Shamir's table on the terminal."""

from __future__ import annotations

from rich.console import Console

from edt.show.terminal import new_table
from edt.show.words import span
from edt.studies.safran_shamir.page import comparison, percent_or_dash, signed
from edt.studies.safran_shamir.run import SafranShamirRun


def print_table(console: Console, done: SafranShamirRun) -> None:
    """The cells of the table, and what the comparison says."""
    found = done.table()
    table = new_table("Starts that end in a spurious minimum")
    for heading in ("k", "n", "spurious", "share", "reported", "difference", "p", "levels"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in found.to_dict("records"):
        known = row["rate_reported"] == row["rate_reported"]
        table.add_row(
            str(row["teacher"]),
            str(row["student"]),
            f"{row['spurious']:,}/{row['starts']:,}",
            f"{percent_or_dash(row['rate'])} [dim]{span(row['rate_low'], row['rate_high'])}[/]",
            percent_or_dash(row["rate_reported"]),
            signed(row["difference"]) if known else "",
            f"{row['p_adjusted']:.2g}" if known else "",
            str(row["levels"]),
        )
    table.caption = (
        "k, n: neurons of teacher and student. share: with 95% Wilson interval. reported: "
        "unverified. difference: in points. p: Fisher's exact test, adjusted by Holm's method. "
        "levels: distinct losses of spurious ends."
    )
    console.print(table)
    console.print(f"\n{comparison(found)}")
