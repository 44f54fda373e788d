"""The width sweep: targets x widths x seeds, trained, converged, classified, then split."""

from __future__ import annotations

from functools import partial

import pandas as pd

from edt.places import Location
from edt.runs.experiment import Parts, run_experiment
from edt.studies.common.labelled_runs import label_runs, run_part
from edt.studies.common.targets import make_task
from edt.studies.width.result import SPLITTING, TRAINING, WidthSweep, part_name
from edt.studies.width.spec import WidthSweepSpec
from edt.studies.width.splits import empty_splits, split_part


def width_sweep(
    spec: WidthSweepSpec,
    directory: Location | None = None,
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
    task = make_task(spec)

    def body(parts: Parts) -> dict[str, pd.DataFrame]:
        runs = label_runs(spec, task, parts.run(partial(run_part, spec, task), TRAINING))

        def split(target: int, width: int) -> pd.DataFrame:
            rows = runs[(runs["target"] == target) & (runs["width"] == width)]
            if not rows["outcome"].eq("bad").any():
                return empty_splits()
            return split_part(spec, task, rows, parts.networks(part_name(target, width)))

        filled = [table for table in parts.run(split, SPLITTING) if len(table)]
        splits = pd.concat(filled, ignore_index=True) if filled else empty_splits()
        return {"runs": runs, "splits": splits}

    return run_experiment(WidthSweep, spec, directory, body, fresh=fresh, progress=progress)
