"""`sweep`: run a spec, or what is left of it, on an engine."""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from edt.experiments.progress import tracker
from edt.experiments.store import Store, write_table
from edt.files import replace_file
from edt.sweeps.engines import Failure, SweepError, make_engine
from edt.sweeps.plan import Plan, make_plan, shard_name
from edt.sweeps.result import KIND, Sweep, assemble, spec_of
from edt.sweeps.shards import Shards
from edt.sweeps.spec import SweepSpec, read_spec
from edt.sweeps.status import note_start

MANIFEST = "manifest.json"


def sweep(
    spec: SweepSpec | str | os.PathLike[str],
    directory: str | os.PathLike[str] | None = None,
    *,
    engine: str = "local",
    workers: int | None = None,
    fresh: bool = False,
    progress: bool = True,
    **options: Any,
) -> Sweep:
    """Run a sweep, or what is left of it.

    The runs are divided into shards of about equal predicted cost; a shard is computed and written
    whole. The same call goes on where an earlier one was cut off, losing the shards then under way.
    Equal specs give equal tables, bit for bit, with every engine and any number of workers.

    Args:
        spec: a `SweepSpec`, or the path of a TOML file that holds one.
        directory: where shards and tables go; None: a temporary one, and the result is in memory.
        engine: "local" (processes on this machine), "ray" or "slurm" (`edt.sweeps.engines`); those
            need a directory that every node sees.
        workers: processes or jobs at once; None: one a core. 0 (local): in this process.
        fresh: delete an earlier edt run in the directory first.
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
        spec = read_spec(spec)
    plan = make_plan(spec)
    if directory is None:
        if engine != "local":
            raise ValueError(f"the engine {engine!r} needs a directory that every node sees")
        with tempfile.TemporaryDirectory(prefix="edt-sweep-") as folder:
            done = _in_directory(plan, folder, engine, workers, False, progress, options)
            done.path = None
            return done
    return _in_directory(plan, directory, engine, workers, fresh, progress, options)


def resume(directory: str | os.PathLike[str], **options: Any) -> Sweep:
    """Go on with the sweep in a directory.

    Args:
        directory: of an earlier `sweep`.
        options: engine, workers, progress and the engine's own, as for `sweep`.

    Raises:
        DirectoryError: it holds no sweep. Otherwise as `sweep`.
    """
    return sweep(spec_of(Path(directory)), directory, **options)


def _in_directory(
    plan: Plan,
    directory: str | os.PathLike[str],
    engine: str,
    workers: int | None,
    fresh: bool,
    progress: bool,
    options: dict[str, Any],
) -> Sweep:
    from edt import __version__

    identity = {"spec": plan.spec.to_dict(), "edt": __version__}
    clock = time.monotonic()
    with Store(directory, KIND, identity, fresh=fresh) as store:
        shards = Shards(store.path)
        shards.sweep_up()
        todo = []
        for k in range(len(plan.members)):
            if shards.whole(shard_name(k)) is None:
                shards.discard(shard_name(k))
                todo.append(k)
        if todo:
            _compute(plan, shards, todo, str(store.path), engine, workers, progress, options)
        computed = time.monotonic()
        tables = assemble(plan, shards)
        for name, table in tables.items():
            write_table(store.path / f"{name}.parquet", table)
        _write_manifest(plan, shards, store.path)
        seconds = {"shards": computed - clock, "tables": time.monotonic() - computed}
        return Sweep(plan.spec, tables, seconds, store.path)


def _compute(
    plan: Plan,
    shards: Shards,
    todo: list[int],
    directory: str,
    engine: str,
    workers: int | None,
    progress: bool,
    options: dict[str, Any],
) -> None:
    crew = make_engine(engine, workers, len(todo), **options)
    note_start(directory, engine, crew.workers)
    failures = []
    costs = {shard_name(k): plan.shard_cost(k) for k in range(len(plan.members))}
    left = len(todo)
    with tracker(progress, plan.seconds) as bar:
        bar.done(plan.seconds - sum(plan.shard_cost(k) for k in todo))
        bar.now(f"{left} shards left, {crew.workers} at once")
        for outcome in crew.run(directory, list(plan.jobs(todo))):
            if isinstance(outcome, Failure):
                failures.append(outcome)
            left -= 1
            bar.done(costs[outcome.name])
            bar.now(f"{left} shards left, {crew.workers} at once")
    if failures:
        names = ", ".join(failure.name for failure in failures[:3])
        more = " and more" if len(failures) > 3 else ""
        raise SweepError(
            f"{len(failures)} of {len(todo)} shards failed ({names}{more}: {failures[0].error}); "
            f"the others are in {directory}, and 'edt resume {directory}' tries these again"
        )


def _write_manifest(plan: Plan, shards: Shards, folder: Path) -> None:
    """One file with the checksums of everything, for copying and archiving."""
    files: dict[str, str] = {}
    for k in range(len(plan.members)):
        manifest = shards.manifest(shard_name(k))
        files |= {} if manifest is None else {f"parts/{n}": s for n, s in manifest.files.items()}
    facts = {"spec_digest": plan.spec.digest, "runs": plan.runs, "sha256": files}
    replace_file(folder / MANIFEST, json.dumps(facts, indent=1, sort_keys=True).encode())
