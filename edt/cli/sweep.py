"""``edt sweep``, ``edt status``, ``edt resume``, ``edt export``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from edt.cli.engine_options import Address, Cpus, EngineName, Gpus, Workers, engine_options
from edt.cli.outcome import console_for, interrupted, tell

if TYPE_CHECKING:
    from rich.console import Console

    from edt.locations import Folder
    from edt.runs.store import Status
    from edt.studies import Experiment

SWEEP_EPILOG = """[bold]Examples[/bold]

[cyan]edt sweep spec.toml[/cyan] : writes spec/, one process a core

[cyan]edt sweep spec.toml --plan[/cyan] : only says how much work it is

[cyan]edt sweep spec.toml --out big --workers 8[/cyan]

[cyan]edt sweep spec.toml --engine ray --address auto[/cyan] : on Ray (pip install 'edt\\[ray]')

[cyan]edt sweep spec.toml --engine slurm --workers 40[/cyan] : jobs (pip install 'edt\\[slurm]')

A spec.toml: [dim]grid = {width = \\[2, 4, 8], seed = "0..99", lr = 0.01, steps = 3000}[/dim]

Ctrl-C is safe: the same command, or [cyan]edt resume[/cyan], goes on where it stopped."""

STATUS_EPILOG = """[bold]Examples[/bold]

[cyan]edt status spec[/cyan]

[cyan]edt status edt-demo --json[/cyan] : any run, for machines

Exit code 0: finished, or running; 3: unfinished, and nothing works on it."""

RESUME_EPILOG = """[bold]Examples[/bold]

[cyan]edt resume spec[/cyan] : with the engine and the workers of the last start

[cyan]edt resume spec --workers 4[/cyan] : the number of workers does not change the result

[cyan]edt resume edt-demo[/cyan] : experiments too, from the spec in their directory"""

EXPORT_EPILOG = """[bold]Examples[/bold]

[cyan]edt export spec --to csv[/cyan] : writes spec/export/runs.csv and the other tables

[cyan]edt export edt-demo --to xarray --out tables[/cyan] : netCDF files"""

#: Exit code of ``edt status`` for a run that waits to be resumed.
UNFINISHED = 3

Directory = Annotated[str, typer.Argument(metavar="DIR", help="Directory or URL of the run.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Confirm = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="A file, folder or function outside that the spec may use, as it names it; asked for "
        "where the spec may be somebody else's.",
    ),
]
NoProgress = Annotated[bool, typer.Option("--no-progress", help="No progress bar.")]


def sweep(
    spec: Annotated[
        Path, typer.Argument(metavar="SPEC.TOML", help="What to run; -: from standard input.")
    ],
    out: Annotated[
        str | None,
        typer.Option(
            metavar="DIR", help="Directory or URL to write to. [dim]\\[the spec's name][/dim]"
        ),
    ] = None,
    engine: EngineName = "local",
    workers: Workers = None,
    address: Address = None,
    cpus: Cpus = None,
    gpus: Gpus = None,
    plan: Annotated[bool, typer.Option("--plan", help="Show the plan and stop.")] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Delete an earlier edt run in DIR and start over.")
    ] = False,
    confirm: Confirm = None,
    as_json: AsJson = False,
    no_progress: NoProgress = False,
) -> None:
    """Run a grid of trainings: every combination of tasks, widths, seeds, rates, ...

    The runs are divided into shards of equal predicted cost, computed by worker processes, on Ray
    or by Slurm. Same spec, same bits, whatever the engine, the number of workers and interruptions.
    """
    from edt.locations import place
    from edt.runs.sweeps import make_plan, read_spec
    from edt.runs.sweeps import sweep as run
    from edt.runs.sweeps.spec import STDIN
    from edt.show.words import count

    if str(spec) in STDIN and out is None and not plan:
        raise ValueError("--out must name a directory where the spec is read from standard input")
    found = read_spec(spec, confirm=confirm or ())
    planned = make_plan(found)
    folder = place(out if out is not None else spec.stem)
    console = console_for(as_json)
    runs, shards = count(planned.runs, "run"), count(len(planned.members), "shard")
    size = f"[bold]{runs}[/] in {shards}, about {_time(planned.seconds)} of one core"
    if plan:
        facts = {
            "runs": planned.runs,
            "shards": len(planned.members),
            "predicted_core_seconds": round(planned.seconds, 1),
            "spec_digest": found.digest,
        }
        if as_json:
            print(json.dumps(facts, indent=1))
        else:
            console.print(size)
        return
    console.print(f"{size} -> {escape(str(folder))}/")
    options = engine_options(engine, address, cpus, gpus)
    _go(
        lambda: run(
            found, folder, engine=engine, workers=workers, fresh=fresh,
            progress=not no_progress, **options,
        ),
        folder, console, as_json,
    )  # fmt: skip


def status(directory: Directory, confirm: Confirm = None, as_json: AsJson = False) -> None:
    """Show how far a sweep or an experiment is: progress, rate, time left, failures."""
    from edt.studies.kinds import status as look

    found = look(directory, confirm=confirm or ())
    if as_json:
        print(json.dumps(found.to_dict(), indent=1))
    else:
        _print_status(console_for(False), found)
    if not (found.finished or found.running):
        raise typer.Exit(UNFINISHED)


def resume(
    directory: Directory,
    engine: Annotated[
        str | None,
        typer.Option("--engine", help="local, ray or slurm. [dim]\\[as at the last start][/dim]"),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=0, metavar="N", help="Processes or jobs. [dim]\\[as at the last start][/dim]"
        ),
    ] = None,
    address: Address = None,
    cpus: Cpus = None,
    gpus: Gpus = None,
    confirm: Confirm = None,
    as_json: AsJson = False,
    no_progress: NoProgress = False,
) -> None:
    """Go on with a sweep or an experiment that was interrupted, killed, or had failures.

    What was run is in the directory; so are, for a sweep, engine and workers of the last start.
    """
    from edt.locations import place
    from edt.studies.kinds import resume as run

    folder = place(directory)
    options = {"engine": engine, "workers": workers, **engine_options(engine, address, cpus, gpus)}
    _go(
        lambda: run(folder, confirm=confirm or (), progress=not no_progress, **options),
        folder, console_for(as_json), as_json,
    )  # fmt: skip


def export(
    directory: Directory,
    to: Annotated[str, typer.Option("--to", help="csv, parquet or xarray (netCDF).")] = "csv",
    out: Annotated[
        str | None, typer.Option(metavar="DIR", help="Folder. [dim]\\[DIR/export][/dim]")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write the tables of a finished run for other programs."""
    from edt.studies.exports import export as write

    files = write(directory, to, out)
    if as_json:
        print(json.dumps([str(file) for file in files], indent=1))
        return
    for file in files:
        print(file)


