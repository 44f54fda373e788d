"""Loss levels on the terminal."""

from __future__ import annotations

from rich.console import Console

from edt.show.terminal import new_table
from edt.show.words import number
from edt.studies.loss_levels.page import findings
from edt.studies.loss_levels.run import LossLevels
from edt.studies.loss_levels.tables import ENDS


def print_levels(console: Console, done: LossLevels) -> None:
    """Kinds of ends at every width, and the findings of the page."""
    found = done.table()
    table = new_table("Where starts end")
    ends = [word for word in ENDS if found[word].any() or word == "plateau"]
    for heading in ("biases", "r", "runs", *ends, "levels", "lowest"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in found.to_dict("records"):
        table.add_row(
            "yes" if row["bias"] else "no",
            str(row["width"]) if row["width"] else "2+",
            f"{row['runs']:,}",
            *[f"{row[word]:,}" for word in ends],
            str(row["levels"]),
            number(row["lowest"]),
        )
    table.caption = (
        "r: width. plateau: saddles with repeated neurons. channel, infinity: no minimum at finite "
        "weights, with and without a pair of opponents. levels: distinct losses of minima."
    )
    console.print(table)
    for text in findings(found):
        console.print(f"\n{text}")
