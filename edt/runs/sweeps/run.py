"""`sweep`: run a spec, or what is left of it, on an engine."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from typing import Any

from edt.locations import Location
from edt.runs.sweeps.result import Sweep
from edt.runs.sweeps.spec import SweepSpec, read_spec


def sweep(
    spec: SweepSpec | str | os.PathLike[str],
    directory: Location | None = None,
    *,
    engine: str = "local",
    workers: int | None = None,
    fresh: bool = False,
    confirm: Sequence[str] = (),
    progress: bool = True,
    **options: Any,
) -> Sweep:
    """Run a sweep, or what is left of it.

    The runs are divided into shards of about equal predicted cost; a shard is computed and written
    whole. The same call goes on where an earlier one was cut off, losing the shards then under way.
    Equal specs give equal tables, bit for bit, with every engine and any number of workers.

    Args:
        spec: a `SweepSpec`, or the path of a TOML file that holds one.
        directory: where shards and tables go: a path or an fsspec URL (what a URL cannot promise
            is in `edt.runs.store`); None: a temporary one, and the result is in memory.
        engine: "local" (processes on this machine), "ray" or "slurm" (`edt.runs.engines`); those
            need a directory that every node sees.
        workers: processes or jobs at once, this one included where the engine is local; None: one
            a core, or this process alone where less than half a minute of work is left for each.
            0 (local): in this process.
        fresh: delete an earlier edt run in the directory first.
        confirm: of `read_spec`, where the spec is in a file.
        progress: show a progress bar on a terminal.
        options: of the engine: ``address``, ``cpus``, ``gpus`` (ray); ``cluster``, ``cpus``,
            ``minutes``, ``options`` (slurm).

    Returns:
        A `Sweep`.

    Raises:
        SpecError, ValueError, TypeError: the spec is wrong; nothing has been written.
        DirectoryError: the directory holds something else, or is in use.
        SweepError: shards failed; the others are kept and a further call tries again.
        OSError: the disk is full, say; finished shards are kept.
        KeyboardInterrupt: Ctrl-C; finished shards are kept.

    Example:
        >>> spec = SweepSpec(task="xor", grid={"width": [2, 4], "seed": "0..4", "lr": 0.05})
        >>> done = sweep(spec, workers=0)
        >>> len(done.runs)
        10
    """
    if not isinstance(spec, SweepSpec):
        if not isinstance(spec, (str, os.PathLike)):
            hint = "; edt.SweepSpec(**spec) makes one of it" if isinstance(spec, dict) else ""
            raise TypeError(
                "spec must be an edt.SweepSpec or the path of a TOML file, got "
                f"{type(spec).__name__}{hint}"
            )
        spec = read_spec(spec, confirm=confirm)
    if directory is None:
        if engine != "local":
            raise ValueError(f"the engine {engine!r} needs a directory that every node sees")
        with tempfile.TemporaryDirectory(prefix="edt-sweep-") as folder:
            done = Sweep.run(spec, folder, workers=workers, progress=progress, **options)
            done.path = None
            return done
    return Sweep.run(
        spec, directory, engine=engine, workers=workers, fresh=fresh, progress=progress, **options
    )
