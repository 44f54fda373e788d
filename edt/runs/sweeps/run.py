"""`sweep`: run a spec, or what is left of it, on an engine."""

from __future__ import annotations

import os
import tempfile
import time
from typing import Any

from edt.places import Folder, Location, Remote, at_once, place
from edt.runs.engines import ENGINES, Failure, SweepError, make_engine
from edt.runs.engines.base import cores
from edt.runs.progress import tracker
from edt.runs.store import (
    DirectoryError,
    PartError,
    PartFiles,
    Store,
    last_session,
    note_start,
    write_whole,
)
from edt.runs.store.directory import SESSION
from edt.runs.sweeps.plan import Plan, make_plan, shard_name
from edt.runs.sweeps.result import Sweep, assemble, whole_shard
from edt.runs.sweeps.spec import SweepSpec, read_spec

#: Seconds that a worker process takes to start, and the work of how many such times makes it worth
#: that: starting then costs less than 5%.
START, WORTH = 1.5, 20.0


def sweep(
    spec: SweepSpec | str | os.PathLike[str],
    directory: Location | None = None,
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
        directory: where shards and tables go: a path or an fsspec URL (what a URL cannot promise
            is in `edt.runs.store`); None: a temporary one, and the result is in memory.
        engine: "local" (processes on this machine), "ray" or "slurm" (`edt.runs.engines`); those
            need a directory that every node sees.
        workers: processes or jobs at once, this one included where the engine is local; None: one
            a core, or this process alone where less than half a minute of work is left for each.
            0 (local): in this process.
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


def resume_sweep(
    directory: Location,
    *,
    engine: str | None = None,
    workers: int | None = None,
    progress: bool = True,
    **options: Any,
) -> Sweep:
    """Go on with the sweep in a directory.

    Args:
        directory: of an earlier `sweep`.
        engine, workers, options: as for `sweep`. Engine, workers and ``cpus`` that are left out are
            as at the last start (with the same engine); nothing else is taken from the directory,
            and where the last start had more, the call must name the engine.
        progress: show a progress bar on a terminal.

    Raises:
        DirectoryError: it holds no sweep, or asks for what is not taken from a directory. Otherwise
            as `sweep`.
    """
    folder = place(directory)
    spec = Sweep.spec_of(folder)
    chosen, options = _as_before(folder, engine, {"workers": workers, **options})
    workers = options.pop("workers", None)
    return sweep(spec, folder, engine=chosen, workers=workers, progress=progress, **options)


#: What `resume_sweep` takes from a directory beside the engine's name, and the most it may be. All
#: else (an address, a cluster, options of a queue) can connect or run something, and a directory is
#: data that anybody may have written: it comes from the call, or not at all.
RESTORED = {"workers": 1000, "cpus": 1024}


def _as_before(
    folder: Folder, engine: str | None, given: dict[str, Any]
) -> tuple[str, dict[str, Any]]:
    """Engine and options of a resume: those of the call, then what may be taken from the directory.

    Raises:
        DirectoryError: the last start had options that are not taken from there, and the call says
            nothing of them; or the directory says what no start can have written.
    """
    session = last_session(folder)
    asked = {} if session is None else session.asked
    before = asked.get("engine", "local")
    here = {name: value for name, value in given.items() if value is not None}
    if engine not in (None, before):
        return engine, here
    if before not in ENGINES:
        raise DirectoryError(
            f"{folder}: {SESSION} names the engine {before!r:.60}; --engine must say which to take "
            f"({', '.join(ENGINES)})"
        )
    kept = asked.get("options", {})
    kept = {**(kept if isinstance(kept, dict) else {}), "workers": asked.get("workers")}
    kept = {name: value for name, value in kept.items() if value is not None and name not in here}
    for name, value in kept.items():
        if name not in RESTORED:
            if engine is not None:
                continue
            raise DirectoryError(
                f"{folder}: the last start had {name:.30}={value!r:.60}, and what connects or runs "
                f"something is not taken from a directory; give --engine {before} and the options "
                "you want (in Python: edt.studies.resume(DIR, engine=..., ...))"
            )
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not (whole and 0 <= value <= RESTORED[name]):
            raise DirectoryError(
                f"{folder}: {SESSION} has {name}={value!r:.60}; a whole number up to "
                f"{RESTORED[name]} is taken from there, or give --{name}"
            )
    restored = {name: value for name, value in kept.items() if name in RESTORED}
    return before, {**restored, **here}


def _in_directory(
    plan: Plan,
    directory: Location,
    engine: str,
    workers: int | None,
    fresh: bool,
    progress: bool,
    options: dict[str, Any],
) -> Sweep:
    from edt import __version__

    identity = {"spec": plan.spec.to_dict(), "edt": __version__}
    clock = time.monotonic()
    with Store(directory, Sweep.kind, identity, fresh=fresh) as store:
        shards = PartFiles(store.path)

        def whole(k: int) -> bool:
            return whole_shard(plan, shards, k) is not None

        numbers = range(len(plan.members))
        todo = [
            k
            for k, done in zip(numbers, at_once(store.path, whole, numbers), strict=True)
            if not done
        ]
        for k in todo:
            shards.discard(shard_name(k))
        if todo:
            _compute(plan, todo, store.path, engine, workers, progress, options)
        store.check()
        computed = time.monotonic()
        try:
            tables = assemble(plan, shards)
        except PartError as error:
            shards.discard(error.part)  # so that the next start computes it
            raise
        facts = {"spec_digest": plan.spec.digest, "kind": Sweep.kind, "runs": plan.runs}
        names = [shard_name(k) for k in range(len(plan.members))]
        write_whole(store.path, tables, names, facts)
        seconds = {"shards": computed - clock, "tables": time.monotonic() - computed}
        return Sweep(plan.spec, tables, seconds, store.path)


def _compute(
    plan: Plan,
    todo: list[int],
    directory: Folder,
    engine: str,
    workers: int | None,
    progress: bool,
    options: dict[str, Any],
) -> None:
    seconds = sum(plan.shard_cost(k) for k in todo)
    chosen = _workers(directory, engine, workers, seconds)
    crew = make_engine(engine, chosen, len(todo), **options)
    asked = {"engine": engine, "workers": workers, "options": options}
    note_start(directory, crew.workers, engine, asked)
    failures = []
    costs = {shard_name(k): plan.shard_cost(k) for k in range(len(plan.members))}
    left = len(todo)
    with tracker(progress, plan.seconds) as bar:
        bar.done(plan.seconds - seconds)
        bar.now(f"{left} shards left, {crew.workers} at once")
        for outcome in crew.run(str(directory), list(plan.jobs(todo))):
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


def _workers(folder: Folder, engine: str, workers: int | None, seconds: float) -> int | None:
    """How many workers may share the folder, and are worth starting for so many seconds of work."""
    if isinstance(folder, Remote):
        if engine == "slurm":
            raise ValueError("the engine 'slurm' needs a directory with a path, not a URL")
        if not folder.shared:
            if engine != "local" or workers not in (None, 0, 1):
                raise ValueError(
                    f"{folder} is seen by this process only: leave engine and workers out"
                )
            return 0
    if engine == "local" and workers is None and seconds / cores() < WORTH * START:
        return 0
    return workers
