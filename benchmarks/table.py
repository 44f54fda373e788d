"""The tables printed at the end of a run."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.figures import EDT, Figures, Measurement
from benchmarks.names import SPARSE
from benchmarks.targets import Target


def print_tables(figures: Figures, targets: list[Target], machine: dict[str, Any]) -> None:
    """Times by case with ratios to edt, then the targets."""
    # Captured output has no width of its own; this one fits all rows.
    console = Console(width=118)
    console.print(
        f"\n{machine['cpu']}, {machine['threads']} threads, {machine['isa']}, "
        f"{machine['date'][:10]}"
        + ("  SMOKE RUN: FIGURES MEAN NOTHING" if machine["smoke"] else "")
    )
    if figures.measurements:
        console.print(_times(figures))
    if figures.quantities:
        console.print(_quantities(figures))
    if targets:
        console.print(_targets(targets))
    for contender, why in figures.skipped.items():
        console.print(f"{contender}: skipped, {why}")


def subject_of(found: dict[str, Measurement]) -> Measurement | None:
    """The measurement ratios refer to."""
    return found.get(EDT) or found.get(SPARSE)


def _times(figures: Figures) -> Table:
    table = Table(title="Time per step, or per call; ratio to edt", title_justify="left")
    table.add_column("case")
    table.add_column("contender")
    table.add_column("ms", justify="right")
    table.add_column("median", justify="right")
    table.add_column("ratio", justify="right")
    table.add_column("")
    for case in figures.cases():
        found = figures.of(case)
        subject = subject_of(found)
        for at, m in enumerate(sorted(found.values(), key=lambda m: m.seconds)):
            ratio = "" if subject is None else f"{m.seconds / subject.seconds:,.1f}x"
            row = [case if at == 0 else "", m.contender, f"{m.seconds * 1e3:,.3f}"]
            style = "bold" if m is subject else None
            table.add_row(*row, f"{m.median * 1e3:,.3f}", ratio, m.note, style=style)
        table.add_section()
    return table


def _quantities(figures: Figures) -> Table:
    table = Table(title="Other figures", title_justify="left")
    table.add_column("")
    table.add_column("", justify="right")
    table.add_column("")
    for name, (value, unit) in figures.quantities.items():
        table.add_row(name, f"{value:,.4g}", unit)
    return table


def _targets(targets: list[Target]) -> Table:
    table = Table(title="Targets", title_justify="left")
    table.add_column("target")
    table.add_column("against")
    table.add_column("measured", justify="right")
    table.add_column("to reach", justify="right")
    table.add_column("met")
    for t in targets:
        sign = "<=" if t.at_most else ">="
        table.add_row(
            t.name,
            t.against,
            f"{t.value:,.3g} {t.unit}",
            f"{sign} {t.bound:,.6g} {t.unit}",
            "yes" if t.met else "no",
            style=None if t.met else "yellow",
        )
    return table
