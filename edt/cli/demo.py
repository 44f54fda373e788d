"""``edt demo``: the main job, from nothing to figures and a report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from edt.cli.outcome import execute
from edt.locations import place

if TYPE_CHECKING:
    import pandas as pd

    from edt.studies import WidthSweep

EPILOG = """[bold]Examples[/bold]

[cyan]edt demo[/cyan] : a few minutes, writes edt-demo/

[cyan]edt demo --quick[/cyan] : seconds, to see that everything works; writes edt-demo-quick/

[cyan]edt demo --task diabetes[/cyan] : the same on real data; writes edt-demo-diabetes/

[cyan]edt demo --widths 4..12 --seeds 500 --out big[/cyan] : your own

Ctrl-C is safe: the same command goes on where it stopped."""


def demo(
    task: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="What to learn: teacher_student (random networks) or diabetes."
        ),
    ] = "teacher_student",
    widths: Annotated[
        str | None, typer.Option(metavar="LIST", help="Student widths, like 2..16 or 2,3,4,8.")
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=999_999,
            metavar="N",
            help="Students per width and teacher. [dim]\\[default: 100][/dim]",
        ),
    ] = None,
    teachers: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Random teachers. [dim]\\[default: 3][/dim]"),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Where to write. [dim]\\[default: edt-demo][/dim]"),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Few widths and seeds: done in seconds.")
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Delete an earlier edt run in DIR and start over.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
    no_progress: Annotated[bool, typer.Option("--no-progress", help="No progress bar.")] = False,
    threads: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Threads. [dim]\\[default: all cores][/dim]"),
    ] = None,
) -> None:
    """Train students of many widths, classify where they end, and report.

    Students of every width learn random teachers of width 4 (or real data). Each is trained,
    driven to the bottom of its loss, and counted: success, bad minimum, or no minimum at all.
    Then every neuron of the bad minima is split, to see how many ways down one more neuron opens.

    Writes report.html (self-contained) and Parquet tables; see --out.
    """
    from edt.show.words import ranges
    from edt.studies import demo_spec, parse_widths, width_sweep
    from edt.studies.width.page import write_report
    from edt.studies.width.terminal import print_sweep
    from edt.tasks.task_tables import named

    task = named(task)
    if task == "diabetes" and teachers not in (None, 1):
        raise ValueError("--teachers is for --task teacher_student: diabetes has one target")
    spec = demo_spec(
        task,
        quick=quick,
        widths=None if widths is None else parse_widths(widths),
        seeds=seeds,
        teachers=teachers,
    )
    folder = place(out or default_folder(task, quick))
    targets = f"{spec.targets} teachers x " if spec.targets > 1 else ""
    execute(
        spec,
        folder,
        width_sweep,
        write_report,
        f"[bold]{spec.networks:,} networks[/]: {targets}widths {ranges(spec.widths)} x "
        f"{spec.seeds} seeds, {spec.activation}, float64",
        tables=tables,
        show=print_sweep,
        fresh=fresh,
        as_json=as_json,
        progress=not no_progress,
        threads=threads,
    )


def default_folder(task: str, quick: bool) -> str:
    """Where a demo goes unless told otherwise: each kind has its own."""
    usual = task == "teacher_student"
    return "edt-demo" + ("" if usual else f"-{task}") + ("-quick" if quick else "")


def tables(sweep: WidthSweep) -> dict[str, pd.DataFrame]:
    """The tables that ``--json`` prints."""
    return {
        "success": sweep.success(),
        "levels": sweep.levels(),
        "outcomes": sweep.outcomes(),
        "splits": sweep.escapes(),
    }
