"""``edt sweep``, ``edt status``, ``edt resume``, ``edt export``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edt.cli.outcome import console_for, tell

if TYPE_CHECKING:
    from rich.console import Console

    from edt.sweeps import Status, Sweep

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

[cyan]edt status spec --json[/cyan]

Exit code 0: finished, or running; 3: unfinished, and nothing works on it."""

RESUME_EPILOG = """[bold]Examples[/bold]

[cyan]edt resume spec[/cyan]

[cyan]edt resume spec --workers 4[/cyan] : the number of workers does not change the result"""

EXPORT_EPILOG = """[bold]Examples[/bold]

[cyan]edt export spec --to csv[/cyan] : writes spec/export/runs.csv and the other tables

[cyan]edt export edt-demo --to xarray --out tables[/cyan] : netCDF files"""

#: Exit code of ``edt status`` for a sweep that waits to be resumed.
UNFINISHED = 3

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="Directory of the run.")]
EngineName = Annotated[str, typer.Option("--engine", help="local, ray or slurm.")]
Workers = Annotated[
    int | None,
    typer.Option(min=0, metavar="N", help="Processes or jobs at once. [dim]\\[one a core][/dim]"),
]
Address = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help="Of the Ray cluster; auto finds it.")
]
Gpus = Annotated[float | None, typer.Option(min=0.0, metavar="N", help="GPUs of a Ray task.")]
Cpus = Annotated[int | None, typer.Option(min=1, metavar="N", help="Cores of a Ray or Slurm task.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
NoProgress = Annotated[bool, typer.Option("--no-progress", help="No progress bar.")]


def sweep(
    spec: Annotated[Path, typer.Argument(metavar="SPEC.TOML", help="What to run.")],
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where to write. [dim]\\[the spec's name][/dim]"),
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
    as_json: AsJson = False,
    no_progress: NoProgress = False,
) -> None:
    """Run a grid of trainings: every combination of tasks, widths, seeds, rates, ...

    The runs are divided into shards of equal predicted cost, computed by worker processes, on Ray
    or by Slurm. Same spec, same bits, whatever the engine, the number of workers and interruptions.
    """
    from edt.sweeps import make_plan, read_spec
    from edt.sweeps import sweep as run

    found = read_spec(spec)
    planned = make_plan(found)
    folder = out if out is not None else Path(spec.stem)
    console = console_for(as_json)
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
            console.print(
                f"[bold]{planned.runs:,} runs[/] in {len(planned.members):,} shards, about "
                f"{_time(planned.seconds)} of one core"
            )
        return
    console.print(
        f"[bold]{planned.runs:,} runs[/] in {len(planned.members):,} shards, about "
        f"{_time(planned.seconds)} of one core -> {folder}/"
    )
    options = _options(engine, address, cpus, gpus)
    _go(
        lambda: run(
            found, folder, engine=engine, workers=workers, fresh=fresh,
            progress=not no_progress, **options,
        ),
        folder, console, as_json,
    )  # fmt: skip


def status(directory: Directory, as_json: AsJson = False) -> None:
    """Show how far a sweep is: progress, rate, time left, failures."""
    from edt.sweeps import status as look

    found = look(directory)
    if as_json:
        print(json.dumps(found.to_dict(), indent=1))
    else:
        _print_status(console_for(False), found)
    if not (found.finished or found.running):
        raise typer.Exit(UNFINISHED)


def resume(
    directory: Directory,
    engine: EngineName = "local",
    workers: Workers = None,
    address: Address = None,
    cpus: Cpus = None,
    gpus: Gpus = None,
    as_json: AsJson = False,
    no_progress: NoProgress = False,
) -> None:
    """Go on with a sweep that was interrupted, killed, or had failures."""
    from edt.sweeps import resume as run

    options = _options(engine, address, cpus, gpus)
    _go(
        lambda: run(
            directory, engine=engine, workers=workers, progress=not no_progress, **options
        ),
        directory, console_for(as_json), as_json,
    )  # fmt: skip


def export(
    directory: Directory,
    to: Annotated[str, typer.Option("--to", help="csv, parquet or xarray (netCDF).")] = "csv",
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder. [dim]\\[DIR/export][/dim]")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write the tables of a finished run for other programs."""
    from edt.sweeps import export as write

    files = write(directory, to, out)
    if as_json:
        print(json.dumps([str(file) for file in files], indent=1))
        return
    for file in files:
        print(file)


def _go(start: Any, folder: Path, console: Console, as_json: bool) -> None:
    from edt.cli.tables import print_experiment
    from edt.report import write_sweep_report

    try:
        done: Sweep = start()
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"interrupted; finished shards are in {folder}/, 'edt resume {folder}' goes on"
        ) from None
    facts = {
        "directory": str(folder),
        "report": str(write_sweep_report(done, folder)),
        "tables": {name: str(folder / f"{name}.parquet") for name in done.tables},
        "runs": len(done.runs),
    }

    def show(console: Console, done: Sweep) -> None:
        print_experiment(console, {name: t.head(40) for name, t in done.summary().items()})

    took = sum(done.seconds.values())
    tell(console, done, facts, took, tables=lambda d: d.summary(), show=show, as_json=as_json)


def _print_status(console: Console, found: Status) -> None:
    state = "finished" if found.finished else "running" if found.running else "not running"
    console.print(
        f"[bold]{found.directory}[/]: {state}, {found.runs_done:,} of {found.runs:,} runs "
        f"({found.share:.0%} of the work), {found.shards_done:,} of {found.shards:,} shards"
    )
    if found.rate is not None:
        console.print(f"rate {found.rate:,.1f} runs/s with {found.workers} at once")
    if found.seconds_left and not found.finished:
        console.print(f"about {_time(found.seconds_left)} left")
    for failure in found.failures[:10]:
        console.print(f"[red]failed[/] {failure['name']}: {failure['error']}", markup=True)
    if not found.finished and not found.running:
        console.print(f"go on with: edt resume {found.directory}")


def _options(
    engine: str, address: str | None, cpus: int | None, gpus: float | None
) -> dict[str, Any]:
    given = {"address": address, "cpus": cpus, "gpus": gpus}
    options = {name: value for name, value in given.items() if value is not None}
    for name in options:
        if engine == "local" or (engine == "slurm" and name != "cpus"):
            raise ValueError(f"--{name} is not for --engine {engine}")
    return options


def _time(seconds: float) -> str:
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 1):.0f} s"
