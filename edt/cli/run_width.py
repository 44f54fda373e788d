"""``edt run`` of the experiments on width: sweep, exclusive or, controls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from edt.cli.outcome import execute
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

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from edt.studies import WidthSweep
    from edt.studies.xor.run import Xor

WIDTH_SWEEP_EPILOG = """[bold]Examples[/bold]

[cyan]edt run width-sweep --quick[/cyan] : seconds, to see that everything works

[cyan]edt run width-sweep --task diabetes --widths 2..10 --seeds 200[/cyan]

[cyan]edt run width-sweep --activation softplus --set reference_width=3 --set teacher_width=3[/cyan]

Reads: docs, "Success against width". [cyan]edt demo[/cyan] is this with fewer options."""

XOR_EPILOG = """[bold]Examples[/bold]

[cyan]edt run xor[/cyan] : 12,000 tiny networks, under a minute on two cores

[cyan]edt run xor --widths 2..12 --seeds 5000 --out xor-large[/cyan]

[cyan]edt run xor --set "starts=('he',)"[/cyan] : one start only"""

CONTROLS_EPILOG = """[bold]Examples[/bold]

[cyan]edt run controls --quick[/cyan] : seconds, to see that everything works

[cyan]edt run controls --widths 4..12:4 --seeds 200 --controls width,features,frozen[/cyan]

