"""``edt demo``: the main job, from nothing to figures and a report."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from edt.experiments import WidthSweep, WidthSweepSpec

EPILOG = """[bold]Examples[/bold]

[cyan]edt demo[/cyan] : about two minutes, writes edt-demo/

[cyan]edt demo --quick[/cyan] : seconds, to see that everything works; writes edt-demo-quick/

[cyan]edt demo --task diabetes[/cyan] : the same on real data; writes edt-demo-diabetes/

[cyan]edt demo --widths 4..12 --seeds 500 --out big[/cyan] : your own

Ctrl-C is safe: the same command goes on where it stopped."""


def demo(
    task: Annotated[
        str,
        typer.Option(metavar="NAME", help="What to learn: teacher (random networks) or diabetes."),
    ] = "teacher",
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
        Path | None,
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

    Writes report.html (self-contained), figures, and Parquet tables; see --out.
    """
    from edt.experiments import demo_spec, parse_widths

    if task == "diabetes" and teachers not in (None, 1):
        raise ValueError("--teachers is for --task teacher: diabetes has one target")
    spec = demo_spec(
        task,
        quick=quick,
        widths=None if widths is None else parse_widths(widths),
        seeds=seeds,
        teachers=teachers,
    )
    folder = out if out is not None else Path(default_folder(task, quick))
    _run(spec, folder, fresh=fresh, as_json=as_json, progress=not no_progress, threads=threads)


def default_folder(task: str, quick: bool) -> str:
    """Where a demo goes unless told otherwise: each kind has its own."""
    return "edt-demo" + ("" if task == "teacher" else f"-{task}") + ("-quick" if quick else "")


def _run(
    spec: WidthSweepSpec,
    folder: Path,
    *,
    fresh: bool,
    as_json: bool,
    progress: bool,
    threads: int | None,
) -> None:
    import torch
    from rich.console import Console

    from edt.cli.tables import print_sweep
    from edt.experiments import format_widths, width_sweep
    from edt.report import write_report

    if threads is not None:
        torch.set_num_threads(threads)
    console = Console(stderr=as_json, highlight=False)
    targets = f"{spec.targets} teachers x " if spec.targets > 1 else ""
    console.print(
        f"[bold]{spec.networks:,} networks[/]: {targets}widths {format_widths(spec.widths)} x "
        f"{spec.seeds} seeds, {spec.activation}, float64 -> {folder}/"
    )
    started = time.monotonic()
    try:
        sweep = width_sweep(spec, folder, fresh=fresh, progress=progress)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"interrupted; finished parts are in {folder}/, the same command goes on from there"
        ) from None
    report = write_report(sweep, folder)
    took = time.monotonic() - started
    if as_json:
        print(json.dumps(summary(sweep, folder, took), indent=1, allow_nan=False))
        return
    print_sweep(console, sweep)
    console.print(f"\n[bold]Report[/]: {report}  [dim]({took:.0f} s)[/]")


def summary(sweep: WidthSweep, folder: Path, seconds: float) -> dict[str, Any]:
    """What ``--json`` prints; numbers that are not finite become null."""
    tables = {
        "success": sweep.success(),
        "levels": sweep.levels(),
        "outcomes": sweep.outcomes(),
        "splits": sweep.escapes(),
    }
    return {
        "directory": str(folder),
        "report": str(folder / "report.html"),
        "runs": str(folder / "runs.parquet"),
        "figures": sorted(str(path) for path in (folder / "figures").glob("*.png")),
        "spec": sweep.spec.to_dict(),
        "spec_digest": sweep.spec.digest,
        "seconds": round(seconds, 2),
        **{name: json.loads(table.to_json(orient="records")) for name, table in tables.items()},
    }
