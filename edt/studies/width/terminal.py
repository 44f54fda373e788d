"""A width sweep on the terminal."""

from __future__ import annotations

import pandas as pd
from rich.console import Console

from edt.show.print_tables import print_experiment
from edt.show.words import exact, interval, number, percent, span
from edt.studies.common.success_table import ALL
from edt.studies.width.run import WidthSweep


def print_sweep(console: Console, sweep: WidthSweep) -> None:
    """Success and tickets, then what splitting did; in the words of the page."""
    r = sweep.spec.reference_width
    print_experiment(
        console, {f"Success against width m; tickets of width r = {r}": success(sweep)}
    )
    console.print(
        "[dim]Rate: runs at the good loss, 95% interval over targets. ⌊m/r⌋, C(m, r): what so "
        "many independent tickets predict. Effective tickets: the number that fits. Bad: minima "
        "above the good loss, on so many levels (sums over targets). Channel: runs towards "
        "infinity.[/]"
    )
    if len(sweep.splits):
        print_experiment(console, {"Bad minima after splitting one neuron": splits(sweep)})
        console.print(
            "[dim]Strict saddles: splits with a negative eigenvalue. Closed form agrees: on the "
            "number of these. Then, where the way down ends; open: lower, without a verdict.[/]"
        )


def success(sweep: WidthSweep) -> pd.DataFrame:
    """One row a width: success, predictions, tickets, failures, loss levels."""
    table = sweep.success()
    levels = sweep.levels().groupby("width")["levels"].sum().to_dict()
    outcomes = {row["width"]: row for row in sweep.outcomes().to_dict("records")}
    found = []
    for row in table[table["target"] == ALL].to_dict("records"):
        ends = outcomes[row["width"]]
        other = sum(
            ends[name] for name in ("saturated", "drifting", "saddle", "unconverged", "diverged")
        )
        found.append(
            {
                "width": str(row["width"]),
                "rate": f"{percent(row['rate'])} ({span(row['rate_low'], row['rate_high'])})",
                "⌊m/r⌋ tickets": percent(row["disjoint"]),
                "C(m, r) tickets": percent(row["combinatorial"]),
                "effective tickets": interval(row["n_eff"], row["n_eff_low"], row["n_eff_high"]),
                "bad": number(ends["bad"]),
                "levels": number(levels[row["width"]]),
                "channel": number(ends["channel"]),
                "other": number(other),
            }
        )
    return pd.DataFrame(found)


def splits(sweep: WidthSweep) -> pd.DataFrame:
    """One row per width and mu: saddles, closed form, destinations."""
    return pd.DataFrame(
        [
            {
                "width": str(row["width"]),
                "μ": exact(row["mu"]),
                "strict saddles": f"{percent(row['share'])} "
                f"({span(row['share_low'], row['share_high'])})",
                "mean index": number(row["mean_index"]),
                "closed form agrees": f"{row['agree']} of {row['splits']}",
                **{name: str(row[name]) for name in ("good", "lower", "channel", "stays", "open")},
            }
            for row in sweep.escapes().to_dict("records")
        ]
    )