[cyan]edt run controls --set "inners=(2, 16)" --set "margins=(0, 8)"[/cyan]"""

#: Names of tasks as people write them elsewhere.
ALIASES = {"teacher-student": "teacher"}


@run.command("width-sweep", epilog=WIDTH_SWEEP_EPILOG)
def width_sweep(
    task: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="What is learned: teacher-student, rosenbrock or diabetes."
        ),
    ] = "teacher-student",
    widths: Annotated[
        str | None, typer.Option(metavar="LIST", help="Student widths, like 2..16 or 2,3,4,8.")
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            min=1, max=999_999, metavar="N", help="Per width and target. [dim]\\[100][/dim]"
        ),
    ] = None,
    activation: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of students and teachers.")
    ] = None,
    teachers: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Random teachers. [dim]\\[3][/dim]")
    ] = None,
    out: Out = None,
    quick: Quick = False,
    fresh: Fresh = False,
    as_json: AsJson = False,
    no_progress: NoProgress = False,
    threads: Threads = None,
    set_: Set = None,
) -> None:
    """Success against width: intervals, effective tickets, and which law of width fits.

    Students of every width and seed are trained, driven to the bottom and classified; lotteries,
    an escape-dimension model and logistic regressions are fitted to the counts and compared.
    """
    from edt.cli.tables import print_sweep
    from edt.studies import demo_spec, format_widths, parse_widths
    from edt.studies import width_sweep as start
    from edt.studies.reports import write_report

    name = ALIASES.get(task, task)
    changes: dict[str, Any] = {
        "widths": None if widths is None else parse_widths(widths), "seeds": seeds,
        "activation": activation, "teachers": teachers, **settings(set_),
    }  # fmt: skip
    if name != "teacher" and changes["teachers"] not in (None, 1):
        raise ValueError(f"--teachers is for --task teacher-student: {task} has one target")
    spec = demo_spec(name, quick=quick, **changes)
    kind = "" if name == "teacher" else f"-{name}"
    folder = place(out or f"edt-width-sweep{kind}" + ("-quick" if quick else ""))
    targets = f"{spec.targets} teachers x " if spec.targets > 1 else ""
    execute(
        spec,
        folder,
        start,
        write_report,
        f"[bold]{spec.networks:,} networks[/]: {targets}widths {format_widths(spec.widths)} x "
        f"{spec.seeds} seeds, {spec.activation}, float64",
        tables=sweep_tables,
        show=print_sweep,
        facts={"runs": str(folder / "runs.parquet")},
        fresh=fresh,
        as_json=as_json,
        progress=not no_progress,
        threads=threads,
    )


def sweep_tables(sweep: WidthSweep) -> dict[str, pd.DataFrame]:
    """The tables that ``--json`` prints."""
    found = sweep.models()
    laws = {} if found is None else {"models": found.table, "tests": found.tests}
    return {
        "success": sweep.success(),
        **laws,
        "levels": sweep.levels(),
        "outcomes": sweep.outcomes(),
        "splits": sweep.escapes(),
    }


@run.command("xor", epilog=XOR_EPILOG)
def xor(
    widths: Annotated[
        str | None,
        typer.Option(metavar="LIST", help="Hidden neurons. [dim]\\[2,3,4,6,8,10][/dim]"),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Per width and start. [dim]\\[1000][/dim]"),
    ] = None,
    out: Out = None,
    quick: Quick = False,
    fresh: Fresh = False,
    as_json: AsJson = False,
    no_progress: NoProgress = False,
    threads: Threads = None,
    set_: Set = None,
) -> None:
    """Exclusive or against width, beside the figures it is known for.

    2-m-1 relu networks, full-batch gradient descent, 12,000 steps; success rates and effective
    tickets beside the reference, with a test of the difference at each width.
    """
    from edt.studies import parse_widths
    from edt.studies.presets import xor_spec
    from edt.studies.reports import write_xor_report
    from edt.studies.xor.run import run_xor

    changes: dict[str, Any] = {
        "widths": None if widths is None else parse_widths(widths), "seeds": seeds,
        **settings(set_),
    }  # fmt: skip
    spec = xor_spec(quick=quick, **changes)
    folder = place(out or "edt-xor" + ("-quick" if quick else ""))
    headline = f"{spec.networks:,} networks, {spec.steps:,} steps on the four points"
    execute(
        spec, folder, run_xor, write_xor_report, f"[bold]{headline}[/]",
        tables=lambda done: done.summary(), show=print_xor, fresh=fresh, as_json=as_json,
        progress=not no_progress, threads=threads,
    )  # fmt: skip


def print_xor(console: Console, done: Xor) -> None:
    """Rates and tickets beside the reference, then where they differ."""
    import pandas as pd

    from edt.cli.tables import print_experiment
    from edt.show.words import interval, number, span
    from edt.studies.common.models_page import p_value
    from edt.studies.xor.page import cent, verdict

    table = done.success()
    shown = pd.DataFrame(
        {
            "start": table["start"],
            "m": table["width"],
            "success": [
                f"{cent(row['rate'])} ({span(row['rate_low'], row['rate_high'])})"
                for row in table.to_dict("records")
            ],
            "reference": [cent(rate) for rate in table["rate_ref"]],
            "p": [p_value(p) for p in table["p_holm"]],
            "tickets": [
                interval(row["n_eff"], row["n_eff_low"], row["n_eff_high"])
                for row in table.to_dict("records")
            ],
            "their tickets": [number(value) for value in table["n_eff_ref"]],
        }
    )
    print_experiment(console, {"success against width": shown})
    console.print(
        "[dim]95% intervals; p: Fisher's exact test against the reference, adjusted by Holm. "
        "tickets: networks of width 2 that the rate amounts to.[/]"
    )
    for start in done.spec.starts:
        text = verdict(table, start, comparable=done.spec.comparable)
        console.print(text.replace("<b>", "[bold]").replace("</b>", "[/]"))


@run.command("controls", epilog=CONTROLS_EPILOG)
def controls(
    widths: Annotated[
        str | None,
        typer.Option(metavar="LIST", help="Hidden neurons. [dim]\\[4,6,8,12][/dim]"),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Per control, width, teacher. [dim]\\[50][/dim]"),
    ] = None,
    controls: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="width, then any of features, frozen, factored, rotated, subspace.",
        ),
    ] = None,
    activation: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of students and teachers.")
    ] = None,
    out: Out = None,
    quick: Quick = False,
    fresh: Fresh = False,
    as_json: AsJson = False,
    no_progress: NoProgress = False,
    threads: Threads = None,
    set_: Set = None,
) -> None:
    """More parameters without more tickets, and the other way round: which brings success?

    Frozen neurons, neurons of which only the outputs train, factored weights and random
    subspaces, each from the same starts as ordinary networks.
    """
    from edt.studies import parse_widths
    from edt.studies.controls.run import run_controls
    from edt.studies.presets import controls_spec
    from edt.studies.reports import write_controls_report

    changes: dict[str, Any] = {
        "widths": None if widths is None else parse_widths(widths), "seeds": seeds,
        "controls": None if controls is None else tuple(controls.replace(" ", "").split(",")),
        "activation": activation, **settings(set_),
    }  # fmt: skip
    spec = controls_spec(quick=quick, **changes)
    folder = place(out or "edt-controls" + ("-quick" if quick else ""))
    headline = f"{spec.networks:,} networks in {len(spec.cells)} ways to train"
    carry_out(
        spec, folder, run_controls, write_controls_report, headline, fresh=fresh, as_json=as_json,
        progress=not no_progress, threads=threads,
    )  # fmt: skip
