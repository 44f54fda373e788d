"""Safran and Shamir's table on the terminal."""

from __future__ import annotations

import pandas as pd
from rich.console import Console

from edt.show.print_tables import print_experiment
from edt.show.words import p_value, span
from edt.studies.safran_shamir.page import comparison, percent_or_dash, signed
from edt.studies.safran_shamir.run import SafranShamirRun


def print_table(console: Console, done: SafranShamirRun) -> None:
    """The cells of the table, and what the comparison says."""
    found = done.table()
    shown = [
        {
            "k": str(row["teacher"]),
            "n": str(row["student"]),
            "spurious": f"{row['spurious']:,} of {row['starts']:,}",
            "share": f"{percent_or_dash(row['rate'])} ({span(row['rate_low'], row['rate_high'])})",
            "reported (unverified)": percent_or_dash(row["rate_reported"]),
            "difference": signed(row["difference"]),
            "p, adjusted": p_value(row["p_adjusted"]),
            "levels": str(row["levels"]),
        }
        for row in found.to_dict("records")
    ]
    print_experiment(console, {"Starts that end in a spurious minimum": pd.DataFrame(shown)})
    console.print(
        "[dim]k, n: neurons of teacher and student. Share: with 95% Wilson interval. Difference: "
        "in points. p: Fisher's exact test, adjusted by Holm's method. Levels: distinct losses of "
        f"spurious ends.[/]\n\n{comparison(found)}"
    )
