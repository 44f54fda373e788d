"""Exclusive or on the terminal."""

from __future__ import annotations

import pandas as pd
from rich.console import Console

from edt.show.print_tables import print_experiment
from edt.show.words import interval, number, p_value, span
from edt.studies.xor.page import cent, verdict
from edt.studies.xor.run import NAMES, Xor


def print_xor(console: Console, done: Xor) -> None:
    """Rates and tickets beside the reference, then where they differ."""

    table = done.success()
    shown = pd.DataFrame(
        {
            "start": [NAMES[start] for start in table["start"]],
            "width": table["width"],
            "rate": [
                f"{cent(row['rate'])} ({span(row['rate_low'], row['rate_high'])})"
                for row in table.to_dict("records")
            ],
            "reference": [cent(rate) for rate in table["rate_ref"]],
            "p-value, adjusted": [p_value(p) for p in table["p_holm"]],
            "effective tickets": [
                interval(row["n_eff"], row["n_eff_low"], row["n_eff_high"])
                for row in table.to_dict("records")
            ],
            "tickets of the reference": [number(value) for value in table["n_eff_ref"]],
        }
    )
    print_experiment(console, {"success against width": shown})
    console.print(
        "[dim]95% intervals; p-value: Fisher's exact test against the reference, adjusted by Holm. "
        "Effective tickets: networks of width 2 that the rate amounts to.[/]"
    )
    for start in done.spec.starts:
        text = verdict(table, start, comparable=done.spec.comparable)
        console.print(text.replace("<b>", "[bold]").replace("</b>", "[/]"))
