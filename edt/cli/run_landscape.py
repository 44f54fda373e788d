"""``edt run census`` and ``edt run escape``: the experiments on the loss landscape."""

from __future__ import annotations

from typing import Annotated

import typer

from edt.cli.run import (
    AsJson,
    Fresh,
    NoProgress,
    Out,
    Quick,
    Set,
    Threads,
    carry_out,
    run,
    settings,
)
from edt.places import place

CENSUS_EPILOG = """[bold]Examples[/bold]

[cyan]edt run census --quick[/cyan] : seconds, to see that everything works

[cyan]edt run census --widths 4..16 --seeds 31[/cyan] : 2,015 students

[cyan]edt run census --task diabetes --out real[/cyan]

[cyan]edt run census --activation softplus --set teachers=10[/cyan]"""

ESCAPE_EPILOG = """[bold]Examples[/bold]

[cyan]edt run escape --quick[/cyan] : seconds, to see that everything works

[cyan]edt run escape --widths 2..5 --add 1,2,4,8 --out ways[/cyan]

[cyan]edt run escape --activation softplus --set minima=6[/cyan]"""

Task = Annotated[
    str, typer.Option(metavar="NAME", help="What is learned: teacher-student or diabetes.")
]
Widths = Annotated[
    str | None, typer.Option(metavar="LIST", help="Student widths, like 2..6,8,16 or 4..16:4.")
]
Seeds = Annotated[
    int | None,
    typer.Option(
        min=1, max=999_999, metavar="N", help="Students per width and target. [dim]\\[40][/dim]"
    ),
]
Teachers = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Random teachers. [dim]\\[5][/dim]")
]
Activation = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Of students and teachers. [dim]\\[tanh; diabetes: g][/dim]"),
]


@run.command("census", epilog=CENSUS_EPILOG)
def census(
    task: Task = "teacher-student",
    widths: Widths = None,
    seeds: Seeds = None,
    teachers: Teachers = None,
    activation: Activation = None,
    out: Out = None,
    quick: Quick = False,
    fresh: Fresh = False,
    as_json: AsJson = False,
    no_progress: NoProgress = False,
    threads: Threads = None,
    set_: Set = None,
) -> None:
    """Count the different minima of every width, and how many of them are bad.

    Students of every width are trained to the bottom; minima that differ only by the order of
    neurons, the activation's symmetries or neurons to spare are one. Shares of bad minima, how
    many are unseen, and what counting critical subspaces predicts.
    """
    from edt.studies import census_spec, format_widths, parse_widths, run_census
    from edt.studies.reports import write_census_report

    changes = {
        "widths": None if widths is None else parse_widths(widths), "seeds": seeds,
        "teachers": teachers, "activation": activation, **settings(set_),
    }  # fmt: skip
    spec = census_spec(task, quick=quick, **changes)
    folder = place(out or default_folder("census", spec.task, quick))
    headline = f"{spec.networks:,} students of widths {format_widths(spec.widths)}"
    carry_out(
        spec, folder, run_census, write_census_report, headline, fresh=fresh, as_json=as_json,
        progress=not no_progress, threads=threads,
    )  # fmt: skip


@run.command("escape", epilog=ESCAPE_EPILOG)
def escape(
    task: Task = "teacher-student",
    widths: Widths = None,
    seeds: Seeds = None,
    teachers: Teachers = None,
    activation: Activation = None,
    add: Annotated[
        str | None,
        typer.Option(metavar="LIST", help="Neurons added, like 1,2,4. [dim]\\[1,2,4][/dim]"),
    ] = None,
    out: Out = None,
    quick: Quick = False,
    fresh: Fresh = False,
    as_json: AsJson = False,
    no_progress: NoProgress = False,
    threads: Threads = None,
    set_: Set = None,
) -> None:
    """Embed bad minima into wider networks, leave along every way down, and see where they end.

    Neurons of bad minima are copied, which keeps output, loss and criticality. How many ways down
    open, how many runs reach a good minimum, how far and how fast, against neurons added; and how
    many ways down are open along gradient descent's own paths.
    """
    from edt.studies import escape_spec, format_widths, parse_widths, run_escape
    from edt.studies.reports import write_escape_report

    changes = {
        "widths": None if widths is None else parse_widths(widths), "seeds": seeds,
        "teachers": teachers, "activation": activation,
        "add": None if add is None else parse_widths(add), **settings(set_),
    }  # fmt: skip
    spec = escape_spec(task, quick=quick, **changes)
    folder = place(out or default_folder("escape", spec.task, quick))
    headline = (
        f"{spec.networks:,} students of widths {format_widths(spec.widths)}, "
        f"+{', +'.join(str(count) for count in spec.add)} neurons"
    )
    carry_out(
        spec, folder, run_escape, write_escape_report, headline, fresh=fresh, as_json=as_json,
        progress=not no_progress, threads=threads,
    )  # fmt: skip


def default_folder(command: str, task: str, quick: bool) -> str:
    """Where a run goes unless told otherwise: each kind has its own."""
    return (
        f"edt-{command}" + ("" if task == "teacher" else f"-{task}") + ("-quick" if quick else "")
    )