#: Rows of a table that the terminal shows.
ROWS = 40


def _go(start: Callable[[], Experiment], folder: Folder, console: Console, as_json: bool) -> None:
    from edt.show.print_tables import print_experiment
    from edt.studies.reporting import write_any_report

    try:
        done = start()
    except KeyboardInterrupt:
        raise interrupted(folder) from None
    facts = {
        "directory": str(folder),
        "kind": done.kind,
        "report": str(write_any_report(done, folder)),
        "tables": {name: str(folder / f"{name}.parquet") for name in done.tables},
        "rows": {name: len(table) for name, table in done.tables.items()},
    }

    def show(console: Console, done: Experiment) -> None:
        found = done.summary()
        print_experiment(console, {name: table.head(ROWS) for name, table in found.items()})
        for name, table in found.items():
            if len(table) > ROWS:
                console.print(
                    f"{name.replace('_', ' ')}: the first {ROWS} of {len(table):,} rows; "
                    "--json prints all"
                )

    took = sum(done.seconds.values())
    tell(console, done, facts, took, tables=lambda d: d.summary(), show=show, as_json=as_json)


def _print_status(console: Console, found: Status) -> None:
    state = "finished" if found.finished else "running" if found.running else "not running"
    if found.running is None and not found.finished:
        state = "unfinished; whether it runs is not known of a URL"
    unit = "parts" if found.runs is None else "runs"
    runs = "" if found.runs is None else f"{found.runs_done:,} of {found.runs:,} runs, "
    console.print(
        f"[bold]{escape(found.directory)}[/] ({found.kind}): {state}, {runs}"
        f"{found.parts_done:,} of {found.parts:,} parts ({found.share:.0%} of the work)"
    )
    if found.rate is not None:
        console.print(f"rate {_rate(found.rate, unit)} with {found.workers} at once")
    if found.seconds_left and not found.finished:
        console.print(f"about {_time(found.seconds_left)} left")
    for failure in found.failures[:10]:
        console.print(f"[red]failed[/] {escape(failure['name'])}: {escape(failure['error'])}")
    if not found.finished and not found.running:
        console.print(f"go on with: edt resume {escape(found.directory)}")


def _rate(rate: float, unit: str) -> str:
    """Per second, or per minute or hour where that is less than one."""
    for size, name in ((1.0, "s"), (60.0, "min")):
        if rate * size >= 1.0:
            return f"{rate * size:,.1f} {unit}/{name}"
    return f"{rate * 3600.0:,.1f} {unit}/h"


def _time(seconds: float) -> str:
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 1):.0f} s"
