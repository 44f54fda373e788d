"""The width sweep: targets x widths x seeds, trained, converged, classified, then split."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import nullcontext

import pandas as pd

from edt.ensemble import Ensemble
from edt.errors import EdtError
from edt.experiments.progress import Tracker, tracker
from edt.experiments.result import KIND, WidthSweep, part_name
from edt.experiments.runs import label_runs, run_part
from edt.experiments.spec import WidthSweepSpec
from edt.experiments.splits import empty_splits, split_part
from edt.experiments.store import Store
from edt.experiments.targets import make_task
from edt.tasks import Task

#: Share of a (target, width)'s training cost that splitting its bad minima is worth, for the time
#: left; measured on the demo, where only narrow widths are split.
SPLIT_COST = 0.5


def width_sweep(
    spec: WidthSweepSpec,
    directory: str | os.PathLike[str] | None = None,
    *,
    fresh: bool = False,
    progress: bool = True,
) -> WidthSweep:
    """Run a width sweep, or what is left of it.

    Students of every width and seed learn every target: full-batch Adam in the kernel, then
    `edt.converge` for those that have not reached the good loss; each run is good, a bad minimum,
    or without a verdict. Then every neuron of the bad minima of the narrow widths is split.

    The work is done in parts, one per (target, width); with a directory each finished part is on
    disk, and the same call goes on where it was cut off, losing at most one part. The tables do
    not depend on that, nor on threads: equal specs give equal bits.

    Args:
        spec: what to run.
        directory: where to keep parts and tables; None keeps them in memory only.
        fresh: delete an earlier edt run in the directory first.
        progress: show a progress bar on a terminal.

    Returns:
        A `WidthSweep`.

    Raises:
        DirectoryError: the directory holds something else, or is in use.
        KeyboardInterrupt: Ctrl-C; finished parts are kept.

    Example:
        >>> sweep = width_sweep(WidthSweepSpec(widths=(2, 4), seeds=8))  # doctest: +SKIP
        >>> sweep.success()  # doctest: +SKIP
    """
    from edt import __version__

    task = make_task(spec)
    identity = {"spec": spec.to_dict(), "edt": __version__}
    context = nullcontext() if directory is None else Store(directory, KIND, identity, fresh=fresh)
    seconds: dict[str, float] = {}
    with context as store, tracker(progress, _total_cost(spec)) as bar:
        clock = time.monotonic()
        parts, networks = _runs(spec, task, store, bar)
        runs = label_runs(spec, task, parts)
        seconds["train and converge"] = time.monotonic() - clock
        clock = time.monotonic()
        splits = _splits(spec, task, runs, networks, store, bar)
        seconds["split and escape"] = time.monotonic() - clock
        sweep = WidthSweep(spec, runs, splits, seconds, store.path if store else None)
        if store is not None:
            sweep.save(store.path)
    return sweep


Networks = Callable[[int, int], Ensemble]


def _runs(
    spec: WidthSweepSpec, task: Task, store: Store | None, bar: Tracker
) -> tuple[list[pd.DataFrame], Networks]:
    """Tables of all (target, width), and a way to their networks."""
    tables: list[pd.DataFrame] = []
    kept: dict[tuple[int, int], Ensemble] = {}
    for target in range(spec.targets):
        for width in spec.widths:
            name = part_name(target, width)
            bar.now(f"{_target(spec, target)}width {width}: train, converge")
            table = None if store is None else store.table(name)
            if table is None:
                table, networks = run_part(spec, task, target, width)
                if store is None:
                    kept[target, width] = networks
                else:
                    networks.save(store.networks_file(name))
                    store.finish(name, table)
            tables.append(table)
            bar.done(_cost(spec, width))

    def networks_of(target: int, width: int) -> Ensemble:
        if store is None:
            return kept[target, width]
        file = store.networks_file(part_name(target, width))
        try:
            return Ensemble.load(file)
        except (EdtError, ValueError):
            # Damaged since it was written: the same bits can be made again.
            networks = run_part(spec, task, target, width)[1]
            networks.save(file)
            return networks

    return tables, networks_of


def _splits(
    spec: WidthSweepSpec,
    task: Task,
    runs: pd.DataFrame,
    networks: Networks,
    store: Store | None,
    bar: Tracker,
) -> pd.DataFrame:
    tables = [empty_splits()]
    for target in range(spec.targets):
        for width in _split_widths(spec):
            name = part_name(target, width) + "-splits"
            bar.now(f"{_target(spec, target)}width {width}: split, escape")
            table = None if store is None else store.table(name)
            if table is None:
                rows = runs[(runs["target"] == target) & (runs["width"] == width)]
                table = (
                    split_part(spec, task, rows, networks(target, width))
                    if rows["outcome"].eq("bad").any()
                    else empty_splits()
                )
                if store is not None:
                    store.finish(name, table)
            tables.append(table)
            bar.done(SPLIT_COST * _cost(spec, width))
    filled = [table for table in tables if len(table)]
    return pd.concat(filled, ignore_index=True) if filled else empty_splits()


def _split_widths(spec: WidthSweepSpec) -> list[int]:
    return [width for width in spec.split_widths if width in spec.widths]


def _target(spec: WidthSweepSpec, target: int) -> str:
    return f"teacher {target + 1}, " if spec.realisable else ""


def _cost(spec: WidthSweepSpec, width: int) -> float:
    """Predicted cost of one part, up to a factor: overhead plus neurons."""
    return spec.seeds * (2.0 + width)


def _total_cost(spec: WidthSweepSpec) -> float:
    train = sum(_cost(spec, width) for width in spec.widths)
    split = sum(SPLIT_COST * _cost(spec, width) for width in _split_widths(spec))
    return spec.targets * (train + split)
