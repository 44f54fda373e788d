"""Where shards are computed: here, in worker processes, on Ray, or by Slurm."""

from __future__ import annotations

from typing import Any

from edt.errors import unknown_choice
from edt.runs.engines.base import Engine, Failure, SweepError
from edt.runs.engines.local import Inline, Processes

ENGINES = ("local", "ray", "slurm")


def make_engine(name: str, workers: int | None, shards: int, **options: Any) -> Engine:
    """The engine of a run.

    Args:
        name: "local", "ray" or "slurm".
        workers: processes, or jobs at once; None: one a core (local), the cluster's (ray), 8
            (slurm). 0 (local): in this process.
        shards: how many there are to compute; more processes than that are not started.
        options: of `Ray` or `Slurm`.

    Raises:
        ValueError: an unknown engine. ImportError: its package is not installed.
    """
    if name == "local":
        if options:
            raise ValueError(f"{next(iter(options))} is not an option of the engine 'local'")
        wanted = Processes(workers).workers if workers != 0 else 0
        # One worker would only wait for the other: this process has the same cores.
        return Inline() if min(wanted, shards) <= 1 else Processes(min(wanted, shards))
    if name == "ray":
        from edt.runs.engines.ray import Ray

        return Ray(workers=workers, **options)
    if name == "slurm":
        from edt.runs.engines.slurm import Slurm

        return Slurm(workers or 8, **options)
    raise unknown_choice("engine", name, ENGINES)


__all__ = ["ENGINES", "Engine", "Failure", "Inline", "Processes", "SweepError", "make_engine"]
