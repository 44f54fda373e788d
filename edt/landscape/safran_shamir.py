"""Spurious minima of relu students of orthonormal relu teachers, counted over random starts.

Teacher ``sum_{i<=k} relu(v_i.x)`` with ``v_i = e_i`` and ``d = k``; student of n units with output
weights 1; population loss F for x ~ N(0, I) (`edt.landscape.population`). Each start is
N(0, I/k) and follows gradient descent with step 0.1; it is spurious where it ends with
``F > 1e-3``.

Near the end Newton's method takes over: where the exact Hessian is positive definite and every
step at least halves the gradient, descent would end at the same point.

Reference: I. Safran, O. Shamir, "Spurious local minima are common in two-layer ReLU neural
networks", ICML 2018, arXiv 1712.08968.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from edt.curvature.dense import for_each
from edt.errors import unknown_choice
from edt.landscape.levels import loss_levels
from edt.landscape.population import Gradient, population_hessian, population_loss
from edt.stats import wilson
from edt.training import checks
from edt.training.progress import Meter

STEP = 0.1
SPURIOUS = 1e-3
FINISH = ("spurious", "all")
#: Runs stepped together: their angles stay in the second-level cache.
_CHUNK = 100
#: Steps between looks at gradients.
_LOOK = 50
#: Gradient at which Newton is first tried; again at a tenth after each failure.
_NEWTON = 1e-3


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
    widths = [checks.whole("teachers entries", k, 1) for k in teachers]
    more = [checks.whole("extra entries", e, 0) for e in extra]
    starts = checks.whole("starts", starts, 1)
    seed = checks.whole("seed", seed, 0)
    tol = checks.number("tol", tol, strict=True)
    max_steps = checks.whole("max_steps", max_steps, 0)
    if finish not in FINISH:
        raise unknown_choice("finish", finish, FINISH)
    if not widths or not more:
        raise ValueError("teachers and extra must name at least one width each")
    jobs = [
        (k, k + e, np.arange(first, min(first + _CHUNK, starts)))
        for k in widths
        for e in more
        for first in range(0, starts, _CHUNK)
    ]
    tables: list[pd.DataFrame] = []
    losses = torch.zeros(0, dtype=torch.float64)
    # As many chunks at a time as there are threads, so that progress and Ctrl-C get their turn.
    batch = max(1, torch.get_num_threads())
    with Meter(progress, "descend", len(jobs)) as meter:
        for first in range(0, len(jobs), batch):
            tables += for_each(
                lambda job: _chunk(*job, seed, tol, max_steps, finish == "all"),
                jobs[first : first + batch],
                math.inf,
            )
            losses = torch.tensor(tables[-1]["loss"].to_numpy())
            meter.update(first + batch, len(jobs) - len(tables), losses)
    return SafranShamir(pd.concat(tables, ignore_index=True))


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
                "levels": len(loss_levels(ended["loss"])),
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


def _chunk(
    k: int, n: int, runs: np.ndarray, seed: int, tol: float, max_steps: int, every: bool
) -> pd.DataFrame:
    teacher = torch.eye(k, dtype=torch.float64)
    ends = start_points(k, n, runs, seed)
    count = len(runs)
    active = torch.arange(count)
    steps, newton = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    status = np.full(count, "max_steps", dtype=object)
    tried = torch.full((count,), _NEWTON, dtype=torch.float64)
    here, slope = ends.clone(), Gradient(ends, teacher)
    taken = 0
    while True:
        steepest = slope(here).abs().amax((1, 2))
        done = steepest <= tol
        status[active[done].numpy()] = "converged"
        if not every:
            low = population_loss(here, teacher) <= SPURIOUS
            status[active[low & ~done].numpy()] = "good"
            done |= low
        for row in ((steepest <= tried[active]) & ~done).nonzero().flatten().tolist():
            b = int(active[row])
            better, used = _newton(here[row : row + 1], teacher, tol)
            newton[b] += used
            if better is None:
                tried[b] = 0.1 * steepest[row]
            else:
                here[row : row + 1] = better
                status[b], done[row] = "converged", True
        ends[active] = here
        steps[active.numpy()] = taken
        if bool(done.any()):
            active, here = active[~done], here[~done].contiguous()
            slope = Gradient(here, teacher)
        if not active.numel() or taken >= max_steps:
            break
        for _ in range(min(_LOOK, max_steps - taken)):
            here.sub_(slope(here), alpha=STEP)
        taken += min(_LOOK, max_steps - taken)
    return _frame(k, n, runs, ends, teacher, steps, newton, status)


def _newton(
    start: torch.Tensor, teacher: torch.Tensor, tol: float
) -> tuple[torch.Tensor | None, int]:
    """Newton's steps while the Hessian is positive definite and the gradient halves each time."""
    here, slope = start, Gradient(start, teacher)
    gradient = slope(here)
    for used in range(30):
        size = float(gradient.abs().max())
        if size <= tol:
            return here, used
        factor, failed = torch.linalg.cholesky_ex(population_hessian(here, teacher)[0])
        if int(failed):
            return None, used
        step = torch.cholesky_solve(gradient.reshape(-1, 1), factor)
        here = here - step.reshape(here.shape)
        gradient = slope(here)
        if not float(gradient.abs().max()) < 0.5 * size:
            return None, used + 1
    return None, 30


def _frame(
    k: int,
    n: int,
    runs: np.ndarray,
    ends: torch.Tensor,
    teacher: torch.Tensor,
    steps: np.ndarray,
    newton: np.ndarray,
    status: np.ndarray,
) -> pd.DataFrame:
    loss = population_loss(ends, teacher)
    spurious = loss > SPURIOUS
    lowest = np.full(len(runs), np.nan)
    for b in spurious.nonzero().flatten().tolist():
        hessian = population_hessian(ends[b : b + 1], teacher)[0]
        lowest[b] = float(torch.linalg.eigvalsh(hessian)[0])
    return pd.DataFrame(
        {
            "teacher": k,
            "student": n,
            "run": runs,
            # At exact solutions the sum of kernels is zero to rounding, of either sign.
            "loss": loss.clamp_min(0.0).numpy(),
            "grad_max": Gradient(ends, teacher)(ends).abs().amax((1, 2)).numpy(),
            "steps": steps,
            "newton": newton,
            "status": status.astype(str),
            "spurious": spurious.numpy(),
            "min_eig": lowest,
        }
    )
