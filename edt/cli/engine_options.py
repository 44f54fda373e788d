"""Options of every command that computes parts: on which engine, and how many at once."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from edt.errors import unknown_choice

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


def engine_options(
    engine: str | None, address: str | None, cpus: int | None, gpus: float | None
) -> dict[str, Any]:
    """What was given of an engine's own options.

    Raises:
        ValueError: an unknown engine, or it has no such option.
    """
    from edt.runs.engines import ENGINES

    if engine is not None and engine not in ENGINES:
        raise unknown_choice("engine", engine, ENGINES)
    given = {"address": address, "cpus": cpus, "gpus": gpus}
    options = {name: value for name, value in given.items() if value is not None}
    for name, value in options.items():
        if engine is None:
            continue  # checked by the engine of the last start
        if engine == "local" or (engine == "slurm" and name != "cpus"):
            raise ValueError(f"--{name} is not for --engine {engine}, got {value!r:.60}")
    return options
