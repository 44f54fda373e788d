"""Spurious minima of relu students of orthonormal relu teachers, counted over random starts.

Teacher ``sum_{i<=k} relu(v_i.x)`` with ``v_i = e_i`` and ``d = k``; student of n units with output
weights 1; population loss F for x ~ N(0, I) (`edt.landscape.population`). Each start is
N(0, I/k) and follows gradient descent with step 0.1; it is spurious where it ends with
``F > 1e-3`` (`edt.landscape.spurious`).

Reference: I. Safran, O. Shamir, "Spurious local minima are common in two-layer ReLU neural
networks", ICML 2018, arXiv 1712.08968.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event

import numpy as np
import pandas as pd
import torch

from edt.errors import unknown_choice
from edt.landscape.levels import loss_levels
from edt.landscape.population import Gradient, population_hessian, population_loss
from edt.landscape.spurious import SPURIOUS, Ends, descend
from edt.ops.threads import one_blas_thread, set_own_threads
from edt.scalars import integer, number
from edt.stats import wilson
from edt.training.progress import Meter

FINISH = ("spurious", "all")
#: Starts that share a queue; queues run in threads.
QUEUE = 250


@dataclass
class SafranShamir:
    """Ends of all starts.

    Attributes:
        runs: one row a start: ``teacher`` (k), ``student`` (n), ``run``, ``loss``, ``grad_max``,
            ``steps`` of gradient descent, ``newton`` steps, ``status`` ("converged": at or below
            the tolerance; "good": left once F was at most 1e-3; "max_steps"), ``spurious``, and
            ``min_eig`` of the Hessian for spurious ends (NaN otherwise).
    """

    runs: pd.DataFrame

    def table(self, conf: float = 0.95) -> pd.DataFrame:
        """One row a cell; see `spurious_table`."""
        return spurious_table(self.runs, conf)

    def __repr__(self) -> str:
        cells = len(self.runs[["teacher", "student"]].drop_duplicates())
        return (
            f"SafranShamir({len(self.runs)} starts in {cells} cells, "
            f"{int(self.runs['spurious'].sum())} spurious)"
        )


def safran_shamir(
    teachers: Iterable[int] = range(6, 11),
    extra: Iterable[int] = (0,),
    *,
    starts: int = 1000,
    seed: int = 0,
    tol: float = 2e-9,
    max_steps: int = 200_000,
    finish: str = "spurious",
    progress: bool = True,
) -> SafranShamir:
    """Run the experiment for every teacher width k and student width k + extra.

    Args:
        teachers: k, each at least 1.
        extra: neurons a student has more than its teacher, each >= 0.
        starts: runs a cell. Start s depends on (seed, s, k, n) only.
        seed: >= 0.
        tol: ``max|grad|`` to reach.
        max_steps: of gradient descent.
        finish: "spurious" leaves a run once ``F <= 1e-3`` (the loss only falls from there);
            "all" drives every run to ``tol``. With n > k good ends form a continuum, and descent
            there is slow.
        progress: show a progress bar on a terminal.

    Returns:
        `SafranShamir`.

    Raises:
        ValueError, TypeError: an argument is wrong.

    Example:
        >>> safran_shamir([6], starts=20, progress=False).table()["student"].tolist()
        [6]
    """
    widths = [integer("teachers entries", k, 1) for k in teachers]
    more = [integer("extra entries", e, 0) for e in extra]
    starts = integer("starts", starts, 1)
    seed = integer("seed", seed, 0)
    tol = number("tol", tol, strict=True)
    max_steps = integer("max_steps", max_steps, 0)
    if finish not in FINISH:
        raise unknown_choice("finish", finish, FINISH)
    if not widths or not more:
        raise ValueError("teachers and extra must name at least one width each")
    cells = [(k, k + e) for k in widths for e in more]
    tables: list[pd.DataFrame] = []
    losses = torch.zeros(0, dtype=torch.float64)
    with Meter(progress, "descend", len(cells)) as meter:
        for done, (k, n) in enumerate(cells, 1):
            tables.append(
                run_starts(
                    k, n, range(starts), seed=seed, tol=tol, max_steps=max_steps, finish=finish
                )
            )
            losses = torch.tensor(tables[-1]["loss"].to_numpy())
            meter.update(done, len(cells) - done, losses)
    return SafranShamir(pd.concat(tables, ignore_index=True))


def run_starts(
    k: int, n: int, runs: Iterable[int], *, seed: int, tol: float, max_steps: int, finish: str
) -> pd.DataFrame:
    """Some of the starts of one cell, as rows of `SafranShamir.runs`.

    Threads: as many queues of `QUEUE` starts at a time as `torch.get_num_threads`.

    Args:
        k, n: teacher and student width.
        runs: numbers of the starts.
        seed, tol, max_steps, finish: as in `safran_shamir`.

    Raises:
        KeyboardInterrupt: Ctrl-C.
    """
    numbers = np.asarray(list(runs), dtype=np.int64)
    queues = [numbers[first : first + QUEUE] for first in range(0, len(numbers), QUEUE)]
    teacher, stop = torch.eye(k, dtype=torch.float64), Event()

    def one(queue: np.ndarray) -> pd.DataFrame:
        starts = start_points(k, n, queue, seed)
        ends = descend(
            starts, teacher, tol=tol, max_steps=max_steps, every=finish == "all", stop=stop
        )
        return _frame(k, n, queue, ends, teacher)

    with (
        one_blas_thread() as threads,
        ThreadPoolExecutor(threads, initializer=set_own_threads, initargs=(1,)) as pool,
    ):
        waiting = [pool.submit(one, queue) for queue in queues]
        try:
            tables = [future.result() for future in waiting]
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return pd.concat(tables, ignore_index=True)


def spurious_table(runs: pd.DataFrame, conf: float = 0.95) -> pd.DataFrame:
    """Share of spurious ends.

    Args:
        runs: of a `SafranShamir`.
        conf: coverage of Wilson's interval.

    Returns:
        One row a (teacher, student): ``starts``, ``spurious``, ``share`` with ``share_low`` and
        ``share_high``, ``unfinished`` (not at the tolerance, not good), ``levels`` (distinct
        losses among the converged spurious ends), ``minima`` (spurious ends with a positive
        definite Hessian), and medians of ``steps`` and of the spurious ``loss``.
    """
    rows = []
    for (teacher, student), group in runs.groupby(["teacher", "student"], sort=True):
        bad = group[group["spurious"]]
        share = wilson(len(bad), len(group), conf)
        ended = bad[bad["status"] == "converged"]
        rows.append(
            {
                "teacher": int(str(teacher)),
                "student": int(str(student)),
                "starts": len(group),
                "spurious": len(bad),
                "share": share.value,
                "share_low": share.low,
                "share_high": share.high,
                "unfinished": int((group["status"] == "max_steps").sum()),
                "levels": len(loss_levels(ended["loss"].to_numpy())),
                "minima": int((bad["min_eig"] > 0.0).sum()),
                "steps": float(group["steps"].median()),
                "loss": float(bad["loss"].median()) if len(bad) else math.nan,
            }
        )
    return pd.DataFrame(rows)


def start_points(k: int, n: int, runs: np.ndarray, seed: int) -> torch.Tensor:
    """Starts N(0, I/k), float64 ``[R, n, k]``; each depends on (seed, its number, k, n) only."""
    rows = []
    for run in runs.tolist():
        key = np.random.SeedSequence([seed, run, k, n]).generate_state(2, np.uint64)
        rows.append(np.random.Generator(np.random.Philox(key=key)).standard_normal((n, k)))
    return torch.from_numpy(np.stack(rows)) / math.sqrt(k)


def _frame(k: int, n: int, runs: np.ndarray, ends: Ends, teacher: torch.Tensor) -> pd.DataFrame:
    students = ends.students
    loss = population_loss(students, teacher)
    spurious = loss > SPURIOUS
    lowest = np.full(len(runs), np.nan)
    for b in spurious.nonzero().flatten().tolist():
        hessian = population_hessian(students[b : b + 1], teacher)[0]
        lowest[b] = float(torch.linalg.eigvalsh(hessian)[0])
    return pd.DataFrame(
        {
            "teacher": k,
            "student": n,
            "run": runs,
            # At exact solutions the sum of kernels is zero to rounding, of either sign.
            "loss": loss.clamp_min(0.0).numpy(),
            "grad_max": Gradient(students, teacher)(students).abs().amax((1, 2)).numpy(),
            "steps": ends.steps.numpy(),
            "newton": ends.newton.numpy(),
            "status": ends.status,
            "spurious": spurious.numpy(),
            "min_eig": lowest,
        }
    )
