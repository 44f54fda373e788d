"""`edt demo`: the main job. Width sweep, tables, figures and a report."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

EPILOG = (
    "Examples:\n\n"
    "  edt demo                             3 teachers, widths 2-16, 100 seeds each\n\n"
    "  edt demo --quick                     the same in seconds, numbers too few to mean much\n\n"
    "  edt demo --task diabetes --out runs/diabetes\n\n"
    "  edt demo --widths 2-8,12 --seeds 500 --threads 8"
)


def demo(
    task: Annotated[str, typer.Option(help="teacher or diabetes.")] = "teacher",
    widths: Annotated[
        str | None, typer.Option(help="Student widths, such as 2-16 or 2,4,8.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="Students per target and width.")] = None,
    teachers: Annotated[int | None, typer.Option(help="Number of teachers.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for tables, figures, report.")] = Path(
        "edt-demo"
    ),
    quick: Annotated[
        bool, typer.Option("--quick", help="A run of seconds, to see it work.")
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Delete an earlier run in the folder first.")
    ] = False,
    threads: Annotated[int | None, typer.Option(help="Threads; default: all cores.")] = None,
    progress: Annotated[bool, typer.Option(help="Show a progress bar.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the tables as JSON.")] = False,
) -> None:
    """Train students of many widths, go to their minima, split the bad ones; write a report.

    An interrupted run goes on with the same command. Writes report.html, figures/, runs.parquet and
    splits.parquet.
    """
    import torch

    from edt.experiments import demo_spec, parse_widths, width_sweep
    from edt.report import write_report

    started = time.monotonic()
    if threads is not None:
        if threads < 1:
            raise ValueError(f"threads must be at least 1, got {threads}")
        torch.set_num_threads(threads)
    changes: dict[str, Any] = {}
    if widths is not None:
        changes["widths"] = parse_widths(widths)
    if seeds is not None:
        changes["seeds"] = seeds
    if teachers is not None:
        changes["teachers"] = teachers
    spec = demo_spec(task, quick=quick, **changes)
    if not as_json:
        print(
            f"{spec.networks:,} networks: {spec.task}, {spec.targets} target(s), widths "
            f"{spec.widths[0]}..{spec.widths[-1]}, {spec.seeds} seeds each",
            file=sys.stderr,
        )
    sweep = width_sweep(spec, out, fresh=fresh, progress=progress)
    report = write_report(sweep, out)
    if as_json:
        print(json.dumps(_tables(sweep), indent=1))
        return
    _show(sweep)
    print(f"\n{report}  ({time.monotonic() - started:.0f} s)")


def _tables(sweep: Any) -> dict[str, Any]:
    frames = {
        "success": sweep.success(),
        "levels": sweep.levels(),
        "outcomes": sweep.outcomes(),
        "escapes": sweep.escapes(),
    }
    return {
        "spec": sweep.spec.to_dict(),
        **{name: json.loads(frame.to_json(orient="records")) for name, frame in frames.items()},
    }


def _show(sweep: Any) -> None:
    from rich.console import Console
    from rich.table import Table

    from edt.experiments import ALL

    console = Console()
    success = sweep.success()
    table = Table(title="Success against width, all targets together", title_justify="left")
    for name in (
        "width",
        "runs",
        "good",
        "rate",
        "95% interval",
        "disjoint",
        "overlapping",
        "n_eff",
    ):
        table.add_column(name, justify="right")
    for row in success[success["target"] == ALL].to_dict("records"):
        table.add_row(
            str(row["width"]),
            str(row["runs"]),
            str(row["good"]),
            f"{100 * row['rate']:.1f}%",
            f"{100 * row['rate_low']:.1f}-{100 * row['rate_high']:.1f}%",
            _percent(row["disjoint"]),
            _percent(row["combinatorial"]),
            "-" if row["n_eff"] != row["n_eff"] else f"{row['n_eff']:.1f}",
        )
    console.print(table)
    levels = sweep.levels().groupby("width")["levels"].sum()
    found = {int(width): int(count) for width, count in levels.items()}
    console.print(
        "Distinct loss levels of bad minima: "
        + ", ".join(f"width {width}: {count}" for width, count in found.items())
    )


def _percent(value: float) -> str:
    return "-" if value != value else f"{100 * value:.1f}%"
