"""Loss levels on the terminal."""

from __future__ import annotations

import pandas as pd
from rich.console import Console

from edt.show.print_tables import print_experiment
from edt.show.words import number, percent, span
from edt.studies.loss_levels.page import certificates, findings
from edt.studies.loss_levels.panels import WORDS
from edt.studies.loss_levels.run import LossLevels
from edt.studies.loss_levels.tables import ENDS, relabelled


def print_levels(console: Console, done: LossLevels) -> None:
    """Kinds of ends at every width, and the findings of the page."""
    found = done.table()
    ends = [word for word in ENDS if found[word].any() or word == "plateau"]
    shown = [
        {
            "biases": "yes" if row["bias"] else "no",
            "width": str(row["width"]) if row["width"] else "2 and more",
            "runs": f"{row['runs']:,}",
            **{WORDS.get(word, word): f"{row[word]:,}" for word in ends},
            "share of plateau saddles": f"{percent(row['rate'])} "
            f"({span(row['rate_low'], row['rate_high'])})",
            "levels": str(row["levels"]),
            "lowest loss": number(row["lowest"]),
        }
        for row in found.to_dict("records")
    ]
    print_experiment(console, {"Where starts end": pd.DataFrame(shown)})
    console.print(
        "[dim]Ends are certified. Plateau saddles: with repeated neurons. Channel: no minimum at "
        "finite weights. Levels: distinct losses of minima.[/]"
    )
    for text in (*findings(found), certificates(relabelled(done.tables["runs"]))):
        console.print(f"\n{text}")
